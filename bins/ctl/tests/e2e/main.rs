//! Real processes over real TLS on loopback: what a person and a field see of a cloud and a node.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail the test")]

mod harness;
mod life;
mod line;
mod mistakes;
mod real;
mod relay;
