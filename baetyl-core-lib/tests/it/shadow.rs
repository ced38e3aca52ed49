//! The shadow's rules: what a merge, a diff and a delta do, and what survives.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use baetyl_core_lib::shadow::diff::{Reported, delta, diff, diff_without_nulls};
use baetyl_core_lib::shadow::merge::{TooDeep, merge, merge_patch, merge_report};
use baetyl_core_lib::shadow::rebuild::{Sent, rebuild, rebuild_sysapps};
use baetyl_core_lib::shadow::{Shadow, StoredShadow};
use baetyl_core_lib::spec::{AppInfo, CoreInfo, Delta, Desire, NodeInfo, Report, Section};
use baetyl_core_lib::store::{Change, Store, StoreError, Table};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// A store in memory whose commits can be made to fail or hang.
#[derive(Debug, Default)]
struct MoodyStore {
    values: Mutex<BTreeMap<(Table, String), Vec<u8>>>,
    commits: AtomicUsize,
    full: AtomicBool,
    hangs_after: AtomicBool,
}

#[async_trait]
impl Store for MoodyStore {
    async fn load(&self, table: Table, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.values.lock().unwrap().get(&(table, key.to_owned())).cloned())
    }

    async fn list(&self, _: Table, _: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        Ok(Vec::new())
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        if self.full.load(Ordering::Relaxed) {
            let source = std::io::Error::from(std::io::ErrorKind::StorageFull);
            return Err(StoreError::Full { path: "moody".to_owned(), source: Box::new(source) });
        }
        self.commits.fetch_add(1, Ordering::Relaxed);
        // A disk takes its time: others run meanwhile.
        tokio::task::yield_now().await;
        for change in changes {
            let mut values = self.values.lock().unwrap();
            match change {
                Change::Put(table, key, value) => values.insert((table, key), value),
                Change::Remove(table, key) => values.remove(&(table, key)),
            };
        }
        if self.hangs_after.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

fn apps(list: &[(&str, &str)]) -> Vec<AppInfo> {
    list.iter().map(|(name, version)| AppInfo::new(*name, *version)).collect()
}

fn properties(value: Value) -> Section<BTreeMap<String, Value>> {
    Section::Is(serde_json::from_value(value).unwrap())
}

#[test]
fn merge_does_what_the_original_does() {
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "the table reads better without references")]
    fn check(mut left: Value, right: Value, expected: Value) {
        merge(&mut left, right).unwrap();
        assert_eq!(left, expected);
    }
    check(
        json!({"m": {"i": "v2", "a": []}}),
        json!({"m": {"i": "v1", "o": {"k": 1}}}),
        json!({"m": {"i": "v1", "a": [], "o": {"k": 1}}}),
    );
    check(json!({"apps": [1]}), json!({"apps": null}), json!({"apps": null}));
    check(json!({"a": null}), json!({"a": {"b": null}}), json!({"a": {"b": null}}));
    check(
        json!({"a": {"b": {"c": {"d": 1}}}}),
        json!({"a": {"b": {"c": {"e": {"f": {}}}}}}),
        json!({"a": {"b": {"c": {"d": 1, "e": {"f": {}}}}}}),
    );
}

#[test]
fn merge_refuses_five_common_maps_and_changes_nothing_then() {
    let before = json!({"x": 1, "a": {"b": {"c": {"d": {"e": 1}}}}});
    let mut left = before.clone();
    let right = json!({"x": 2, "a": {"b": {"c": {"d": {"e": 2}}}}});
    assert_eq!(merge(&mut left, right), Err(TooDeep));
    assert_eq!(left, before);
}

