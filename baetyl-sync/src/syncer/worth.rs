//! Whether the cloud should know of a change soon. Pure: compares two reports.

use std::collections::BTreeMap;

use baetyl_core_lib::spec::{AppInfo, AppStats, NodeStats, Report, Section, Status};

/// Whether the difference is worth a report at once: applications, how they fare, properties, and the
/// conditions of the node. Numbers of usage wait for the interval (design.md 2).
pub(super) fn worth(old: &Report, new: &Report) -> bool {
    old.apps != new.apps
        || old.sysapps != new.sysapps
        || old.localapps != new.localapps
        || old.nodeprops != new.nodeprops
        || states(&old.appstats) != states(&new.appstats)
        || states(&old.sysappstats) != states(&new.sysappstats)
        || conditions(&old.nodestats) != conditions(&new.nodestats)
}

/// An application and its instances without their numbers.
type State<'a> = (AppInfo, &'a Status, &'a str, Vec<(&'a str, &'a Status, &'a str)>);

fn states(stats: &Section<Vec<AppStats>>) -> Vec<State<'_>> {
    let mut states: Vec<State<'_>> = stats.value().into_iter().flatten().map(state).collect();
    // The order in which engines name them says nothing.
    states.sort_unstable();
    states
}

fn state(app: &AppStats) -> State<'_> {
    let instances = app
        .instances
        .iter()
        .map(|(name, instance)| (name.as_str(), &instance.status, instance.cause.as_str()));
    (AppInfo::new(&app.name, &app.version), &app.status, &app.cause, instances.collect())
}

fn conditions(stats: &Section<BTreeMap<String, NodeStats>>) -> Vec<(&str, [bool; 5])> {
    let conditions = |stats: &NodeStats| {
        [
            stats.ready,
            stats.disk_pressure,
            stats.memory_pressure,
            stats.pid_pressure,
            stats.network_unavailable,
        ]
    };
    stats.value().into_iter().flatten().map(|(name, stats)| (name.as_str(), conditions(stats))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn report(value: Value) -> Report {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn status_and_conditions_are_worth_a_report_and_numbers_are_not() {
        let stats = |status: &str, cpu: &str| {
            json!([{"name": "web", "version": "1", "status": status,
                "instances": {"web-1": {"status": status, "usage": {"cpu": cpu}}}}])
        };
        let node = |pressure: bool, used: &str| json!({"m": {"ready": true, "diskPressure": pressure, "usage": {"cpu": used}}});
        for (old, new, expected) in [
            (json!({"appstats": stats("Running", "1")}), json!({"appstats": stats("Running", "2")}), false),
            (json!({"appstats": stats("Pending", "1")}), json!({"appstats": stats("Running", "1")}), true),
            (json!({"nodestats": node(false, "1")}), json!({"nodestats": node(false, "2")}), false),
            (json!({"nodestats": node(false, "1")}), json!({"nodestats": node(true, "1")}), true),
            (json!({}), json!({"apps": []}), true),
            (json!({"apps": []}), json!({"apps": [{"name": "web", "version": "1"}]}), true),
            (json!({}), json!({"nodeprops": {"a": "1"}}), true),
            (json!({"time": "2026-01-01T00:00:00Z"}), json!({"time": "2026-01-02T00:00:00Z"}), false),
            (json!({"node": {"m": {}}}), json!({"node": {"m": {"address": "10.0.0.1"}}}), false),
        ] {
            assert_eq!(worth(&report(old.clone()), &report(new.clone())), expected, "{old} to {new}");
        }
    }

    #[test]
    fn the_order_of_statistics_is_no_change() {
        let (a, b) = (json!({"name": "a", "version": "1"}), json!({"name": "b", "version": "1"}));
        assert!(!worth(&report(json!({"appstats": [a, b]})), &report(json!({"appstats": [b, a]}))));
    }
}
