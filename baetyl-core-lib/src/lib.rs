//! The model of a Baetyl edge node: what travels between cloud and node ([`spec`]), what the node knows
//! ([`shadow`], [`store`]), and the traits that engines, links and identities implement.
//!
//! This crate knows no HTTP, no TLS and no engine. `baetyl-sync` brings the cloud to the shadow,
//! `baetyl-engine` brings the shadow to life, and the package `baetyl` puts both together.
//!
//! ```
//! use baetyl_core_lib::spec::{AppInfo, Delta, Desire, Section};
//! use baetyl_core_lib::shadow::rebuild::{Sent, rebuild};
//!
//! // The cloud answers a report with what turns the report into the desire.
//! let sent = Sent { apps: Some(vec![AppInfo::new("web", "1")]), sysapps: Some(vec![]) };
//! let answer = Delta { apps: Section::Is(vec![AppInfo::new("web", "2")]), ..Delta::default() };
//! let desire = rebuild(&Desire::default(), &sent, &answer);
//! assert_eq!(desire.apps, Some(vec![AppInfo::new("web", "2")]));
//! assert_eq!(desire.sysapps, Some(vec![]));
//! ```
//!
//! | feature | gains |
//! |---|---|
//! | `redb` | [`store`] on redb, written through the durable files seam |
//! | `pem` | certificate chains and keys from PEM text |
//! | `test-util` | fakes with state, builders, the conformance suites |

pub mod api;
pub mod application;
pub mod backoff;
pub mod cert;
pub mod clock;
#[cfg(feature = "test-util")]
pub mod conformance;
pub mod durable;
pub mod engine;
pub mod error;
pub mod identity;
pub mod link;
pub mod node;
pub mod object;
pub mod resource;
pub mod shadow;
pub mod spec;
pub mod store;
pub mod task;
#[cfg(feature = "test-util")]
pub mod testing;
pub mod view;
