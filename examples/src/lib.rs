//! What the examples share and an embedder does not write: clouds to talk to, and how an example ends.
//!
//! [`cloud::Cloud`] is the real cloud, started in this process. [`pocket::PocketCloud`] is one in memory, for
//! examples that bring a link of their own.

pub mod cloud;
pub mod pocket;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use baetyl_core_lib::application::Scope;
use baetyl_core_lib::engine::Engine;
use baetyl_core_lib::error::{BoxError, Chain};

/// How long an example waits for anything.
const PATIENCE: Duration = Duration::from_secs(15);

/// Looks again and again until there is something.
///
/// # Errors
/// When it takes too long; names what was waited for.
pub async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T> + Send) -> Result<T, BoxError> {
    let found = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    found.await.map_err(|_| format!("waited {PATIENCE:?} for {what}").into())
}

/// The first line of a file, once it is there, whole.
pub fn first_line(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    text.split_once('\n').map(|(line, _)| line.to_owned())
}

/// Ends an example: says what went wrong.
#[expect(clippy::print_stderr, reason = "an example tells a person why it failed")]
pub fn outcome(result: Result<(), BoxError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("failed: {}", Chain(&*error));
            ExitCode::FAILURE
        }
    }
}

/// Removes whatever an engine runs: applications outlive their agent, and are to end with an example.
///
/// # Errors
/// When the engine cannot look or remove.
pub async fn clear(engine: &dyn Engine) -> Result<(), BoxError> {
    for scope in Scope::ALL {
        for state in engine.inventory(scope).await? {
            engine.remove(scope, &state.info).await?;
        }
    }
    Ok(())
}
