//! The supervisor of one instance as a program of its own: `supervisor program <folder>`.
//!
//! The stock binaries run themselves again for this; an embedder whose program cannot, ships this one.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    match arguments.as_slice() {
        [word, folder] if word == "program" => baetyl_engine::process::program::run(Path::new(folder)),
        _ => ExitCode::from(64),
    }
}
