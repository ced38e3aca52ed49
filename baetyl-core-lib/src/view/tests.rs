use std::path::Path;

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix(seconds)
}

fn show(report: &Value) -> View {
    view(report, at(0), DEVICE_TIMEOUT)
}

#[test]
fn a_node_is_online_until_the_timeout_after_its_report() {
    #[track_caller]
    fn check(report: &Value, now: i64, expected: Ready) {
        assert_eq!(view(report, at(now), Duration::from_secs(40)).ready, expected);
    }
    let report = json!({"time": "1970-01-01T00:01:00Z"});
    check(&json!({}), 0, Ready::Uninstalled);
    check(&json!({"time": 5}), 0, Ready::Uninstalled);
    check(&report, 99, Ready::Online);
    check(&report, 100, Ready::Offline);
    // A clock that was set back makes nobody offline.
    check(&report, 0, Ready::Online);
}

#[test]
fn quantities_become_plain_numbers_and_shares() {
    let report = json!({"nodestats": {"kn": {
        "usage": {"cpu": "336037951n", "memory": "1206552Ki", "other": "1Ki"},
        "capacity": {"cpu": "2", "memory": "4033160Ki"},
    }}});
    let stats = &show(&report).report.nodestats["kn"];
    assert_eq!(
        json!([stats.usage, stats.capacity, stats.percent]),
        json!([
            {"cpu": "0.337", "memory": "1235509248", "other": "1Ki"},
            {"cpu": "2", "memory": "4129955840"},
            {"cpu": "0.1685", "memory": "0.2991579803429569"},
        ])
    );
}

#[test]
fn a_share_is_never_above_one_and_zero_when_nobody_knows() {
    #[track_caller]
    fn check(usage: &str, capacity: &str, percent: &str) {
        let report = json!({"nodestats": {"kn": {"usage": {"cpu": usage}, "capacity": {"cpu": capacity}}}});
        let stats = &show(&report).report.nodestats["kn"];
        assert_eq!((&*stats.percent["cpu"], &*stats.percent["memory"]), (percent, "0"));
    }
    check("3", "2", "1");
    check("2", "2", "1");
    check("1", "0", "0");
    check("much", "2", "0");
    check("1m", "4", "0.00025");
}

#[test]
fn numbers_of_plug_ins_fill_disk_gpu_and_network() {
    let report = json!({"nodestats": {"kn": {
        "netio": {"netBytesSent": "0", "kept": "1"},
        "extension": {
            "usedMemory": 1024, "totalMemory": 8192, "percent": 0.125,
            "diskUsed": 1.2e10, "diskTotal": 6.4e10, "diskPercent": 0.1875,
            "netBytesSent": 8211, "netPacketsRecv": "no number",
        },
    }}});
    let stats = &show(&report).report.nodestats["kn"];
    assert_eq!(
        json!([stats.usage, stats.capacity, stats.percent, stats.netio]),
        json!([
            {"gpu": "1024", "disk": "12000000000"},
            {"gpu": "8192", "disk": "64000000000"},
            {"gpu": "0.125", "disk": "0.1875", "cpu": "0", "memory": "0"},
            {"netBytesSent": "8211", "kept": "1"},
        ])
    );
}

#[test]
fn a_node_that_is_away_has_no_status_but_keeps_its_instances() {
    let report = json!({
        "time": "1970-01-01T00:00:00Z",
        "appstats": [{"name": "a", "status": "Running", "instances": {
            "x": {"nodeName": "kn1", "status": "Running", "usage": {"cpu": "1325478n", "memory": "9216Ki"}},
            "y": {"nodeName": "kn2"}, "z": {},
        }}],
        "sysappstats": [{"name": "s", "status": "Running", "instances": {"w": {"nodeName": "kn1"}}}],
    });
    let online = view(&report, at(1), DEVICE_TIMEOUT).report;
    assert_eq!(online.appstats[0].status, Status::Running);
    let away = view(&report, at(100), DEVICE_TIMEOUT).report;
    assert_eq!([&away.appstats[0].status, &away.sysappstats[0].status], [&Status::Empty; 2]);
    assert_eq!(json!(away.nodeinsnum), json!({"kn1": 2, "kn2": 1}));
    assert_eq!(json!(away.appstats[0].instances["x"].usage), json!({"cpu": "0.002", "memory": "9437184"}));
}

#[test]
fn a_member_without_runtime_and_machine_makes_a_native_node() {
    #[track_caller]
    fn check(report: &Value, expected: &str) {
        assert_eq!(show(report).app_mode, expected);
    }
    check(&json!({}), "kube");
    check(&json!({"node": {"a": {"machineID": "m"}}}), "kube");
    check(&json!({"node": {"a": {"containerRuntime": "c", "machineID": "m"}, "b": {}}}), "native");
}