#[test]
fn diff_does_what_the_original_does() {
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "the table reads better without references")]
    fn check(desire: Value, report: Value, expected: Value, without_nulls: Value) {
        assert_eq!(diff(&report, &desire), expected);
        assert_eq!(diff_without_nulls(&report, &desire), without_nulls);
    }
    check(
        json!({"n": "x", "v": "45"}),
        json!({"n": "x", "v": "43", "core": {}}),
        json!({"v": "45", "core": null}),
        json!({"v": "45"}),
    );
    check(
        json!({"m": {"a": []}}),
        json!({"m": {"o": {"k": 1}}}),
        json!({"m": {"a": [], "o": null}}),
        json!({"m": {"a": []}}),
    );
    check(json!({"apps": []}), json!({"apps": [{"name": "a"}]}), json!({"apps": []}), json!({"apps": []}));
    check(json!({}), json!({"apps": []}), json!({"apps": null}), json!({}));
    check(json!({"apps": null}), json!({"apps": []}), json!({"apps": null}), json!({}));
    check(json!({}), json!(null), json!({}), json!({}));
    check(json!({"n": null}), json!({"n": null}), json!({}), json!({}));
    check(json!({"n": 1.0, "l": [1]}), json!({"n": 1, "l": [1.0]}), json!({}), json!({}));
    check(
        json!({"l": [{"a": 1, "b": 2}]}),
        json!({"l": [{"a": 1}]}),
        json!({"l": [{"a": 1, "b": 2}]}),
        json!({"l": [{"a": 1, "b": 2}]}),
    );
    check(json!({"l": [1, 2]}), json!({"l": [2, 1]}), json!({"l": [1, 2]}), json!({"l": [1, 2]}));
}

#[test]
fn a_part_changes_only_the_sections_that_it_holds() {
    let member =
        |name: &str| (name.to_owned(), NodeInfo { hostname: name.to_owned(), ..NodeInfo::default() });
    let mut report = Report {
        apps: Section::Is(apps(&[("a", "1")])),
        sysapps: Section::Is(apps(&[("s", "1")])),
        node: Section::Is([member("gone"), member("here")].into()),
        core: Section::Is(CoreInfo { bin_version: "1".to_owned(), ..CoreInfo::default() }),
        nodeprops: properties(json!({"lamp": "on", "fan": "off"})),
        extra: [("more".to_owned(), json!({"a": 1, "b": {"c": 1}}))].into(),
        ..Report::default()
    };
    merge_report(
        &mut report,
        Report {
            apps: Section::Null,
            node: Section::Is([member("here")].into()),
            core: Section::Is(CoreInfo { go_version: "x".to_owned(), ..CoreInfo::default() }),
            nodeprops: properties(json!({"lamp": null, "door": "shut"})),
            extra: [("more".to_owned(), json!({"b": {"d": null}}))].into(),
            ..Report::default()
        },
    );
    let expected = Report {
        apps: Section::Null,
        sysapps: Section::Is(apps(&[("s", "1")])),
        node: Section::Is([member("here")].into()),
        core: Section::Is(CoreInfo {
            bin_version: "1".to_owned(),
            go_version: "x".to_owned(),
            ..CoreInfo::default()
        }),
        nodeprops: properties(json!({"fan": "off", "door": "shut"})),
        extra: [("more".to_owned(), json!({"a": 1, "b": {"c": 1, "d": null}}))].into(),
        ..Report::default()
    };
    assert_eq!(report, expected);
}

#[test]
fn every_section_of_a_part_arrives() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/report.json");
    let full: Report = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let mut merged = Report::default();
    merge_report(&mut merged, full.clone());
    assert_eq!(merged, full);
    merge_report(&mut merged, Report::default());
    assert_eq!(merged, full);
}

#[test]
fn a_section_nested_too_deeply_is_replaced_and_the_rest_is_merged() {
    let deep = |leaf: &str| json!({"a": {"b": {"c": {leaf: 1}}}});
    let mut report = Report { extra: [("x".to_owned(), deep("old"))].into(), ..Report::default() };
    let part = Report {
        apps: Section::Is(vec![]),
        extra: [("x".to_owned(), deep("new"))].into(),
        ..Report::default()
    };
    merge_report(&mut report, part.clone());
    assert_eq!(report, part);
}

#[test]
fn properties_that_are_desired_are_always_answered_and_others_are_null() {
    let wanted = Desire { nodeprops: Some([("a".to_owned(), json!("9"))].into()), ..Desire::default() };
    let reported = Reported { nodeprops: properties(json!({"a": "9"})), ..Reported::default() };
    assert_eq!(delta(&wanted, &reported).nodeprops, properties(json!({"a": "9"})));
    assert_eq!(delta(&Desire::default(), &reported).nodeprops, Section::Null);
    assert_eq!(delta(&Desire::default(), &Reported::default()), Delta::default());
}

