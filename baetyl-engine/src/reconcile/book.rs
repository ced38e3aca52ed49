//! All that is known of all applications of this role: what is wanted, durable, under way and seen. Decides
//! nothing and does nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use baetyl_core_lib::application::{Role, Scope};
use baetyl_core_lib::backoff::Backoff;
use baetyl_core_lib::clock::Random;
use baetyl_core_lib::engine::AppState;
use baetyl_core_lib::error::Chain;
use baetyl_core_lib::spec::{AppInfo, Desire};

use super::conflict;
use super::deploy::Resolved;
use super::execute::{Key, Outcome, Place};
use super::filter::{manages, scopes};
use super::gc::Keep;
use super::health::{Health, Watch, is_incomplete};
use super::observe::{Look, Sighting};
use super::plan::{Given, Item, Seen, Want};
use super::update::{Facts, Live, Phase, Record, Work};

/// Trying again what may go better the next time.
const SOON: Backoff = Backoff { min: Duration::from_secs(1), max: Duration::from_secs(60), factor: 2 };
/// Fetching again what its author should change first.
const AUTHOR: Backoff = Backoff { min: Duration::from_secs(30), max: Duration::from_secs(600), factor: 2 };
/// Trying again a version that failed.
const LATER: Backoff = Backoff { min: Duration::from_secs(60), max: Duration::from_secs(3600), factor: 2 };

/// How long what was just applied may be incomplete before it is applied again: between two starts of a
/// program that ends at once there is nothing to be seen of it.
const STARTING: Duration = Duration::from_secs(10);

/// What is known of one application.
#[derive(Debug, Default)]
pub(super) struct App {
    pub(super) record: Record,
    pub(super) live: Live,
    /// Put together by `prepare`, for `apply`.
    pub(super) resolved: Option<Resolved>,
    /// Renewed certificates were put in place; to be made durable.
    pub(super) renewed: Option<Facts>,
    /// Why it cannot be applied as things stand.
    pub(super) rejected: Option<String>,
    /// Its versions as they were seen last.
    pub(super) sightings: Vec<Sighting>,
    /// The same, judged; `None` while an engine that may have it cannot be asked.
    pub(super) seen: Option<BTreeMap<String, Seen>>,
    /// Why an engine that may have it cannot be asked.
    pub(super) blind: Option<String>,
    pub(super) watches: BTreeMap<String, Watch>,
}

/// What is wanted in one scope.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Whether the cloud has spoken of this scope.
    said: bool,
    /// What this role is to bring about, in order.
    pub(super) list: Vec<AppInfo>,
    /// What cannot be tried, and why.
    pub(super) refused: Vec<(AppInfo, String)>,
    /// The whole list, also of others.
    pub(super) order: Vec<AppInfo>,
}

/// All that is known.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) apps: BTreeMap<Key, App>,
    pub(super) wanted: BTreeMap<Scope, Wanted>,
    /// What is there and is not this role's.
    pub(super) strangers: BTreeMap<Scope, Vec<Sighting>>,
}

impl Book {
    /// Takes in what is wanted.
    pub(super) fn want(&mut self, desire: &Desire, role: Role, now: Duration, random: &dyn Random) {
        for scope in scopes(role) {
            let section = match scope {
                Scope::System => &desire.sysapps,
                Scope::User => &desire.apps,
            };
            let order = section.clone().unwrap_or_default();
            let mine: Vec<AppInfo> =
                order.iter().filter(|info| manages(role, *scope, &info.name)).cloned().collect();
            let (list, refused) = conflict::check_list(&mine);
            for info in &list {
                self.apps.entry((*scope, info.name.clone())).or_default();
            }
            self.wanted.insert(*scope, Wanted { said: section.is_some(), list, refused, order });
        }
        for (key, app) in &mut self.apps {
            let version = wish(&self.wanted, key).version(&app.record).unwrap_or_default().to_owned();
            if app.live.version == version {
                continue;
            }
            app.live.turn_to(&version);
            app.resolved = None;
            if let Some(failed) = app.record.failed.as_ref().filter(|_| app.record.phase == Phase::Waiting) {
                let waits =
                    (failed.facts.version == version).then(|| LATER.delay(failed.count, random.next_u32()));
                app.live.retry_at = waits.map(|delay| now + delay);
            }
        }
    }

