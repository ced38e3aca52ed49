//! One run from one seed: a cloud that changes its mind, a node that suffers, and rest at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use baetyl_cloud::error::ServiceError;
use baetyl_core_lib::application::Scope;
use baetyl_core_lib::clock::Random as _;
use baetyl_core_lib::spec::AppInfo;
use baetyl_core_lib::task::TaskScope;
use baetyl_core_lib::testing::{FakeEngine, Fault, MemoryDisk, SeededRandom, Tear};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::clock::SimClock;
use crate::cloud;
use crate::device::{Cut, Device};
use crate::line::Weather;
use crate::oracle::{Oracle, Wanted};
use crate::trace::{Summary, Trace};

const NODE: &str = "press-17";
const START: &str = "2026-01-01T00:00:00Z";
/// How long the world makes trouble.
const TROUBLE: Duration = Duration::from_secs(2 * 3600);
/// How long an application that nothing is wrong with may take, while its siblings hang.
const FAIR: Duration = Duration::from_secs(15 * 60);
/// How long everything may take once all is mended: a version that failed often waits up to an hour.
const PEACE: Duration = Duration::from_secs(2 * 3600);
/// Applications and configurations that the cloud plays with.
const APPS: u32 = 6;
const CONFIGS: u32 = 3;

/// A world.
#[derive(Debug)]
pub(crate) struct World {
    random: SeededRandom,
    trace: Trace,
    oracle: Oracle,
    device: Device,
    /// When the device is on again, its engine can be reached again, its disk has room again.
    on_at: Option<Instant>,
    engine_back: Option<Instant>,
    disk_free: Option<Instant>,
    /// Versions that something is wrong with.
    faulty: BTreeSet<AppInfo>,
    /// Versions that were looked at for faults already.
    known: BTreeSet<AppInfo>,
    numbers: u32,
}

/// What happens next.
#[derive(Debug, Clone, Copy)]
enum Event {
    PutApp,
    DeleteApp,
    PutConfig,
    Label,
    Properties,
    Mode,
    Cut,
    Weather,
    DeadLine,
    Engine,
    Program,
    Mend,
    Disk,
    Clock,
}

