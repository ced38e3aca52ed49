//! A node without a cloud: the desire is set by the test.

#![expect(clippy::unwrap_used, reason = "a bed that cannot be made fails its test")]

use std::sync::Arc;
use std::time::Duration;

use baetyl_core_lib::application::{Role, Scope};
use baetyl_core_lib::cert::CertIssuer;
use baetyl_core_lib::engine::Engine;
use baetyl_core_lib::shadow::{Shadow, StoredShadow};
use baetyl_core_lib::spec::{AppInfo, AppSpec, AppStats, Desire, Report};
use baetyl_core_lib::store::{MemoryStore, Store};
use baetyl_core_lib::task::{Inline, TaskScope};
use baetyl_core_lib::testing::{
    AppBuilder, FakeEngine, FakeObjects, FixedResources, MemoryDisk, SeededRandom, app,
};
use baetyl_engine::collect::Usage;
use baetyl_engine::reconcile::{Parts, ReconcileConfig, Reconciler};
use tokio::sync::watch;

/// Everything that outlives an agent.
pub(super) struct Bed {
    pub(super) engine: FakeEngine,
    pub(super) resources: FixedResources,
    pub(super) objects: FakeObjects,
    pub(super) shadow: Arc<StoredShadow>,
    pub(super) store: Arc<dyn Store>,
    pub(super) role: Role,
    /// In place of `engine`, when there are any.
    pub(super) engines: Vec<Arc<dyn Engine>>,
    pub(super) certs: Option<Arc<dyn CertIssuer>>,
    pub(super) usage: watch::Sender<Arc<Usage>>,
    agent: TaskScope,
}

impl Bed {
    pub(super) async fn new() -> Self {
        Self::over(Arc::new(MemoryStore::new())).await
    }

    pub(super) async fn over(store: Arc<dyn Store>) -> Self {
        let shadow = StoredShadow::open(Arc::new(MemoryStore::new())).await.unwrap();
        let (usage, _) = watch::channel(Arc::default());
        Self {
            engine: FakeEngine::new(),
            resources: FixedResources::new(),
            objects: FakeObjects::new("/objects"),
            shadow: Arc::new(shadow),
            store,
            role: Role::Core,
            engines: Vec::new(),
            certs: None,
            usage,
            agent: TaskScope::new(),
        }
    }

    pub(super) fn parts(&self) -> Parts {
        let engine: Arc<dyn Engine> = Arc::new(self.engine.clone());
        Parts {
            shadow: self.shadow.clone(),
            engines: if self.engines.is_empty() { vec![engine] } else { self.engines.clone() },
            resources: Arc::new(self.resources.clone()),
            objects: Arc::new(self.objects.clone()),
            certs: self.certs.clone(),
            store: self.store.clone(),
            disk: Arc::new(MemoryDisk::new()),
            pool: Arc::new(Inline),
            random: Arc::new(SeededRandom::new(7)),
            usage: self.usage.subscribe(),
            config: ReconcileConfig::new(self.role, "/lib", "edge-a", "native"),
        }
    }

    /// Starts an agent, and lets it run until it is at rest for a moment.
    pub(super) async fn start(&mut self) {
        self.start_with(self.parts()).await;
    }

    pub(super) async fn start_with(&mut self, parts: Parts) {
        self.agent = TaskScope::new();
        let token = self.agent.token().clone();
        self.agent.spawn("reconciler", Reconciler::new(parts).run(token));
        self.pass(0.2).await;
    }

    /// Ends the agent; what runs stays.
    pub(super) async fn stop(&mut self) {
        self.agent.stop().await;
    }

    /// Lets this many seconds pass.
    pub(super) async fn pass(&self, seconds: f64) {
        tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    }

    /// Puts applications there and desires exactly these, of the user.
    pub(super) async fn desire(&self, specs: &[AppSpec]) {
        for spec in specs {
            self.resources.put_app(spec.clone());
        }
        self.want(specs.iter().map(AppSpec::info).collect()).await;
    }

    pub(super) async fn want(&self, apps: Vec<AppInfo>) {
        let desire = Desire { apps: Some(apps), sysapps: Some(Vec::new()), ..Desire::default() };
        self.shadow.apply_desire(desire).await.unwrap();
        self.pass(0.2).await;
    }

    pub(super) fn running(&self) -> Vec<String> {
        self.engine.running(Scope::User)
    }

    pub(super) fn report(&self) -> Arc<Report> {
        self.shadow.report().borrow().clone()
    }

    pub(super) fn reported(&self) -> Vec<String> {
        self.report().apps.value().unwrap().iter().map(ToString::to_string).collect()
    }

    pub(super) fn stats(&self, name: &str) -> AppStats {
        let report = self.report();
        let all = report.appstats.value().unwrap();
        all.iter().find(|stats| stats.name == name).cloned().unwrap_or_else(|| panic!("no {name} in {all:?}"))
    }

    /// How often something was applied.
    pub(super) fn applied(&self, version: &str) -> usize {
        self.engine.calls().iter().filter(|call| **call == format!("apply user {version}")).count()
    }
}

/// An application with one service that may run beside another version of itself.
pub(super) fn web(version: &str) -> AppSpec {
    named("web", version).spec()
}

pub(super) fn named(name: &str, version: &str) -> AppBuilder {
    app(name).version(version).service("server")
}