    /// Takes in what the engines have.
    pub(super) fn see(&mut self, looks: BTreeMap<Scope, Look>, role: Role, settle: Duration, now: Duration) {
        for app in self.apps.values_mut() {
            app.sightings.clear();
        }
        for (scope, look) in looks {
            let mut strangers = Vec::new();
            for (name, sightings) in look.apps {
                if manages(role, scope, &name) {
                    self.apps.entry((scope, name)).or_default().sightings = sightings;
                } else {
                    strangers.extend(sightings);
                }
            }
            if look.blind.is_empty() {
                self.strangers.insert(scope, strangers);
            }
            for (_, app) in self.apps.iter_mut().filter(|((of, _), _)| *of == scope) {
                app.look(&look.blind, settle, now);
            }
        }
        let wanted = &self.wanted;
        self.apps.retain(|key, app| !app.is_nothing() || matches!(wish(wanted, key), Want::Version(_)));
    }

    /// Everything that decides, in order of desire.
    pub(super) fn given(&self) -> Vec<Given<'_>> {
        let place = |key: &Key| {
            let list = self.wanted.get(&key.0).map(|wanted| &wanted.list);
            list.and_then(|list| list.iter().position(|info| info.name == key.1)).unwrap_or(usize::MAX)
        };
        let mut given: Vec<(usize, Given<'_>)> = self
            .apps
            .iter()
            .map(|(key, app)| {
                let given = Given {
                    scope: key.0,
                    name: &key.1,
                    want: wish(&self.wanted, key),
                    record: &app.record,
                    live: &app.live,
                    seen: app.seen.as_ref(),
                };
                (place(key), given)
            })
            .collect();
        given.sort_by_key(|(place, given)| (given.scope, *place));
        given.into_iter().map(|(_, given)| given).collect()
    }

    /// Takes in how a job ended.
    pub(super) fn end(&mut self, key: &Key, outcome: Outcome, now: Duration, random: &dyn Random) {
        if let Some(app) = self.apps.get_mut(key) {
            app.end(outcome, now, random);
        }
    }

    /// Whether nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.apps.values().all(|app| app.live.busy.is_none())
    }

    /// What must stay; `None` while something runs of which nobody knows what it needs.
    pub(super) fn keep(&self, own_certs: &BTreeSet<String>) -> Option<Keep> {
        let mut keep = Keep::new(own_certs);
        for info in self.wanted.values().flat_map(|wanted| &wanted.order) {
            keep.app(info);
        }
        for ((_, name), app) in &self.apps {
            let failed = app.record.failed.as_ref().map(|failed| &failed.facts);
            let live = [app.live.prepared.as_ref(), app.live.learnt.as_ref(), failed];
            let known: Vec<&Facts> = live
                .into_iter()
                .chain([app.record.good.as_ref(), app.record.target.as_ref()])
                .flatten()
                .collect();
            let runs =
                |sighting: &Sighting| known.iter().any(|facts| facts.version == sighting.state.info.version);
            if !app.record.is_empty() && !app.sightings.iter().all(runs) {
                return None;
            }
            known.into_iter().for_each(|facts| keep.version(name, facts));
        }
        Some(keep)
    }
}

fn wish<'a>(wanted: &'a BTreeMap<Scope, Wanted>, key: &Key) -> Want<'a> {
    let Some(wanted) = wanted.get(&key.0).filter(|wanted| wanted.said) else { return Want::Unsaid };
    // A name that is refused is wanted all the same: what runs under it stays.
    let refused = wanted.refused.iter().any(|(info, _)| info.name == key.1);
    match wanted.list.iter().find(|info| info.name == key.1) {
        Some(info) => Want::Version(&info.version),
        None if refused => Want::Unsaid,
        None => Want::Gone,
    }
}

impl App {
    fn look(&mut self, blind: &BTreeMap<String, String>, settle: Duration, now: Duration) {
        let known = [&self.record.good, &self.record.target, &self.live.prepared];
        let unseen = known.into_iter().flatten().find_map(|facts| blind.get(&facts.engine));
        self.blind = unseen.cloned();
        self.watches.retain(|version, _| self.sightings.iter().any(|one| one.state.info.version == *version));
        let mut seen = BTreeMap::new();
        for Sighting { state, .. } in &self.sightings {
            let watch = self.watches.entry(state.info.version.clone()).or_default();
            seen.insert(state.info.version.clone(), judge(watch, state, settle, now));
        }
        let good = self.record.good.as_ref().and_then(|good| seen.get(&good.version));
        if good.is_some_and(|good| good.health == Health::Ready) {
            // However the last repair or removal ended: what it was for is there.
            let clean = self.record.phase == Phase::Good && self.record.is_good(&self.live.version);
            if self.live.tries > 0 && clean && seen.len() == 1 {
                self.calm();
            }
            if std::mem::take(&mut self.live.repairs) > 0 {
                self.live.reason.clear();
            }
        }
        self.seen = unseen.is_none().then_some(seen);
    }

