//! What every implementation of a trait must do, ours or a vendor's, as suites to run.

pub mod engine;
pub mod link;
pub mod store;
