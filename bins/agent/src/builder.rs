//! Putting an agent together: what is given is taken, what is not is made of the folder.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use baetyl_core_lib::application::Role;
use baetyl_core_lib::cert::CertIssuer;
use baetyl_core_lib::clock::{Clock, Random};
use baetyl_core_lib::durable::{Disk, OsDisk};
use baetyl_core_lib::engine::Engine;
use baetyl_core_lib::error::BoxError;
use baetyl_core_lib::link::Link;
use baetyl_core_lib::node::Node;
use baetyl_core_lib::object::ObjectSource;
use baetyl_core_lib::resource::ResourceSource;
use baetyl_core_lib::shadow::{Shadow, StoredShadow};
use baetyl_core_lib::spec::{CoreInfo, Report, Section};
use baetyl_core_lib::store::{RedbStore, Store, StoreError};
use baetyl_core_lib::task::{Blocking, Pool};
use baetyl_engine::collect::{CollectConfig, Collector};
use baetyl_engine::host::{Host, HostClock, OsRandom};
use baetyl_engine::reconcile::{Parts, ReconcileConfig, Reconciler};
use baetyl_sync::resource::{ResourceClient, platform};
use baetyl_sync::syncer::{SyncConfig, Syncer, SyncerParts};

use crate::agent::Agent;
use crate::objects::NoObjects;

/// How many blocking jobs run at once.
const POOL: usize = 4;
/// The mode of a node whose applications are programs.
const NATIVE: &str = "native";

/// What the agent stands on, for parts that are made of it ([`AgentBuilder::way`]).
#[derive(Debug)]
pub struct Seams<'a> {
    /// The agent's folder.
    pub folder: &'a std::path::Path,
    /// The cloud's namespace.
    pub namespace: &'a str,
    /// The node's name.
    pub name: &'a str,
    /// `native` or `kube`.
    pub run_mode: &'a str,
    /// The wall clock.
    pub clock: &'a Arc<dyn Clock>,
    /// The files.
    pub disk: &'a Arc<dyn Disk>,
    /// Where blocking work is done.
    pub pool: &'a Arc<dyn Blocking>,
    /// What survives a power cut.
    pub store: &'a Arc<dyn Store>,
    /// Jitter and names.
    pub random: &'a Arc<dyn Random>,
}

/// The way to the cloud and to its objects, made at the end.
pub type Way = (Arc<dyn Link>, Arc<dyn ObjectSource>);

/// Makes it.
type MakeWay = Box<dyn FnOnce(&Seams<'_>) -> Result<Way, BuildError> + Send>;

/// The issuer of certificates, made at the end.
type Issuer = Box<
    dyn for<'a> FnOnce(
            &'a Seams<'a>,
        )
            -> Pin<Box<dyn Future<Output = Result<Arc<dyn CertIssuer>, BuildError>> + Send + 'a>>
        + Send,
>;

/// An agent that is being put together. Every part has a default made of the folder, but for the way to the
/// cloud and the engines.
pub struct AgentBuilder {
    folder: PathBuf,
    namespace: String,
    name: String,
    role: Role,
    sync: SyncConfig,
    reconcile: Option<ReconcileConfig>,
    collect: Option<CollectConfig>,
    disk: Arc<dyn Disk>,
    pool: Arc<dyn Blocking>,
    random: Arc<dyn Random>,
    clock: Option<Arc<dyn Clock>>,
    store: Option<Arc<dyn Store>>,
    link: Option<Arc<dyn Link>>,
    engines: Vec<Arc<dyn Engine>>,
    node: Option<Arc<dyn Node>>,
    resources: Option<Arc<dyn ResourceSource>>,
    objects: Option<Arc<dyn ObjectSource>>,
    certs: Option<Issuer>,
    way: Option<MakeWay>,
}

impl std::fmt::Debug for AgentBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentBuilder")
            .field("folder", &self.folder)
            .field("namespace", &self.namespace)
            .field("name", &self.name)
            .field("role", &self.role)
            .field("engines", &self.engines)
            .finish_non_exhaustive()
    }
}

/// What an agent lacks, or what failed while it was put together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A part is missing that has no default.
    #[error("the agent has no {what}: give it with {method}")]
    Missing {
        /// What is missing.
        what: &'static str,
        /// How to give it.
        method: &'static str,
    },
    /// The store cannot be used.
    #[error("the agent's store cannot be used")]
    Store {
        /// What went wrong.
        #[from]
        source: StoreError,
    },
    /// Another part cannot be made.
    #[error("the agent's {what} cannot be made")]
    Part {
        /// Which part.
        what: &'static str,
        /// What went wrong.
        #[source]
        source: BoxError,
    },
}

impl AgentBuilder {
    pub(crate) fn new(folder: PathBuf, namespace: String, name: String) -> Self {
        Self {
            folder,
            namespace,
            name,
            role: Role::Whole,
            sync: SyncConfig::default(),
            reconcile: None,
            collect: None,
            disk: Arc::new(OsDisk),
            pool: Arc::new(Pool::new(POOL)),
            random: Arc::new(OsRandom),
            clock: None,
            store: None,
            link: None,
            engines: Vec::new(),
            node: None,
            resources: None,
            objects: None,
            certs: None,
            way: None,
        }
    }

