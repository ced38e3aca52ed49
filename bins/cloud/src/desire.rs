//! What a node should run, and what turns its report into that (cloud.md 4.3). Pure.

use std::collections::{BTreeMap, BTreeSet};

use baetyl_core_lib::shadow::diff::{self, Reported};
use baetyl_core_lib::spec::{AppInfo, AppSpec, Desire, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::matching::selects;

/// The desire of a node as it is stored. Its version is the cursor of the node's polls.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeDesire {
    /// Grows with each change.
    pub version: String,
    /// The user's applications.
    pub apps: Vec<AppInfo>,
    /// The system's applications.
    pub sysapps: Vec<AppInfo>,
    /// Properties that the node is asked to take on; `None` when none are.
    pub nodeprops: Option<BTreeMap<String, String>>,
}

impl NodeDesire {
    /// As the admin API and the node see it.
    pub fn to_value(&self) -> Value {
        let mut value = serde_json::json!({ "apps": self.apps, "sysapps": self.sysapps });
        if let (Some(props), Value::Object(map)) = (&self.nodeprops, &mut value) {
            map.insert("nodeprops".to_owned(), serde_json::json!(props));
        }
        value
    }

    /// Whether both want the same, in whatever order.
    pub fn wants_as(&self, other: &Self) -> bool {
        set(&self.apps) == set(&other.apps)
            && set(&self.sysapps) == set(&other.sysapps)
            && self.nodeprops == other.nodeprops
    }

    /// Puts one application in or takes it out, so that the list says whether the node wants it.
    pub fn place(&mut self, app: &AppSpec, labels: &BTreeMap<String, String>) {
        let list = if app.system { &mut self.sysapps } else { &mut self.apps };
        if !selects(&app.selector, labels) {
            list.retain(|info| info.name != app.name);
        } else if let Some(info) = list.iter_mut().find(|info| info.name == app.name) {
            info.version.clone_from(&app.version);
        } else {
            list.push(app.info());
        }
    }

    /// Takes an application out.
    pub fn remove(&mut self, name: &str) {
        self.apps.retain(|info| info.name != name);
        self.sysapps.retain(|info| info.name != name);
    }

    /// Matches all applications anew, newest creation first, then as they were made.
    pub fn rematch(&mut self, apps: &[AppSpec], labels: &BTreeMap<String, String>) {
        let mut apps: Vec<&AppSpec> = apps.iter().filter(|app| selects(&app.selector, labels)).collect();
        apps.sort_by_key(|app| std::cmp::Reverse(app.create_time.as_unix()));
        self.apps = apps.iter().filter(|app| !app.system).map(|app| app.info()).collect();
        self.sysapps = apps.iter().filter(|app| app.system).map(|app| app.info()).collect();
    }
}

/// Who on the node sent a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// core: speaks for the whole node.
    Core,
    /// init: speaks for the system's applications only.
    Init,
    /// Somebody else, or nobody said.
    Other,
}

impl Source {
    /// From the `source` header.
    pub fn from_header(text: &str) -> Self {
        match text {
            "baetyl-core" => Self::Core,
            "baetyl-init" => Self::Init,
            _ => Self::Other,
        }
    }
}

/// The report that is stored after `sent` came, from the one that was stored before.
pub fn take_report(
    stored: &Map<String, Value>,
    mut sent: Map<String, Value>,
    source: Source,
    client_ip: &str,
    now: Timestamp,
) -> Map<String, Value> {
    if source == Source::Init {
        let mut kept = stored.clone();
        for key in ["sysapps", "sysappstats"] {
            if let Some(value) = sent.remove(key).filter(|value| !value.is_null()) {
                kept.insert(key.to_owned(), value);
            }
        }
        return kept;
    }
    if let Some(Value::Object(members)) = sent.get_mut("node") {
        for member in members.values_mut().filter_map(Value::as_object_mut) {
            member.insert("clientIP".to_owned(), Value::from(client_ip));
        }
    }
    if source == Source::Core {
        keep_core(stored, &mut sent, "sysapps");
        keep_core(stored, &mut sent, "sysappstats");
    }
    if sent.get("nodeprops").and_then(Value::as_object).is_some_and(Map::is_empty) {
        sent.remove("nodeprops");
    }
    sent.insert("time".to_owned(), Value::from(now.to_string()));
    sent
}

