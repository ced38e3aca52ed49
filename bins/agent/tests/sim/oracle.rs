//! What must be true at every step, known apart from the agent: what the cloud ever wanted, and what the
//! store acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use baetyl_core_lib::application::Scope;
use baetyl_core_lib::spec::AppInfo;
use baetyl_core_lib::store::{Change, Table};
use serde_json::Value;
use tokio::time::{Duration, Instant};

use crate::trace::Trace;

/// How long a removal that the cloud has taken back may go on.
const REMOVAL: Duration = Duration::from_secs(310);

/// A desire without order: what is wanted, and nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) apps: BTreeSet<AppInfo>,
    pub(crate) sysapps: BTreeSet<AppInfo>,
    pub(crate) nodeprops: Option<BTreeMap<String, String>>,
}

impl Wanted {
    /// Whether an answer to a report says anything, in words that a node can read.
    pub(crate) fn is_delta(answer: &Value) -> bool {
        answer.is_object() && answer["apps"].as_array().is_some() == answer.get("apps").is_some()
    }

    /// From the document of the cloud or the node; `None` while a section was never spoken of.
    pub(crate) fn read(document: &Value) -> Option<Self> {
        let list = |key: &str| serde_json::from_value(document.get(key)?.clone()).ok();
        let nodeprops = document.get("nodeprops").cloned().unwrap_or_default();
        Some(Self {
            apps: list("apps")?,
            sysapps: list("sysapps")?,
            nodeprops: serde_json::from_value(nodeprops).ok()?,
        })
    }
}

/// The durable state of one application's update, as far as it is checked.
#[derive(Debug, Default)]
struct Update {
    phase: String,
    good: Option<String>,
    target: Option<String>,
}

/// Where a value may stand on the disk: what was acknowledged, or else what was tried since.
type Possible = Vec<Option<Vec<u8>>>;

#[derive(Debug, Default)]
struct Known {
    /// All desires that the cloud had for the node, oldest first, by their versions.
    history: Vec<(String, Wanted)>,
    /// The version of the desire that the last answer to a report was made of.
    answered: String,
    /// Whether the node must have made that desire its own before it reports again.
    owed: bool,
    store: BTreeMap<(Table, String), Possible>,
    /// All that a durable desire of the node ever named.
    durable: BTreeSet<AppInfo>,
    /// When an application came back that the desire had lacked.
    returned: BTreeMap<String, Instant>,
}

/// Judges what passes. Clones are the same judge.
#[derive(Debug, Clone)]
pub(crate) struct Oracle {
    trace: Trace,
    known: Arc<Mutex<Known>>,
}

impl Oracle {
    pub(crate) fn new(trace: Trace) -> Self {
        Self { trace, known: Arc::default() }
    }

    /// The cloud wants something else from now on.
    pub(crate) fn cloud_wants(&self, document: &Value) {
        if let Some(wanted) = Wanted::read(document) {
            let version = document["version"].as_str().unwrap_or_default();
            self.lock().history.push((version.to_owned(), wanted));
        }
    }

    /// What the cloud wants now.
    pub(crate) fn wanted(&self) -> Wanted {
        self.lock().history.last().map(|(_, wanted)| wanted.clone()).unwrap_or_default()
    }

    /// The node got an answer to a report that can be read and says something, made of the desire of this
    /// version.
    pub(crate) fn answered(&self, version: &str) {
        let mut known = self.lock();
        version.clone_into(&mut known.answered);
        known.owed = true;
    }

    /// The node got an answer that it cannot read, or that says nothing; or it could not keep what it said.
    pub(crate) fn excused(&self) {
        self.lock().owed = false;
    }

    /// The node is about to report: the desire of the last answer is its own by now.
    pub(crate) fn reports(&self) {
        let known = self.lock();
        let told = known.history.iter().rev().find(|(version, _)| *version == known.answered);
        let desire = known.desire();
        if known.owed && desire.as_ref() != told.map(|(_, wanted)| wanted) {
            self.trace.violation(format_args!("the node was told {told:?} and has {desire:?}"));
        }
    }

    /// The node is about to commit. A desire must be the one that the last answer told, whole.
    pub(crate) fn commits(&self, changes: &[Change]) {
        for change in changes {
            let (key, value) = parts(change);
            if let (true, Some(bytes)) = (is_desire(&key), &value) {
                self.check_desire(bytes);
            }
            self.lock().store.entry(key).or_insert_with(|| vec![None]).push(value);
        }
    }

    /// The commit was acknowledged.
    pub(crate) fn committed(&self, changes: &[Change]) {
        let mut known = self.lock();
        for change in changes {
            let (key, value) = parts(change);
            if let (true, Some(bytes)) = (is_desire(&key), &value)
                && let Some(wanted) = stored_desire(bytes)
            {
                known.takes(wanted);
            }
            known.store.insert(key, vec![value]);
        }
    }

