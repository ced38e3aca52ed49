//! One run from one seed: a cloud that changes its mind, a node that suffers, and rest at the end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use baetyl_cloud::error::ServiceError;
use baetyl_core_lib::application::Scope;
use baetyl_core_lib::clock::Random as _;
use baetyl_core_lib::engine::Engine as _;
use baetyl_core_lib::spec::AppInfo;
use baetyl_core_lib::task::TaskScope;
use baetyl_core_lib::testing::{FakeEngine, MemoryDisk, SeededRandom, Tear};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::clock::SimClock;
use crate::cloud;
use crate::device::Device;
use crate::line::Weather;
use crate::oracle::{Oracle, Wanted};
use crate::trace::{Summary, Trace};

pub(crate) const NODE: &str = "press-17";
pub(crate) const START: &str = "2026-01-01T00:00:00Z";
/// How long the world makes trouble.
const TROUBLE: Duration = Duration::from_secs(2 * 3600);
/// How long an application that nothing is wrong with may take, while its siblings hang.
const FAIR: Duration = Duration::from_secs(15 * 60);
/// How long a change may take on a node at rest, with a line that is well.
const SOON: Duration = Duration::from_secs(20);
/// How long everything may take once all is mended: a version that failed often waits up to an hour.
const PEACE: Duration = Duration::from_secs(2 * 3600);

/// A world.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) random: SeededRandom,
    pub(crate) trace: Trace,
    pub(crate) oracle: Oracle,
    pub(crate) device: Device,
    /// When the device is on again, its engine can be reached again, its disk has room again.
    on_at: Option<Instant>,
    pub(crate) engine_back: Option<Instant>,
    pub(crate) disk_free: Option<Instant>,
    /// Versions that something is wrong with.
    pub(crate) faulty: BTreeSet<AppInfo>,
    /// Versions that were looked at for faults already.
    pub(crate) known: BTreeSet<AppInfo>,
    pub(crate) numbers: u32,
}

/// Plays one seed to its end.
///
/// # Errors
/// The first broken invariant, with the events before it.
pub(crate) async fn play(seed: u32, aloud: bool) -> Result<Summary, String> {
    let mut world = World::new(seed, aloud).await.map_err(|error| format!("no cloud: {error}"))?;
    world.device.start().await;
    let result = world.live().await;
    world.device.end().await;
    world.device.echoes.stop().await;
    result?;
    world.check()?;
    Ok(world.trace.summary())
}

impl World {
    async fn new(seed: u32, aloud: bool) -> Result<Self, ServiceError> {
        // Each part draws from a row of its own, so that a change of one leaves the others as they were.
        let seeds = SeededRandom::new(seed);
        let row = || SeededRandom::new(seeds.next_u32());
        let trace = Trace::new(aloud);
        let oracle = Oracle::new(trace.clone());
        let cloud_clock = SimClock::at(START);
        let clock = Arc::new(cloud_clock.clone());
        let cloud = cloud::start(NODE, clock, row(), trace.clone(), oracle.clone()).await?;
        let device = Device {
            name: NODE,
            cloud,
            disk: MemoryDisk::new(),
            backend: FakeEngine::new(),
            clock: SimClock::at(START),
            cloud_clock,
            weather: Weather::default(),
            trace: trace.clone(),
            oracle: oracle.clone(),
            line_random: row(),
            engine_random: row(),
            agent_random: row(),
            echoes: TaskScope::new(),
            run: None,
        };
        Ok(Self {
            random: row(),
            trace,
            oracle,
            device,
            on_at: None,
            engine_back: None,
            disk_free: None,
            faulty: BTreeSet::new(),
            known: BTreeSet::new(),
            numbers: 0,
        })
    }

    async fn live(&mut self) -> Result<(), String> {
        let end = Instant::now() + TROUBLE;
        while Instant::now() < end {
            let gap = self.gap();
            self.pass(gap).await?;
            self.happen().await;
            self.check()?;
        }
        // The outside is well again; what is wrong with single versions stays, and some more hang.
        self.calm();
        self.part().await;
        self.settle("an application that nothing is wrong with was delayed", FAIR, Self::is_fair).await?;
        for info in std::mem::take(&mut self.faulty) {
            self.device.backend.mend(&info.name, &info.version);
        }
        self.settle("the node does not come to rest", PEACE, Self::is_at_rest).await?;
        self.change_one().await;
        self.settle("a change was not made at once", SOON, Self::is_at_rest).await
    }