#[test]
fn a_list_that_names_an_application_twice_is_another_list() {
    let desire = Desire { apps: Some(apps(&[("a", "1"), ("a", "1"), ("b", "1")])), ..Desire::default() };
    let reported =
        Reported { apps: Section::Is(apps(&[("a", "1"), ("b", "1"), ("b", "1")])), ..Reported::default() };
    assert_eq!(delta(&desire, &reported).apps.into_value(), desire.apps);
}

#[test]
fn sections_that_nobody_knows_travel_from_desire_to_desire() {
    let desire = Desire { extra: [("devices".to_owned(), json!([1]))].into(), ..Desire::default() };
    let stored = Desire { extra: [("gone".to_owned(), json!(1))].into(), ..Desire::default() };
    let answer = delta(&desire, &Reported::default());
    assert_eq!(rebuild(&stored, &Sent::default(), &answer), desire);
}

#[test]
fn a_section_of_another_json_type_is_answered_whole() {
    let desire = Desire { apps: Some(vec![]), ..Desire::default() };
    let report = json!({"apps": {}, "sysapps": "x"});
    let reported = Reported::read(report.as_object().unwrap());
    assert_eq!(delta(&desire, &reported), Delta { apps: Section::Is(vec![]), ..Delta::default() });
}

#[test]
fn an_answer_of_properties_alone_keeps_the_lists() {
    let stored = Desire { apps: Some(apps(&[("old", "0")])), ..Desire::default() };
    let sent = Sent { apps: Some(apps(&[("a", "1")])), sysapps: Some(apps(&[("s", "1")])) };
    let answer = Delta { nodeprops: properties(json!({"lamp": "off"})), ..Delta::default() };
    let desire = rebuild(&stored, &sent, &answer);
    assert_eq!((desire.apps, desire.sysapps), (sent.apps, sent.sysapps));
}

/// The recorded sequences: what the node rebuilds is what the cloud shows as desired.
#[test]
fn rebuilt_desires_are_those_of_the_recorded_cloud() {
    let mut checked = 0;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cloud");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files {
        let sequence: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let Some(steps) = sequence["steps"].as_array() else { continue };
        let mut stored = Desire::default();
        for pair in steps.windows(2) {
            let (report, shown) = (&pair[0], &pair[1]["response"]["body"]["desire"]);
            let sent = serde_json::from_value::<Report>(report["request"]["body"].clone());
            let (Ok(sent), "/v1/sync/report", true) =
                (sent, report["request"]["path"].as_str().unwrap(), shown.is_object())
            else {
                continue;
            };
            let sent = Sent::from(&sent);
            let answer: Delta = serde_json::from_value(report["response"]["body"].clone()).unwrap();
            let shown: Desire = serde_json::from_value(shown.clone()).unwrap();
            if report["request"]["headers"]["source"] == "baetyl-init" {
                stored = rebuild_sysapps(&stored, &sent, &answer);
                assert_eq!(stored.sysapps, shown.sysapps, "{file:?} {}", report["name"]);
            } else {
                stored = rebuild(&stored, &sent, &answer);
                assert_eq!(stored, shown, "{file:?} {}", report["name"]);
            }
            checked += 1;
        }
    }
    assert!(checked >= 15, "only {checked} recorded answers were checked");
}

#[tokio::test]
async fn desire_and_properties_survive_and_measurements_do_not() {
    let store = Arc::new(MoodyStore::default());
    let shadow = StoredShadow::open(store.clone()).await.unwrap();
    let desire = Desire { apps: Some(apps(&[("a", "1")])), ..Desire::default() };
    shadow.apply_desire(desire.clone()).await.unwrap();
    let part = Report {
        nodeprops: properties(json!({"lamp": "on"})),
        modeinfo: Section::Is(json!("v1")),
        ..Report::default()
    };
    shadow.merge_report(part.clone()).await.unwrap();
    assert_eq!(**shadow.report().borrow(), part);

    let again = StoredShadow::open(store).await.unwrap();
    assert_eq!(**again.desire().borrow(), desire);
    let kept = Report { nodeprops: properties(json!({"lamp": "on"})), ..Report::default() };
    assert_eq!(**again.report().borrow(), kept);
}

