//! Has a plan carried out: first what must be durable, together, then the work.

use std::collections::BTreeMap;
use std::time::Duration;

use baetyl_core_lib::application::Scope;
use baetyl_core_lib::error::Chain;
use baetyl_core_lib::spec::AppInfo;
use baetyl_core_lib::store::StoreError;

use super::book::{App, key};
use super::deploy::has_certs;
use super::execute::{Job, Key};
use super::plan::{Item, Plan};
use super::update::{Busy, Phase, Record, Work};
use super::{PROGRESS, RENEW_EVERY, Reconciler, SWEEP_AFTER, gc, records};

/// How soon the store is tried again after it failed.
const STORE_AGAIN: Duration = Duration::from_secs(5);

impl Reconciler {
    /// Reads the durable states, once.
    pub(super) async fn load(&mut self) -> Result<(), StoreError> {
        if !self.loaded {
            for (key, record) in records::load(&*self.store).await? {
                self.book.apps.insert(key, App { record, ..App::default() });
            }
            self.loaded = true;
        }
        Ok(())
    }

    pub(super) async fn carry_out(&mut self, plan: Plan, now: Duration) {
        for app in self.book.apps.values_mut() {
            app.rejected = None;
        }
        for (item, reason) in &plan.reject {
            if let Some(app) = self.book.apps.get_mut(&key(item)) {
                app.rejected = Some(reason.clone());
            }
        }
        for item in &plan.cancel {
            self.cancel(item);
        }
        let durable = self.make_durable(&plan, now).await;
        self.prepare(&plan.prepare);
        for item in plan.repair {
            let until = now + self.config.deadline;
            self.start(&item, Work::Repair, Some(until), |_| Job::Repair(item.info.clone()));
        }
        self.remove(plan.remove, now);
        if durable {
            self.apply(plan.apply, now);
            self.revert(plan.revert, now);
        }
        if !self.book.is_idle() {
            self.wake(now + PROGRESS);
        }
    }

    /// Makes durable what the plan intends or has found. Returns whether it is.
    async fn make_durable(&mut self, plan: &Plan, now: Duration) -> bool {
        let next = self.next_records(plan);
        if next.is_empty() {
            return true;
        }
        let changes = next.iter().map(|(key, record)| match record {
            Some(record) => records::put(key, record),
            None => records::remove(key),
        });
        let failed = self.store.commit(changes.collect()).await.err();
        for (key, record) in next {
            let Some(app) = self.book.apps.get_mut(&key) else { continue };
            if let Some(error) = &failed {
                app.put_off(&Chain(error).to_string(), now, &*self.random);
                continue;
            }
            match record {
                Some(record) if matches!(record.phase, Phase::Good | Phase::Waiting) => {
                    tracing::info!(app = key.1, phase = ?record.phase, "state of update changed");
                    // What came up has no start to be waited for any more.
                    app.live.repair_at = None;
                    app.turn(record, now, &*self.random);
                }
                Some(record) => app.record = record,
                None => drop(self.book.apps.remove(&key)),
            }
        }
        // Whatever came to rest is looked at anew: leftovers go, the next version comes.
        let rests = plan.commit.len() + plan.stick.len() + plan.forget.len() > 0;
        if let Some(error) = failed {
            tracing::warn!(error = %Chain(&error), "states of updates cannot be made durable");
            self.wake(now + STORE_AGAIN);
            return false;
        }
        if rests {
            self.wake(now);
            self.sweep_at = Some(now + SWEEP_AFTER);
        }
        true
    }

    fn next_records(&self, plan: &Plan) -> BTreeMap<Key, Option<Record>> {
        let mut next = BTreeMap::new();
        let app = |item: &Item| self.book.apps.get(&key(item));
        for apply in &plan.apply {
            let Some(app) = app(&apply.item) else { continue };
            let facts = app.live.prepared.as_ref().or_else(|| app.record.facts(&apply.item.info.version));
            let Some(facts) = facts else { continue };
            if app.record.phase != Phase::Applying || app.record.target.as_ref() != Some(facts) {
                next.insert(key(&apply.item), Some(app.record.applying(facts.clone())));
            }
        }
        for item in &plan.commit {
            let Some(app) = app(item) else { continue };
            let back = app.record.phase == Phase::Reverting;
            let record = if back { app.record.reverted() } else { app.record.committed(&item.info.version) };
            next.insert(key(item), Some(record));
        }
        for (item, reason) in &plan.revert {
            if let Some(app) = app(item).filter(|app| app.record.phase != Phase::Reverting) {
                next.insert(key(item), Some(app.record.reverting(reason.clone())));
            }
        }
        for (item, reason) in &plan.stick {
            if let Some(app) = app(item) {
                next.insert(key(item), Some(app.record.stuck(reason.clone())));
            }
        }
        for item in &plan.forget {
            next.insert(key(item), None);
        }
        for (key, app) in &self.book.apps {
            if let Some(facts) = app.renewed.as_ref().filter(|facts| app.record.is_good(&facts.version)) {
                let renewed = Record { good: Some(facts.clone()), ..app.record.clone() };
                next.entry(key.clone()).or_insert(Some(renewed));
            }
        }
        next
    }