    /// Which part of the node this agent is; the whole of it, unless said.
    #[must_use]
    pub const fn role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// When to report, and how long a last report may take.
    #[must_use]
    pub const fn sync(mut self, config: SyncConfig) -> Self {
        self.sync = config;
        self
    }

    /// How applications are brought about. Role, folder and names are taken from this builder.
    #[must_use]
    pub fn reconcile(mut self, config: ReconcileConfig) -> Self {
        self.reconcile = Some(config);
        self
    }

    /// How often the node is measured; as often as it reports, unless said.
    #[must_use]
    pub fn collect(mut self, config: CollectConfig) -> Self {
        self.collect = Some(config);
        self
    }

    /// The way to the cloud. Required, unless [`AgentBuilder::http`] gives one.
    #[must_use]
    pub fn link(mut self, link: Arc<dyn Link>) -> Self {
        self.link = Some(link);
        self
    }

    /// What applications run in; the preferred engine first. At least one is required.
    #[must_use]
    pub fn engine(mut self, engine: Arc<dyn Engine>) -> Self {
        self.engines.push(engine);
        self
    }

    /// The files; the operating system's, unless said.
    #[must_use]
    pub fn disk(mut self, disk: Arc<dyn Disk>) -> Self {
        self.disk = disk;
        self
    }

    /// Where blocking work is done; tokio's blocking threads, unless said.
    #[must_use]
    pub fn blocking(mut self, pool: Arc<dyn Blocking>) -> Self {
        self.pool = pool;
        self
    }

    /// Jitter and names; the operating system's, unless said.
    #[must_use]
    pub fn random(mut self, random: Arc<dyn Random>) -> Self {
        self.random = random;
        self
    }

    /// The wall clock; the host's, unless said.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// What must survive a power cut; a redb file in the folder, unless said.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// What the node is; this host, unless said.
    #[must_use]
    pub fn node(mut self, node: Arc<dyn Node>) -> Self {
        self.node = Some(node);
        self
    }

    /// Where documents come from; the link with a durable cache, unless said.
    #[must_use]
    pub fn resources(mut self, resources: Arc<dyn ResourceSource>) -> Self {
        self.resources = Some(resources);
        self
    }

    /// Where files of objects come from; with [`AgentBuilder::http`] from the cloud, else there are none, unless
    /// said.
    #[must_use]
    pub fn objects(mut self, objects: Arc<dyn ObjectSource>) -> Self {
        self.objects = Some(objects);
        self
    }

    /// Who issues certificates to applications; nobody, unless said.
    #[must_use]
    pub fn certs(mut self, certs: Arc<dyn CertIssuer>) -> Self {
        self.certs = Some(Box::new(|_| Box::pin(async move { Ok(certs) })));
        self
    }

    /// Certificates for applications from the node's own authority, which lies in the store.
    #[cfg(feature = "pki")]
    #[must_use]
    pub fn pki(mut self, config: baetyl_engine::cert::PkiConfig) -> Self {
        use baetyl_engine::cert::NodeAuthority;
        self.certs = Some(Box::new(move |seams| {
            Box::pin(async move {
                let common_name = format!("{}.{}", seams.namespace, seams.name);
                let (store, clock) = (Arc::clone(seams.store), Arc::clone(seams.clock));
                let authority = NodeAuthority::open(store, &common_name, clock, config).await;
                let authority = authority.map_err(|source| BuildError::Part {
                    what: "certificate authority",
                    source: source.into(),
                })?;
                Ok(Arc::new(authority) as Arc<dyn CertIssuer>)
            })
        }));
        self
    }

    /// The way to the cloud and to its objects, made of what the agent stands on once that is open.
    #[must_use]
    pub fn way<F>(mut self, make: F) -> Self
    where
        F: FnOnce(&Seams<'_>) -> Result<Way, BuildError> + Send + 'static,
    {
        self.way = Some(Box::new(make));
        self
    }

    /// The way to the cloud over HTTP and mutual TLS, and its objects below `object` of the folder.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn http(
        self,
        config: baetyl_sync::link::HttpConfig,
        identity: Arc<dyn baetyl_core_lib::identity::Identity>,
    ) -> Self {
        let objects = baetyl_sync::object::ObjectConfig::new(self.folder.join("object"));
        self.http_with(config, objects, identity)
    }

