//! Running init or core: configuration, activation, the agent, its sockets, and the order of the end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use baetyl::core::application::Role as Part;
use baetyl::core::clock::Clock;
use baetyl::core::durable::{Disk, OsDisk};
use baetyl::core::error::Chain;
use baetyl::core::store::{Opened, RedbStore, Store};
use baetyl::core::task::{Blocking, Pool, TaskScope};
use baetyl::engine::host::{HostClock, OsRandom};
use baetyl::sync::identity::FileIdentity;
use baetyl::{Agent, BuildError};
use tokio_util::sync::CancellationToken;

use crate::config::{self, CertPaths, Config};
use crate::env::{self, Env};
use crate::exit::Fatal;
use crate::{logging, signal};

mod activation;
mod fingerprint;
mod local;
mod parts;

pub use self::fingerprint::fingerprint;
pub use baetyl::{REVISION, VERSION};

/// How long the agent may take to end before it is cut off.
const END: Duration = Duration::from_secs(30);
/// How many blocking jobs run at once.
const POOL: usize = 4;

/// Init or core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Activates the node and keeps core alive.
    Init,
    /// Manages the node's applications.
    Core,
}

impl Role {
    /// Its word: the name of its socket.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Core => "core",
        }
    }

    /// The role of a word.
    pub fn of_word(word: &str) -> Option<Self> {
        match word {
            "init" => Some(Self::Init),
            "core" => Some(Self::Core),
            _ => None,
        }
    }

    const fn part(self) -> Part {
        match self {
            Self::Init => Part::Init,
            Self::Core => Part::Core,
        }
    }
}

/// What everything of one process stands on.
#[derive(Debug)]
struct Base {
    role: Role,
    config: Config,
    lib: PathBuf,
    runtime: PathBuf,
    run_mode: String,
    disk: Arc<dyn Disk>,
    pool: Arc<dyn Blocking>,
    random: Arc<OsRandom>,
    store: Arc<dyn Store>,
    clock: Arc<HostClock>,
}

/// Runs init or core until it is told to stop.
///
/// # Errors
/// What keeps it from starting: configuration to be mended, or something outside to be tried again.
pub fn run(role: Role, config: Option<&Path>, once: bool, env: &dyn Env) -> Result<(), Fatal> {
    let path = crate::cli::config_path(config, env);
    let loaded = config::load(path.as_deref(), env)?;
    logging::start(&loaded.config.logger);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(POOL)
        .thread_keep_alive(Duration::from_secs(5))
        .build()
        .map_err(|error| Fatal::TryAgain(format!("cannot start: {error}")))?;
    runtime.block_on(live(role, loaded.config, once, env))
}

async fn live(role: Role, config: Config, once: bool, env: &dyn Env) -> Result<(), Fatal> {
    let shutdown = CancellationToken::new();
    let tasks = TaskScope::under(&shutdown);
    let token = shutdown.clone();
    tasks.spawn("signals", async move {
        if let Err(error) = signal::cancel_on_signal(token).await {
            tracing::error!(%error, "signals are not watched");
        }
    });
    let result = work(role, config, once, env, &tasks, &shutdown).await;
    shutdown.cancel();
    tasks.stop().await;
    result
}

async fn work(
    role: Role,
    config: Config,
    once: bool,
    env: &dyn Env,
    tasks: &TaskScope,
    shutdown: &CancellationToken,
) -> Result<(), Fatal> {
    let base = open(role, config, env).await?;
    let clock = Arc::clone(&base.clock);
    let token = tasks.token().clone();
    tasks.spawn("clock floor", async move { clock.run(token).await });
    let Some(identity) = identity(&base, shutdown).await? else { return Ok(()) };
    let name = identity.common_name().clone();
    tracing::info!(node = %name.node, namespace = %name.namespace, role = role.word(), version = VERSION, "starting");
    let agent = parts::agent(&base, &name.namespace, &name.node, Arc::new(identity), env).await?;
    let engines = agent.engines();
    let stop = shutdown.child_token();
    let owner = local::serve(&base, &agent, &name, &stop, tasks).await?;
    if once {
        tasks.spawn("once", local::stop_when_core_runs(agent.shadow(), shutdown.clone()));
    }
    local::notify_ready(env);
    let run = agent.run(stop.clone());
    tokio::select! {
        biased;
        // Cancel-safe: what was acknowledged is durable.
        () = run => {}
        // Cancel-safe: only the deadline of the end.
        () = async { stop.cancelled().await; tokio::time::sleep(END).await } => {
            tracing::warn!(after = ?END, "the agent did not end in time and is cut off");
        }
    }
    if owner.wants_drain() {
        if let Err(error) = baetyl::engine::reconcile::drain(&engines, role.part()).await {
            tracing::warn!(error = %Chain(&error), "not everything is stopped");
        }
        owner.drained();
        shutdown.cancelled().await;
    }
    tracing::info!(role = role.word(), "stopped");
    Ok(())
}

