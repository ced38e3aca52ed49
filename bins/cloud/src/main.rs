//! The program `baetyl-cloud`.

use std::process::ExitCode;

fn main() -> ExitCode {
    baetyl_cloud::cli::run_main(std::env::args_os().skip(1))
}
