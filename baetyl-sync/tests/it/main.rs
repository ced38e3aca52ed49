//! What the cloud side does against servers on loopback and fakes with state.

mod fake;
mod resource;
mod syncer;
