//! Taking a change in: the report's merge (edge.md 2.3), merge on any JSON, and RFC 7396 patches. Pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::spec::{CoreInfo, Report, Section};

/// How many maps may lie inside each other where both sides have one.
const DEPTH: usize = 4;

/// Both sides have more maps inside each other than are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("documents have more than {DEPTH} common maps inside each other: nest them less")]
pub struct TooDeep;

/// Merges a part of a report into a report.
///
/// Sections that the part lacks stay as they are. `node` and `nodestats` are replaced whole, so that members
/// that are gone vanish; lists are replaced; other maps are merged key by key. `null` is kept as `null`,
/// except for a property of the node: there it drops the property (edge.md 2.8).
///
/// ```
/// use baetyl_core_lib::shadow::merge::merge_report;
/// use baetyl_core_lib::spec::{AppInfo, Report, Section};
///
/// let mut report = Report { apps: Section::Is(vec![AppInfo::new("web", "1")]), ..Report::default() };
/// merge_report(&mut report, Report { sysapps: Section::Is(vec![]), ..Report::default() });
/// assert_eq!(report.apps, Section::Is(vec![AppInfo::new("web", "1")]));
/// ```
pub fn merge_report(into: &mut Report, part: Report) {
    // Named one by one, so that a new section does not compile until it is merged.
    let Report {
        time,
        apps,
        sysapps,
        appstats,
        sysappstats,
        localapps,
        core,
        node,
        nodestats,
        nodeprops,
        devices,
        modeinfo,
        extra,
    } = part;
    replace(&mut into.time, time);
    replace(&mut into.apps, apps);
    replace(&mut into.sysapps, sysapps);
    replace(&mut into.appstats, appstats);
    replace(&mut into.sysappstats, sysappstats);
    replace(&mut into.localapps, localapps);
    replace(&mut into.node, node);
    replace(&mut into.nodestats, nodestats);
    replace(&mut into.devices, devices);
    merge_core(&mut into.core, core);
    patch_properties(&mut into.nodeprops, nodeprops);
    replace(&mut into.modeinfo, modeinfo);
    for (key, value) in extra {
        match into.extra.get_mut(&key) {
            Some(old) => merge_or_replace(old, value),
            None => {
                into.extra.insert(key, value);
            }
        }
    }
}

/// Applies a change of node properties: those that are `null` are dropped, others set.
pub fn patch_properties(
    into: &mut Section<BTreeMap<String, Value>>,
    change: Section<BTreeMap<String, Value>>,
) {
    let Section::Is(change) = change else {
        return replace(into, change);
    };
    let mut properties = std::mem::take(into).into_value().unwrap_or_default();
    for (key, value) in change {
        if value.is_null() {
            properties.remove(&key);
        } else {
            merge_patch(properties.entry(key).or_default(), &value);
        }
    }
    *into = Section::Is(properties);
}

fn replace<T>(into: &mut Section<T>, part: Section<T>) {
    if !part.is_absent() {
        *into = part;
    }
}

fn merge_core(into: &mut Section<CoreInfo>, part: Section<CoreInfo>) {
    let (Section::Is(old), Section::Is(new)) = (&mut *into, &part) else {
        return replace(into, part);
    };
    let CoreInfo { go_version, bin_version, git_revision } = new;
    for (old, new) in [
        (&mut old.go_version, go_version),
        (&mut old.bin_version, bin_version),
        (&mut old.git_revision, git_revision),
    ] {
        if !new.is_empty() {
            old.clone_from(new);
        }
    }
}

/// A report is never lost for being nested too deeply: such a section is replaced whole. The report itself is
/// the first of the maps that count.
fn merge_or_replace(left: &mut Value, right: Value) {
    if common_depth(left, &right) >= DEPTH {
        *left = right;
    } else {
        merge_value(left, right);
    }
}

/// Merges `right` into `left` as the original merges reports: maps key by key, anything else replaced, `null`
/// kept as `null`, no key ever removed.
///
/// # Errors
/// [`TooDeep`]; `left` is untouched then.
pub fn merge(left: &mut Value, right: Value) -> Result<(), TooDeep> {
    if common_depth(left, &right) > DEPTH {
        return Err(TooDeep);
    }
    merge_value(left, right);
    Ok(())
}

/// How many maps inside each other both values have.
fn common_depth(left: &Value, right: &Value) -> usize {
    let (Value::Object(left), Value::Object(right)) = (left, right) else {
        return 0;
    };
    let below = right.iter().filter_map(|(key, value)| Some(common_depth(left.get(key)?, value)));
    1 + below.max().unwrap_or(0)
}

fn merge_value(left: &mut Value, right: Value) {
    match (left, right) {
        (Value::Object(left), Value::Object(right)) => {
            for (key, value) in right {
                match left.get_mut(&key) {
                    Some(old) => merge_value(old, value),
                    None => {
                        left.insert(key, value);
                    }
                }
            }
        }
        (left, right) => *left = right,
    }
}

/// Applies an RFC 7396 merge patch: `null` removes a key, maps are patched, anything else is replaced.
///
/// ```
/// use baetyl_core_lib::shadow::merge::merge_patch;
/// use serde_json::json;
///
/// let mut document = json!({"lamp": "on", "fan": "off"});
/// merge_patch(&mut document, &json!({"lamp": null, "door": "shut"}));
/// assert_eq!(document, json!({"fan": "off", "door": "shut"}));
/// ```
pub fn merge_patch(document: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        document.clone_from(patch);
        return;
    };
    if !document.is_object() {
        *document = Value::Object(Map::new());
    }
    let Value::Object(document) = document else {
        return;
    };
    for (key, value) in patch {
        if value.is_null() {
            document.remove(key);
        } else {
            merge_patch(document.entry(key.as_str()).or_insert(Value::Null), value);
        }
    }
}
