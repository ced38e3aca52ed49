//! The cloud over real sockets on loopback: the original's recorded exchanges, and what is ours.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod client;
mod nodes;
mod replay;
mod store;
