//! The last lines that an instance wrote.

use super::{Context, Response};
use crate::application::Scope;
use crate::engine::EngineError;
use crate::error::Chain;

/// How many lines there are when the request does not say; engines stop at a few megabytes anyway.
const LINES: usize = 10_000;

/// `tailLines` limits the lines. `sinceSeconds` is checked and may show more than asked: engines keep lines
/// without their times. `container` is not looked at: an instance of ours has one log.
pub(super) async fn tail(context: &Context, instance: &str, query: &str) -> Response {
    if !is_instance(instance) {
        return Response::invalid(&format!("{instance:?} is no name of an instance"));
    }
    let lines = match (number(query, "tailLines"), number(query, "sinceSeconds")) {
        (Ok(lines), Ok(_)) => lines.unwrap_or(LINES),
        (Err(refusal), _) | (_, Err(refusal)) => return refusal,
    };
    let scope = scope_of(instance);
    let mut failure = None;
    for source in context.engines.iter().filter_map(|engine| engine.logs()) {
        match source.tail(scope, instance, lines).await {
            Ok(log) => return Response::bytes(log),
            Err(EngineError::NotFound { .. }) => {}
            // Another engine may have it.
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        Some(error) => Response::unknown(&Chain(&error)),
        None => Response::unknown(&format_args!("there is no instance {instance}")),
    }
}

/// What engines get from here is a single, plain path segment.
fn is_instance(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Instances of native nodes begin with their namespace, pods with the name of their application.
fn scope_of(instance: &str) -> Scope {
    let begins =
        |scope: Scope| instance.strip_prefix(scope.namespace()).is_some_and(|rest| rest.starts_with('.'));
    if !begins(Scope::User) && instance.starts_with("baetyl-") { Scope::System } else { Scope::User }
}

/// A number of the query; one that is empty counts as not given.
fn number(query: &str, key: &str) -> Result<Option<usize>, Response> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let Some((_, text)) = pairs.into_iter().find(|(name, text)| *name == key && !text.is_empty()) else {
        return Ok(None);
    };
    let number = text.parse().map_err(|_| Response::invalid(&format!("{key} must be a number from 0 up")))?;
    Ok(Some(number))
}
