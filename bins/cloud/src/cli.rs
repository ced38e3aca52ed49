//! The command line of `baetyl-cloud`: flags or the original's configuration file, then run until a signal.

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use baetyl_core_lib::durable::{OsDisk, replace};
use baetyl_core_lib::error::Chain;
use serde::Deserialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::server::{Addresses, CloudError, Options, Server};
use crate::system::{SystemClock, SystemRandom};

const HELP: &str = "\
The cloud management suite of Baetyl.

Usage: baetyl-cloud [--data DIR] [--admin ADDR] [--node ADDR] [--init ADDR] [--public HOST]

  --data DIR        everything is kept in this folder (baetyl-cloud)
  --admin ADDR      REST for people and tools, plain HTTP (127.0.0.1:9004)
  --node ADDR       nodes, TLS with client certificates (0.0.0.0:9005)
  --init ADDR       devices without a certificate, TLS (0.0.0.0:9003)
  --node-url URL    the address that nodes are told, where it is not the one above
  --public HOST     the host name or address that nodes are told
  --node-url URL    the whole address that nodes are told, where something stands in between
  --name HOST       another name for the server certificate; may be given again
  --core-api ADDR   the local API of native nodes' core (127.0.0.1:8443)
  -c FILE           take the ports from a configuration file of the original
  -h, --help        this text
  -V, --version     the version
";

const FLAGS: [&str; 9] =
    ["--data", "--admin", "--node", "--init", "--public", "--node-url", "--name", "--core-api", "-c"];

const USAGE: u8 = 64;
const CONFIG: u8 = 78;

/// Runs the program with these arguments, without its own name.
pub fn run_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    // A subscriber that is there already is the caller's choice.
    drop(tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).try_init());
    match parse(args) {
        Ok(Command::Run(options)) => run(*options),
        Ok(Command::Print(text)) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&error);
            ExitCode::from(error.code)
        }
    }
}

enum Command {
    Run(Box<Options>),
    Print(String),
}