    /// As [`AgentBuilder::http`], with everything said about objects.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn http_with(
        self,
        config: baetyl_sync::link::HttpConfig,
        objects: baetyl_sync::object::ObjectConfig,
        identity: Arc<dyn baetyl_core_lib::identity::Identity>,
    ) -> Self {
        self.way(move |seams| crate::http::way(config, objects, identity, seams))
    }

    /// Runs applications as programs of the host. `supervisor` is the command line that looks after one:
    /// it calls [`baetyl_engine::process::program::run`] with what is put behind it, `program <folder>`.
    #[cfg(feature = "process")]
    #[must_use]
    pub fn process(self, supervisor: Vec<std::ffi::OsString>) -> Self {
        use baetyl_engine::process::ProcessConfig;
        let config = ProcessConfig::new(self.folder.clone(), self.folder.join("runtime"), supervisor);
        self.process_with(config)
    }

    /// As [`AgentBuilder::process`], with everything said.
    #[cfg(feature = "process")]
    #[must_use]
    pub fn process_with(mut self, config: baetyl_engine::process::ProcessConfig) -> Self {
        use baetyl_engine::process::{OsSpawn, ProcessEngine};
        let (disk, pool) = (Arc::clone(&self.disk), Arc::clone(&self.pool));
        self.engines.push(Arc::new(ProcessEngine::new(config, disk, pool, Arc::new(OsSpawn::new()))));
        self
    }

    /// Opens the store and puts the agent together. Starts nothing.
    ///
    /// # Errors
    /// [`BuildError`] names the part that is missing or cannot be made.
    pub async fn build(self) -> Result<Agent, BuildError> {
        let missing = |what, method| BuildError::Missing { what, method };
        if self.engines.is_empty() {
            return Err(missing("engine", "AgentBuilder::engine"));
        }
        let store = match self.store {
            Some(store) => store,
            None => open_store(&self.folder, self.role, &self.disk, &self.pool).await?,
        };
        let clock: Arc<dyn Clock> = match self.clock {
            Some(clock) => clock,
            None => Arc::new(HostClock::open(Arc::clone(&store), crate::released()).await?),
        };
        let run_mode = self.reconcile.as_ref().map_or(NATIVE, |config| config.run_mode.as_str()).to_owned();
        let seams = Seams {
            folder: &self.folder,
            namespace: &self.namespace,
            name: &self.name,
            run_mode: &run_mode,
            clock: &clock,
            disk: &self.disk,
            pool: &self.pool,
            store: &store,
            random: &self.random,
        };
        let (way, sources) = match self.way {
            Some(way) => way(&seams).map(|(link, objects)| (Some(link), Some(objects)))?,
            None => (None, None),
        };
        let link = self.link.or(way).ok_or(missing("way to the cloud", "AgentBuilder::link"))?;
        let objects = self.objects.or(sources).unwrap_or_else(|| Arc::new(NoObjects));
        let certs = match self.certs {
            Some(issuer) => Some(issuer(&seams).await?),
            None => None,
        };
        let resources = self.resources.unwrap_or_else(|| {
            let client = ResourceClient::new(Arc::clone(&link), Arc::clone(&store), platform());
            Arc::new(if run_mode == NATIVE { client.telling_platform() } else { client })
        });
        let node = match self.node {
            Some(node) => node,
            None => Arc::new(Host::new(self.folder.clone(), Arc::clone(&self.pool))),
        };
        let shadow: Arc<dyn Shadow> = Arc::new(StoredShadow::open(Arc::clone(&store)).await?);
        shadow.merge_report(about_core()).await?;
        let syncer = Syncer::new(SyncerParts {
            link: Arc::clone(&link),
            shadow: Arc::clone(&shadow),
            clock: Arc::clone(&clock),
            random: Arc::clone(&self.random),
            role: self.role,
            config: self.sync,
        });
        let collect = self.collect.unwrap_or_else(|| CollectConfig::as_told(syncer.interval()));
        let collector = Collector::new(node, self.engines.clone(), Arc::clone(&shadow), collect);
        let mut config = self.reconcile.unwrap_or_else(|| {
            ReconcileConfig::new(self.role, self.folder.clone(), self.name.clone(), run_mode)
        });
        config.role = self.role;
        config.lib.clone_from(&self.folder);
        config.node_name.clone_from(&self.name);
        let reconciler = Reconciler::new(Parts {
            shadow: Arc::clone(&shadow),
            engines: self.engines.clone(),
            resources,
            objects,
            certs,
            store,
            disk: self.disk,
            pool: self.pool,
            random: self.random,
            usage: collector.usage(),
            config,
        });
        Ok(Agent { shadow, link, clock, engines: self.engines, syncer, reconciler, collector })
    }
}

/// What the report says of the agent itself.
fn about_core() -> Report {
    let core = CoreInfo {
        // The key is the original's; what it tells is the compiler.
        go_version: format!("rust{}", env!("CARGO_PKG_RUST_VERSION")),
        bin_version: crate::VERSION.to_owned(),
        git_revision: crate::REVISION.to_owned(),
    };
    Report { core: Section::Is(core), ..Report::default() }
}

async fn open_store(
    folder: &std::path::Path,
    role: Role,
    disk: &Arc<dyn Disk>,
    pool: &Arc<dyn Blocking>,
) -> Result<Arc<dyn Store>, StoreError> {
    let path = folder.join(if role == Role::Init { "init/store/core.db" } else { "core/store/core.db" });
    let (store, opened) = RedbStore::open_or_set_aside(Arc::clone(disk), &path, Arc::clone(pool)).await?;
    if let baetyl_core_lib::store::Opened::SetAside { to, reason } = opened {
        tracing::error!(aside = %to.display(), error = %baetyl_core_lib::error::Chain(&reason), "store set aside");
    }
    Ok(Arc::new(store))
}