async fn open(role: Role, config: Config, env: &dyn Env) -> Result<Base, Fatal> {
    let lib = absolute(&env::lib(env))?;
    let runtime = absolute(&env::runtime(env, &lib))?;
    for (folder, mode) in [(&lib, 0o755), (&runtime, 0o700)] {
        OsDisk.create_folder(folder, mode).map_err(|error| {
            Fatal::TryAgain(format!("folder {} cannot be made: {error}", folder.display()))
        })?;
    }
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let pool: Arc<dyn Blocking> = Arc::new(Pool::new(POOL));
    let path = absolute(&config.store.path)?;
    let (store, opened) = RedbStore::open_or_set_aside(Arc::clone(&disk), &path, Arc::clone(&pool))
        .await
        .map_err(|error| Fatal::TryAgain(format!("store.path {}: {}", path.display(), Chain(&error))))?;
    if let Opened::SetAside { to, reason } = opened {
        tracing::error!(aside = %to.display(), error = %Chain(&reason), "store could not be read and is set aside");
    }
    let store: Arc<dyn Store> = Arc::new(store);
    let clock = HostClock::open(Arc::clone(&store), baetyl::released())
        .await
        .map_err(|error| Fatal::TryAgain(format!("store: {}", Chain(&error))))?;
    let native = env.var("BAETYL_RUN_MODE").is_none_or(|mode| mode == "native");
    if !native {
        return Err(Fatal::Config(
            "this program runs programs of the host: set BAETYL_RUN_MODE=native".to_owned(),
        ));
    }
    Ok(Base {
        role,
        config,
        lib,
        runtime,
        run_mode: "native".to_owned(),
        disk,
        pool,
        random: Arc::new(OsRandom),
        store,
        clock: Arc::new(clock),
    })
}

/// Who the node is, activating it first where it has no certificate; `None` when it was told to stop.
async fn identity(base: &Base, shutdown: &CancellationToken) -> Result<Option<FileIdentity>, Fatal> {
    let paths = &base.config.node;
    if paths.cert.is_empty() || paths.key.is_empty() || paths.ca.is_empty() {
        return Err(Fatal::Config(
            "node.ca, node.key and node.cert name no files: write their paths".to_owned(),
        ));
    }
    if !Path::new(&paths.cert).exists() || !Path::new(&paths.key).exists() {
        if base.role == Role::Core {
            return Err(Fatal::TryAgain(format!(
                "node.cert {} or node.key {} is not there: run baetyl-init, which activates the node",
                paths.cert, paths.key
            )));
        }
        if !activation::activate(base, shutdown).await? {
            return Ok(None);
        }
    }
    let read = |path: &str| {
        std::fs::read(path).map_err(|error| Fatal::TryAgain(format!("{path} cannot be read: {error}")))
    };
    let identity = FileIdentity::load(&read(&paths.cert)?, &read(&paths.key)?)
        .map_err(|error| Fatal::Config(format!("node.cert {}: {}", paths.cert, Chain(&error))))?;
    Ok(Some(identity))
}

/// A path from the configuration, made absolute: the agent must not care where it was started.
fn absolute(path: &Path) -> Result<PathBuf, Fatal> {
    std::path::absolute(path)
        .map_err(|error| Fatal::TryAgain(format!("path {} cannot be used: {error}", path.display())))
}

/// A failure to put the agent together, for its exit code.
fn unbuildable(error: &BuildError) -> Fatal {
    match error {
        BuildError::Store { .. } => Fatal::TryAgain(Chain(error).to_string()),
        _ => Fatal::Config(Chain(error).to_string()),
    }
}

/// Files of a certificate, where they are given.
fn cert_files(paths: &CertPaths) -> Option<(&Path, &Path)> {
    (!paths.cert.is_empty() && !paths.key.is_empty()).then(|| (Path::new(&paths.cert), Path::new(&paths.key)))
}

/// The clock as the trait that others take.
fn clock(base: &Base) -> Arc<dyn Clock> {
    Arc::clone(&base.clock) as Arc<dyn Clock>
}