    fn prepare(&mut self, items: &[Item]) {
        let sweep = sweep_key();
        if !items.is_empty() && self.executor.is_running(&sweep) {
            // What is fetched now must not be swept away. The end of the sweep makes another pass.
            self.executor.cancel(&sweep);
            return;
        }
        for item in items {
            self.start(item, Work::Prepare, None, |_| Job::Prepare(item.info.clone()));
        }
    }

    fn apply(&mut self, applies: Vec<super::plan::Apply>, now: Duration) {
        for super::plan::Apply { item, clear, stop } in applies {
            let Some(app) = self.book.apps.get_mut(&key(&item)) else { continue };
            let own = app.record.facts(&item.info.version).and_then(|facts| facts.deadline);
            let deadline = own.map_or(self.config.deadline, Duration::from_secs);
            let until = *app.live.deadline.get_or_insert(now + deadline);
            tracing::info!(app = item.info.name, version = item.info.version, "version is applied");
            self.start(&item, Work::Apply, Some(until), |app| Job::Apply {
                info: item.info.clone(),
                resolved: app.resolved.clone().map(Box::new),
                clear: app.places(&clear),
                stop: app.places(&stop),
            });
        }
    }

    fn revert(&mut self, reverts: Vec<(Item, Option<String>)>, now: Duration) {
        for (item, reason) in reverts {
            let Some(good) = self.book.apps.get(&key(&item)).and_then(|app| app.record.good.as_ref()) else {
                continue;
            };
            let to = AppInfo::new(&*item.info.name, &*good.version);
            if let Some(reason) = reason {
                tracing::warn!(
                    app = to.name,
                    version = item.info.version,
                    reason,
                    "version failed: going back"
                );
            }
            let until = now + self.config.deadline;
            self.start(&item, Work::Revert, Some(until), |app| {
                let others = app.sightings.iter().map(|sighting| &sighting.state.info.version);
                Job::Revert { from: app.places(others.filter(|version| **version != to.version)), to }
            });
        }
    }

    fn remove(&mut self, items: Vec<Item>, now: Duration) {
        let mut versions: BTreeMap<Key, Vec<Item>> = BTreeMap::new();
        for item in items {
            versions.entry(key(&item)).or_default().push(item);
        }
        for items in versions.into_values() {
            let until = now + self.config.deadline;
            self.start(&items[0], Work::Remove, Some(until), |app| {
                tracing::info!(app = items[0].info.name, versions = items.len(), "versions are removed");
                Job::Remove(app.places(items.iter().map(|item| &item.info.version)))
            });
        }
    }

    fn start(&mut self, item: &Item, work: Work, until: Option<Duration>, job: impl FnOnce(&App) -> Job) {
        let key = key(item);
        let Some(app) = self.book.apps.get_mut(&key).filter(|app| app.live.busy.is_none()) else { return };
        app.live.busy = Some(Busy { work, version: item.info.version.clone(), until, cancelled: false });
        let job = job(app);
        self.executor.start(key, job);
    }

    fn cancel(&mut self, item: &Item) {
        let key = key(item);
        if let Some(busy) = self.book.apps.get_mut(&key).and_then(|app| app.live.busy.as_mut()) {
            busy.cancelled = true;
            self.executor.cancel(&key);
        }
    }

    /// Has certificates looked at, now and then. Those that are due are put in place without a restart.
    pub(super) fn renew(&mut self, now: Duration) {
        if self.certs.is_none() {
            return;
        }
        if self.renew_at <= now {
            self.renew_at = now + RENEW_EVERY;
            let good = self.book.apps.iter().filter(|((_, name), app)| {
                app.record.phase == Phase::Good && app.live.busy.is_none() && has_certs(name)
            });
            let good: Vec<(Item, String)> = good
                .filter_map(|((scope, name), app)| {
                    let facts = app.record.good.as_ref()?;
                    let info = AppInfo::new(name.as_str(), &*facts.version);
                    Some((Item { scope: *scope, info }, facts.certs.clone()))
                })
                .collect();
            for (item, certs) in good {
                let until = now + self.config.deadline;
                self.start(&item, Work::Renew, Some(until), |_| Job::Renew(item.info.clone(), certs));
            }
        }
        self.wake(self.renew_at);
    }

    /// Sweeps up what updates left, once all is at rest.
    pub(super) fn sweep(&mut self, now: Duration) {
        let Some(at) = self.sweep_at else { return };
        if at > now {
            return self.wake(at);
        }
        // Jobs that end make another pass; so does the end of whatever nobody knows the needs of.
        if !self.book.is_idle() || self.executor.is_running(&sweep_key()) {
            return;
        }
        let Some(keep) = self.book.keep(&self.config.own_certs) else { return };
        self.sweep_at = None;
        let (resources, objects, certs) = (self.resources.clone(), self.objects.clone(), self.certs.clone());
        self.executor.start_other(sweep_key(), gc::sweep(keep, resources, objects, certs));
    }
}

/// The sweep runs under a name that no application can have.
fn sweep_key() -> Key {
    (Scope::System, String::new())
}
