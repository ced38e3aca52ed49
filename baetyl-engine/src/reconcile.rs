//! Brings about what is desired: looks, plans, has it done, and says what is there.
//!
//! [`Reconciler`] owns the update transaction of every application for every engine (design.md 3). It sees
//! engines, documents, objects and the store through their traits only, and knows no link.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use baetyl_core_lib::application::{Role, Scope};
use baetyl_core_lib::cert::CertIssuer;
use baetyl_core_lib::clock::Random;
use baetyl_core_lib::durable::Disk;
use baetyl_core_lib::engine::{Engine, EngineError};
use baetyl_core_lib::error::Chain;
use baetyl_core_lib::object::ObjectSource;
use baetyl_core_lib::resource::ResourceSource;
use baetyl_core_lib::shadow::Shadow;
use baetyl_core_lib::spec::{Desire, Report};
use baetyl_core_lib::store::Store;
use baetyl_core_lib::task::{Blocking, TaskScope};
use futures_util::future::join_all;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::collect::{Usage, changed};

mod book;
mod carry;
pub mod conflict;
pub mod deploy;
mod execute;
pub mod filter;
mod gc;
pub mod health;
mod observe;
pub mod plan;
mod records;
pub mod route;
mod status;
mod tell;
pub mod update;

use self::book::Book;
use self::deploy::Deployer;
use self::execute::{Executor, Key, Outcome};

/// Events of an engine that come faster than this are joined.
const EVENT_GAP: Duration = Duration::from_millis(100);
/// How soon to look again at what is not ready: with engines that tell of changes, and without.
const LOOK_TOLD: Duration = Duration::from_secs(5);
const LOOK_UNTOLD: Duration = Duration::from_secs(1);
/// Timers make no two passes closer than this: whatever is wrong, the processor stays free.
const PASS_GAP: Duration = Duration::from_millis(10);
/// How soon progress of downloads is reported again.
const PROGRESS: Duration = Duration::from_secs(5);
/// How long after an update what it left is swept up, and after a start what an earlier run left.
const SWEEP_AFTER: Duration = Duration::from_secs(10);
const SWEEP_AFTER_START: Duration = Duration::from_secs(300);
/// How long after a start certificates are looked at first, and how often then.
const RENEW_AFTER_START: Duration = Duration::from_secs(60);
const RENEW_EVERY: Duration = Duration::from_secs(3600);

/// How to reconcile.
#[derive(Debug, Clone)]
pub struct ReconcileConfig {
    /// Which applications are this process's.
    pub role: Role,
    /// The library folder: relative host paths lie below its `host`.
    pub lib: PathBuf,
    /// The node's name, for `BAETYL_NODE_NAME`.
    pub node_name: String,
    /// The run mode, for `BAETYL_RUN_MODE`: `native` or `kube`.
    pub run_mode: String,
    /// How often to look where an engine does not tell of changes.
    pub interval: Duration,
    /// How often to look where all engines tell of changes.
    pub slow_interval: Duration,
    /// How long an instance without a probe must live to be ready.
    pub settle: Duration,
    /// How long a version may take to become ready, unless it says so itself.
    pub deadline: Duration,
    /// How long an engine may take to say what it has.
    pub inventory_timeout: Duration,
    /// How many applications are fetched and prepared at once.
    pub prepares: usize,
    /// Common names of certificates that are the agent's own, never forgotten.
    pub own_certs: BTreeSet<String>,
}

impl ReconcileConfig {
    /// The stock times for this role.
    pub fn new(
        role: Role,
        lib: impl Into<PathBuf>,
        node_name: impl Into<String>,
        run_mode: impl Into<String>,
    ) -> Self {
        Self {
            role,
            lib: lib.into(),
            node_name: node_name.into(),
            run_mode: run_mode.into(),
            interval: Duration::from_secs(10),
            slow_interval: Duration::from_secs(300),
            settle: Duration::from_secs(3),
            deadline: Duration::from_secs(300),
            inventory_timeout: Duration::from_secs(10),
            prepares: 8,
            own_certs: BTreeSet::new(),
        }
    }
}

/// What the reconciler stands on.
#[derive(Debug)]
pub struct Parts {
    /// Desire in, report out.
    pub shadow: Arc<dyn Shadow>,
    /// The engines, the preferred one first.
    pub engines: Vec<Arc<dyn Engine>>,
    /// Documents.
    pub resources: Arc<dyn ResourceSource>,
    /// Files of objects.
    pub objects: Arc<dyn ObjectSource>,
    /// Certificates for services; `None` gives them none.
    pub certs: Option<Arc<dyn CertIssuer>>,
    /// States of updates.
    pub store: Arc<dyn Store>,
    /// Folders for relative host paths.
    pub disk: Arc<dyn Disk>,
    /// Where blocking work is done.
    pub pool: Arc<dyn Blocking>,
    /// Jitter.
    pub random: Arc<dyn Random>,
    /// What instances use, from the collector.
    pub usage: watch::Receiver<Arc<Usage>>,
    /// How to reconcile.
    pub config: ReconcileConfig,
}

