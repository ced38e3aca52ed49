//! What happens to a world while it has trouble: the cloud changes its mind, and the node suffers.

use std::collections::BTreeMap;
use std::time::Duration;

use baetyl_core_lib::application::Scope;
use baetyl_core_lib::clock::Random as _;
use baetyl_core_lib::spec::AppInfo;
use baetyl_core_lib::testing::{Fault, Tear};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::device::Cut;
use crate::world::{NODE, START, World};

/// Applications and configurations that the cloud plays with.
const APPS: usize = 6;
const CONFIGS: usize = 3;
/// Selects the node, whatever its labels are.
const HERE: &str = "baetyl-node-name=press-17";
const SELECTORS: [&str; 3] = ["site=north", "site=south", HERE];

/// What happens next.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// An application is made, or gets another version.
    PutApp,
    DeleteApp,
    PutConfig,
    Label,
    Properties,
    Mode,
    /// The run of the agent is cut off soon.
    Cut,
    Weather,
    DeadLine,
    /// The engine cannot be reached for a while.
    Engine,
    /// A program vanishes.
    Program,
    /// A version with a fault loses it.
    Mend,
    /// The disk is full for a while.
    Disk,
    /// The wall clock jumps.
    Clock,
}

/// How often what happens, one entry for each time in a row of so many.
const EVENTS: [Event; 27] = [
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
    Event::Engine,
    Event::Program,
    Event::Program,
    Event::Mend,
    Event::Disk,
    Event::Clock,
];

impl World {
    /// The next event, drawn from the seed.
    pub(crate) async fn happen(&mut self) {
        let event = EVENTS[self.below(EVENTS.len())];
        self.trace.event("event", format_args!("{event:?}"));
        match event {
            Event::PutApp => {
                let (name, selector) = (self.app_name(), SELECTORS[self.below(SELECTORS.len())]);
                self.put_app(&name, selector).await;
            }
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
        self.look_for_new_versions();
    }

    /// Of most applications there are new versions; of every second one it hangs. The others stay as they are,
    /// so that what was left behind by mistake is found.
    pub(crate) async fn part(&mut self) {
        let faults = [Fault::HangPrepare, Fault::HangApply];
        for at in 0..APPS - 2 {
            let name = format!("app-{at}");
            self.put_app(&name, HERE).await;
            for info in self.oracle.wanted().apps.into_iter().filter(|info| info.name == name) {
                self.known.insert(info.clone());
                if at % 2 == 0 {
                    self.wrong(info, faults[at / 2 % faults.len()]);
                }
            }
        }
    }

    /// One application gets another version.
    pub(crate) async fn change_one(&mut self) {
        let name = self.app_name();
        self.put_app(&name, HERE).await;
    }

    async fn put_app(&mut self, name: &str, selector: &str) {
        let at = name.bytes().last().unwrap_or_default();
        let mut service = json!({ "name": "main", "image": format!("image:{}", self.number()) });
        if at.is_multiple_of(2) {
            service["ports"] =
                json!([{ "containerPort": 80, "hostPort": 40000 + u32::from(at), "protocol": "TCP" }]);
        }
        let mut app = json!({ "name": name, "mode": "kube", "type": "container", "selector": selector,
            "services": [service] });
        if self.below(2) == 0 {
            let config = format!("config-{}", self.below(CONFIGS));
            if self.device.cloud.config(&config).await.is_ok() {
                app["volumes"] = json!([{ "name": "conf", "config": { "name": config } }]);
                app["services"][0]["volumeMounts"] = json!([{ "name": "conf", "mountPath": "/etc/conf" }]);
            }
        }
        let body = app.to_string();
        let put = match self.device.cloud.app(name).await {
            Ok(_) => self.device.cloud.update_app(name, body.as_bytes()).await,
            Err(_) => self.device.cloud.create_app(None, body.as_bytes()).await,
        };
        self.tell("put app", &put);
    }

    async fn put_config(&mut self) {
        let name = format!("config-{}", self.below(CONFIGS));
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
                self.wrong(info, fault);
            }
        }
    }

    fn wrong(&mut self, info: AppInfo, fault: Fault) {
        self.trace.event("fault of a version", format_args!("{info} {fault:?}"));
        self.device.backend.fault(&info.name, &info.version, fault);
        self.faulty.insert(info);
    }

    /// The time to the next event: bursts, steps, and long rests.
    pub(crate) fn gap(&self) -> Duration {
        let most = [200, 5_000, 60_000, 240_000][self.below(4)];
        Duration::from_millis(self.below(most) as u64)
    }

    fn app_name(&self) -> String {
        format!("app-{}", self.below(APPS))
    }

    fn number(&mut self) -> String {
        self.numbers += 1;
        self.numbers.to_string()
    }

    /// A moment within so many seconds.
    fn later(&self, seconds: usize) -> Instant {
        Instant::now() + Duration::from_millis(self.below(seconds * 1000) as u64)
    }
}
