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
