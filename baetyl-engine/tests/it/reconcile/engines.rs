//! Two engines on one node, and how often they are asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use baetyl_core_lib::application::{Application, Scope};
use baetyl_core_lib::engine::{AppState, Engine, EngineError, EngineKind, EventSource};
use baetyl_core_lib::spec::AppInfo;
use baetyl_core_lib::testing::FakeEngine;

use super::bed::{Bed, named};

/// An engine that says it is of this kind, and counts how often it is asked.
#[derive(Debug)]
struct Kind {
    kind: EngineKind,
    engine: FakeEngine,
    asked: AtomicUsize,
}

impl Kind {
    fn new(kind: EngineKind) -> Arc<Self> {
        Arc::new(Self { kind, engine: FakeEngine::new(), asked: AtomicUsize::new(0) })
    }
}

#[async_trait]
impl Engine for Kind {
    fn kind(&self) -> EngineKind {
        self.kind
    }

    async fn prepare(&self, scope: Scope, app: &dyn Application) -> Result<(), EngineError> {
        self.engine.prepare(scope, app).await
    }

    async fn apply(&self, scope: Scope, app: &dyn Application) -> Result<(), EngineError> {
        self.engine.apply(scope, app).await
    }

    async fn stop(&self, scope: Scope, app: &AppInfo) -> Result<(), EngineError> {
        self.engine.stop(scope, app).await
    }

    async fn remove(&self, scope: Scope, app: &AppInfo) -> Result<(), EngineError> {
        self.engine.remove(scope, app).await
    }

    async fn inventory(&self, scope: Scope) -> Result<Vec<AppState>, EngineError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.engine.inventory(scope).await
    }

    fn events(&self) -> Option<&dyn EventSource> {
        Engine::events(&self.engine)
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_gone_holds_up_only_its_own_applications() {
    let mut bed = Bed::new().await;
    let (process, docker) = (Kind::new(EngineKind::Process), Kind::new(EngineKind::Docker));
    bed.engines = vec![process.clone(), docker.clone()];
    bed.start().await;
    let program = |version: &str| named("program", version).spec();
    let container = |version: &str| named("container", version).image("nginx").spec();
    bed.desire(&[program("1"), container("1")]).await;
    bed.pass(4.0).await;
    assert_eq!(process.engine.running(Scope::User), ["program@1"]);
    assert_eq!(docker.engine.running(Scope::User), ["container@1"]);

    docker.engine.go_away();
    bed.desire(&[program("2")]).await;
    bed.pass(4.0).await;
    assert_eq!(process.engine.running(Scope::User), ["program@2"]);
    assert_eq!(bed.reported(), ["program@2", "container@1"]);

    docker.engine.come_back();
    bed.pass(1.0).await;
    assert_eq!(bed.reported(), ["program@2"]);
    assert!(docker.engine.running(Scope::User).is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_application_may_move_from_one_engine_to_another() {
    let mut bed = Bed::new().await;
    let (process, docker) = (Kind::new(EngineKind::Process), Kind::new(EngineKind::Docker));
    bed.engines = vec![process.clone(), docker.clone()];
    bed.start().await;
    bed.desire(&[named("web", "1").spec()]).await;
    bed.pass(4.0).await;
    bed.desire(&[named("web", "2").image("nginx").spec()]).await;
    bed.pass(4.0).await;
    assert!(process.engine.running(Scope::User).is_empty());
    assert_eq!(docker.engine.running(Scope::User), ["web@2"]);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_tells_of_changes_is_seldom_asked() {
    let mut bed = Bed::new().await;
    let engine = Kind::new(EngineKind::Process);
    bed.engines = vec![engine.clone()];
    bed.start().await;
    bed.desire(&[named("web", "1").spec()]).await;
    bed.pass(600.0).await;
    let before = engine.asked.load(Ordering::SeqCst);
    bed.pass(3600.0).await;
    // Two scopes each five minutes.
    assert!(engine.asked.load(Ordering::SeqCst) - before <= 26);
}
