//! Looking at resources, and deleting them.

use serde_json::Value;

use crate::args::{Kind, Output};
use crate::client::Client;
use crate::error::CtlError;
use crate::output;
use crate::wait;

impl Kind {
    /// The word in messages and files.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::App => "app",
            Self::Config => "config",
            Self::Secret => "secret",
            Self::Batch => "batch",
        }
    }

    /// The kind that a file means by this word.
    pub(crate) fn of_word(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "node" => Some(Self::Node),
            "app" | "application" => Some(Self::App),
            "config" | "configuration" => Some(Self::Config),
            "secret" => Some(Self::Secret),
            "batch" => Some(Self::Batch),
            _ => None,
        }
    }

    /// Its path in the REST API.
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Node => "/v1/nodes",
            Self::App => "/v1/apps",
            Self::Config => "/v1/configs",
            Self::Secret => "/v1/secrets",
            Self::Batch => "/v1/register",
        }
    }
}

/// The cells of a resource in a table.
type Row = fn(&Value) -> Vec<String>;

/// `get`: a table of all, or of one.
pub(crate) async fn list(
    client: &Client,
    kind: Kind,
    name: Option<&str>,
    selector: Option<&str>,
    format: Output,
) -> Result<(), CtlError> {
    let (answer, items) = match name {
        Some(name) => {
            let one = client.get(&format!("{}/{}", kind.path(), encode(name))).await?;
            (one.clone(), vec![one])
        }
        None => {
            let query = selector.map(|text| format!("?selector={}", encode(text))).unwrap_or_default();
            let answer = client.get(&format!("{}{query}", kind.path())).await?;
            let items = answer.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
            (answer, items)
        }
    };
    if format != Output::Table {
        return output::value(&answer, format);
    }
    if items.is_empty() {
        output::say(&format!("there is no {} yet", kind.word()));
        return Ok(());
    }
    let (head, row): (&[&str], Row) = match kind {
        Kind::Node => (&["NAME", "STATE", "MODE", "APPS", "LABELS"], |node| {
            let apps = node.pointer("/report/apps").and_then(Value::as_array).map_or(0, Vec::len);
            vec![
                text(node, "/name"),
                state(node).to_owned(),
                text(node, "/nodeMode"),
                apps.to_string(),
                labels(node),
            ]
        }),
        Kind::App => (&["NAME", "VERSION", "MODE", "TYPE", "SELECTOR"], |app| {
            ["/name", "/version", "/mode", "/type", "/selector"].map(|key| text(app, key)).to_vec()
        }),
        Kind::Config | Kind::Secret => (&["NAME", "VERSION", "UPDATED", "DESCRIPTION"], |item| {
            ["/name", "/version", "/updateTime", "/description"].map(|key| text(item, key)).to_vec()
        }),
        Kind::Batch => (&["NAME", "SECURITY", "QUOTA", "DESCRIPTION"], |item| {
            ["/name", "/securityType", "/quotaNum", "/description"].map(|key| text(item, key)).to_vec()
        }),
    };
    output::table(head, &items.iter().map(row).collect::<Vec<_>>());
    Ok(())
}

/// `describe`: everything about one; for a node and an application also how it fares.
pub(crate) async fn describe(
    client: &Client,
    kind: Kind,
    name: &str,
    format: Output,
) -> Result<(), CtlError> {
    let item = client.get(&format!("{}/{}", kind.path(), encode(name))).await?;
    if format == Output::Table && kind == Kind::App {
        output::value(&item, format)?;
        output::say("");
        return fares(client, name).await;
    }
    if format != Output::Table || kind != Kind::Node {
        return output::value(&item, format);
    }
    output::say(&format!("node {name} is {}", state(&item)));
    for key in ["namespace", "nodeMode", "version", "createTime"] {
        output::say(&format!("{key}: {}", text(&item, &format!("/{key}"))));
    }
    output::say(&format!("labels: {}", labels(&item)));
    let mut rows = Vec::new();
    for (scope, wanted, stats) in [("user", "apps", "appstats"), ("system", "sysapps", "sysappstats")] {
        let list =
            |pointer: String| item.pointer(&pointer).and_then(Value::as_array).cloned().unwrap_or_default();
        let stats = list(format!("/report/{stats}"));
        for app in list(format!("/desire/{wanted}")) {
            let stat = stats.iter().find(|stat| stat.get("name") == app.get("name")).unwrap_or(&Value::Null);
            rows.push(vec![
                text(&app, "/name"),
                scope.to_owned(),
                text(&app, "/version"),
                text(stat, "/version"),
                text(stat, "/status"),
                cause(stat),
            ]);
        }
    }
    output::say("");
    output::table(&["APPLICATION", "SCOPE", "DESIRED", "THERE", "STATUS", "CAUSE"], &rows);
    Ok(())
}

/// How an application fares on each node that wants it.
async fn fares(client: &Client, name: &str) -> Result<(), CtlError> {
    let all = wait::stats(client, name, None).await?;
    if all.is_empty() {
        output::say("no node wants it: its selector matches none");
        return Ok(());
    }
    let rows: Vec<Vec<String>> = all
        .into_iter()
        .map(|(node, stat)| {
            let stat = stat.unwrap_or_default();
            vec![node, text(&stat, "/version"), text(&stat, "/status"), cause(&stat)]
        })
        .collect();
    output::table(&["NODE", "THERE", "STATUS", "CAUSE"], &rows);
    Ok(())
}

/// `delete`.
pub(crate) async fn delete(client: &Client, kind: Kind, name: &str, format: Output) -> Result<(), CtlError> {
    let path = format!("{}/{}", kind.path(), encode(name));
    let there = client.find(&path).await?.is_some();
    client.delete(&path).await?;
    let outcome = if there { "deleted" } else { "was not there" };
    report(kind, name, outcome, format)
}

/// Says what became of a resource.
pub(crate) fn report(kind: Kind, name: &str, outcome: &str, format: Output) -> Result<(), CtlError> {
    if format == Output::Table {
        output::say(&format!("{}/{name} {outcome}", kind.word()));
        return Ok(());
    }
    output::value(&serde_json::json!({"kind": kind.word(), "name": name, "outcome": outcome}), format)
}

/// The state of a node in a word.
pub(crate) fn state(node: &Value) -> &'static str {
    match node.get("ready").and_then(Value::as_i64) {
        Some(1) => "online",
        Some(2) => "offline",
        _ => "never reported",
    }
}

/// Why an application does not run: its own cause, else the first of an instance.
pub(crate) fn cause(stat: &Value) -> String {
    let own = text(stat, "/cause");
    if !own.is_empty() {
        return own;
    }
    let instances = stat.get("instances").and_then(Value::as_object);
    instances
        .and_then(|all| all.values().map(|one| text(one, "/cause")).find(|cause| !cause.is_empty()))
        .unwrap_or_default()
}

/// A field as text; empty when it is not there.
pub(crate) fn text(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

fn labels(item: &Value) -> String {
    let Some(labels) = item.get("labels").and_then(Value::as_object) else { return String::new() };
    let pairs: Vec<String> =
        labels.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    pairs.join(",")
}

/// A text as part of a path or query.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
