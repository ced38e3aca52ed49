//! Measures the node and what its applications use. Writes `node`, `nodestats` and `modeinfo` of the report;
//! what instances use goes to the reconciler, the only writer of the applications' sections.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use baetyl_core_lib::application::Scope;
use baetyl_core_lib::engine::{Engine, InstanceUsage};
use baetyl_core_lib::error::Chain;
use baetyl_core_lib::node::Node;
use baetyl_core_lib::shadow::Shadow;
use baetyl_core_lib::spec::{Report, Section};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// How often to measure.
#[derive(Debug, Clone)]
pub struct CollectConfig {
    /// The interval; may be changed while the collector runs (it is longer while the cloud pushes).
    pub interval: watch::Receiver<Duration>,
    /// How long one answer may take.
    pub timeout: Duration,
    /// The scopes whose instances are measured.
    pub scopes: &'static [Scope],
}

impl CollectConfig {
    /// Measures everything at one interval for ever.
    pub fn every(interval: Duration) -> Self {
        let (_, interval) = watch::channel(interval);
        Self::as_told(interval)
    }

    /// Measures everything at an interval that may change.
    pub const fn as_told(interval: watch::Receiver<Duration>) -> Self {
        Self { interval, timeout: Duration::from_secs(10), scopes: &Scope::ALL }
    }
}

/// What instances use, by scope and name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Usage(BTreeMap<Scope, BTreeMap<String, InstanceUsage>>);

impl Usage {
    /// What one instance uses, where that is known.
    pub fn of(&self, scope: Scope, instance: &str) -> Option<&InstanceUsage> {
        self.0.get(&scope)?.get(instance)
    }

    /// Takes in what an instance uses.
    pub fn insert(&mut self, scope: Scope, usage: InstanceUsage) {
        self.0.entry(scope).or_default().insert(usage.name.clone(), usage);
    }
}

/// Measures the node at an interval.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use baetyl_core_lib::shadow::{Shadow, StoredShadow};
/// use baetyl_core_lib::store::MemoryStore;
/// use baetyl_core_lib::testing::FakeNode;
/// use baetyl_engine::collect::{CollectConfig, Collector};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), baetyl_core_lib::store::StoreError> {
/// let shadow = Arc::new(StoredShadow::open(Arc::new(MemoryStore::new())).await?);
/// let config = CollectConfig::every(Duration::from_secs(20));
/// let node = Arc::new(FakeNode::new("press-17"));
/// let mut collector = Collector::new(node, Vec::new(), shadow.clone(), config);
/// collector.measure().await;
/// assert!(shadow.report().borrow().node.value().is_some_and(|node| node.contains_key("press-17")));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Collector {
    node: Arc<dyn Node>,
    engines: Vec<Arc<dyn Engine>>,
    shadow: Arc<dyn Shadow>,
    config: CollectConfig,
    usage: watch::Sender<Arc<Usage>>,
}

impl Collector {
    /// A collector that has measured nothing yet.
    pub fn new(
        node: Arc<dyn Node>,
        engines: Vec<Arc<dyn Engine>>,
        shadow: Arc<dyn Shadow>,
        config: CollectConfig,
    ) -> Self {
        let (usage, _) = watch::channel(Arc::default());
        Self { node, engines, shadow, config, usage }
    }

    /// What instances use, for the reconciler to report.
    pub fn usage(&self) -> watch::Receiver<Arc<Usage>> {
        self.usage.subscribe()
    }

    /// Measures at once and then at each interval, until told to end.
    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let started = Instant::now();
            tokio::select! {
                biased;
                // Cancel-safe: a token stays cancelled.
                () = shutdown.cancelled() => return,
                // A measurement that is cut is made anew by the next agent.
                () = self.measure() => {}
            }
            loop {
                let interval = (*self.config.interval.borrow_and_update()).max(Duration::from_secs(1));
                tokio::select! {
                    biased;
                    // Cancel-safe, as above.
                    () = shutdown.cancelled() => return,
                    // Cancel-safe: an unseen change stays unseen.
                    () = changed(&mut self.config.interval) => {}
                    // Cancel-safe: the time is fixed.
                    () = sleep_until(started + interval) => break,
                }
            }
        }
    }

    /// Measures once. What cannot be measured keeps its last value.
    pub async fn measure(&mut self) {
        let limit = self.config.timeout;
        let mut part = Report { modeinfo: Section::Is(self.node.mode_info()), ..Report::default() };
        let info = async { self.node.info().await.map_err(|error| Chain(&error).to_string()) };
        part.node = told("node", timeout(limit, info).await);
        let stats = async { self.node.stats().await.map_err(|error| Chain(&error).to_string()) };
        part.nodestats = told("node statistics", timeout(limit, stats).await);
        if let Err(error) = self.shadow.merge_report(part).await {
            tracing::warn!(error = %Chain(&error), "measurements could not be reported");
        }
        let usage = self.measure_usage(limit).await;
        self.usage.send_if_modified(|last| {
            let changed = **last != usage;
            *last = Arc::new(usage);
            changed
        });
    }

    async fn measure_usage(&self, limit: Duration) -> Usage {
        let mut all = Usage::default();
        for engine in &self.engines {
            let Some(source) = engine.usage() else { continue };
            for scope in self.config.scopes {
                match timeout(limit, source.usage(*scope)).await {
                    Ok(Ok(apps)) => {
                        let instances = apps.into_iter().flat_map(|app| app.instances);
                        instances.for_each(|usage| all.insert(*scope, usage));
                    }
                    Ok(Err(error)) => {
                        tracing::debug!(engine = %engine.kind(), error = %Chain(&error), "usage is not known");
                    }
                    Err(_) => tracing::debug!(engine = %engine.kind(), "usage took too long"),
                }
            }
        }
        all
    }
}

/// Waits for a change; for ever when nobody can make one any more.
pub(crate) async fn changed<T: Send + Sync>(watched: &mut watch::Receiver<T>) {
    if watched.changed().await.is_err() {
        std::future::pending().await
    }
}

fn told<T, E>(what: &str, answer: Result<Result<T, String>, E>) -> Section<T> {
    match answer {
        Ok(Ok(value)) => Section::Is(value),
        Ok(Err(error)) => {
            tracing::warn!(error, "{what} cannot be measured");
            Section::Absent
        }
        Err(_) => {
            tracing::warn!("{what} took too long to measure");
            Section::Absent
        }
    }
}
