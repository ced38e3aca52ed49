//! The cloud management suite of Baetyl: nodes, applications, configurations, secrets and batches, over one
//! SQLite file.
//!
//! [`Server::start`] binds the three servers; [`service::Cloud`] is the logic without any of them, for
//! simulations and tests. [`cli::run_main`] is the program.

mod admin;
pub mod cli;
mod counts;
pub mod desire;
mod edge;
pub mod error;
mod http;
mod init;
pub mod matching;
mod objects;
pub mod pki;
pub mod server;
pub mod service;
pub mod store;
pub mod system;
pub mod version;

pub use self::server::{Addresses, CloudError, Options, Server};

/// Runs the program with these arguments, without its own name.
pub fn main(arguments: &[std::ffi::OsString]) -> std::process::ExitCode {
    cli::run_main(arguments.iter().cloned())
}
