//! Applications as programs of the host, each instance under a supervisor of its own (edge.md 7.7, 7.8).
//!
//! The engine remembers nothing: what runs is what folders, locks and `/proc` say, so an agent that is
//! started again adopts what it finds. It knows no other engine, no reconciler and no cloud.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use baetyl_core_lib::application::{Application, Deployment, Scope};
use baetyl_core_lib::durable::Disk;
use baetyl_core_lib::engine::{
    AppState, AppUsage, Engine, EngineError, EngineKind, EventSource, InstanceUsage, LogSource, UsageSource,
};
use baetyl_core_lib::spec::AppInfo;
use baetyl_core_lib::task::{Blocking, blocking};
use tokio::net::UnixDatagram;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};

mod apply;
mod entry;
mod instance;
mod layout;
mod lock;
mod logs;
mod mounts;
mod ports;
mod proc;
pub mod program;
mod record;
mod services;
mod site;
mod spawn;
mod stats;
mod stop;

use self::layout::{InstanceId, Layout, segment};
pub use self::logs::RotatedLog;
use self::proc::Proc;
pub use self::record::LogRule;
use self::site::Site;
pub use self::spawn::{OsSpawn, Spawn};
use self::stats::Look;
use self::stop::{Ending, Force};

/// Beyond the grace that programs have, a supervisor may take so long to end.
const SUPERVISOR_TIME: Duration = Duration::from_secs(5);

/// What the process engine is told.
#[derive(Debug, Clone)]
pub struct ProcessConfig {
    /// The folder of all that belongs to applications; absolute.
    pub lib: PathBuf,
    /// The folder of what is true for this boot only; absolute, best on a tmpfs.
    pub runtime: PathBuf,
    /// The command line of the supervisor; `program <folder>` is put behind it.
    pub supervisor: Vec<OsString>,
    /// The ports that instances get.
    pub ports: RangeInclusive<u16>,
    /// How long a program may take to end when it is asked to.
    pub grace: Duration,
    /// `PATH` of every program.
    pub path_env: String,
    /// The agent's own datagram socket, which supervisors tell of changes.
    pub agent_socket: Option<PathBuf>,
    /// How many bytes a log may have before it is renamed, where the program's configuration has no
    /// `logger.maxSize`.
    pub log_bytes: u64,
    /// How many older log files are kept, where the program's configuration has no `logger.maxBackups`.
    pub log_backups: u32,
}

impl ProcessConfig {
    /// The defaults: ports 50200 to 51000, 10 s of grace, the usual `PATH`, no socket, 10 MiB of log and
    /// two older ones.
    pub fn new(lib: impl Into<PathBuf>, runtime: impl Into<PathBuf>, supervisor: Vec<OsString>) -> Self {
        Self {
            lib: lib.into(),
            runtime: runtime.into(),
            supervisor,
            ports: 50200..=51000,
            grace: Duration::from_secs(10),
            path_env: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            agent_socket: None,
            log_bytes: 10 << 20,
            log_backups: 2,
        }
    }
}

/// Runs applications as programs of the host.
///
/// ```
/// use std::sync::Arc;
///
/// use baetyl_core_lib::durable::OsDisk;
/// use baetyl_core_lib::engine::{Engine as _, EngineKind};
/// use baetyl_core_lib::task::Inline;
/// use baetyl_engine::process::{OsSpawn, ProcessConfig, ProcessEngine};
///
/// // The supervisor is the agent's own program, run again as `baetyl program <folder>`.
/// let supervisor = vec!["/usr/bin/baetyl".into()];
/// let config = ProcessConfig::new("/var/lib/baetyl", "/run/baetyl", supervisor);
/// let engine = ProcessEngine::new(config, Arc::new(OsDisk), Arc::new(Inline), Arc::new(OsSpawn::new()));
/// assert_eq!(engine.kind(), EngineKind::Process);
/// ```
#[derive(Debug)]
pub struct ProcessEngine {
    site: Arc<Site>,
    pool: Arc<dyn Blocking>,
    /// The look before, by instance, for what was used since.
    looks: Mutex<BTreeMap<String, Look>>,
    born: Instant,
    socket: OnceCell<Option<UnixDatagram>>,
}

impl ProcessEngine {
    /// Starts nothing.
    pub fn new(
        config: ProcessConfig,
        disk: Arc<dyn Disk>,
        pool: Arc<dyn Blocking>,
        spawner: Arc<dyn Spawn>,
    ) -> Self {
        let layout = Layout { lib: config.lib.clone(), runtime: config.runtime.clone() };
        Self {
            site: Arc::new(Site { config, layout, disk, spawner, proc: Proc::system() }),
            pool,
            looks: Mutex::default(),
            born: Instant::now(),
            socket: OnceCell::new(),
        }
    }

