//! The reconciler over an engine, documents and a store in memory, with the clock paused.

mod bed;
mod certs;
mod crash;
mod engines;
mod faults;
mod report;
mod update;