#[test]
fn the_one_member_of_an_old_node_is_a_master_by_its_host_name() {
    let report = json!({"node": {"hostname": "kn", "os": "linux"}, "nodestats": {"usage": {"cpu": "1m"}}});
    let shown = show(&report).report;
    assert_eq!(
        (shown.node["kn"].role.as_str(), shown.nodestats["kn"].usage["cpu"].as_str()),
        ("master", "0.001")
    );
}

#[test]
fn sections_that_cannot_be_read_are_left_out_and_nothing_fails() {
    let hostile = json!({
        "time": {}, "apps": {}, "sysapps": "x", "core": 1, "appstats": [{"instances": []}], "node": "n",
        "nodestats": [1], "modeinfo": null,
    });
    assert_eq!(show(&hostile).report, ReportView::default());
    for report in [json!(null), json!([]), json!("x"), json!({"node": []})] {
        assert_eq!(show(&report).report, ReportView::default());
    }
}

/// What the recorded cloud shows of each report of core's that it got just before.
#[test]
fn recorded_reports_are_shown_as_the_original_shows_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cloud");
    let read = |name: &str| -> Value {
        serde_json::from_slice(&std::fs::read(folder.join(name).with_extension("json")).unwrap()).unwrap()
    };
    let mut pairs = vec![
        (read("14-stats-02-report"), read("14-stats-03-get")),
        (read("14-stats-08-report-old-form"), read("14-stats-09-stats-old-form")),
    ];
    for name in ["shadow-01-replace", "shadow-02-null", "shadow-05-nodeprops"] {
        let steps = read(name)["steps"].as_array().unwrap().clone();
        pairs.extend(steps.windows(2).map(|pair| (pair[0].clone(), pair[1].clone())));
    }
    let mut checked = 0;
    for (sent, shown) in pairs {
        let is_report = sent["request"]["path"] == "/v1/sync/report";
        let shown = &shown["response"]["body"];
        if !is_report || !shown["report"].is_object() {
            continue;
        }
        // The cloud puts its own time and the node's address in.
        let mut report = sent["request"]["body"].clone();
        report["time"] = shown["report"]["time"].clone();
        let now = Timestamp::parse(report["time"].as_str().unwrap()).unwrap();
        let ours = view(&report, now, DEVICE_TIMEOUT);
        let mut expected = shown["report"].clone();
        for member in expected["node"].as_object_mut().into_iter().flat_map(|map| map.values_mut()) {
            member.as_object_mut().unwrap().remove("clientIP");
            member["labels"].as_object_mut().unwrap().remove("clientIP");
        }
        if expected["node"].is_null() {
            expected.as_object_mut().unwrap().remove("node");
        }
        if sent["request"]["body"].get("sysappstats").is_none_or(Value::is_null) {
            // The cloud keeps what it had of core.
            expected.as_object_mut().unwrap().remove("sysappstats");
        }
        assert_eq!(serde_json::to_value(&ours.report).unwrap(), expected, "{}", sent["name"]);
        assert_eq!(
            (json!(ours.ready as i64), json!(ours.app_mode)),
            (shown["ready"].clone(), shown["appMode"].clone())
        );
        checked += 1;
    }
    assert!(checked >= 10, "only {checked} recorded reports were checked");
}

proptest! {
    /// A section of any shape is left out or shown; the rest stays, and what is shown can be read again.
    #[test]
    fn a_report_of_any_shape_is_shown(
        section in prop::sample::select(vec!["time", "apps", "core", "appstats", "node", "nodestats", "modeinfo"]),
        shape in any_shape(),
    ) {
        let mut report = json!({"sysapps": [{"name": "s", "version": "1"}]});
        report[section] = shape;
        let shown = show(&report).report;
        prop_assert_eq!(shown.sysapps.len(), 1);
        let again: ReportView = serde_json::from_value(json!(shown)).unwrap();
        prop_assert_eq!(again, shown);
    }
}

fn any_shape() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        "[0-9]{1,20}[.KimnEe-]{0,3}".prop_map(Value::from),
        Just("9999-12-31T23:59:59Z".into()),
    ];
    let key = prop::sample::select(vec![
        "usage",
        "capacity",
        "cpu",
        "memory",
        "extension",
        "diskUsed",
        "instances",
        "hostname",
        "nodeName",
    ]);
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..4).prop_map(|map| Value::Object(
                map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
            )),
        ]
    })
}
