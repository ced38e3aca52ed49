//! A running agent: its parts, and the order in which they start and stop.

use std::sync::Arc;

use baetyl_core_lib::application::Scope;
use baetyl_core_lib::clock::Clock;
use baetyl_core_lib::engine::Engine;
use baetyl_core_lib::error::Chain;
use baetyl_core_lib::link::Link;
use baetyl_core_lib::shadow::Shadow;
use baetyl_core_lib::task::TaskScope;
use baetyl_engine::collect::Collector;
use baetyl_engine::reconcile::Reconciler;
use baetyl_sync::syncer::Syncer;
use tokio_util::sync::CancellationToken;

use crate::builder::AgentBuilder;

/// An agent with all its parts, ready to run.
#[derive(Debug)]
pub struct Agent {
    pub(crate) shadow: Arc<dyn Shadow>,
    pub(crate) link: Arc<dyn Link>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) engines: Vec<Arc<dyn Engine>>,
    pub(crate) syncer: Syncer,
    pub(crate) reconciler: Reconciler,
    pub(crate) collector: Collector,
}

impl Agent {
    /// An agent that keeps its things in `folder`, for the node `name` of the cloud's `namespace`.
    pub fn builder(
        folder: impl Into<std::path::PathBuf>,
        namespace: impl Into<String>,
        name: impl Into<String>,
    ) -> AgentBuilder {
        AgentBuilder::new(folder.into(), namespace.into(), name.into())
    }

    /// What the cloud wants and what the device says.
    pub fn shadow(&self) -> Arc<dyn Shadow> {
        Arc::clone(&self.shadow)
    }

    /// The way to the cloud.
    pub fn link(&self) -> Arc<dyn Link> {
        Arc::clone(&self.link)
    }

    /// The wall clock.
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// What applications run in.
    pub fn engines(&self) -> Vec<Arc<dyn Engine>> {
        self.engines.clone()
    }

    /// Works until `shutdown` is cancelled, then ends in order: the pass is finished or cut, the last report
    /// flushed. Applications go on. The caller sets a deadline by dropping the future: what was acknowledged
    /// is durable, and the next start goes on from there.
    pub async fn run(self, shutdown: CancellationToken) {
        // The device side ends first, so that the last report holds what it did last.
        let device = TaskScope::under(&shutdown);
        let cloud = TaskScope::new();
        let reconciler = self.reconciler;
        let token = device.token().clone();
        device.spawn("reconciler", async move { reconciler.run(token).await });
        let collector = self.collector;
        let token = device.token().clone();
        device.spawn("collector", async move { collector.run(token).await });
        let syncer = self.syncer;
        let token = cloud.token().clone();
        cloud.spawn("syncer", async move { syncer.run(token).await });
        shutdown.cancelled().await;
        device.stop().await;
        cloud.stop().await;
    }
}

/// Stops all applications of these engines without removing them; the next start of an agent starts them
/// again. For a node that is to be still, after its agent has ended.
pub async fn drain(engines: &[Arc<dyn Engine>]) {
    for engine in engines {
        // Users' applications first: they may need the system's to end well.
        for scope in [Scope::User, Scope::System] {
            let states = match engine.inventory(scope).await {
                Ok(states) => states,
                Err(error) => {
                    tracing::warn!(engine = %engine.kind(), %scope, error = %Chain(&error), "cannot drain");
                    continue;
                }
            };
            let stops = states.iter().map(|state| async move {
                if let Err(error) = engine.stop(scope, &state.info).await {
                    tracing::warn!(app = %state.info, error = %Chain(&error), "not stopped");
                }
            });
            futures_util::future::join_all(stops).await;
        }
    }
}
