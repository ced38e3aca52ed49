//! A Baetyl edge agent as a library: the one place where shadow, syncer, reconciler, collector and engines
//! meet.
//!
//! [`Agent::builder`] takes the parts that are yours and fills in the rest: a folder is enough to get a
//! store, a clock, the host as the node, resources and objects over your link. [`Agent::run`] then works
//! until it is told to stop, and leaves applications running.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use baetyl::core::{engine::Engine, link::Link};
//! # async fn example(link: Arc<dyn Link>, engine: Arc<dyn Engine>) -> Result<(), Box<dyn std::error::Error>> {
//! use baetyl::Agent;
//!
//! let agent = Agent::builder("/var/lib/example", "factory", "press-17")
//!     .link(link)
//!     .engine(engine)
//!     .build()
//!     .await?;
//! agent.run(tokio_util::sync::CancellationToken::new()).await;
//! # Ok(())
//! # }
//! ```
//!
//! | feature | gains |
//! |---|---|
//! | `process` | programs of the host as the stock engine |
//! | `http` | the link, resources and objects over HTTP and mutual TLS |
//! | `activate` | first contact with a cloud: `Credentials` from a batch's token |
//! | `pki` | certificates for applications from the node's own authority |

pub use baetyl_core_lib as core;
pub use baetyl_engine as engine;
pub use baetyl_sync as sync;

mod agent;
mod builder;
#[cfg(feature = "activate")]
mod credentials;
#[cfg(feature = "http")]
mod http;
mod objects;

pub use self::agent::Agent;
pub use self::builder::{AgentBuilder, BuildError, Seams, Way};
#[cfg(feature = "activate")]
pub use self::credentials::Credentials;
pub use baetyl_core_lib::application::Role;

/// The agent's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The revision of its source, where the build tells it in `BAETYL_REVISION`.
pub const REVISION: &str = match option_env!("BAETYL_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

/// A time that has certainly passed: a wall clock that shows an earlier one was never set.
pub fn released() -> core::spec::Timestamp {
    core::spec::Timestamp::from_unix(1_793_491_200)
}
