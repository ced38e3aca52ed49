//! A report as it is shown: quantities made plain, shares computed, readiness found out (edge.md 1.4,
//! cloud.md 2.3). Pure: the cloud's and the device's API show the same.
//!
//! A report comes from any node: a section that cannot be read is left out, and nothing here fails.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::spec::node::ReportView;
use crate::spec::{AppStats, NodeInfo, NodeStats, Quantity, Section, Status, Timestamp};

/// How long after its last report a node counts as online on the device itself.
pub const DEVICE_TIMEOUT: Duration = Duration::from_secs(40);

/// Whether a node is there, as on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ready {
    /// It never reported.
    Uninstalled = 0,
    /// It reported lately.
    Online = 1,
    /// It did not report lately.
    Offline = 2,
}

/// What is shown of a report.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// The report.
    pub report: ReportView,
    /// Whether the node is there.
    pub ready: Ready,
    /// `native` when a member has neither a container runtime nor a machine's identity, else `kube`.
    pub app_mode: &'static str,
}

/// What is shown of `report` at `now`, when a node counts as online for `timeout` after its report.
///
/// ```
/// use baetyl_core_lib::spec::Timestamp;
/// use baetyl_core_lib::view::{DEVICE_TIMEOUT, Ready, view};
///
/// let report = serde_json::json!({"time": "1970-01-01T00:00:00Z"});
/// assert_eq!(view(&report, Timestamp::from_unix(39), DEVICE_TIMEOUT).ready, Ready::Online);
/// assert_eq!(view(&report, Timestamp::from_unix(40), DEVICE_TIMEOUT).ready, Ready::Offline);
/// ```
#[must_use]
pub fn view(report: &Value, now: Timestamp, timeout: Duration) -> View {
    let (node, mut nodestats) = members(report);
    nodestats.values_mut().for_each(show_member);

    let time: Option<Timestamp> = section(report, "time");
    let ready = match time {
        None => Ready::Uninstalled,
        Some(time) if now < time.saturating_add(timeout) => Ready::Online,
        Some(_) => Ready::Offline,
    };

    let mut appstats: Vec<AppStats> = section(report, "appstats").unwrap_or_default();
    let mut sysappstats: Vec<AppStats> = section(report, "sysappstats").unwrap_or_default();
    let mut nodeinsnum = BTreeMap::new();
    for app in appstats.iter_mut().chain(&mut sysappstats) {
        show_app(app, ready, &mut nodeinsnum);
    }

    let is_native = |info: &NodeInfo| info.container_runtime.is_empty() && info.machine_id.is_empty();
    let app_mode = if node.values().any(is_native) { "native" } else { "kube" };
    let report = ReportView {
        time,
        apps: section(report, "apps").unwrap_or_default(),
        sysapps: section(report, "sysapps").unwrap_or_default(),
        core: section(report, "core"),
        appstats,
        sysappstats,
        node,
        nodestats,
        nodeinsnum,
        modeinfo: section(report, "modeinfo"),
    };
    View { report, ready, app_mode }
}

/// A section, when it is there and can be read.
fn section<T: DeserializeOwned>(report: &Value, key: &str) -> Option<T> {
    report.get(key).filter(|value| !value.is_null()).and_then(|value| T::deserialize(value).ok())
}

type Members<T> = BTreeMap<String, T>;

/// The members and how they fare. Old nodes report one member without a map around it.
fn members(report: &Value) -> (Members<NodeInfo>, Members<NodeStats>) {
    let node: Option<Members<NodeInfo>> = section(report, "node");
    if let Some(node) = node {
        return (node, section(report, "nodestats").unwrap_or_default());
    }
    let info = section(report, "node").filter(|info: &NodeInfo| !info.hostname.is_empty());
    let Some(mut info) = info else {
        return (Members::new(), section(report, "nodestats").unwrap_or_default());
    };
    "master".clone_into(&mut info.role);
    let name = info.hostname.clone();
    let stats = section(report, "nodestats").map(|stats| (name.clone(), stats));
    ([(name, info)].into(), stats.into_iter().collect())
}

/// Makes a member's quantities plain and computes its shares.
fn show_member(stats: &mut NodeStats) {
    for (key, plain) in [("memory", plain_units as Plain), ("cpu", plain_millis)] {
        let used = make_plain(&mut stats.usage, key, plain);
        let total = make_plain(&mut stats.capacity, key, plain);
        stats.percent.insert(key.to_owned(), share(used, total));
    }
    let Section::Is(Value::Object(extension)) = &stats.extension else {
        return;
    };
    for (key, used, total, percent) in
        [("gpu", "usedMemory", "totalMemory", "percent"), ("disk", "diskUsed", "diskTotal", "diskPercent")]
    {
        copy_number(extension, used, &mut stats.usage, key);
        copy_number(extension, total, &mut stats.capacity, key);
        copy_number(extension, percent, &mut stats.percent, key);
    }
    for key in ["netBytesSent", "netBytesRecv", "netPacketsSent", "netPacketsRecv"] {
        copy_number(extension, key, &mut stats.netio, key);
    }
}

/// Makes an application's quantities plain, hides the status of a node that is away, counts instances.
fn show_app(app: &mut AppStats, ready: Ready, instances_of: &mut BTreeMap<String, i64>) {
    if ready != Ready::Online {
        app.status = Status::Empty;
    }
    for instance in app.instances.values_mut() {
        make_plain(&mut instance.usage, "memory", plain_units);
        make_plain(&mut instance.usage, "cpu", plain_millis);
        if !instance.node_name.is_empty() {
            *instances_of.entry(instance.node_name.clone()).or_default() += 1;
        }
    }
}

/// A quantity as a number that can be compared, and as the text that is shown.
type Plain = fn(Quantity) -> (u64, String);

fn plain_units(quantity: Quantity) -> (u64, String) {
    (quantity.to_units(), quantity.to_units().to_string())
}

fn plain_millis(quantity: Quantity) -> (u64, String) {
    let millis = quantity.to_millis();
    let text = format!("{}.{:03}", millis / 1000, millis % 1000);
    (millis, text.trim_end_matches('0').trim_end_matches('.').to_owned())
}

/// Rewrites the entry; one that is no quantity stays as it is and counts as none.
fn make_plain(amounts: &mut BTreeMap<String, String>, key: &str, plain: Plain) -> u64 {
    let Some(entry) = amounts.get_mut(key) else {
        return 0;
    };
    let Some(quantity) = Quantity::parse(entry) else {
        return 0;
    };
    let (number, text) = plain(quantity);
    *entry = text;
    number
}

/// The share that is used, from "0" to "1"; "0" when nobody knows.
fn share(used: u64, total: u64) -> String {
    match (used, total) {
        (0, _) | (_, 0) => "0".to_owned(),
        (used, total) if used >= total => "1".to_owned(),
        (used, total) => (used as f64 / total as f64).to_string(),
    }
}

fn copy_number(from: &Map<String, Value>, key: &str, to: &mut BTreeMap<String, String>, name: &str) {
    if let Some(number) = from.get(key).and_then(Value::as_f64) {
        to.insert(name.to_owned(), number.to_string());
    }
}

#[cfg(test)]
mod tests;