/// What is wrong with the arguments, and what to change.
#[derive(Debug)]
struct UsageError {
    text: String,
    code: u8,
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn usage(text: impl Into<String>) -> UsageError {
    UsageError { text: text.into(), code: USAGE }
}

fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, UsageError> {
    use lexopt::Arg::{Long, Short};
    let wrong = |error: lexopt::Error| usage(format!("{error}; see --help"));
    let mut options = Options::new("baetyl-cloud");
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(arg) = parser.next().map_err(wrong)? {
        let arg = match arg {
            Short('h') | Long("help") => return Ok(Command::Print(HELP.to_owned())),
            Short('V') | Long("version") => {
                return Ok(Command::Print(format!("baetyl-cloud {}\n", env!("CARGO_PKG_VERSION"))));
            }
            Long(name) => format!("--{name}"),
            Short(letter) => format!("-{letter}"),
            lexopt::Arg::Value(_) => return Err(wrong(arg.unexpected())),
        };
        if !FLAGS.contains(&arg.as_str()) {
            return Err(usage(format!("{arg} is not known; see --help")));
        }
        let value = parser.value().map_err(wrong)?;
        let value =
            value.into_string().map_err(|value| usage(format!("{arg} {}: not UTF-8", value.display())))?;
        match arg.as_str() {
            "--data" => options.data = PathBuf::from(value),
            "--admin" => options.admin = address(&arg, &value)?,
            "--node" => options.node = address(&arg, &value)?,
            "--init" => options.init = address(&arg, &value)?,
            "--public" => options.public = Some(value),
            "--node-url" => options.node_url = Some(url(&arg, &value)?),
            "--name" => options.names.push(value),
            "--core-api" => options.core_api = value,
            _ => apply_file(&mut options, Path::new(&value))?,
        }
    }
    Ok(Command::Run(Box::new(options)))
}

fn url(flag: &str, text: &str) -> Result<String, UsageError> {
    let whole = text.trim_end_matches('/');
    if whole.strip_prefix("https://").is_some_and(|host| !host.is_empty()) {
        return Ok(whole.to_owned());
    }
    Err(usage(format!("{flag} {text:?}: write it as https://host:9005")))
}

fn address(flag: &str, text: &str) -> Result<SocketAddr, UsageError> {
    let whole = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() };
    whole.parse().map_err(|_| {
        usage(format!("{flag} {text:?}: write an address and a port, for instance 127.0.0.1:9004"))
    })
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct OriginalFile {
    admin_server: Listen,
    init_server: Listen,
    #[serde(rename = "httplink")]
    node_server: Listen,
    plugin: Plugins,
    database: Database,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Listen {
    port: String,
    ca: String,
    cert: String,
    key: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Plugins {
    resource: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Database {
    #[serde(rename = "type")]
    kind: String,
}

/// Takes over what the original's file says and we can do; refuses the rest with what to use instead.
fn apply_file(options: &mut Options, path: &Path) -> Result<(), UsageError> {
    let refuse = |text: String| UsageError { text: format!("{}: {text}", path.display()), code: CONFIG };
    let text = std::fs::read_to_string(path).map_err(|error| refuse(format!("cannot be read: {error}")))?;
    let file: OriginalFile = serde_saphyr::from_str(&text).map_err(|error| refuse(error.to_string()))?;
    if !["", "sqlite", "sqlite3"].contains(&file.database.kind.as_str()) {
        return Err(refuse(format!(
            "database.type {:?} is not supported: remove the section, the cloud keeps its own SQLite file in --data",
            file.database.kind
        )));
    }
    if file.plugin.resource == "kube" {
        return Err(refuse(
            "plugin.resource \"kube\" is not supported: remove it, or write \"database\"".to_owned(),
        ));
    }
    for (section, listen, flag, target) in [
        ("adminServer", &file.admin_server, "--admin", &mut options.admin),
        ("httplink", &file.node_server, "--node", &mut options.node),
        ("initServer", &file.init_server, "--init", &mut options.init),
    ] {
        if !listen.port.is_empty() {
            *target = address(flag, &listen.port)?;
        }
        if [&listen.ca, &listen.cert, &listen.key].iter().any(|path| !path.is_empty()) {
            tracing::warn!(
                section,
                "ca, cert and key are not used: the cloud has its own authority in --data"
            );
        }
    }
    Ok(())
}

fn run(options: Options) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&error);
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(serve(options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&Chain(&error));
            ExitCode::from(CONFIG)
        }
    }
}

async fn serve(options: Options) -> Result<(), CloudError> {
    let data = options.data.clone();
    let server = Server::start(options, Arc::new(SystemClock), Arc::new(SystemRandom::default())).await?;
    let addresses = server.addresses();
    tell(&data, addresses)?;
    tracing::info!(admin = %addresses.admin, node = %addresses.node, init = %addresses.init, "cloud is ready");
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    let signals = async move {
        let fail = |source: std::io::Error| CloudError::Tls { source: source.into() };
        let mut interrupt = signal(SignalKind::interrupt()).map_err(fail)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(fail)?;
        tokio::select! {
            biased;
            // Cancel-safe: a signal that was not taken stays.
            _ = interrupt.recv() => {}
            // Cancel-safe: a signal that was not taken stays.
            _ = terminate.recv() => {}
        }
        tracing::info!("cloud stops");
        stop.cancel();
        Ok::<_, CloudError>(())
    };
    let ((), result) = tokio::join!(server.run(shutdown), signals);
    result
}

/// Writes where the cloud listens into its data folder, whole: for scripts, and for ports that were 0.
fn tell(data: &Path, addresses: Addresses) -> Result<(), CloudError> {
    let text = serde_json::json!({
        "admin": addresses.admin.to_string(),
        "node": addresses.node.to_string(),
        "init": addresses.init.to_string(),
    });
    replace(&OsDisk, &data.join("addresses.json"), text.to_string().as_bytes(), 0o644)
        .map_err(|source| CloudError::Data { path: data.to_owned(), source })
}

#[expect(clippy::print_stdout, reason = "the program's own answer")]
fn print(text: &str) {
    print!("{text}");
}

#[expect(clippy::print_stderr, reason = "the program's own error")]
fn complain(error: &dyn fmt::Display) {
    eprintln!("error: {error}");
}

#[cfg(test)]
mod tests {
    use super::{Command, parse};

    fn refused(args: &[&str]) -> String {
        match parse(args.iter().map(Into::into)) {
            Err(error) => error.to_string(),
            Ok(_) => String::new(),
        }
    }

    #[test]
    fn flags_set_the_options() {
        let args = ["--data", "d", "--admin", "127.0.0.1:1", "--node=:2", "--public", "cloud.test"];
        let Ok(Command::Run(options)) = parse(args.iter().map(Into::into)) else { panic!("refused") };
        assert_eq!(options.admin.port(), 1);
        assert_eq!(options.node.to_string(), "0.0.0.0:2");
        assert_eq!(options.init.port(), 9003);
        assert_eq!(options.public.as_deref(), Some("cloud.test"));
    }

    #[test]
    fn what_is_wrong_says_what_to_write() {
        assert!(refused(&["--admin", "x"]).contains("127.0.0.1:9004"));
        assert!(refused(&["--what"]).contains("--help"));
    }

    #[test]
    fn the_original_file_gives_ports_and_a_foreign_database_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("conf.yml");
        let flag = ["-c".to_owned(), path.to_string_lossy().into_owned()];
        let flag: Vec<&str> = flag.iter().map(String::as_str).collect();
        std::fs::write(&path, "adminServer:\n  port: \":9104\"\nplugin:\n  resource: database\n").unwrap();
        let Ok(Command::Run(options)) = parse(flag.iter().map(Into::into)) else { panic!("refused") };
        assert_eq!(options.admin.to_string(), "0.0.0.0:9104");
        std::fs::write(&path, "database:\n  type: mysql\n").unwrap();
        assert!(refused(&flag).contains("SQLite"), "{}", refused(&flag));
    }
}