#[tokio::test]
async fn what_changes_nothing_is_not_written_and_wakes_nobody() {
    let store = Arc::new(MoodyStore::default());
    let shadow = StoredShadow::open(store.clone()).await.unwrap();
    let desire = Desire { sysapps: Some(vec![]), ..Desire::default() };
    let part = Report { nodeprops: properties(json!({"lamp": "on"})), ..Report::default() };
    shadow.apply_desire(desire.clone()).await.unwrap();
    shadow.merge_report(part.clone()).await.unwrap();
    let (desires, reports) = (shadow.desire(), shadow.report());

    shadow.apply_desire(desire).await.unwrap();
    shadow.merge_report(part).await.unwrap();
    assert_eq!(store.commits.load(Ordering::Relaxed), 2);
    assert!(!desires.has_changed().unwrap() && !reports.has_changed().unwrap());
}

#[tokio::test]
async fn a_full_disk_keeps_what_was_and_the_next_try_writes() {
    let store = Arc::new(MoodyStore::default());
    let shadow = StoredShadow::open(store.clone()).await.unwrap();
    let desire = Desire { apps: Some(vec![]), ..Desire::default() };
    let part = Report {
        apps: Section::Is(vec![]),
        nodeprops: properties(json!({"lamp": "on"})),
        ..Report::default()
    };
    store.full.store(true, Ordering::Relaxed);
    assert!(shadow.apply_desire(desire.clone()).await.unwrap_err().is_transient());
    assert!(shadow.merge_report(part.clone()).await.is_err());
    assert_eq!(**shadow.desire().borrow(), Desire::default());
    assert_eq!(**shadow.report().borrow(), Report::default());
    // Measurements need no disk.
    shadow.merge_report(Report { sysapps: Section::Is(vec![]), ..Report::default() }).await.unwrap();

    store.full.store(false, Ordering::Relaxed);
    shadow.apply_desire(desire.clone()).await.unwrap();
    shadow.merge_report(part).await.unwrap();
    let again = StoredShadow::open(store).await.unwrap();
    assert_eq!(**again.desire().borrow(), desire);
}

/// A write that was given up may have reached the disk: taking the old desire back must write it again.
#[tokio::test(start_paused = true)]
async fn a_desire_that_was_given_up_does_not_come_back_after_a_restart() {
    let store = Arc::new(MoodyStore::default());
    let shadow = StoredShadow::open(store.clone()).await.unwrap();
    let old = Desire { apps: Some(vec![]), ..Desire::default() };
    shadow.apply_desire(old.clone()).await.unwrap();
    store.hangs_after.store(true, Ordering::Relaxed);
    let new = Desire { apps: Some(apps(&[("a", "1")])), ..Desire::default() };
    let given_up = tokio::time::timeout(std::time::Duration::from_secs(1), shadow.apply_desire(new)).await;
    assert!(given_up.is_err());
    assert_eq!(**shadow.desire().borrow(), old);

    store.hangs_after.store(false, Ordering::Relaxed);
    shadow.apply_desire(old.clone()).await.unwrap();
    assert_eq!(**StoredShadow::open(store).await.unwrap().desire().borrow(), old);
}

#[tokio::test(start_paused = true)]
async fn a_property_that_was_given_up_does_not_come_back_after_a_restart() {
    let store = Arc::new(MoodyStore::default());
    let shadow = StoredShadow::open(store.clone()).await.unwrap();
    let part = |value: &str| Report { nodeprops: properties(json!({"lamp": value})), ..Report::default() };
    shadow.merge_report(part("on")).await.unwrap();
    store.hangs_after.store(true, Ordering::Relaxed);
    let second = std::time::Duration::from_secs(1);
    assert!(tokio::time::timeout(second, shadow.merge_report(part("off"))).await.is_err());
    assert_eq!(**shadow.report().borrow(), part("on"));

    store.hangs_after.store(false, Ordering::Relaxed);
    shadow.merge_report(part("on")).await.unwrap();
    assert_eq!(**StoredShadow::open(store).await.unwrap().report().borrow(), part("on"));
}

