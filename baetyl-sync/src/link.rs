//! Links to the cloud: from a configuration to a way that answers requests.
//!
//! One module for each protocol; nobody outside knows which one it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use baetyl_core_lib::clock::Clock;
use baetyl_core_lib::identity::Identity;
use baetyl_core_lib::link::{Link, LinkError};

mod config;
mod http;

pub use self::config::HttpConfig;

/// Which way to take to the cloud.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum LinkConfig {
    /// Requests over HTTP and mutual TLS.
    Http(HttpConfig),
}

/// Makes a link. Nothing is sent before the first request.
///
/// `env` is the environment: what placeholders in documents stand for (edge.md 5.1), and
/// `BAETYL_SYNC_ADDR`, which replaces the configured addresses.
///
/// ```no_run
/// use std::collections::BTreeMap;
/// use std::sync::Arc;
///
/// use baetyl_core_lib::spec::{Kind, Message};
/// use baetyl_core_lib::testing::ManualClock;
/// use baetyl_sync::identity::FileIdentity;
/// use baetyl_sync::link::{HttpConfig, LinkConfig, connect};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let identity = FileIdentity::load(&std::fs::read("client.pem")?, &std::fs::read("client.key")?)?;
/// let config = HttpConfig {
///     address: "https://cloud.example:9005".to_owned(),
///     ca_pem: Some(std::fs::read("ca.pem")?),
///     ..HttpConfig::default()
/// };
/// let clock = Arc::new(ManualClock::at("2026-01-01T00:00:00Z"));
/// let link = connect(LinkConfig::Http(config), Arc::new(identity), clock, BTreeMap::new())?;
/// let answer = link.request(Message::new(Kind::Report).with_meta("source", "baetyl-core")).await?;
/// # drop(answer);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`LinkError::Invalid`] when the configuration cannot work, with what to change.
pub fn connect(
    config: LinkConfig,
    identity: Arc<dyn Identity>,
    clock: Arc<dyn Clock>,
    env: BTreeMap<String, String>,
) -> Result<Arc<dyn Link>, LinkError> {
    match config {
        LinkConfig::Http(config) => Ok(Arc::new(http::HttpLink::try_new(config, identity, clock, env)?)),
    }
}
