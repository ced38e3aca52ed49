//! The model's own work, without any process: what a report and its answer cost to decode, compare and merge.

use std::hint::black_box;
use std::time::Duration;

use baetyl_core_lib::shadow::diff::{Reported, delta};
use baetyl_core_lib::shadow::merge::merge_report;
use baetyl_core_lib::shadow::rebuild::{Sent, rebuild};
use baetyl_core_lib::spec::{Desire, Report};
use serde_json::json;

use super::Setup;
use crate::clock::{now, quantile};
use crate::error::BenchError;
use crate::table::Row;

/// Applications of the report.
const APPS: usize = 20;

pub(super) fn pure(setup: &Setup) -> Result<Vec<Row>, BenchError> {
    let rounds = setup.pick(200, 5_000);
    let text = report().to_string();
    let wrong = |error: serde_json::Error| BenchError::Failed(format!("the model does not fit: {error}"));
    let report: Report = serde_json::from_str(&text).map_err(wrong)?;
    let mut desire = Desire {
        apps: report.apps.value().cloned(),
        sysapps: report.sysapps.value().cloned(),
        ..Desire::default()
    };
    if let Some(app) = desire.apps.as_mut().and_then(|apps| apps.first_mut()) {
        app.version = "2".to_owned();
    }
    let (sent, reported) = (Sent::from(&report), Reported::from(&report));
    let answer = delta(&desire, &reported);
    Ok(vec![
        row("decode a report of 20 applications", rounds, || {
            black_box(serde_json::from_str::<Report>(black_box(&text))).is_ok()
        })
        .note(format!("{} bytes", text.len())),
        row("encode it", rounds, || black_box(serde_json::to_string(black_box(&report))).is_ok()),
        row("delta of desire and report", rounds, || black_box(delta(black_box(&desire), &reported))),
        row("whole desire from the delta", rounds, || black_box(rebuild(black_box(&desire), &sent, &answer))),
        row("merge a report into a report", rounds, || {
            let mut into = report.clone();
            merge_report(&mut into, black_box(report.clone()));
            black_box(into)
        }),
    ])
}

fn row<T>(what: &str, rounds: usize, mut work: impl FnMut() -> T) -> Row {
    let times: Vec<Duration> = (0..rounds)
        .map(|_| {
            let start = now();
            black_box(work());
            now().saturating_sub(start)
        })
        .collect();
    Row::info(what, quantile(&times, 0.5).as_secs_f64() * 1e6, "us")
}

/// A report as a node with 20 applications sends it.
fn report() -> serde_json::Value {
    let stats = |name: &str| {
        json!({"name": name, "version": "1", "deployType": "deployment", "status": "Running", "instances": {
            format!("{name}-main-1"): {"name": format!("{name}-main-1"), "serviceName": "main",
                "appName": name, "status": "Running", "usage": {"cpu": "0.001", "memory": "1048576"},
                "createTime": "2026-01-01T00:00:00Z"}}})
    };
    let names: Vec<String> = (0..APPS).map(|index| format!("application-{index}")).collect();
    json!({
        "time": "2026-01-01T00:00:00Z",
        "apps": names.iter().map(|name| json!({"name": name, "version": "1"})).collect::<Vec<_>>(),
        "appstats": names.iter().map(|name| stats(name)).collect::<Vec<_>>(),
        "sysapps": [{"name": "baetyl-core-x", "version": "1"}],
        "sysappstats": [stats("baetyl-core-x")],
        "node": {"node-1": {"arch": "amd64", "os": "linux", "hostname": "node-1", "address": "10.0.0.1"}},
        "nodestats": {"node-1": {"ready": true, "usage": {"cpu": "0.1", "memory": "1048576"},
            "capacity": {"cpu": "2", "memory": "1073741824"}}},
    })
}
