//! Everything of a Baetyl node in one file: init, core, the supervisor of instances and the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    baetyl_edge::main(&arguments)
}
