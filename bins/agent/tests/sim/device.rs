//! The node: a whole agent over seams, which is started, cut off at any passage, and started again.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use baetyl::{Agent, BuildError};
use baetyl_cloud::service::Cloud;
use baetyl_core_lib::application::Scope;
use baetyl_core_lib::clock::{Clock, Random as _};
use baetyl_core_lib::engine::Engine as _;
use baetyl_core_lib::shadow::Shadow;
use baetyl_core_lib::store::{Store, StoreError};
use baetyl_core_lib::task::{Inline, TaskScope};
use baetyl_core_lib::testing::{FakeEngine, FakeNode, FakeObjects, MemoryDisk, SeededRandom, Tear};
use tokio::time::timeout;

use crate::clock::SimClock;
use crate::engine::SimEngine;
use crate::life::Life;
use crate::line::{Line, SimLink, Weather};
use crate::oracle::Oracle;
use crate::store::SimStore;
use crate::trace::Trace;

const FOLDER: &str = "/node";
/// How long an agent may take to end.
const REST: Duration = Duration::from_secs(10);

/// How a run of the agent ends before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The agent is told to end, and ends in order.
    Stop,
    /// The agent is killed; disk and applications go on.
    Kill,
    /// The power goes: what was not synced is lost or torn, and nothing runs any more.
    Power(Tear),
}

/// Everything that outlives a run of the agent.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) name: &'static str,
    pub(crate) cloud: Arc<Cloud>,
    pub(crate) disk: MemoryDisk,
    pub(crate) backend: FakeEngine,
    pub(crate) clock: SimClock,
    pub(crate) cloud_clock: SimClock,
    pub(crate) weather: Weather,
    pub(crate) trace: Trace,
    pub(crate) oracle: Oracle,
    pub(crate) line_random: SeededRandom,
    pub(crate) engine_random: SeededRandom,
    pub(crate) agent_random: SeededRandom,
    pub(crate) echoes: TaskScope,
    pub(crate) run: Option<Run>,
}

/// One run of the agent.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) life: Arc<Life>,
    pub(crate) shadow: Arc<dyn Shadow>,
    pub(crate) cut: Cut,
    tasks: TaskScope,
}

impl Device {
    /// Starts the agent. A start that the disk cut off is no start; any other that fails breaks a promise.
    pub(crate) async fn start(&mut self) {
        self.trace.event("start", "");
        let life = Arc::new(Life::new(self.trace.clone()));
        match self.build(&life).await {
            Ok(agent) => {
                let (tasks, shadow) = (TaskScope::new(), agent.shadow());
                let token = tasks.token().clone();
                tasks.spawn("agent", async move { agent.run(token).await });
                self.run = Some(Run { life, shadow, cut: Cut::Kill, tasks });
            }
            Err(error) if self.disk.is_cut() => self.trace.event("start cut off", error),
            Err(error) => {
                self.trace.violation(format_args!("the agent does not start: {error:?}"));
            }
        }
    }

    async fn build(&self, life: &Arc<Life>) -> Result<Agent, BuildError> {
        let store: Result<_, StoreError> = SimStore::open(
            self.disk.clone(),
            Path::new(FOLDER),
            Arc::clone(life),
            self.trace.clone(),
            self.oracle.clone(),
        )
        .await;
        let store: Arc<dyn Store> = Arc::new(store?);
        let link = SimLink::new(Line {
            cloud: Arc::clone(&self.cloud),
            node: self.name.to_owned(),
            clock: Arc::new(self.cloud_clock.clone()) as Arc<dyn Clock>,
            random: self.line_random.clone(),
            weather: self.weather.clone(),
            life: Arc::clone(life),
            trace: self.trace.clone(),
            oracle: self.oracle.clone(),
            echoes: self.echoes.clone(),
        });
        let engine = SimEngine {
            backend: self.backend.clone(),
            life: Arc::clone(life),
            random: self.engine_random.clone(),
            weather: self.weather.clone(),
            trace: self.trace.clone(),
            oracle: self.oracle.clone(),
        };
        let builder = Agent::builder(FOLDER, "sim", self.name)
            .disk(Arc::new(self.disk.clone()))
            .blocking(Arc::new(Inline))
            .random(Arc::new(self.agent_random.clone()))
            .clock(Arc::new(self.clock.clone()))
            .store(store)
            .link(Arc::new(link))
            .engine(Arc::new(engine))
            .node(Arc::new(FakeNode::new(self.name)))
            .objects(Arc::new(FakeObjects::new("/objects")));
        Box::pin(builder.build()).await
    }

    /// Ends the run that is under way, and leaves disk and applications as its end left them.
    pub(crate) async fn end(&mut self) {
        let Some(run) = self.run.take() else { return };
        if run.cut != Cut::Stop {
            run.life.end("in between");
        }
        // After a crash nothing passes the seams any more: tasks that wait there are left behind for ever, the
        // others find out that they are to end.
        let ended = timeout(REST, run.tasks.stop()).await.is_ok();
        if !ended && run.cut == Cut::Stop {
            self.trace.violation("the agent does not end when it is told to");
        }
        run.life.end("at its end");
        let tear = match run.cut {
            Cut::Stop | Cut::Kill => Tear::Kept,
            Cut::Power(tear) => tear,
        };
        self.trace.event("ended", format_args!("{:?}", run.cut));
        drop(run.shadow);
        self.disk = self.disk.crash(tear);
        if matches!(run.cut, Cut::Power(_)) {
            self.darken().await;
        }
    }

    /// Nothing runs any more.
    async fn darken(&self) {
        self.backend.come_back();
        for scope in Scope::ALL {
            for state in self.backend.inventory(scope).await.unwrap_or_default() {
                self.backend.lose(scope, &state.info);
            }
        }
    }

    /// How long the device stays off.
    pub(crate) fn off_time(random: &SeededRandom) -> Duration {
        Duration::from_millis((random.next_u32() % 90_000).into())
    }
}
