//! Manages the applications of a node; also the supervisor of the instances that it starts.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments: Vec<_> = std::env::args_os().collect();
    // Supervisors are this very program, too.
    if arguments.get(1).is_none_or(|first| first != "program" && first != "core") {
        arguments.insert(1, "core".into());
    }
    baetyl_edge::main(&arguments)
}