    /// Lets time pass; a device that is cut off meanwhile is off for a while and then on again.
    async fn pass(&mut self, time: Duration) -> Result<(), String> {
        let until = Instant::now() + time;
        loop {
            self.check()?;
            let times = [self.on_at, self.engine_back, self.disk_free];
            let wake = times.into_iter().flatten().fold(until, Instant::min);
            let left = wake.saturating_duration_since(Instant::now());
            match &self.device.run {
                Some(run) => {
                    let life = Arc::clone(&run.life);
                    if timeout(left, life.died()).await.is_ok() {
                        self.device.end().await;
                        self.on_at = Some(Instant::now() + Device::off_time(&self.random));
                        continue;
                    }
                }
                None => sleep(left).await,
            }
            if is_due(&mut self.engine_back) {
                self.device.backend.come_back();
            }
            if is_due(&mut self.disk_free) {
                self.device.disk.resize(u64::MAX);
            }
            if is_due(&mut self.on_at) {
                self.device.start().await;
                if self.device.run.is_none() {
                    self.device.disk = self.device.disk.crash(Tear::Torn(self.random.next_u32()));
                    self.on_at = Some(Instant::now() + Device::off_time(&self.random));
                }
            }
            if Instant::now() >= until {
                return Ok(());
            }
        }
    }

    fn calm(&mut self) {
        self.trace.event("calm", "");
        self.device.weather.clear();
        self.device.backend.come_back();
        self.device.disk.resize(u64::MAX);
        if let Some(run) = &self.device.run {
            run.life.light(0);
        }
    }

    /// Waits until `rests`, at most for `time`.
    async fn settle(
        &mut self,
        promise: &str,
        time: Duration,
        rests: fn(&Self, &Wanted, &BTreeSet<AppInfo>, &Value) -> Result<(), String>,
    ) -> Result<(), String> {
        let set = self.device.cloud.set_mode(NODE, "cloud").await.map(|()| Value::Null);
        self.tell("set mode", &set);
        let end = Instant::now() + time;
        loop {
            self.pass((time / 20).min(Duration::from_secs(20))).await?;
            let view = self.device.cloud.node(NODE).await.map_err(|error| error.to_string())?;
            let states = self.device.backend.inventory(Scope::User).await.unwrap_or_default();
            let present = states.into_iter().map(|state| state.info).collect();
            match rests(self, &self.oracle.wanted(), &present, &view) {
                Ok(()) => return Ok(()),
                Err(reason) if Instant::now() >= end => {
                    self.trace.violation(format_args!("{promise}: {reason}"));
                }
                Err(_) => {}
            }
        }
    }

    /// Whether everything runs that nothing is wrong with, whatever its siblings do.
    fn is_fair(&self, wanted: &Wanted, present: &BTreeSet<AppInfo>, _: &Value) -> Result<(), String> {
        let running = self.device.backend.running(Scope::User);
        let sound = |app: &AppInfo| {
            let mut versions = present.iter().filter(|version| version.name == app.name);
            !self.faulty.contains(app) && !versions.any(|version| self.faulty.contains(version))
        };
        match wanted.apps.iter().find(|app| sound(app) && !running.contains(&app.to_string())) {
            Some(app) => Err(format!("{app} does not run beside {running:?}")),
            None => Ok(()),
        }
    }

    /// Whether the node runs exactly what is wanted, knows it, and the cloud knows it too.
    fn is_at_rest(&self, wanted: &Wanted, _: &BTreeSet<AppInfo>, view: &Value) -> Result<(), String> {
        let expected: Vec<String> = wanted.apps.iter().map(ToString::to_string).collect();
        let running = self.device.backend.running(Scope::User);
        if running != expected {
            return Err(format!("wanted {expected:?}, running {running:?}"));
        }
        let desire = self.device.run.as_ref().map(|run| run.shadow.desire().borrow().clone());
        let desire = desire.and_then(|desire| Wanted::read(&json!(*desire)));
        if desire.as_ref() != Some(wanted) {
            return Err(format!("the cloud wants {wanted:?}, the node {desire:?}"));
        }
        let report = &view["report"];
        let told: BTreeSet<AppInfo> = serde_json::from_value(report["apps"].clone()).unwrap_or_default();
        if told != wanted.apps {
            return Err(format!("wanted {expected:?}, told {told:?}"));
        }
        let stats = report["appstats"].as_array().map_or(&[][..], Vec::as_slice);
        let unwell = stats.iter().find(|app| app["status"] != "Running" || app["cause"].is_string());
        match unwell {
            Some(app) => Err(format!("the cloud is told {app}")),
            None => Ok(()),
        }
    }

    fn check(&self) -> Result<(), String> {
        self.trace.broken().map_or(Ok(()), Err)
    }

    pub(crate) fn tell(&self, what: &str, result: &Result<Value, ServiceError>) {
        match result {
            Ok(view) => self.trace.event("cloud did", format_args!("{what} {view}")),
            Err(error) => self.trace.event("cloud refused", format_args!("{what}: {error}")),
        }
    }

    pub(crate) fn below(&self, most: usize) -> usize {
        self.random.next_u32() as usize % most
    }
}

/// Whether this moment has come; it comes once.
fn is_due(moment: &mut Option<Instant>) -> bool {
    moment.take_if(|moment| *moment <= Instant::now()).is_some()
}
