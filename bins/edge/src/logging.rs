//! The log: one line an event, plain or JSON, to standard error or a file that rotates by size.

use std::io;
use std::sync::Mutex;

use baetyl::engine::process::{LogRule, RotatedLog};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::LoggerConfig;

/// Starts the log of this process. A second call does nothing.
pub fn start(config: &LoggerConfig) {
    let level = match config.level.as_str() {
        "debug" => LevelFilter::DEBUG,
        "warn" => LevelFilter::WARN,
        "error" => LevelFilter::ERROR,
        _ => LevelFilter::INFO,
    };
    // Libraries below us are quieter: their debug lines may hold what nobody should read.
    let filter = Targets::new()
        .with_default(level.min(LevelFilter::INFO))
        .with_target("baetyl", level)
        .with_target("hyper", LevelFilter::WARN)
        .with_target("rustls", LevelFilter::WARN);
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(writer(config));
    let layer = if config.encoding == "json" { lines.json().boxed() } else { lines.boxed() };
    // Only one log per process; in tests several programs share one.
    drop(tracing_subscriber::registry().with(layer.with_filter(filter)).try_init());
}

fn writer(config: &LoggerConfig) -> BoxMakeWriter {
    if config.filename.as_os_str().is_empty() {
        return BoxMakeWriter::new(io::stderr);
    }
    let rule = LogRule {
        file: config.filename.clone(),
        max_bytes: config.max_size.max(1).saturating_mul(1 << 20),
        backups: config.max_backups,
    };
    BoxMakeWriter::new(Mutex::new(Lines(RotatedLog::new(rule))))
}

/// One write a line, as the log does it. A line that cannot be written is lost: nothing waits for a log.
#[derive(Debug)]
struct Lines(RotatedLog);

impl io::Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.append(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_go_to_the_file_as_json_lines() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("log/core.log");
        let config =
            LoggerConfig { encoding: "json".to_owned(), filename: file.clone(), ..LoggerConfig::default() };
        let lines = tracing_subscriber::fmt::layer().with_writer(writer(&config)).json();
        let log = tracing_subscriber::registry().with(lines);
        tracing::subscriber::with_default(log, || tracing::info!(app = "web", "application ready"));
        let line: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        assert_eq!(line["fields"], serde_json::json!({"app": "web", "message": "application ready"}));
    }
}
