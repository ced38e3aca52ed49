//! Integration tests of the model: the wire, the shadow and the local API.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod api;
mod conformance;
mod durable;
mod shadow;
mod store;
mod wire;
mod wire_values;
