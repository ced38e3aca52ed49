//! The command line of the device.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lexopt::prelude::*;
use serde_json::Value;

use crate::env::{self, Env, ProcessEnv};
use crate::exit::{self, Fatal};
use crate::lean;
use crate::run::{self, Role};

pub mod client;

const HELP: &str = "\
Baetyl on a node.

usage: baetyl init [--config FILE] [--once]   activate the node and keep core alive
       baetyl core [--config FILE]            manage the node's applications
       baetyl program DIR                     look after one instance (started by the agent)
       baetyl status [--role core|init] [-o json]
       baetyl logs INSTANCE [--lines N]       the last lines that an instance wrote
       baetyl fingerprint                     what tells this machine from others
       baetyl version
";

/// What the command line asks for.
#[derive(Debug)]
enum Ask {
    Run { role: Role, config: Option<PathBuf>, once: bool },
    Program(PathBuf),
    Status { role: Option<Role>, json: bool },
    Logs { instance: String, lines: usize },
    Fingerprint,
    Version,
    Help,
}

/// Runs `baetyl` with these arguments, the program's name first.
pub fn main(arguments: &[OsString]) -> ExitCode {
    match parse(arguments) {
        // The supervisor has no runtime, no log and no configuration of ours.
        Ok(Ask::Program(folder)) => baetyl_engine::process::program::run(&folder),
        Ok(ask) => exit::code(answer(ask)),
        Err(error) => exit::code(Err(error)),
    }
}

fn parse(arguments: &[OsString]) -> Result<Ask, Fatal> {
    let usage = |error: lexopt::Error| Fatal::Usage(format!("{error}\n\n{HELP}"));
    let mut parser = lexopt::Parser::from_iter(arguments);
    let Some(command) = parser.next().map_err(usage)? else { return Ok(Ask::Help) };
    let command = match command {
        Value(command) => command.string().map_err(usage)?,
        Long("version") | Short('v' | 'V') => return Ok(Ask::Version),
        Long("help") | Short('h') => return Ok(Ask::Help),
        other => return Err(usage(other.unexpected())),
    };
    let (mut config, mut once, mut role, mut json, mut lines) = (None, false, None, false, 200);
    let mut words = Vec::new();
    while let Some(argument) = parser.next().map_err(usage)? {
        match argument {
            Long("config") | Short('c') => config = Some(PathBuf::from(parser.value().map_err(usage)?)),
            Long("once") => once = true,
            Long("role") => {
                let word = parser.value().and_then(|value| value.string()).map_err(usage)?;
                role = Some(Role::of_word(&word).ok_or_else(|| {
                    Fatal::Usage(format!("--role {word:?} is not known: write core or init"))
                })?);
            }
            Long("output") | Short('o') => {
                let word = parser.value().and_then(|value| value.string()).map_err(usage)?;
                json = match word.as_str() {
                    "json" => true,
                    "table" => false,
                    _ => return Err(Fatal::Usage(format!("-o {word:?} is not known: write json or table"))),
                };
            }
            Long("lines") | Short('n') => {
                lines = parser.value().and_then(|value| value.parse()).map_err(usage)?;
            }
            Long("help") | Short('h') => return Ok(Ask::Help),
            Value(word) => words.push(word),
            other => return Err(usage(other.unexpected())),
        }
    }
    let mut words = words.into_iter();
    let mut word =
        |what: &str| words.next().ok_or_else(|| Fatal::Usage(format!("{command} wants {what}\n\n{HELP}")));
    match command.as_str() {
        "init" => Ok(Ask::Run { role: Role::Init, config, once }),
        "core" => Ok(Ask::Run { role: Role::Core, config, once: false }),
        "program" => Ok(Ask::Program(word("the folder of an instance")?.into())),
        "status" => Ok(Ask::Status { role, json }),
        "logs" => {
            Ok(Ask::Logs { instance: word("the name of an instance")?.to_string_lossy().into_owned(), lines })
        }
        "fingerprint" => Ok(Ask::Fingerprint),
        "version" => Ok(Ask::Version),
        "help" => Ok(Ask::Help),
        other => Err(Fatal::Usage(format!("{other:?} is not a command\n\n{HELP}"))),
    }
}

fn answer(ask: Ask) -> Result<(), Fatal> {
    match ask {
        Ask::Run { role, config, once } => {
            lean::restart(&ProcessEnv);
            run::run(role, config.as_deref(), once, &ProcessEnv)
        }
        Ask::Status { role, json } => block_on(status(role, json)),
        Ask::Logs { instance, lines } => block_on(logs(&instance, lines)),
        Ask::Fingerprint => {
            say(&run::fingerprint());
            Ok(())
        }
        Ask::Version => {
            say(&format!("Version: {}\nRevision: {}", run::VERSION, run::REVISION));
            Ok(())
        }
        Ask::Help => {
            say(HELP.trim_end());
            Ok(())
        }
        Ask::Program(_) => Ok(()),
    }
}

