//! `baetylctl`: the operator's tool. It manages a cloud over its REST API; with the feature `up` it also
//! brings up a cloud and a node on this machine, by running itself again as each of them.

use std::process::ExitCode;

use clap::Parser as _;

mod args;
mod client;
mod document;
mod error;
mod output;
mod resource;
#[cfg(feature = "up")]
mod up;
mod wait;

use crate::args::{Args, Command};
use crate::client::Client;
use crate::error::CtlError;

fn main() -> ExitCode {
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    #[cfg(feature = "up")]
    if let Some(code) = up::roles::run(&arguments) {
        return code;
    }
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(error) => {
            // Help and version are asked for and go to standard output, the rest is a mistake.
            let code = if error.use_stderr() { 64 } else { 0 };
            drop(error.print());
            return ExitCode::from(code);
        }
    };
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::problem(&error);
            ExitCode::from(error.code())
        }
    }
}

fn run(args: Args) -> Result<(), CtlError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CtlError::Failed(format!("cannot start: {error}")))?;
    runtime.block_on(async move {
        let client = || Client::new(&args.server);
        match args.command {
            #[cfg(feature = "up")]
            Command::Up(options) => up::run(options).await,
            Command::Get { kind, name, selector } => {
                resource::list(&client()?, kind, name.as_deref(), selector.as_deref(), args.output).await
            }
            Command::Describe { kind, name } => {
                resource::describe(&client()?, kind, &name, args.output).await
            }
            Command::Apply { file } => document::apply(&client()?, &file, args.output).await,
            Command::Delete { kind, name, file } => match (kind, name, file) {
                (Some(kind), Some(name), None) => {
                    resource::delete(&client()?, kind, &name, args.output).await
                }
                (None, None, Some(file)) => document::delete(&client()?, &file, args.output).await,
                _ => Err(CtlError::Usage("delete wants a kind and a name, or -f FILE".to_owned())),
            },
            Command::Wait { kind, name, node, timeout } => {
                wait::wait(&client()?, kind, &name, node.as_deref(), timeout).await
            }
        }
    })
}
