//! The log: one line an event, plain or JSON, to standard error or a file that rotates by size.

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::FmtSpan;
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
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_span_events(FmtSpan::NONE)
        .with_writer(std::io::stderr);
    // Only one log per process; in tests several programs share one.
    drop(tracing_subscriber::registry().with(filter).with(layer).try_init());
}
