//! Waiting for a node to be online, or for an application to run.

use std::time::Duration;

use serde_json::Value;

use crate::args::Kind;
use crate::client::Client;
use crate::error::CtlError;
use crate::output;
use crate::resource::{cause, encode, state, text};

/// `wait`.
pub(crate) async fn wait(
    client: &Client,
    kind: Kind,
    name: &str,
    node: Option<&str>,
    timeout: Duration,
) -> Result<(), CtlError> {
    let deadline = tokio::time::Instant::now() + timeout;
    loop {
        let missing = match kind {
            Kind::Node => node_missing(client, name).await?,
            Kind::App => match app_missing(client, name, node).await? {
                Some(missing) => Some(missing),
                None => app_unsettled(client, name, node).await?.map(Missing::yet),
            },
            _ => return Err(CtlError::Usage("wait knows node and app".to_owned())),
        };
        let Some(Missing { words, failed }) = missing else {
            output::done(&format!("{}/{name} is ready", kind.word()));
            return Ok(());
        };
        if tokio::time::Instant::now() >= deadline {
            let words = format!("waited {timeout:?}: {words}");
            return Err(if failed { CtlError::Failed(words) } else { CtlError::Timeout(words) });
        }
        output::progress(&words);
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Why a node is not ready; `None` when it is.
async fn node_missing(client: &Client, name: &str) -> Result<Option<Missing>, CtlError> {
    let node = client.get(&format!("/v1/nodes/{}", encode(name))).await?;
    Ok(match state(&node) {
        "online" => None,
        other => Some(Missing::yet(format!("node {name} is {other}"))),
    })
}

/// Why an application does not run in its present version.
#[derive(Debug)]
pub(crate) struct Missing {
    /// In words.
    pub(crate) words: String,
    /// Whether the node says that it failed.
    pub(crate) failed: bool,
}

impl Missing {
    /// What is only not there yet.
    const fn yet(words: String) -> Self {
        Self { words, failed: false }
    }
}

/// Why an application does not run in its present version; `None` when it does.
pub(crate) async fn app_missing(
    client: &Client,
    name: &str,
    node: Option<&str>,
) -> Result<Option<Missing>, CtlError> {
    let app = client.get(&format!("/v1/apps/{}", encode(name))).await?;
    let version = text(&app, "/version");
    let all = stats(client, name, node).await?;
    if all.is_empty() {
        let words = format!("no node wants app {name}: its selector matches none");
        return Ok(Some(Missing::yet(words)));
    }
    for (node, stat) in &all {
        let Some(stat) = stat else {
            let words = format!("node {node} has not reported app {name} yet");
            return Ok(Some(Missing::yet(words)));
        };
        let status = text(stat, "/status");
        if status != "Running" || text(stat, "/version") != version {
            let why = cause(stat);
            let why = if why.is_empty() { &status } else { &why };
            let words = format!("app {name} on node {node}: {why}");
            return Ok(Some(Missing { words, failed: status == "Failed" }));
        }
    }
    Ok(None)
}

/// What a node has to say of an application although it runs, as that its update is not settled yet.
async fn app_unsettled(client: &Client, name: &str, node: Option<&str>) -> Result<Option<String>, CtlError> {
    let all = stats(client, name, node).await?;
    Ok(all.iter().find_map(|(node, stat)| {
        let why = text(stat.as_ref()?, "/cause");
        (!why.is_empty()).then(|| format!("app {name} on node {node}: {why}"))
    }))
}

/// What each node that wants an application says of it.
pub(crate) async fn stats(
    client: &Client,
    name: &str,
    node: Option<&str>,
) -> Result<Vec<(String, Option<Value>)>, CtlError> {
    let nodes: Vec<String> = match node {
        Some(node) => vec![node.to_owned()],
        None => {
            let all = client.get("/v1/nodes").await?;
            list(&all, "/items").iter().map(|node| text(node, "/name")).collect()
        }
    };
    let mut found = Vec::new();
    for node in nodes {
        let view = client.get(&format!("/v1/nodes/{}", encode(&node))).await?;
        let of_name = |pointer: &str| list(&view, pointer).into_iter().find(|app| text(app, "/name") == name);
        if of_name("/desire/apps").is_some() {
            found.push((node, of_name("/report/appstats")));
        }
    }
    Ok(found)
}

fn list(value: &Value, pointer: &str) -> Vec<Value> {
    value.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default()
}