#[tokio::test]
async fn changes_of_properties_at_once_are_all_kept() {
    let shadow = Arc::new(StoredShadow::open(Arc::new(MoodyStore::default())).await.unwrap());
    let change = |key: &str| {
        let shadow = shadow.clone();
        let part = Report { nodeprops: properties(json!({key: "1"})), ..Report::default() };
        async move { shadow.merge_report(part).await.unwrap() }
    };
    tokio::join!(change("a"), change("b"), change("c"));
    assert_eq!(shadow.report().borrow().nodeprops, properties(json!({"a": "1", "b": "1", "c": "1"})));
}

#[tokio::test]
async fn a_damaged_value_is_named_and_can_be_removed() {
    for bytes in [&b"\xff\x00"[..], b"{}", br#"{"format":2,"value":{}}"#, br#"{"format":1,"value":[1]}"#] {
        let store = Arc::new(MoodyStore::default());
        store.values.lock().unwrap().insert((Table::Node, "desire".to_owned()), bytes.to_vec());
        let error = StoredShadow::open(store.clone()).await.unwrap_err();
        let StoreError::Damaged { key, .. } = error else { panic!("{error:?}") };
        store.commit(vec![Change::Remove(Table::Node, key)]).await.unwrap();
        StoredShadow::open(store).await.unwrap();
    }
}

/// What format 1 wrote is read forever.
#[tokio::test]
async fn what_was_stored_by_format_1_is_read_and_written_again_the_same() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let stored = |key: &str| {
        let text = std::fs::read_to_string(folder.join(format!("disk-{key}-1.json"))).unwrap();
        (Table::Node, key.to_owned(), text.trim_end().as_bytes().to_vec())
    };
    let written = [stored("desire"), stored("nodeprops")];
    let old = Arc::new(MoodyStore::default());
    for (table, key, bytes) in written.clone() {
        old.values.lock().unwrap().insert((table, key), bytes);
    }
    let shadow = StoredShadow::open(old).await.unwrap();
    let (desire, report) = (shadow.desire().borrow().clone(), shadow.report().borrow().clone());
    assert_eq!(desire.apps, Some(apps(&[("web", "1")])));
    assert_eq!(report.nodeprops, properties(json!({"lamp": "on"})));

    let new = Arc::new(MoodyStore::default());
    let shadow = StoredShadow::open(new.clone()).await.unwrap();
    shadow.apply_desire((*desire).clone()).await.unwrap();
    shadow.merge_report((*report).clone()).await.unwrap();
    for (table, key, bytes) in written {
        let again: Value = serde_json::from_slice(&new.load(table, &key).await.unwrap().unwrap()).unwrap();
        assert_eq!(again, serde_json::from_slice::<Value>(&bytes).unwrap());
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3i64..3).prop_map(Value::from),
        "[ab]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-d]", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key, without_nulls(value)))
                .collect(),
        ),
        other => other,
    }
}

fn any_apps() -> impl Strategy<Value = Vec<AppInfo>> {
    prop::collection::btree_map("[a-d]", "[1-3]", 0..4)
        .prop_map(|map| map.into_iter().map(|(name, version)| AppInfo { name, version }).collect::<Vec<_>>())
        .prop_shuffle()
}

fn any_properties() -> impl Strategy<Value = BTreeMap<String, Value>> {
    prop::collection::btree_map("[a-c]", "[xy]".prop_map(Value::from), 0..3)
}

fn any_desire() -> impl Strategy<Value = Desire> {
    let section = || prop::option::of(any_apps());
    (section(), section(), prop::option::of(any_properties())).prop_map(|(apps, sysapps, nodeprops)| Desire {
        apps,
        sysapps,
        nodeprops,
        extra: BTreeMap::new(),
    })
}

