//! The stock programs of a Baetyl node, as a library: `baetyl-init` activates the node and keeps core
//! alive, `baetyl-core` manages it, and `baetyl` is both, the supervisor of instances and the device's
//! command line in one file.
//!
//! Everything that touches the process is here: arguments, environment, signals, logs, sockets. What an
//! agent does is in the package `baetyl`.
//!
//! The programs need all of the features `process`, `http`, `activate` and `pki`; with fewer this library
//! still has what a program of your own may want of the process: signals, exit codes, the local server.

#[cfg(all(feature = "process", feature = "http", feature = "activate", feature = "pki"))]
pub mod cli;
#[cfg(all(feature = "process", feature = "http", feature = "activate", feature = "pki"))]
pub mod config;
pub mod env;
pub mod exit;
#[cfg(all(feature = "process", feature = "http", feature = "activate", feature = "pki"))]
mod lean;
#[cfg(all(feature = "process", feature = "http", feature = "activate", feature = "pki"))]
pub mod logging;
#[cfg(all(feature = "process", feature = "http", feature = "activate", feature = "pki"))]
pub mod run;
pub mod serve;
pub mod signal;

#[cfg(all(feature = "process", feature = "http", feature = "activate", feature = "pki"))]
pub use self::cli::main;

/// The platform of this node, in the words of program packages: `linux-amd64`.
pub fn platform() -> String {
    baetyl::sync::resource::platform()
}
