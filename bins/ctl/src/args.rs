//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

/// Manage a Baetyl cloud, or bring up a cloud and a node on this machine.
#[derive(Debug, Parser)]
#[command(name = "baetylctl", version, about, max_term_width = 100)]
pub(crate) struct Args {
    /// The cloud's admin address.
    #[arg(long, short = 's', global = true, env = "BAETYL_SERVER", default_value = "http://127.0.0.1:9004")]
    pub(crate) server: String,
    /// How to print: a table for people, or JSON or YAML for programs.
    #[arg(long, short = 'o', global = true, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Bring up a cloud and a node on this machine, and a first application on it.
    #[cfg(feature = "up")]
    Up(crate::up::Options),
    /// List resources, or show one.
    Get {
        /// What kind.
        kind: Kind,
        /// Which one; all when not given.
        name: Option<String>,
        /// Only those with these labels, as in `env=test,site!=lab`.
        #[arg(long, short = 'l')]
        selector: Option<String>,
    },
    /// Show everything about one resource.
    Describe {
        /// What kind.
        kind: Kind,
        /// Which one.
        name: String,
    },
    /// Create or update the resources of a YAML or JSON file; `-` reads standard input.
    Apply {
        /// The file.
        #[arg(long, short = 'f')]
        file: PathBuf,
    },
    /// Delete a resource, or the resources of a file.
    Delete {
        /// What kind.
        kind: Option<Kind>,
        /// Which one.
        name: Option<String>,
        /// A file with the resources to delete.
        #[arg(long, short = 'f', conflicts_with = "kind")]
        file: Option<PathBuf>,
    },
    /// Wait until a node is online, or an application runs in its present version.
    Wait {
        /// `node` or `app`.
        kind: Kind,
        /// Which one.
        name: String,
        /// For an application: the node on which it is to run; all nodes that want it when not given.
        #[arg(long)]
        node: Option<String>,
        /// How long to wait, as in 90s or 5m.
        #[arg(long, default_value = "120s", value_parser = duration)]
        timeout: Duration,
    },
}

/// A kind of resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    #[value(alias = "nodes")]
    Node,
    #[value(aliases = ["apps", "application", "applications"])]
    App,
    #[value(aliases = ["configs", "configuration", "configurations"])]
    Config,
    #[value(alias = "secrets")]
    Secret,
    #[value(alias = "batches")]
    Batch,
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Table,
    Json,
    Yaml,
}

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration: write it like 90s, 5m or 1h");
    let unit = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(unit);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(number.saturating_mul(seconds)))
}