/// Brings about what is desired.
///
/// ```
/// use std::sync::Arc;
///
/// use baetyl_core_lib::application::{Role, Scope};
/// use baetyl_core_lib::shadow::{Shadow, StoredShadow};
/// use baetyl_core_lib::spec::Desire;
/// use baetyl_core_lib::store::MemoryStore;
/// use baetyl_core_lib::task::{Inline, TaskScope};
/// use baetyl_core_lib::testing::{FakeEngine, FakeObjects, FixedResources, MemoryDisk, SeededRandom, app};
/// use baetyl_engine::reconcile::{Parts, ReconcileConfig, Reconciler};
/// use tokio::time::{Duration, sleep};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), baetyl_core_lib::store::StoreError> {
/// let (store, engine) = (Arc::new(MemoryStore::new()), FakeEngine::new());
/// let shadow = Arc::new(StoredShadow::open(store.clone()).await?);
/// let (web, resources) = (app("web").service("server").spec(), FixedResources::new());
/// resources.put_app(web.clone());
/// let reconciler = Reconciler::new(Parts {
///     shadow: shadow.clone(),
///     engines: vec![Arc::new(engine.clone())],
///     resources: Arc::new(resources),
///     objects: Arc::new(FakeObjects::new("/objects")),
///     certs: None,
///     store,
///     disk: Arc::new(MemoryDisk::new()),
///     pool: Arc::new(Inline),
///     random: Arc::new(SeededRandom::new(1)),
///     usage: tokio::sync::watch::channel(Arc::default()).1,
///     config: ReconcileConfig::new(Role::Core, "/var/lib/baetyl", "press-17", "native"),
/// });
///
/// let tasks = TaskScope::new();
/// tasks.spawn("reconciler", reconciler.run(tasks.token().clone()));
/// shadow.apply_desire(Desire { apps: Some(vec![web.info()]), ..Desire::default() }).await?;
/// sleep(Duration::from_secs(5)).await;
/// assert_eq!(engine.running(Scope::User), ["web@1"]);
/// assert_eq!(shadow.report().borrow().apps.value(), Some(&vec![web.info()]));
/// tasks.stop().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Reconciler {
    shadow: Arc<dyn Shadow>,
    desire: watch::Receiver<Arc<Desire>>,
    engines: Vec<Arc<dyn Engine>>,
    resources: Arc<dyn ResourceSource>,
    objects: Arc<dyn ObjectSource>,
    certs: Option<Arc<dyn CertIssuer>>,
    store: Arc<dyn Store>,
    random: Arc<dyn Random>,
    usage: watch::Receiver<Arc<Usage>>,
    config: ReconcileConfig,
    executor: Executor,
    ended: mpsc::UnboundedReceiver<(Key, Outcome)>,
    events: Arc<Notify>,
    book: Book,
    loaded: bool,
    told: Report,
    start: Instant,
    wake_at: Duration,
    sweep_at: Option<Duration>,
    renew_at: Duration,
}

impl Reconciler {
    /// A reconciler that has done nothing yet.
    pub fn new(parts: Parts) -> Self {
        let Parts { shadow, engines, resources, objects, certs, store, disk, pool, random, usage, config } =
            parts;
        let (sender, ended) = mpsc::unbounded_channel();
        let deployer = Deployer {
            resources: Arc::clone(&resources),
            objects: Arc::clone(&objects),
            certs: certs.clone(),
            disk,
            pool,
            engines: engines.iter().map(|engine| engine.kind()).collect(),
            lib: config.lib.clone(),
            node_name: config.node_name.clone(),
            run_mode: config.run_mode.clone(),
        };
        Self {
            desire: shadow.desire(),
            executor: Executor::new(deployer, engines.clone(), config.prepares, sender),
            shadow,
            engines,
            resources,
            objects,
            certs,
            store,
            random,
            usage,
            config,
            ended,
            events: Arc::new(Notify::new()),
            book: Book::default(),
            loaded: false,
            told: Report::default(),
            start: Instant::now(),
            wake_at: Duration::ZERO,
            sweep_at: Some(SWEEP_AFTER_START),
            renew_at: RENEW_AFTER_START,
        }
    }

