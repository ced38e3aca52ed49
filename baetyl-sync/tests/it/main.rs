//! What the cloud side does against servers on loopback and fakes with state.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[cfg(feature = "activate")]
mod activate;
#[cfg(feature = "http")]
mod conformance;
mod converge;
mod fake;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "http")]
mod object;
mod resource;
#[cfg(feature = "http")]
mod server;
mod syncer;
#[cfg(feature = "http")]
mod wire;