fn block_on(work: impl Future<Output = Result<(), Fatal>>) -> Result<(), Fatal> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Fatal::TryAgain(format!("cannot start: {error}")))?;
    runtime.block_on(work)
}

fn sockets() -> PathBuf {
    env::runtime(&ProcessEnv, &env::lib(&ProcessEnv))
}

async fn status(role: Option<Role>, json: bool) -> Result<(), Fatal> {
    let sockets = sockets();
    let (roles, chosen) = match role {
        Some(role) => (vec![role], true),
        None => (vec![Role::Core, Role::Init], false),
    };
    let mut answers = Vec::new();
    let mut failure = None;
    for role in roles {
        match client::get(&env::socket(&sockets, role.word()), "/status").await {
            Ok(answer) => answers.push(answer),
            Err(error) if chosen => return Err(error),
            Err(error) => failure = Some(error),
        }
    }
    match (answers.is_empty(), failure) {
        (true, Some(error)) => return Err(error),
        _ if json => say(&serde_json::json!({"agents": answers}).to_string()),
        _ => answers.iter().for_each(print_status),
    }
    Ok(())
}

fn print_status(agent: &Value) {
    let text =
        |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    say(&format!(
        "{} {} (pid {}): node {} of {}, cloud: {}",
        text(agent, "role"),
        text(agent, "version"),
        agent.get("pid").and_then(Value::as_u64).unwrap_or_default(),
        text(agent, "node"),
        text(agent, "namespace"),
        text(agent, "link"),
    ));
    for app in agent.get("apps").and_then(Value::as_array).into_iter().flatten() {
        say(&format!(
            "  {:<32} {:<24} {:<10} {}",
            text(app, "name"),
            text(app, "version"),
            text(app, "status"),
            text(app, "cause")
        ));
        for (name, instance) in app.get("instances").and_then(Value::as_object).into_iter().flatten() {
            say(&format!("    {name}  {}  {}", text(instance, "status"), text(instance, "cause")));
        }
    }
}

async fn logs(instance: &str, lines: usize) -> Result<(), Fatal> {
    let sockets = sockets();
    let path = format!("/services/{instance}/log?tailLines={lines}");
    let mut failure = None;
    for role in [Role::Core, Role::Init] {
        match client::request(&env::socket(&sockets, role.word()), "GET", &path).await {
            Ok(log) => {
                use std::io::Write as _;
                // A closed pipe (`| head`) is the reader's business.
                drop(std::io::stdout().write_all(&log));
                return Ok(());
            }
            // The first one says more: the instance is most likely core's.
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    failure.map_or(Ok(()), Err)
}

#[expect(clippy::print_stdout, reason = "a command line prints")]
fn say(text: &str) {
    println!("{text}");
}

/// The configuration file that was asked for: by flag, else by `BAETYL_CONF_FILE`.
pub(crate) fn config_path(given: Option<&Path>, env: &dyn Env) -> Option<PathBuf> {
    let told = || env.var("BAETYL_CONF_FILE").filter(|path| !path.is_empty()).map(PathBuf::from);
    given.map(Path::to_owned).or_else(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Result<Ask, String> {
        let arguments: Vec<OsString> = line.split(' ').map(Into::into).collect();
        parse(&arguments).map_err(|error| {
            assert_eq!(error.code(), 64, "{error}");
            error.to_string()
        })
    }

    #[test]
    fn commands_are_read() {
        assert!(matches!(asked("baetyl"), Ok(Ask::Help)));
        assert!(matches!(asked("baetyl init --once"), Ok(Ask::Run { role: Role::Init, once: true, .. })));
        let Ok(Ask::Run { role: Role::Core, config: Some(config), once: false }) =
            asked("baetyl core -c x.yml")
        else {
            panic!("core -c x.yml is not read")
        };
        assert_eq!(config, Path::new("x.yml"));
        assert!(matches!(
            asked("baetyl status --role init -o json"),
            Ok(Ask::Status { role: Some(_), json: true })
        ));
        let Ok(Ask::Logs { instance, lines: 7 }) = asked("baetyl logs a.b.c.d.1 -n 7") else {
            panic!("logs is not read")
        };
        assert_eq!(instance, "a.b.c.d.1");
        assert!(matches!(asked("baetyl program /x"), Ok(Ask::Program(_))));
        assert!(matches!(asked("baetyl --version"), Ok(Ask::Version)));
    }

    #[test]
    fn a_wrong_command_line_says_what_is_wrong() {
        let check = |line: &str, part: &str| {
            let error = asked(line).unwrap_err();
            assert!(error.contains(part), "{line}: {error:?} has no {part:?}");
        };
        check("baetyl fly", "\"fly\" is not a command");
        check("baetyl logs", "the name of an instance");
        check("baetyl status --role agent", "write core or init");
        check("baetyl status -o yaml", "write json or table");
        check("baetyl core --nothing", "--nothing");
    }
}
