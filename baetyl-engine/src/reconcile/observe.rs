//! One look at what the engines have. Knows nothing of what is wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use baetyl_core_lib::application::Scope;
use baetyl_core_lib::engine::{AppState, Engine, EngineError, EngineKind};
use baetyl_core_lib::error::Chain;
use futures_util::future::join_all;

/// A version of an application, and the engine that has it.
#[derive(Debug)]
pub(super) struct Sighting {
    pub(super) engine: EngineKind,
    pub(super) state: AppState,
}

/// What all engines have in one scope.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// Versions by the application's name.
    pub(super) apps: BTreeMap<String, Vec<Sighting>>,
    /// The engines that could not be asked, and why.
    pub(super) blind: BTreeMap<String, String>,
}

/// Asks all engines at once. One that does not answer in time counts as one that cannot be asked.
pub(super) async fn look(
    engines: &[Arc<dyn Engine>],
    scopes: &[Scope],
    timeout: Duration,
) -> BTreeMap<Scope, Look> {
    let asked: BTreeSet<Scope> = scopes.iter().copied().collect();
    let questions =
        asked.iter().flat_map(|scope| engines.iter().map(|engine| ask(&**engine, *scope, timeout)));
    let answers = join_all(questions).await;
    let mut looks: BTreeMap<Scope, Look> = asked.iter().map(|scope| (*scope, Look::default())).collect();
    for (scope, engine, answer) in answers {
        let Some(look) = looks.get_mut(&scope) else { continue };
        match answer {
            Ok(states) => {
                for state in states {
                    look.apps.entry(state.info.name.clone()).or_default().push(Sighting { engine, state });
                }
            }
            Err(error) => {
                let reason = Chain(&error).to_string();
                tracing::warn!(%engine, %scope, reason, "engine cannot be asked what it has");
                look.blind.insert(engine.to_string(), reason);
            }
        }
    }
    looks
}

async fn ask(
    engine: &dyn Engine,
    scope: Scope,
    timeout: Duration,
) -> (Scope, EngineKind, Result<Vec<AppState>, EngineError>) {
    let answer = tokio::time::timeout(timeout, engine.inventory(scope)).await;
    let late = EngineError::Timeout { engine: engine.kind(), operation: "say what it has" };
    (scope, engine.kind(), answer.unwrap_or(Err(late)))
}
