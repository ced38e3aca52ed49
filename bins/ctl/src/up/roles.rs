//! What this executable is when it runs itself again: the cloud, a program of the node, the page server.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs a role when the arguments name one; `None` when they are a person's.
pub(crate) fn run(arguments: &[OsString]) -> Option<ExitCode> {
    let role = arguments.get(1)?.to_str()?;
    match role {
        "init" | "core" | "program" => Some(baetyl_edge::main(arguments)),
        "cloud" => Some(baetyl_cloud::main(&arguments[2..])),
        "page" => Some(super::page::main(&arguments[2..])),
        _ => None,
    }
}
