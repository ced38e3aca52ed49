//! A running agent: its parts, and the order in which they start and stop.

use std::sync::Arc;

use baetyl_core_lib::clock::Clock;
use baetyl_core_lib::engine::Engine;
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
