//! What the cloud side does against servers on loopback and fakes with state.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[cfg(feature = "activate")]
mod activate;
mod conformance;
mod converge;
mod fake;
mod object;
mod resource;
mod syncer;
mod http;
mod server;
mod wire;