/// A core that cannot see itself must not vanish from the report.
fn keep_core(stored: &Map<String, Value>, sent: &mut Map<String, Value>, key: &str) {
    let is_core = |entry: &&Value| entry["name"].as_str().is_some_and(|name| name.starts_with("baetyl-core"));
    let find = |map: &Map<String, Value>| {
        map.get(key).and_then(Value::as_array).and_then(|list| list.iter().find(is_core).cloned())
    };
    let (Some(entry), None) = (find(stored), find(sent)) else { return };
    match sent.get_mut(key) {
        Some(Value::Array(list)) => list.push(entry),
        _ => {
            sent.insert(key.to_owned(), Value::Array(vec![entry]));
        }
    }
}

/// The answer to a node's report.
pub fn delta(desire: &NodeDesire, report: &Map<String, Value>) -> Value {
    let text = |(key, value): (&String, &String)| (key.clone(), Value::from(value.as_str()));
    let desire = Desire {
        apps: Some(desire.apps.clone()),
        sysapps: Some(desire.sysapps.clone()),
        nodeprops: desire.nodeprops.as_ref().map(|props| props.iter().map(text).collect()),
        ..Desire::default()
    };
    serde_json::json!(diff::delta(&desire, &Reported::read(report)))
}

fn set(infos: &[AppInfo]) -> BTreeSet<&AppInfo> {
    infos.iter().collect()
}

#[cfg(test)]
mod tests {
    use baetyl_core_lib::spec::{AppInfo, Timestamp};
    use serde_json::{Map, Value, json};

    use super::{NodeDesire, Source, delta, take_report};

    fn map(value: &Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    fn desire() -> NodeDesire {
        NodeDesire {
            apps: vec![AppInfo::new("a", "1"), AppInfo::new("b", "1")],
            sysapps: vec![AppInfo::new("baetyl-core-x", "1")],
            ..NodeDesire::default()
        }
    }

    #[test]
    fn another_order_is_no_difference() {
        let report = json!({"apps": [{"name":"b","version":"1"},{"name":"a","version":"1","more":1}],
            "sysapps": [{"name":"baetyl-core-x","version":"1"}]});
        assert_eq!(delta(&desire(), &map(&report)), json!({}));
    }

    #[test]
    fn a_missing_null_or_foreign_section_comes_whole() {
        for apps in [json!(null), json!("x"), json!({}), json!([1])] {
            let report = json!({"apps": apps, "sysapps": [{"name":"baetyl-core-x","version":"1"}]});
            assert_eq!(delta(&desire(), &map(&report)), json!({"apps": desire().apps}), "{apps}");
        }
    }

    #[test]
    fn reported_properties_that_nobody_wants_are_null() {
        let report = json!({"apps": desire().apps, "sysapps": desire().sysapps, "nodeprops": {"a": "1"}});
        assert_eq!(delta(&desire(), &map(&report)), json!({"nodeprops": null}));
        let wanted = NodeDesire { nodeprops: Some([("a".to_owned(), "1".to_owned())].into()), ..desire() };
        assert_eq!(delta(&wanted, &map(&report)), json!({"nodeprops": {"a": "1"}}));
    }

    #[test]
    fn init_replaces_the_system_sections_only() {
        let stored = json!({"time": "t", "apps": [1], "sysapps": [2]});
        let sent = json!({"apps": [3], "sysapps": [4], "sysappstats": null});
        let kept = take_report(&map(&stored), map(&sent), Source::Init, "", Timestamp::ZERO);
        assert_eq!(Value::Object(kept), json!({"time": "t", "apps": [1], "sysapps": [4]}));
    }

    #[test]
    fn a_core_that_does_not_see_itself_stays() {
        let stored = json!({"sysapps": [{"name":"baetyl-core-x","version":"1"}]});
        let kept =
            take_report(&map(&stored), map(&json!({"sysapps": []})), Source::Core, "", Timestamp::ZERO);
        assert_eq!(kept["sysapps"], stored["sysapps"]);
        let gone =
            take_report(&map(&stored), map(&json!({"sysapps": []})), Source::Other, "", Timestamp::ZERO);
        assert_eq!(gone["sysapps"], json!([]));
    }
}
