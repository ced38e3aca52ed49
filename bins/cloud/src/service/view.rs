//! Reading bodies, and how nodes are shown (cloud.md 2.3). Pure.

use std::time::Duration;

use baetyl_core_lib::spec::Timestamp;
use baetyl_core_lib::view::{Ready, View};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::node::NodeRecord;
use crate::desire::NodeDesire;
use crate::error::ServiceError;

/// Labels that the cloud matches by and does not show.
const HIDDEN: [&str; 3] = ["baetyl-accelerator", "baetyl-cluster", "baetyl-node-mode"];

/// Reads a JSON body.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ServiceError> {
    serde_json::from_slice(body).map_err(|error| ServiceError::Body { reason: error.to_string() })
}

/// What is shown of a node's report; a poll that is held, or was lately, counts as a report.
pub(crate) fn view(
    node: &NodeRecord,
    report: &Map<String, Value>,
    seen: Option<Timestamp>,
    now: Timestamp,
) -> View {
    let mut timeout = Duration::from_secs(node.frequency() + 20);
    let reported = report.get("time").and_then(Value::as_str).and_then(Timestamp::parse);
    if let (Some(reported), Some(seen)) = (reported, seen) {
        let later = seen.as_unix_nanos().saturating_sub(reported.as_unix_nanos());
        timeout = timeout.saturating_add(Duration::from_nanos(u64::try_from(later).unwrap_or(0)));
    }
    baetyl_core_lib::view::view(&Value::Object(report.clone()), now, timeout)
}

/// A node as it is shown, without report and desire.
pub(crate) fn node_view(node: &NodeRecord, ready: Ready) -> Value {
    let mut spec = node.spec.clone();
    spec.labels.retain(|key, _| !HIDDEN.contains(&key.as_str()));
    spec.attr.clear();
    let mut view = json!(spec);
    view["cluster"] = json!(spec.cluster);
    view["mode"] = json!(if spec.mode.is_empty() { "cloud" } else { &spec.mode });
    view["ready"] = json!(ready as i64);
    view
}

/// A node as it is shown, with its report.
pub(crate) fn full_view(node: &NodeRecord, shown: &View, desire: Option<&NodeDesire>) -> Value {
    let mut view = node_view(node, shown.ready);
    view["report"] = json!(shown.report);
    view["appMode"] = json!(shown.app_mode);
    if let Some(desire) = desire {
        view["desire"] = desire.to_value();
    }
    view
}