fn sorted(mut desire: Desire) -> Desire {
    for list in [&mut desire.apps, &mut desire.sysapps].into_iter().flatten() {
        list.sort();
    }
    desire
}

proptest! {
    #[test]
    fn merge_patch_is_that_of_rfc_7396(document in any_json(), patch in any_json()) {
        let (mut ours, mut oracle) = (document.clone(), document);
        merge_patch(&mut ours, &patch);
        json_patch::merge(&mut oracle, &patch);
        prop_assert_eq!(ours, oracle);
    }

    #[test]
    fn a_diff_applied_gives_the_target_and_twice_changes_nothing(from in any_json(), to in any_json()) {
        let to = without_nulls(to);
        let patch = diff(&from, &to);
        let mut document = from;
        merge_patch(&mut document, &patch);
        prop_assert_eq!(&document, &to);
        merge_patch(&mut document, &patch);
        prop_assert_eq!(&document, &to);
        if to.is_object() {
            prop_assert_eq!(diff(&document, &to), json!({}));
        }
    }

    #[test]
    fn merge_takes_all_of_the_right_and_twice_changes_nothing(left in any_json(), right in any_json()) {
        let mut merged = left.clone();
        match merge(&mut merged, right.clone()) {
            Err(TooDeep) => prop_assert_eq!(merged, left),
            Ok(()) => {
                let once = merged.clone();
                merge(&mut merged, right).unwrap();
                prop_assert_eq!(merged, once);
            }
        }
    }

    #[test]
    fn the_desire_follows_from_report_and_answer_whatever_was_stored(
        stored in any_desire(),
        (apps, sysapps, nodeprops) in (any_apps(), any_apps(), prop::option::of(any_properties())),
        (sent_apps, sent_sysapps) in (prop::option::of(any_apps()), prop::option::of(any_apps())),
        reported_props in prop::option::of(any_properties()),
    ) {
        let desire = Desire { apps: Some(apps), sysapps: Some(sysapps), nodeprops, extra: BTreeMap::new() };
        let report = Report {
            apps: sent_apps.into(),
            sysapps: sent_sysapps.into(),
            nodeprops: reported_props.into(),
            ..Report::default()
        };
        let answer = delta(&desire, &Reported::from(&report));
        // Over the wire, as it travels.
        let answer: Delta = serde_json::from_slice(&serde_json::to_vec(&answer).unwrap()).unwrap();
        let rebuilt = rebuild(&stored, &Sent::from(&report), &answer);
        prop_assert_eq!(sorted(rebuilt), sorted(desire));
    }

    #[test]
    fn a_partial_answer_never_makes_a_known_section_unknown(
        stored in any_desire(),
        sent in (prop::option::of(any_apps()), prop::option::of(any_apps())),
        null in any::<(bool, bool)>(),
    ) {
        let sent = Sent { apps: sent.0, sysapps: sent.1 };
        let section = |null| if null { Section::Null } else { Section::Absent };
        let answer = Delta { apps: section(null.0), sysapps: section(null.1), ..Delta::default() };
        let rebuilt = rebuild(&stored, &sent, &answer);
        prop_assert!(rebuilt.apps.is_some() >= stored.apps.is_some());
        prop_assert!(rebuilt.sysapps.is_some() >= stored.sysapps.is_some());
        let init = rebuild_sysapps(&stored, &sent, &answer);
        prop_assert_eq!((init.apps, init.nodeprops), (stored.apps, stored.nodeprops));
    }

    #[test]
    fn merging_the_same_part_twice_changes_nothing(
        first in any_desire(), second in any_desire(), extra in any_json(),
    ) {
        let part = |desire: Desire| Report {
            apps: desire.apps.into(),
            sysapps: desire.sysapps.into(),
            nodeprops: desire.nodeprops.into(),
            extra: [("x".to_owned(), extra.clone())].into(),
            ..Report::default()
        };
        let mut report = part(first);
        merge_report(&mut report, part(second.clone()));
        let once = report.clone();
        merge_report(&mut report, part(second));
        prop_assert_eq!(report, once);
    }
}
