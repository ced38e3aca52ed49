//! What turns a report into a desire: the delta that a cloud answers (edge.md 2.5, 2.7), and merge patches
//! between any JSON. Pure.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::spec::{AppInfo, Delta, Desire, Report, Section};

/// The sections of a report that a delta compares with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reported {
    /// The user's applications.
    pub apps: Section<Vec<AppInfo>>,
    /// The system's applications.
    pub sysapps: Section<Vec<AppInfo>>,
    /// Properties of the node.
    pub nodeprops: Section<BTreeMap<String, Value>>,
}

impl Reported {
    /// Reads them from a report as it came. A section of another JSON type counts as `null`: it says
    /// nothing, but it is there.
    pub fn read(report: &Map<String, Value>) -> Self {
        Self {
            apps: section(report, "apps"),
            sysapps: section(report, "sysapps"),
            nodeprops: section(report, "nodeprops"),
        }
    }
}

impl From<&Report> for Reported {
    fn from(report: &Report) -> Self {
        Self {
            apps: report.apps.clone(),
            sysapps: report.sysapps.clone(),
            nodeprops: report.nodeprops.clone(),
        }
    }
}

fn section<T: DeserializeOwned>(report: &Map<String, Value>, key: &str) -> Section<T> {
    report.get(key).map_or(Section::Absent, |value| T::deserialize(value).map_or(Section::Null, Section::Is))
}

/// The answer to a report: what turns its `apps`, `sysapps` and `nodeprops` into the desire.
///
/// Lists are the same when they hold the same applications, in whatever order. Properties that are desired
/// are always in it, all of them. What is reported but not spoken of by the desire is `null`.
///
/// ```
/// use baetyl_core_lib::shadow::diff::{Reported, delta};
/// use baetyl_core_lib::spec::{AppInfo, Delta, Desire, Section};
///
/// let apps = vec![AppInfo::new("web", "1"), AppInfo::new("timer", "4")];
/// let desire = Desire { apps: Some(apps.clone()), ..Desire::default() };
/// let reported = Reported { apps: Section::Is(apps.into_iter().rev().collect()), ..Reported::default() };
/// assert_eq!(delta(&desire, &reported), Delta::default());
/// ```
#[must_use]
pub fn delta(desire: &Desire, reported: &Reported) -> Delta {
    Delta {
        apps: list_delta(desire.apps.as_ref(), &reported.apps),
        sysapps: list_delta(desire.sysapps.as_ref(), &reported.sysapps),
        nodeprops: match (&desire.nodeprops, &reported.nodeprops) {
            (Some(properties), _) => Section::Is(properties.clone()),
            (None, Section::Is(_)) => Section::Null,
            (None, _) => Section::Absent,
        },
        extra: desire.extra.clone(),
    }
}

fn list_delta(desired: Option<&Vec<AppInfo>>, reported: &Section<Vec<AppInfo>>) -> Section<Vec<AppInfo>> {
    match (desired, reported) {
        (Some(desired), Section::Is(reported)) if same_apps(desired, reported) => Section::Absent,
        (Some(desired), _) => Section::Is(desired.clone()),
        (None, Section::Is(_)) => Section::Null,
        (None, _) => Section::Absent,
    }
}

fn same_apps(left: &[AppInfo], right: &[AppInfo]) -> bool {
    fn sorted(list: &[AppInfo]) -> Vec<&AppInfo> {
        let mut list: Vec<_> = list.iter().collect();
        list.sort_unstable();
        list
    }
    left == right || (left.len() == right.len() && sorted(left) == sorted(right))
}

/// The merge patch that turns `original` into `modified`, as the original's `DiffWithNil`: what only
/// `original` has is `null`, lists are compared whole and in order, numbers by value.
///
/// A document that is no map is replaced whole. A `null` that `modified` holds in a map cannot be told from
/// "remove" when the patch is applied; that is RFC 7396's limit.
///
/// ```
/// use baetyl_core_lib::shadow::diff::diff;
/// use serde_json::json;
///
/// let patch = diff(&json!({"version": "43", "core": {}}), &json!({"version": "45"}));
/// assert_eq!(patch, json!({"version": "45", "core": null}));
/// ```
#[must_use]
pub fn diff(original: &Value, modified: &Value) -> Value {
    match (original, modified) {
        (Value::Object(original), Value::Object(modified)) => Value::Object(diff_maps(original, modified)),
        _ => modified.clone(),
    }
}

/// As [`diff`], without any `null` in its maps: what only `original` has is kept when the patch is applied.
#[must_use]
pub fn diff_without_nulls(original: &Value, modified: &Value) -> Value {
    let mut patch = diff(original, modified);
    drop_nulls(&mut patch);
    patch
}

fn diff_maps(original: &Map<String, Value>, modified: &Map<String, Value>) -> Map<String, Value> {
    let mut patch = Map::new();
    for (key, new) in modified {
        match (original.get(key), new) {
            (Some(Value::Object(old)), Value::Object(new)) => {
                let nested = diff_maps(old, new);
                if !nested.is_empty() {
                    patch.insert(key.clone(), Value::Object(nested));
                }
            }
            (Some(old), new) if same(old, new) => {}
            _ => {
                patch.insert(key.clone(), new.clone());
            }
        }
    }
    for key in original.keys().filter(|key| !modified.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    patch
}

/// Deep equality with numbers by value: 1 and 1.0 are the same.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left == right || left.as_f64() == right.as_f64(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(key, left)| right.get(key).is_some_and(|right| same(left, right)))
        }
        (left, right) => left == right,
    }
}

fn drop_nulls(value: &mut Value) {
    if let Value::Object(map) = value {
        map.retain(|_, value| !value.is_null());
        map.values_mut().for_each(drop_nulls);
    }
}
