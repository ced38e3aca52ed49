//! What to do next, for every application: desire × inventory × update states → [`Plan`]. Pure: time is an
//! argument, and nothing here knows engines, documents or the store.

use std::collections::BTreeMap;
use std::time::Duration;

use baetyl_core_lib::application::Scope;
use baetyl_core_lib::spec::AppInfo;

use super::conflict::port_taken;
use super::health::Health;
use super::update::{Busy, Live, Phase, Record, Work};

/// What is wanted of an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want<'a> {
    /// This version.
    Version(&'a str),
    /// Nothing: an explicit list lacks it.
    Gone,
    /// Nobody has said: what there is stays as it is.
    Unsaid,
}

impl<'a> Want<'a> {
    /// The version to work towards; without a word from anybody, the one that was worked towards last.
    pub fn version(self, record: &'a Record) -> Option<&'a str> {
        let facts = match (self, record.phase) {
            (Want::Version(version), _) => return Some(version),
            (Want::Gone, _) => return None,
            (Want::Unsaid, Phase::Applying) => record.target.as_ref(),
            (Want::Unsaid, _) => record.current(),
        };
        facts.map(|facts| facts.version.as_str())
    }
}

/// One version as an engine shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// How it fares.
    pub health: Health,
    /// Whether only `apply` brings it back.
    pub incomplete: bool,
}

/// Everything that decides about one application of this role.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// Its scope.
    pub scope: Scope,
    /// Its name.
    pub name: &'a str,
    /// What is wanted.
    pub want: Want<'a>,
    /// The durable state of its update.
    pub record: &'a Record,
    /// The state that only this run knows.
    pub live: &'a Live,
    /// Its versions as they are seen; `None` when an engine could not be asked.
    pub seen: Option<&'a BTreeMap<String, Seen>>,
}

/// A version of an application in its scope.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    /// The scope.
    pub scope: Scope,
    /// Name and version.
    pub info: AppInfo,
}

/// A version to be made to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Apply {
    /// Which.
    pub item: Item,
    /// Versions that were given up, to be removed first.
    pub clear: Vec<String>,
    /// The good version, where it cannot run beside this one: stopped first, not removed.
    pub stop: Option<String>,
}

/// What to do next. One application is in at most one of the lists that start work.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Fetch and prepare.
    pub prepare: Vec<Item>,
    /// Make run; the intent is durable first.
    pub apply: Vec<Apply>,
    /// Make the good version whole again.
    pub repair: Vec<Item>,
    /// Became ready, or runs again after going back: make that durable.
    pub commit: Vec<Item>,
    /// Go back from this version to the good one; with the reason, unless the version was only given up.
    pub revert: Vec<(Item, Option<String>)>,
    /// A first version failed: it stays, with this reason.
    pub stick: Vec<(Item, String)>,
    /// Remove these versions.
    pub remove: Vec<Item>,
    /// Nothing is left of it: forget its state.
    pub forget: Vec<Item>,
    /// Cannot be applied as things stand, and why.
    pub reject: Vec<(Item, String)>,
    /// What is being done is no longer wanted.
    pub cancel: Vec<Item>,
    /// When to plan again, if nothing happens before.
    pub wake_at: Option<Duration>,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        *self == Self { wake_at: self.wake_at, ..Self::default() }
    }
}

/// Decides for all applications of this role, in order of desire. `look` is how long to wait before looking
/// again at something that is not ready.
pub fn plan(apps: &[Given<'_>], now: Duration, look: Duration) -> Plan {
    let mut planner = Planner { plan: Plan::default(), now, look, apps };
    for app in apps {
        planner.decide(app);
    }
    planner.plan
}

struct Planner<'a> {
    plan: Plan,
    now: Duration,
    look: Duration,
    apps: &'a [Given<'a>],
}

