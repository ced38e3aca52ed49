//! The cloud side of a Baetyl edge node: links to the cloud, the syncer that brings reports out and the
//! desire in, and the sources of resources and objects.
//!
//! This crate imports `baetyl-core-lib` only. It never calls an engine: what it learns goes into the shadow
//! ([`syncer`]), what engines need they ask of [`resource`] and [`object`]. Types of the HTTP client and of
//! the TLS library stay inside.
//!
//! ```
//! use std::sync::Arc;
//!
//! use baetyl_core_lib::application::Role;
//! use baetyl_core_lib::shadow::{Shadow, StoredShadow};
//! use baetyl_core_lib::spec::{AppInfo, Delta, Kind, Message, Report, Section};
//! use baetyl_core_lib::store::MemoryStore;
//! use baetyl_core_lib::task::TaskScope;
//! use baetyl_core_lib::testing::{ManualClock, MemoryLink, SeededRandom};
//! use baetyl_sync::syncer::{SyncConfig, Syncer, SyncerParts};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A cloud that wants the application `web`, and a node that runs nothing yet.
//! let wanted = Delta { apps: Section::Is(vec![AppInfo::new("web", "1")]), ..Delta::default() };
//! let answer = Message::new(Kind::Report).with_content(&wanted)?;
//! let link = MemoryLink::new(move |_| Ok(answer.clone()));
//! let shadow = Arc::new(StoredShadow::open(Arc::new(MemoryStore::new())).await?);
//! let nothing = Report { apps: Section::Is(vec![]), sysapps: Section::Is(vec![]), ..Report::default() };
//! shadow.merge_report(nothing).await?;
//!
//! let syncer = Syncer::new(SyncerParts {
//!     link: Arc::new(link),
//!     shadow: shadow.clone(),
//!     clock: Arc::new(ManualClock::at("2026-01-01T00:00:00Z")),
//!     random: Arc::new(SeededRandom::new(1)),
//!     role: Role::Core,
//!     config: SyncConfig::default(),
//! });
//! let scope = TaskScope::new();
//! scope.spawn("syncer", syncer.run(scope.token().clone()));
//! let mut desire = shadow.desire();
//! desire.wait_for(|desire| desire.apps == Some(vec![AppInfo::new("web", "1")])).await?;
//! scope.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! | feature | gains |
//! |---|---|
//! | `http` | the link over HTTP and mutual TLS, identities from files, downloads of objects |
//! | `activate` | first contact: from a batch token to a node certificate |

pub mod cadence;
pub mod resource;
pub mod syncer;

#[cfg(feature = "activate")]
pub mod activate;
#[cfg(feature = "http")]
pub mod identity;
#[cfg(feature = "http")]
pub mod link;
#[cfg(feature = "http")]
pub mod object;
#[cfg(feature = "http")]
mod template;
#[cfg(feature = "http")]
mod tls;
#[cfg(feature = "http")]
mod unpack;
