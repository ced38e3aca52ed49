//! Real processes over real TLS on loopback: what a person and a field see of a cloud and a node.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail the test")]

mod bad;
mod harness;
mod life;
mod line;
mod mistakes;
mod node;
mod real;
mod relay;
mod sick;
mod wire;
