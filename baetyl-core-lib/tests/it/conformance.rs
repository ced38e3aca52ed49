//! The conformance suites, run on the implementations of this crate.
