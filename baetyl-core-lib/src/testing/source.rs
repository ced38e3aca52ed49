//! Documents and files that a test puts there, and a node that fares as it says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use serde_json::Value;

use crate::node::{Node, NodeError};
use crate::object::{ObjectError, ObjectSource, OnProgress, Progress};
use crate::resource::{Resource, ResourceError, ResourceSource};
use crate::spec::application::ResourceRef;
use crate::spec::{AppSpec, Configuration, NodeInfo, NodeStats, ResourceInfo, ResourceKind, Secret};

/// Documents that a test puts there. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct FixedResources {
    inner: Arc<Mutex<Documents>>,
}

#[derive(Debug, Default)]
struct Documents {
    held: BTreeMap<ResourceInfo, Resource>,
    fetched: Vec<ResourceInfo>,
    kept: Option<BTreeSet<ResourceInfo>>,
    gone: bool,
}

impl FixedResources {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts an application there.
    pub fn put_app(&self, app: AppSpec) -> ResourceInfo {
        let info = ResourceInfo::new(&ResourceKind::Application, &app.name, &app.version);
        self.put(info, Resource::Application(Box::new(app)))
    }

    /// Puts a configuration there.
    pub fn put_config(&self, config: Configuration) -> ResourceInfo {
        let info = ResourceInfo::new(&ResourceKind::Configuration, &config.name, &config.version);
        self.put(info, Resource::Configuration(Box::new(config)))
    }

    /// Puts a secret there.
    pub fn put_secret(&self, secret: Secret) -> ResourceInfo {
        let info = ResourceInfo::new(&ResourceKind::Secret, &secret.name, &secret.version);
        self.put(info, Resource::Secret(Box::new(secret)))
    }

    /// From now on nothing can be fetched: the line is dead and nothing is cached.
    pub fn go_away(&self) {
        lock(&self.inner).gone = true;
    }

    /// Everything can be fetched again.
    pub fn come_back(&self) {
        lock(&self.inner).gone = false;
    }

    /// What was asked for, oldest first.
    pub fn fetched(&self) -> Vec<ResourceInfo> {
        lock(&self.inner).fetched.clone()
    }

    /// What the last `retain` kept.
    pub fn kept(&self) -> Option<BTreeSet<ResourceInfo>> {
        lock(&self.inner).kept.clone()
    }

    fn put(&self, info: ResourceInfo, resource: Resource) -> ResourceInfo {
        lock(&self.inner).held.insert(info.clone(), resource);
        info
    }
}

#[async_trait]
impl ResourceSource for FixedResources {
    async fn fetch(&self, infos: &[ResourceInfo]) -> Vec<Result<Resource, ResourceError>> {
        let mut inner = lock(&self.inner);
        inner.fetched.extend_from_slice(infos);
        let find = |info: &ResourceInfo| {
            let ResourceInfo { kind, name, version } = info.clone();
            if inner.gone {
                let source = "the line is dead".into();
                return Err(ResourceError::Unreachable { kind, name, version, source });
            }
            inner.held.get(info).cloned().ok_or(ResourceError::NotFound { kind, name, version })
        };
        infos.iter().map(find).collect()
    }

    async fn retain(&self, keep: &BTreeSet<ResourceInfo>) -> Result<(), ResourceError> {
        lock(&self.inner).kept = Some(keep.clone());
        Ok(())
    }
}

/// Objects that are there at once, unless a test says otherwise. Clones share what they know.
#[derive(Debug, Clone)]
pub struct FakeObjects {
    folder: PathBuf,
    inner: Arc<Mutex<Objects>>,
}

#[derive(Debug, Default)]
struct Objects {
    ensured: Vec<ResourceRef>,
    kept: Option<BTreeSet<ResourceRef>>,
    failing: BTreeSet<String>,
}

impl FakeObjects {
    /// Objects below this folder: those of a configuration lie in `<folder>/<name>/<version>`. Nothing is
    /// written there.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), inner: Arc::default() }
    }

    /// The objects of this configuration cannot be fetched from now on.
    pub fn fail(&self, config: &str) {
        lock(&self.inner).failing.insert(config.into());
    }

    /// They can be fetched again.
    pub fn mend(&self, config: &str) {
        lock(&self.inner).failing.remove(config);
    }

    /// The configurations whose objects were asked for, oldest first.
    pub fn ensured(&self) -> Vec<ResourceRef> {
        lock(&self.inner).ensured.clone()
    }

    /// What the last `retain` kept.
    pub fn kept(&self) -> Option<BTreeSet<ResourceRef>> {
        lock(&self.inner).kept.clone()
    }
}

#[async_trait]
impl ObjectSource for FakeObjects {
    async fn ensure(&self, config: &Configuration, progress: OnProgress) -> Result<PathBuf, ObjectError> {
        {
            let mut inner = lock(&self.inner);
            inner.ensured.push(ResourceRef { name: config.name.clone(), version: config.version.clone() });
            if inner.failing.contains(&config.name) {
                return Err(ObjectError::Unreachable {
                    config: config.name.clone(),
                    object: "object".into(),
                    source: "asked to fail".into(),
                });
            }
        }
        progress(Progress { done: 1, total: Some(1) });
        Ok(self.folder.join(&config.name).join(&config.version))
    }

    async fn retain(&self, keep: &BTreeSet<ResourceRef>) -> Result<(), ObjectError> {
        lock(&self.inner).kept = Some(keep.clone());
        Ok(())
    }
}

/// A node that fares as a test says. Clones are the same node.
#[derive(Debug, Clone)]
pub struct FakeNode {
    inner: Arc<Mutex<Members>>,
}

#[derive(Debug)]
struct Members {
    info: BTreeMap<String, NodeInfo>,
    stats: BTreeMap<String, NodeStats>,
    failing: bool,
}

impl FakeNode {
    /// A node of one member, which is well.
    pub fn new(member: &str) -> Self {
        let info = NodeInfo {
            hostname: member.into(),
            arch: "amd64".into(),
            os: "linux".into(),
            ..NodeInfo::default()
        };
        let stats = NodeStats { ready: true, ..NodeStats::default() };
        let members = Members {
            info: BTreeMap::from([(member.into(), info)]),
            stats: BTreeMap::from([(member.into(), stats)]),
            failing: false,
        };
        Self { inner: Arc::new(Mutex::new(members)) }
    }

    /// Says how a member fares from now on.
    pub fn set_stats(&self, member: &str, stats: NodeStats) {
        lock(&self.inner).stats.insert(member.into(), stats);
    }

    /// From now on it cannot be looked at.
    pub fn fail(&self) {
        lock(&self.inner).failing = true;
    }

    /// It can be looked at again.
    pub fn mend(&self) {
        lock(&self.inner).failing = false;
    }

    fn look<T>(&self, at: impl FnOnce(&Members) -> T) -> Result<T, NodeError> {
        let inner = lock(&self.inner);
        if inner.failing {
            return Err(NodeError { what: "members".into(), source: "asked to fail".into() });
        }
        Ok(at(&inner))
    }
}

#[async_trait]
impl Node for FakeNode {
    async fn info(&self) -> Result<BTreeMap<String, NodeInfo>, NodeError> {
        self.look(|members| members.info.clone())
    }

    async fn stats(&self) -> Result<BTreeMap<String, NodeStats>, NodeError> {
        self.look(|members| members.stats.clone())
    }

    fn mode_info(&self) -> Value {
        Value::String("fake".into())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A test that failed may have poisoned it; the others go on.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