impl Planner<'_> {
    fn decide(&mut self, app: &Given<'_>) {
        if let Some(busy) = &app.live.busy {
            return self.keep_or_cancel(app, busy);
        }
        let record = app.record;
        match app.want.version(record) {
            None if app.want == Want::Gone => self.remove_all(app),
            None => {}
            Some(_) if record.phase == Phase::Reverting => self.go_back(app),
            Some(version) if record.phase == Phase::Applying && record.is_target(version) => {
                self.bring_up(app, version);
            }
            Some(version) if has_failed(record, version) => self.wait(app, version),
            Some(version) if record.is_good(version) => self.settle(app, version),
            Some(version) => self.prepare(app, version),
        }
    }

    fn keep_or_cancel(&mut self, app: &Given<'_>, busy: &Busy) {
        let wanted = app.want.version(app.record);
        let stale = match busy.work {
            Work::Prepare | Work::Apply => wanted != Some(&busy.version),
            Work::Repair | Work::Renew => wanted.is_none(),
            Work::Remove => wanted.is_some_and(|wanted| !app.record.is_good(wanted)),
            Work::Revert => false,
        };
        let late = busy.until.is_some_and(|until| until <= self.now);
        if busy.cancelled {
            return;
        }
        if stale || late {
            self.plan.cancel.push(item(app, &busy.version));
        } else if let Some(until) = busy.until {
            self.wake(until);
        }
    }

    fn remove_all(&mut self, app: &Given<'_>) {
        // An application that this role has no record of was not made by it; without an inventory nobody
        // knows what is there.
        let Some(seen) = app.seen.filter(|_| !app.record.is_empty()) else { return };
        if seen.is_empty() {
            self.plan.forget.push(item(app, ""));
        } else if self.is_due(app.live.retry_at) {
            self.plan.remove.extend(seen.keys().map(|version| item(app, version)));
        }
    }

    fn go_back(&mut self, app: &Given<'_>) {
        let Some(good) = &app.record.good else {
            return self.fail(app, "there is no version to go back to".to_owned());
        };
        if app.live.reverted {
            self.plan.commit.push(item(app, &good.version));
        } else if self.is_due(app.live.retry_at) {
            self.give_up(app, None);
        }
    }

    fn bring_up(&mut self, app: &Given<'_>, version: &str) {
        let live = app.live;
        // While the engine cannot be asked, its silence is not the version's fault.
        let Some(seen) = app.seen else { return self.wake(self.now + self.look) };
        if let Some(reason) = &live.fatal {
            return self.fail(app, reason.clone());
        }
        let health = seen.get(version).filter(|_| live.applied).map(|seen| &seen.health);
        let why = match health {
            Some(Health::Ready) => {
                self.plan.commit.push(item(app, version));
                return;
            }
            Some(Health::Crashing(reason)) => return self.fail(app, reason.clone()),
            Some(Health::Settling(_)) => "it does not stay up",
            Some(Health::NotReady(reason)) => reason,
            None => &live.reason,
        };
        if let Some(deadline) = live.deadline {
            if deadline <= self.now {
                return self.fail(app, format!("not ready in time: {why}"));
            }
            self.wake(deadline);
        }
        match health {
            Some(Health::Settling(until)) => self.wake(*until),
            _ if live.applied => {
                self.wake(self.now + self.look);
                // What ended in a way that only `apply` mends must not wait for the deadline.
                let broken = seen.get(version).is_none_or(|seen| seen.incomplete);
                if broken && self.is_due(live.repair_at) {
                    self.plan.repair.push(item(app, version));
                }
            }
            _ if self.is_due(live.retry_at) => self.start(app, version),
            _ => {}
        }
    }

    fn wait(&mut self, app: &Given<'_>, version: &str) {
        let seen = app.seen.and_then(|seen| seen.get(version)).filter(|_| app.record.is_target(version));
        match seen.map(|seen| &seen.health) {
            // A first version that stayed, and came up after all.
            Some(Health::Ready) => return self.plan.commit.push(item(app, version)),
            Some(Health::Settling(until)) => self.wake(*until),
            _ => {}
        }
        self.prepare(app, version);
    }

    fn settle(&mut self, app: &Given<'_>, version: &str) {
        if app.record.phase != Phase::Good {
            self.plan.commit.push(item(app, version));
            return;
        }
        let Some(seen) = app.seen else { return };
        let old: Vec<Item> = seen.keys().filter(|old| *old != version).map(|old| item(app, old)).collect();
        if !old.is_empty() && self.is_due(app.live.retry_at) {
            self.plan.remove.extend(old);
        } else {
            self.keep_good(app);
        }
    }

    fn prepare(&mut self, app: &Given<'_>, version: &str) {
        let live = app.live;
        if let Some(facts) = &live.prepared
            && app.seen.is_some()
        {
            let target = item(app, version);
            let mut others: Vec<(&str, &[u16])> = self.claims(app);
            let first = self.plan.apply.iter().map(|apply| &apply.item);
            let prepared = first.filter_map(|item| {
                let other = self.apps.iter().find(|other| is_of(other, item))?;
                Some((other.name, other.live.prepared.as_ref()?.ports.as_slice()))
            });
            others.extend(prepared);
            if let Some(reason) = port_taken(app.name, &facts.ports, others) {
                self.plan.reject.push((target, reason));
                self.keep_good(app);
            } else {
                self.start(app, version);
            }
        } else if live.prepared.is_none() && self.is_due(live.retry_at) {
            self.plan.prepare.push(item(app, version));
        } else {
            self.keep_good(app);
        }
    }

    /// The ports that other applications hold, or are about to.
    fn claims(&self, app: &Given<'_>) -> Vec<(&str, &[u16])> {
        let others = self.apps.iter().filter(|other| (other.scope, other.name) != (app.scope, app.name));
        let held = others.flat_map(|other| {
            [&other.record.good, &other.record.target].into_iter().flatten().map(|facts| (other.name, facts))
        });
        held.map(|(name, facts)| (name, facts.ports.as_slice())).collect()
    }

    fn start(&mut self, app: &Given<'_>, version: &str) {
        let given_up = |old: &&String| *old != version && !app.record.is_good(old);
        let clear = app.seen.into_iter().flat_map(BTreeMap::keys).filter(given_up).cloned().collect();
        let target = app.live.prepared.as_ref().or_else(|| app.record.facts(version));
        let good = app.record.good.as_ref().filter(|good| good.version != version);
        let stop = good.filter(|good| target.is_some_and(|target| target.excludes(good)));
        let stop = stop.map(|good| good.version.clone());
        self.plan.apply.push(Apply { item: item(app, version), clear, stop });
    }

    fn keep_good(&mut self, app: &Given<'_>) {
        let (Some(good), Some(seen)) = (&app.record.good, app.seen) else { return };
        let broken = seen.get(&good.version).is_none_or(|seen| seen.incomplete);
        if broken && self.is_due(app.live.repair_at) {
            self.plan.repair.push(item(app, &good.version));
        }
    }

    fn fail(&mut self, app: &Given<'_>, reason: String) {
        let target = app.record.target.as_ref().map_or("", |target| target.version.as_str());
        if app.record.good.as_ref().is_some_and(|good| good.version != target) {
            self.give_up(app, Some(reason));
        } else {
            self.plan.stick.push((item(app, target), reason));
        }
    }

    fn give_up(&mut self, app: &Given<'_>, reason: Option<String>) {
        let target = app.record.target.as_ref().map_or("", |target| target.version.as_str());
        self.plan.revert.push((item(app, target), reason));
    }

    /// Whether something that waits is due; if not, sees to it that it will be planned again.
    fn is_due(&mut self, at: Option<Duration>) -> bool {
        let waits = at.filter(|at| *at > self.now);
        if let Some(at) = waits {
            self.wake(at);
        }
        waits.is_none()
    }

    fn wake(&mut self, at: Duration) {
        self.plan.wake_at = Some(self.plan.wake_at.map_or(at, |before| before.min(at)));
    }
}

fn has_failed(record: &Record, version: &str) -> bool {
    record.phase == Phase::Waiting
        && record.failed.as_ref().is_some_and(|failed| failed.facts.version == version)
}

fn item(app: &Given<'_>, version: &str) -> Item {
    Item { scope: app.scope, info: AppInfo::new(app.name, version) }
}

fn is_of(app: &Given<'_>, item: &Item) -> bool {
    app.scope == item.scope && app.name == item.info.name
}

#[cfg(test)]
mod tests;