    /// Makes passes until told to end: one at once, then one whenever something may have changed. What runs
    /// goes on running afterwards.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let listeners = TaskScope::under(&shutdown);
        for engine in self.engines.iter().filter(|engine| engine.events().is_some()) {
            listeners.spawn(
                "engine events",
                listen(Arc::clone(engine), Arc::clone(&self.events), listeners.token().clone()),
            );
        }
        loop {
            tokio::select! {
                biased;
                // Cancel-safe: a token stays cancelled.
                () = shutdown.cancelled() => break,
                // A pass that is cut leaves intents that are durable; the next start goes on from them.
                () = self.pass() => {}
            }
            if !self.wait(&shutdown).await {
                break;
            }
        }
        listeners.stop().await;
        self.executor.stop().await;
    }

    /// One turn: looks, plans, has it done, reports. Never fails: what goes wrong stands in the report.
    pub async fn pass(&mut self) {
        if let Err(error) = self.load().await {
            tracing::warn!(error = %Chain(&error), "states of updates cannot be read");
            self.wake_at = self.now() + LOOK_UNTOLD;
            return;
        }
        while let Ok((key, outcome)) = self.ended.try_recv() {
            self.take(&key, outcome);
        }
        let desire = Arc::clone(&self.desire.borrow_and_update());
        let scopes = filter::scopes(self.config.role);
        let looks = observe::look(&self.engines, scopes, self.config.inventory_timeout).await;
        let now = self.now();
        self.book.want(&desire, self.config.role, now, &*self.random);
        self.book.see(looks, self.config.role, self.config.settle, now);
        let look = if self.hears_all() { LOOK_TOLD } else { LOOK_UNTOLD };
        let plan = plan::plan(&self.book.given(), now, look);
        let regular = if self.hears_all() { self.config.slow_interval } else { self.config.interval };
        self.wake_at = plan.wake_at.map_or(now + regular, |at| at.min(now + regular));
        tracing::debug!(empty = plan.is_empty(), "pass");
        self.carry_out(plan, now).await;
        self.renew(now);
        self.sweep(now);
        self.tell().await;
    }

    /// Waits until something may have changed. Returns whether to go on.
    async fn wait(&mut self, shutdown: &CancellationToken) -> bool {
        let earliest = Instant::now() + PASS_GAP;
        loop {
            let at = earliest.max(self.start + self.wake_at);
            tokio::select! {
                biased;
                // Cancel-safe: a token stays cancelled.
                () = shutdown.cancelled() => return false,
                // Cancel-safe: what is not received stays in the channel.
                Some((key, outcome)) = self.ended.recv() => {
                    self.take(&key, outcome);
                    return true;
                }
                // Cancel-safe: an unseen change stays unseen.
                () = changed(&mut self.desire) => return true,
                // Cancel-safe: a permit that is not taken stays.
                () = self.events.notified() => return true,
                // Cancel-safe, as the desire; only numbers changed, so only the report does.
                () = changed(&mut self.usage) => self.tell().await,
                // Cancel-safe: the time is fixed.
                () = sleep_until(at) => return true,
            }
        }
    }

    fn take(&mut self, key: &Key, outcome: Outcome) {
        self.executor.end(key);
        let now = self.now();
        self.book.end(key, outcome, now, &*self.random);
    }

    fn hears_all(&self) -> bool {
        self.engines.iter().all(|engine| engine.events().is_some())
    }

    fn wake(&mut self, at: Duration) {
        self.wake_at = self.wake_at.min(at);
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

/// Ends everything that this role runs, and returns when it has ended: for a person who stops a whole node.
/// All that was made stays, so that the next start of the reconciler runs it again. End the reconciler first.
///
/// # Errors
/// The first that an engine gave; the rest is stopped all the same.
pub async fn drain(engines: &[Arc<dyn Engine>], role: Role) -> Result<(), EngineError> {
    let mut drained = Ok(());
    for scope in filter::scopes(role).iter().rev() {
        let stops = engines.iter().map(|engine| drain_one(&**engine, role, *scope));
        drained = drained.and(join_all(stops).await.into_iter().collect());
    }
    drained
}

async fn drain_one(engine: &dyn Engine, role: Role, scope: Scope) -> Result<(), EngineError> {
    let mine = engine.inventory(scope).await?.into_iter().map(|state| state.info);
    let mine: Vec<_> = mine.filter(|info| filter::manages(role, scope, &info.name)).collect();
    join_all(mine.iter().map(|info| engine.stop(scope, info))).await.into_iter().collect()
}

async fn listen(engine: Arc<dyn Engine>, news: Arc<Notify>, token: CancellationToken) {
    let Some(events) = engine.events() else { return };
    let forward = async {
        loop {
            events.changed().await;
            news.notify_one();
            sleep(EVENT_GAP).await;
        }
    };
    token.run_until_cancelled(forward).await;
}