    /// The node was started and finds this in its store: of each value what was acknowledged last, or what
    /// was tried since.
    pub(crate) fn opened(&self, found: BTreeMap<(Table, String), Vec<u8>>) {
        let mut known = self.lock();
        known.owed = false;
        let store = std::mem::take(&mut known.store);
        let keys: BTreeSet<&(Table, String)> = store.keys().chain(found.keys()).collect();
        for key in keys {
            let value = found.get(key).cloned();
            let possible = store.get(key).map_or(&[None][..], Vec::as_slice);
            if !possible.contains(&value) {
                let what = if value.is_none() { "is gone" } else { "was never committed, or is older" };
                self.trace.violation(format_args!("after a crash {}/{} {what}", key.0.name(), key.1));
            }
        }
        if let Some(wanted) =
            found.iter().find(|(key, _)| is_desire(key)).and_then(|(_, bytes)| stored_desire(bytes))
        {
            known.durable.extend(wanted.apps);
        }
        known.store = found.into_iter().map(|(key, value)| (key, vec![Some(value)])).collect();
    }

    /// The engine is about to prepare or apply a version: a durable desire named it, and before it is applied
    /// the intent is durable too.
    pub(crate) fn begins(&self, operation: &str, scope: Scope, info: &AppInfo) {
        let known = self.lock();
        if !known.durable.contains(info) {
            self.trace.violation(format_args!("{operation} {info}, which no durable desire named"));
        }
        let update = known.update(scope, &info.name);
        let version = Some(&info.version);
        if operation == "apply" && update.good.as_ref() != version && update.target.as_ref() != version {
            self.trace.violation(format_args!("apply {info} without a durable intent"));
        }
    }

    /// The engine is about to stop or remove a version. Unless the cloud removed its application, only an
    /// update may: a version that is not the good one goes, or the good one steps aside for its target.
    pub(crate) fn ends(&self, operation: &str, scope: Scope, info: &AppInfo) {
        let known = self.lock();
        let Some(desire) = known.desire() else {
            return self.trace.violation(format_args!("{operation} {info} with no desire"));
        };
        if !desire.apps.iter().any(|wanted| wanted.name == info.name) {
            return;
        }
        if known.returned.get(&info.name).is_some_and(|back| back.elapsed() < REMOVAL) {
            return;
        }
        let update = known.update(scope, &info.name);
        let is_good = update.good.as_ref() == Some(&info.version);
        let steps_aside = operation == "stop" && update.phase == "applying";
        let unknown = update.good.is_none() && update.target.is_none();
        if unknown || (is_good && !steps_aside) {
            self.trace.violation(format_args!("{operation} {info}, which the cloud wants: {update:?}"));
        }
    }

    fn check_desire(&self, bytes: &[u8]) {
        let known = self.lock();
        let desire = stored_desire(bytes);
        let told = known.history.iter().rev().find(|(version, _)| *version == known.answered);
        if desire.is_some() && desire.as_ref() == told.map(|(_, wanted)| wanted) {
            return;
        }
        let had = desire.is_some_and(|desire| known.history.iter().any(|(_, wanted)| *wanted == desire));
        let what = if had { "an earlier one" } else { "one that it never had" };
        self.trace.violation(format_args!("the node takes for the cloud's desire {what}"));
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// The node has made a desire durable.
    fn takes(&mut self, wanted: Wanted) {
        let before = self.desire().unwrap_or_default();
        let had = |app: &&AppInfo| before.apps.iter().any(|old| old.name == app.name);
        let back = wanted.apps.iter().filter(|app| !had(app));
        self.returned.extend(back.map(|app| (app.name.clone(), Instant::now())));
        self.durable.extend(wanted.apps);
    }

    fn value(&self, table: Table, key: &str) -> Option<&[u8]> {
        let possible = self.store.get(&(table, key.to_owned()))?;
        possible.first()?.as_deref()
    }

    /// The desire that is surely durable.
    fn desire(&self) -> Option<Wanted> {
        stored_desire(self.value(Table::Node, "desire")?)
    }

    fn update(&self, scope: Scope, name: &str) -> Update {
        let stored = self.value(Table::Update, &format!("{scope}/{name}"));
        let stored: Value = stored.and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or_default();
        let version = |part: &str| stored[part]["version"].as_str().map(str::to_owned);
        Update {
            phase: stored["phase"].as_str().unwrap_or_default().to_owned(),
            good: version("good"),
            target: version("target"),
        }
    }
}

fn parts(change: &Change) -> ((Table, String), Option<Vec<u8>>) {
    match change {
        Change::Put(table, key, value) => ((*table, key.clone()), Some(value.clone())),
        Change::Remove(table, key) => ((*table, key.clone()), None),
    }
}

fn is_desire(key: &(Table, String)) -> bool {
    *key == (Table::Node, "desire".to_owned())
}

fn stored_desire(bytes: &[u8]) -> Option<Wanted> {
    let stored: Value = serde_json::from_slice(bytes).ok()?;
    Wanted::read(stored.get("value")?)
}
