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
            Kind::App => app_missing(client, name, node).await?,
            _ => return Err(CtlError::Usage("wait knows node and app".to_owned())),
        };
        let Some(missing) = missing else {
            output::say(&format!("{}/{name} is ready", kind.word()));
            return Ok(());
        };
        if tokio::time::Instant::now() >= deadline {
            return Err(CtlError::Timeout(format!("waited {timeout:?}: {missing}")));
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Why a node is not ready; `None` when it is.
async fn node_missing(client: &Client, name: &str) -> Result<Option<String>, CtlError> {
    let node = client.get(&format!("/v1/nodes/{}", encode(name))).await?;
    Ok(match state(&node) {
        "online" => None,
        other => Some(format!("node {name} is {other}")),
    })
}

/// Why an application does not run in its present version; `None` when it does.
pub(crate) async fn app_missing(
    client: &Client,
    name: &str,
    node: Option<&str>,
) -> Result<Option<String>, CtlError> {
    let app = client.get(&format!("/v1/apps/{}", encode(name))).await?;
    let version = text(&app, "/version");
    let nodes: Vec<String> = match node {
        Some(node) => vec![node.to_owned()],
        None => {
            let all = client.get("/v1/nodes").await?;
            let items = all.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
            items.iter().map(|node| text(node, "/name")).collect()
        }
    };
    let mut wanted = 0;
    for name_of_node in nodes {
        let view = client.get(&format!("/v1/nodes/{}", encode(&name_of_node))).await?;
        let list =
            |pointer: &str| view.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
        if !list("/desire/apps").iter().any(|app| text(app, "/name") == name) {
            continue;
        }
        wanted += 1;
        let stats = list("/report/appstats");
        let Some(stat) = stats.iter().find(|stat| text(stat, "/name") == name) else {
            return Ok(Some(format!("node {name_of_node} has not reported app {name} yet")));
        };
        if text(stat, "/status") != "Running" || text(stat, "/version") != version {
            let why = cause(stat);
            let why = if why.is_empty() { text(stat, "/status") } else { why };
            return Ok(Some(format!("app {name} on node {name_of_node}: {why}")));
        }
    }
    Ok((wanted == 0).then(|| format!("no node wants app {name}: its selector matches none")))
}