    /// Runs blocking work over the folders.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Site) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let site = Arc::clone(&self.site);
        blocking(&*self.pool, move || work(&site)).await.map_err(|lost| EngineError::Failed {
            engine: EngineKind::Process,
            operation: "work on its folders".to_owned(),
            source: lost.into(),
        })?
    }

    /// Ends instances and returns when they have ended.
    async fn end(&self, instances: Vec<InstanceId>) -> Result<(), EngineError> {
        let patience = self.site.config.grace.saturating_add(SUPERVISOR_TIME);
        let begun = Instant::now();
        let mut ending = Ending::of(instances);
        let mut nap = Duration::from_millis(2);
        loop {
            let late = begun.elapsed() > patience;
            let force = if late { Force::Kill } else { Force::Ask };
            ending = self.work(move |site| site.end(ending, force)).await?;
            if ending.left.is_empty() {
                return ending.error.map_or(Ok(()), Err);
            }
            if begun.elapsed() > patience.saturating_add(SUPERVISOR_TIME) {
                return Err(EngineError::Timeout {
                    engine: EngineKind::Process,
                    operation: "stop a program",
                });
            }
            sleep(nap).await;
            nap = nap.saturating_mul(2).min(Duration::from_millis(100));
        }
    }

    async fn end_version(&self, scope: Scope, info: &AppInfo) -> Result<Vec<InstanceId>, EngineError> {
        segment("application", &info.name)?;
        segment("version", &info.version)?;
        let wanted = info.clone();
        let instances = self
            .work(move |site| {
                let handed = site.hand_names_over(scope, &wanted);
                handed.map_err(|error| site::failed(format!("take {wanted} out of services.yml"), error))?;
                site.instances(scope, &wanted)
            })
            .await?;
        self.end(instances.clone()).await?;
        Ok(instances)
    }
}

#[async_trait]
impl Engine for ProcessEngine {
    fn kind(&self) -> EngineKind {
        EngineKind::Process
    }

    async fn prepare(&self, _scope: Scope, app: &dyn Application) -> Result<(), EngineError> {
        let app = owned(app);
        self.work(move |site| site.prepare(&app)).await
    }

    async fn apply(&self, scope: Scope, app: &dyn Application) -> Result<(), EngineError> {
        let app = owned(app);
        let info = app.spec.info();
        let surplus = self.work(move |site| site.apply(scope, &app)).await?;
        if surplus.is_empty() {
            return Ok(());
        }
        self.end(surplus.clone()).await?;
        self.work(move |site| site.delete(scope, &info, &surplus)).await
    }

    async fn stop(&self, scope: Scope, app: &AppInfo) -> Result<(), EngineError> {
        self.end_version(scope, app).await.map(drop)
    }

    async fn remove(&self, scope: Scope, app: &AppInfo) -> Result<(), EngineError> {
        let instances = self.end_version(scope, app).await?;
        let info = app.clone();
        self.work(move |site| site.delete_version(scope, &info, &instances)).await
    }

    async fn inventory(&self, scope: Scope) -> Result<Vec<AppState>, EngineError> {
        self.work(move |site| site.inventory(scope)).await
    }

    fn usage(&self) -> Option<&dyn UsageSource> {
        Some(self)
    }

    fn logs(&self) -> Option<&dyn LogSource> {
        Some(self)
    }

    fn events(&self) -> Option<&dyn EventSource> {
        self.site.config.agent_socket.is_some().then_some(self)
    }
}

#[async_trait]
impl UsageSource for ProcessEngine {
    async fn usage(&self, scope: Scope) -> Result<Vec<AppUsage>, EngineError> {
        let at = self.born.elapsed();
        let (running, all) = self.work(move |site| site.running(scope)).await?;
        let page = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut now = BTreeMap::new();
        let mut usage = Vec::new();
        for (info, states) in running {
            let instances = states.into_iter().map(|(name, state)| {
                let look = stats::look(&all, &state, at);
                let ticks = rustix::param::clock_ticks_per_second();
                let cpu = looks.get(&name).map_or(0.0, |before| stats::cores(before, &look, ticks));
                let memory = look.pages.saturating_mul(page);
                now.insert(name.clone(), look);
                InstanceUsage { name, cpu, memory }
            });
            usage.push(AppUsage { instances: instances.collect(), info });
        }
        let own = format!("{}.", scope.namespace());
        looks.retain(|name, _| !name.starts_with(&own));
        looks.append(&mut now);
        Ok(usage)
    }
}

#[async_trait]
impl LogSource for ProcessEngine {
    async fn tail(&self, scope: Scope, instance: &str, lines: usize) -> Result<Vec<u8>, EngineError> {
        let name = instance.to_owned();
        self.work(move |site| {
            let Some(id) = site.find(scope, &name)? else {
                return Err(EngineError::NotFound {
                    engine: EngineKind::Process,
                    what: format!("instance {name:?}"),
                });
            };
            logs::tail(&site.layout.log(&id), lines)
                .map_err(|error| site::failed(format!("read the log of {name}"), error))
        })
        .await
    }
}

#[async_trait]
impl EventSource for ProcessEngine {
    async fn changed(&self) {
        let bind = || async {
            let path = self.site.config.agent_socket.as_ref()?;
            // What an agent before this one left there takes no datagrams any more.
            self.site.disk.remove_file(path).ok();
            match UnixDatagram::bind(path) {
                Ok(socket) => Some(socket),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "changes of programs are seen late: no socket for them");
                    None
                }
            }
        };
        match self.socket.get_or_init(bind).await {
            Some(socket) => {
                let mut name = [0; 512];
                // A broken socket must not make the caller spin.
                if socket.recv(&mut name).await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
            None => std::future::pending().await,
        }
    }
}

/// All of an application, for work on another thread.
fn owned(app: &dyn Application) -> Deployment {
    let spec = app.spec().clone();
    let volumes = spec
        .volumes
        .iter()
        .filter_map(|volume| Some((volume.name.clone(), app.volume(&volume.name)?.clone())));
    Deployment { volumes: volumes.collect(), spec }
}
