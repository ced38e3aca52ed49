//! `baetyl-benches`: what Baetyl costs, measured on real processes of the shipped program.
//!
//! `cargo run --release -p baetyl-benches -- all`; `docs/BENCHMARKS.md` says how each number comes about.
//! Everything runs in threads and child processes: what is measured shares no event loop with what measures.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use lexopt::prelude::*;

mod admin;
mod bed;
mod clock;
mod error;
mod proc;
mod relay;
mod rows;
mod table;

use crate::error::BenchError;
use crate::rows::Setup;
use crate::table::Row;

const HELP: &str = "\
What Baetyl costs, measured on real processes over loopback.

usage: baetyl-benches NAME... [--full] [--baetyl FILE] [--data DIR] [-o table|json]

  size      the program's file, and the crates of the agent
  idle      memory, processor time and wake-ups of a node with 5 applications
  wire      bytes between that node and its cloud
  durable   bytes written by a node with 20 applications that has nothing to tell
  start     from the start of core to its first report that is answered
  push      from a change at the cloud to the first instruction of the application
  pure      the model's own work: decode, compare, merge
  all       all of them

  --full          the official lengths; without it each takes a minute or two
  --baetyl FILE   the program to measure; built with profile dist when not given
  --data DIR      where clouds and nodes live while they are measured, a new folder below the system's one
                  for temporary files when not given
";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    match arguments.get(1).and_then(|word| word.to_str()) {
        // This program again, as a child of a measurement.
        Some("cloud") => return baetyl_cloud::main(&arguments[2..]),
        Some(rows::push::MARK) => return rows::push::mark(&arguments[2..]),
        _ => {}
    }
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            table::complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[OsString]) -> Result<ExitCode, BenchError> {
    let usage = |error: lexopt::Error| BenchError::Usage(format!("{error}\n\n{HELP}"));
    let mut parser = lexopt::Parser::from_iter(arguments);
    let (mut names, mut full, mut baetyl, mut data, mut json) = (Vec::new(), false, None, None, false);
    while let Some(argument) = parser.next().map_err(usage)? {
        match argument {
            Long("full") => full = true,
            Long("baetyl") => baetyl = Some(PathBuf::from(parser.value().map_err(usage)?)),
            Long("data") => data = Some(PathBuf::from(parser.value().map_err(usage)?)),
            Long("output") | Short('o') => json = parser.value().map_err(usage)? == "json",
            Value(name) => names.push(name.string().map_err(usage)?),
            Long("help") | Short('h') => {
                table::say(HELP);
                return Ok(ExitCode::SUCCESS);
            }
            other => return Err(usage(other.unexpected())),
        }
    }
    if names.is_empty() {
        return Err(BenchError::Usage(HELP.to_owned()));
    }
    let setup = Setup::new(baetyl, data, full)?;
    let mut all: Vec<Row> = Vec::new();
    for measure in rows::chosen(&names)? {
        let rows = measure(&setup)?;
        if !json {
            rows.iter().for_each(table::print);
        }
        all.extend(rows);
    }
    if json {
        table::print_json(&all);
    }
    Ok(ExitCode::SUCCESS)
}