/// How often what happens, one entry for each time in a row of so many.
const EVENTS: [Event; 26] = [
    Event::PutApp,
    Event::PutApp,
    Event::PutApp,
    Event::PutApp,
    Event::PutApp,
    Event::PutApp,
    Event::DeleteApp,
    Event::DeleteApp,
    Event::PutConfig,
    Event::PutConfig,
    Event::PutConfig,
    Event::Label,
    Event::Properties,
    Event::Mode,
    Event::Cut,
    Event::Cut,
    Event::Cut,
    Event::Weather,
    Event::Weather,
    Event::DeadLine,
    Event::Engine,
    Event::Program,
    Event::Program,
    Event::Mend,
    Event::Disk,
    Event::Clock,
];

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
            let event = EVENTS[self.below(EVENTS.len())];
            self.trace.event("event", format_args!("{event:?}"));
            self.happen(event).await;
            self.look_for_new_versions();
            self.check()?;
        }
        // The outside is well again; what is wrong with single versions stays.
        self.calm();
        self.settle("an application that nothing is wrong with was delayed", FAIR, Self::is_fair).await?;
        for info in std::mem::take(&mut self.faulty) {
            self.device.backend.mend(&info.name, &info.version);
        }
        self.settle("the node does not come to rest", PEACE, Self::is_at_rest).await
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

    async fn happen(&mut self, event: Event) {
        match event {
            Event::PutApp => self.put_app().await,
            Event::DeleteApp => {
                let name = self.app_name();
                let deleted = self.device.cloud.delete_app(&name).await.map(|()| Value::Null);
                self.tell("delete app", &deleted);
            }
            Event::PutConfig => self.put_config().await,
            Event::Label => {
                let site = ["north", "south"][self.below(2)];
                let input = json!({ "name": NODE, "nodeMode": "native", "labels": { "site": site } });
                let input = serde_json::from_value(input).unwrap_or_default();
                let updated = self.device.cloud.update_node(NODE, input).await;
                self.tell("label node", &updated);
            }
            Event::Properties => {
                let props: BTreeMap<String, String> =
                    (0..self.below(3)).map(|at| (format!("p{at}"), self.number())).collect();
                let body = json!({ "state": { "desire": props } }).to_string();
                let set = self.device.cloud.set_node_properties(NODE, body.as_bytes()).await;
                self.tell("set properties", &set);
            }
            Event::Mode => {
                let mode = if self.below(3) == 0 { "local" } else { "cloud" };
                let set = self.device.cloud.set_mode(NODE, mode).await.map(|()| json!(mode));
                self.tell("set mode", &set);
            }
            Event::Cut => self.cut(),
            Event::Weather => {
                let storm = [0, 30, 150, 500][self.below(4)];
                self.trace.event("weather", storm);
                self.device.weather.set(storm);
            }
            Event::DeadLine => {
                let time = Duration::from_secs(self.below(900) as u64);
                self.trace.event("dead line", time.as_secs());
                self.device.weather.die(time);
            }
            Event::Engine => {
                self.trace.event("engine gone", "");
                self.device.backend.go_away();
                self.engine_back = Some(self.later(240));
            }
            Event::Program => self.hurt_program(),
            Event::Mend => self.mend(),
            Event::Disk => {
                self.trace.event("disk full", "");
                self.device.disk.resize(0);
                self.disk_free = Some(self.later(240));
            }
            Event::Clock => {
                let time = ["1970-01-01T00:00:00Z", "2031-05-05T00:00:00Z", START][self.below(3)];
                self.trace.event("clock", time);
                self.device.clock.set(time);
            }
        }
    }

    async fn put_app(&mut self) {
        let name = self.app_name();
        let at = name.bytes().last().unwrap_or_default();
        let mut service = json!({ "name": "main", "image": format!("image:{}", self.number()) });
        if at % 2 == 0 {
            service["ports"] =
                json!([{ "containerPort": 80, "hostPort": 40000 + u32::from(at), "protocol": "TCP" }]);
        }
        let selector = ["site=north", "site=south", "baetyl-node-name=press-17"][self.below(3)];
        let mut app = json!({ "name": name, "mode": "kube", "type": "container", "selector": selector,
            "services": [service] });
        if self.below(2) == 0 {
            let config = format!("config-{}", self.below(CONFIGS as usize));
            if self.device.cloud.config(&config).await.is_ok() {
                app["volumes"] = json!([{ "name": "conf", "config": { "name": config } }]);
                app["services"][0]["volumeMounts"] = json!([{ "name": "conf", "mountPath": "/etc/conf" }]);
            }
        }
        let body = app.to_string();
        let put = match self.device.cloud.app(&name).await {
            Ok(_) => self.device.cloud.update_app(&name, body.as_bytes()).await,
            Err(_) => self.device.cloud.create_app(None, body.as_bytes()).await,
        };
        self.tell("put app", &put);
    }

    async fn put_config(&mut self) {
        let name = format!("config-{}", self.below(CONFIGS as usize));
        let data = json!([{ "key": "text", "value": { "type": "kv", "value": self.number() } }]);
        let body = json!({ "name": name, "data": data }).to_string();
        let put = match self.device.cloud.config(&name).await {
            Ok(_) => self.device.cloud.update_config(&name, body.as_bytes()).await,
            Err(_) => self.device.cloud.create_config(body.as_bytes()).await,
        };
        self.tell("put config", &put);
    }

    /// Plans a crash: at one of the next passages of any seam, or in one of the next calls of the disk.
    fn cut(&mut self) {
        let tear = [Tear::Lost, Tear::Torn(self.random.next_u32()), Tear::Kept][self.below(3)];
        let cut = [Cut::Stop, Cut::Kill, Cut::Power(tear), Cut::Power(tear)][self.below(4)];
        let far = 1 + self.random.next_u32() % 40;
        let on_disk = self.below(2) == 0;
        let Some(run) = &mut self.device.run else { return };
        run.cut = cut;
        self.trace.event("cut", format_args!("{cut:?} in {far}, on disk: {on_disk}"));
        match cut {
            Cut::Stop => run.life.leave(),
            Cut::Power(_) if on_disk => self.device.disk.cut_at(self.device.disk.calls() + far as usize),
            _ => run.life.light(far),
        }
    }

    fn hurt_program(&self) {
        let running = self.device.backend.running(Scope::User);
        let Some(victim) = running.get(self.below(running.len().max(1))) else { return };
        let Some((name, version)) = victim.split_once('@') else { return };
        let info = AppInfo::new(name, version);
        self.trace.event("program lost", &info);
        self.device.backend.lose(Scope::User, &info);
    }

    fn mend(&mut self) {
        if let Some(info) = self.faulty.iter().nth(self.below(self.faulty.len().max(1))).cloned() {
            self.trace.event("mended", &info);
            self.device.backend.mend(&info.name, &info.version);
            self.faulty.remove(&info);
        }
    }

    /// Something may be wrong with what the cloud wants since the last event.
    fn look_for_new_versions(&mut self) {
        for info in self.oracle.wanted().apps {
            if self.known.insert(info.clone()) && self.below(3) == 0 {
                let fault = match self.below(10) {
                    0 => Fault::Prepare,
                    1 => Fault::Invalid,
                    2 => Fault::Apply,
                    3 => Fault::HangPrepare,
                    4 => Fault::HangApply,
                    5 => Fault::HangRemove,
                    6 => Fault::Remove,
                    7 => Fault::CrashLoop(3),
                    8 => Fault::NeverReady,
                    _ => Fault::ReadyAfter(Duration::from_secs(self.below(400) as u64)),
                };
                self.trace.event("fault of a version", format_args!("{info} {fault:?}"));
                self.device.backend.fault(&info.name, &info.version, fault);
                self.faulty.insert(info);
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
        rests: fn(&Self, &Wanted, &Value) -> Result<(), String>,
    ) -> Result<(), String> {
        let set = self.device.cloud.set_mode(NODE, "cloud").await.map(|()| Value::Null);
        self.tell("set mode", &set);
        let end = Instant::now() + time;
        loop {
            self.pass(Duration::from_secs(20)).await?;
            let view = self.device.cloud.node(NODE).await.map_err(|error| error.to_string())?;
            match rests(self, &self.oracle.wanted(), &view) {
                Ok(()) => return Ok(()),
                Err(reason) if Instant::now() >= end => {
                    self.trace.violation(format_args!("{promise}: {reason}"));
                }
                Err(_) => {}
            }
        }
    }

    /// Whether everything runs that nothing is wrong with, whatever its siblings do.
    fn is_fair(&self, wanted: &Wanted, _: &Value) -> Result<(), String> {
        let running = self.device.backend.running(Scope::User);
        let sound = |name: &str| self.faulty.iter().all(|faulty| faulty.name != name);
        match wanted.apps.iter().find(|app| sound(&app.name) && !running.contains(&app.to_string())) {
            Some(app) => Err(format!("{app} does not run beside {running:?}")),
            None => Ok(()),
        }
    }

    /// Whether the node runs exactly what is wanted, knows it, and the cloud knows it too.
    fn is_at_rest(&self, wanted: &Wanted, view: &Value) -> Result<(), String> {
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

    fn tell(&self, what: &str, result: &Result<Value, ServiceError>) {
        match result {
            Ok(view) => self.trace.event("cloud did", format_args!("{what} {view}")),
            Err(error) => self.trace.event("cloud refused", format_args!("{what}: {error}")),
        }
    }

    /// The time to the next event: bursts, steps, and long rests.
    fn gap(&self) -> Duration {
        let most = [200, 5_000, 60_000, 240_000][self.below(4)];
        Duration::from_millis(self.below(most) as u64)
    }

    fn app_name(&self) -> String {
        format!("app-{}", self.below(APPS as usize))
    }

    fn number(&mut self) -> String {
        self.numbers += 1;
        self.numbers.to_string()
    }

    /// A moment within so many seconds.
    fn later(&self, seconds: usize) -> Instant {
        Instant::now() + Duration::from_millis(self.below(seconds * 1000) as u64)
    }

    fn below(&self, most: usize) -> usize {
        self.random.next_u32() as usize % most
    }
}

/// Whether this moment has come; it comes once.
fn is_due(moment: &mut Option<Instant>) -> bool {
    moment.take_if(|moment| *moment <= Instant::now()).is_some()
}