    fn is_nothing(&self) -> bool {
        self.record.is_empty() && self.sightings.is_empty() && self.live.busy.is_none()
    }

    /// Where these versions are.
    pub(super) fn places<'a>(&self, versions: impl IntoIterator<Item = &'a String>) -> Vec<Place> {
        let mut places = Vec::new();
        for version in versions {
            let of = self.sightings.iter().filter(|sighting| sighting.state.info.version == *version);
            places.extend(of.map(|one| Place { engine: one.engine, info: one.state.info.clone() }));
        }
        places
    }

    /// Begins to wait because a version failed, or goes on with a version that became good.
    pub(super) fn turn(&mut self, record: Record, now: Duration, random: &dyn Random) {
        self.record = record;
        self.resolved = None;
        self.renewed = None;
        self.live = Live { version: std::mem::take(&mut self.live.version), ..Live::default() };
        let failed = self.record.failed.as_ref().filter(|_| self.record.phase == Phase::Waiting);
        if let Some(failed) = failed.filter(|failed| failed.facts.version == self.live.version) {
            self.live.retry_at = Some(now + LATER.delay(failed.count, random.next_u32()));
        }
    }

    /// A job cannot be begun now.
    pub(super) fn put_off(&mut self, reason: &str, now: Duration, random: &dyn Random) {
        let live = &mut self.live;
        live.tries = live.tries.saturating_add(1);
        live.retry_at = Some(now + SOON.delay(live.tries, random.next_u32()));
        reason.clone_into(&mut live.reason);
    }

    fn end(&mut self, outcome: Outcome, now: Duration, random: &dyn Random) {
        let Some(busy) = self.live.busy.take() else { return };
        let current = busy.version == self.live.version;
        match (busy.work, outcome) {
            (Work::Prepare | Work::Apply, _) if !current => {}
            (Work::Prepare, Outcome::Prepared(resolved)) => {
                self.live.prepared = Some(resolved.facts.clone());
                self.resolved = Some(resolved);
                self.calm();
            }
            (Work::Apply, Outcome::Done) => {
                self.live.applied = true;
                self.live.repair_at = Some(now + STARTING);
                self.watches.remove(&busy.version);
                self.calm();
            }
            (Work::Revert, Outcome::Done) => {
                self.live.reverted = true;
                self.calm();
            }
            (Work::Renew, Outcome::Renewed(facts)) => {
                self.renewed = facts;
                self.live.reason.clear();
            }
            (Work::Renew, Outcome::Failed { reason, .. }) => self.live.reason = reason,
            (Work::Renew, _) => {}
            (Work::Repair, outcome) => {
                if let Outcome::Failed { reason, .. } = outcome {
                    self.live.reason = reason;
                } else {
                    self.live.reason.clear();
                }
                self.live.repairs = self.live.repairs.saturating_add(1);
                self.live.repair_at = Some(now + SOON.delay(self.live.repairs, random.next_u32()));
            }
            (_, Outcome::Cancelled) => {
                if busy.until.is_some_and(|until| until <= now) {
                    self.put_off("it took too long", now, random);
                }
            }
            (Work::Apply, Outcome::Failed { reason, transient: false, .. }) => self.live.fatal = Some(reason),
            (work, Outcome::Failed { reason, transient, learnt }) => {
                self.put_off(&reason, now, random);
                self.live.unfit = work == Work::Prepare && !transient;
                if self.live.unfit {
                    self.live.retry_at = Some(now + AUTHOR.delay(self.live.tries, random.next_u32()));
                }
                self.live.learnt = learnt.or(self.live.learnt.take());
            }
            (_, Outcome::Done | Outcome::Prepared(_) | Outcome::Renewed(_)) => self.calm(),
        }
    }

    fn calm(&mut self) {
        self.live.tries = 0;
        self.live.unfit = false;
        self.live.retry_at = None;
        self.live.reason.clear();
    }
}

fn judge(watch: &mut Watch, state: &AppState, settle: Duration, now: Duration) -> Seen {
    match &state.instances {
        Ok(instances) => Seen {
            health: watch.look(state.wanted, instances, settle, now),
            incomplete: is_incomplete(state.wanted, instances),
        },
        Err(error) => Seen { health: Health::NotReady(Chain(error).to_string()), incomplete: false },
    }
}

/// The application that an item of a plan is about.
pub(super) fn key(item: &Item) -> Key {
    (item.scope, item.info.name.clone())
}
