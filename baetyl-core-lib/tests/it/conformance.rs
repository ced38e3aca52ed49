//! The conformance suites, run on what this crate has, and on flawed fakes that they must catch.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use baetyl_core_lib::application::{Application, Deployment, Scope};
use baetyl_core_lib::conformance::engine::EngineFixture;
use baetyl_core_lib::conformance::link::{Cloud, LinkFixture};
use baetyl_core_lib::conformance::store::StoreFixture;
use baetyl_core_lib::conformance::{engine, link, store};
use baetyl_core_lib::durable::{Disk, OsDisk};
use baetyl_core_lib::engine::{AppState, Engine, EngineError, EngineKind};
use baetyl_core_lib::link::{Link, LinkError};
use baetyl_core_lib::spec::application::Probe;
use baetyl_core_lib::spec::{AppInfo, Message};
use baetyl_core_lib::store::{Change, MemoryStore, RedbStore, Store, StoreError, Table};
use baetyl_core_lib::task::{Blocking, Inline, Pool};
use baetyl_core_lib::testing::{FakeEngine, Fault, MemoryDisk, MemoryLink, app};

#[async_trait]
impl StoreFixture for InMemory {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.0.clone())
    }

    fn writes(&self) -> usize {
        self.0.writes()
    }
}

struct InMemory(MemoryStore);

struct OnMemoryDisk(MemoryDisk);

#[async_trait]
impl StoreFixture for OnMemoryDisk {
    async fn open(&self) -> Arc<dyn Store> {
        redb(Arc::new(self.0.clone()), "/store".into(), Arc::new(Inline)).await
    }

    fn writes(&self) -> usize {
        self.0.calls()
    }
}

struct OnOsDisk(tempfile::TempDir);

#[async_trait]
impl StoreFixture for OnOsDisk {
    async fn open(&self) -> Arc<dyn Store> {
        redb(Arc::new(OsDisk), self.0.path().join("store"), Arc::new(Pool::new(2))).await
    }

    fn writes(&self) -> usize {
        0
    }
}

async fn redb(disk: Arc<dyn Disk>, path: PathBuf, pool: Arc<dyn Blocking>) -> Arc<dyn Store> {
    Arc::new(RedbStore::open(disk, &path, pool).await.unwrap())
}

#[tokio::test]
async fn the_store_in_memory_conforms() {
    store::check(|| InMemory(MemoryStore::new()), &[]).await;
}

#[tokio::test]
async fn the_store_on_redb_conforms_on_a_disk_in_memory() {
    store::check(|| OnMemoryDisk(MemoryDisk::new()), &[]).await;
}

#[tokio::test]
async fn the_store_on_redb_conforms_on_a_real_disk() {
    // The operating system does not count what is written.
    let skipped = ["changes_that_change_nothing_write_nothing"];
    store::check(|| OnOsDisk(tempfile::tempdir().unwrap()), &skipped).await;
}

#[test]
fn a_store_that_loses_a_change_is_caught() {
    #[derive(Debug)]
    struct Forgetful(MemoryStore);

    #[async_trait]
    impl Store for Forgetful {
        async fn load(&self, table: Table, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
            self.0.load(table, key).await
        }

        async fn list(&self, table: Table, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
            self.0.list(table, prefix).await
        }

        async fn commit(&self, mut changes: Vec<Change>) -> Result<(), StoreError> {
            changes.truncate(1);
            self.0.commit(changes).await
        }
    }

    struct Fixture(MemoryStore);

    #[async_trait]
    impl StoreFixture for Fixture {
        async fn open(&self) -> Arc<dyn Store> {
            Arc::new(Forgetful(self.0.clone()))
        }

        fn writes(&self) -> usize {
            self.0.writes()
        }
    }

    caught("a store that keeps one change", store::check(|| Fixture(MemoryStore::new()), &[]));
}

struct OnMemoryLink(MemoryLink, Arc<std::sync::Mutex<Cloud>>);

impl OnMemoryLink {
    fn new() -> Self {
        let cloud = Arc::new(std::sync::Mutex::new(Cloud::Echo));
        let now = Arc::clone(&cloud);
        let link = MemoryLink::new(move |request| answer(*now.lock().unwrap(), request));
        Self(link.with_changes(), cloud)
    }
}

fn answer(cloud: Cloud, request: Message) -> Result<Message, LinkError> {
    let address = String::from("memory");
    let refused = |status, code: &str, body: &str| {
        Err(LinkError::Rejected { status, code: code.into(), body: body.into() })
    };
    match cloud {
        Cloud::Silent => Err(LinkError::Timeout { address, after: Duration::from_secs(1) }),
        Cloud::Busy => Err(LinkError::Unavailable { status: 503, body: String::new(), retry_after: None }),
        Cloud::Refuses => refused(400, "ErrRequestParamInvalid", ""),
        Cloud::Stranger => refused(404, "ErrResourceNotFound", "The (node) resource (n1) is not found"),
        Cloud::Garbage => Err(LinkError::BadAnswer { address, reason: "no JSON".into() }),
        _ => Ok(request),
    }
}

#[async_trait]
impl LinkFixture for OnMemoryLink {
    async fn link(&self) -> Arc<dyn Link> {
        Arc::new(self.0.clone())
    }

    async fn cloud(&self, cloud: Cloud) {
        *self.1.lock().unwrap() = cloud;
        if cloud == Cloud::Gone { self.0.go_away() } else { self.0.come_back() }
    }

    async fn news(&self) {
        self.0.news();
    }
}

#[tokio::test]
async fn the_link_in_memory_conforms() {
    link::check(OnMemoryLink::new, &[]).await;
}

/// What a flawed engine does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    RestartsOnApply,
    StopsTheOldVersion,
    RemovesAllVersions,
    MixesScopes,
    MissesAbsent,
    ForgetsWhatWasStopped,
    StartsOnPrepare,
    HidesWhatFails,
    DisordersInventory,
    KeepsOldFiles,
    IgnoresReplica,
    LeavesItRunning,
    ForgetsOnRestart,
}

#[derive(Debug)]
struct Flawed {
    inner: FakeEngine,
    flaw: Flaw,
}

#[async_trait]
impl Engine for Flawed {
    fn kind(&self) -> EngineKind {
        self.inner.kind()
    }

    async fn prepare(&self, scope: Scope, app: &dyn Application) -> Result<(), EngineError> {
        let result = self.inner.prepare(scope, app).await;
        match self.flaw {
            Flaw::StartsOnPrepare => self.inner.apply(scope, app).await,
            Flaw::HidesWhatFails => Ok(()),
            _ => result,
        }
    }

    async fn apply(&self, scope: Scope, app: &dyn Application) -> Result<(), EngineError> {
        let info = app.info();
        match self.flaw {
            Flaw::RestartsOnApply => self.inner.stop(scope, &info).await?,
            Flaw::StopsTheOldVersion => {
                for state in self.inner.inventory(scope).await? {
                    if state.info.name == info.name && state.info != info {
                        self.inner.stop(scope, &state.info).await?;
                    }
                }
            }
            Flaw::KeepsOldFiles | Flaw::IgnoresReplica => {
                let there = self.inner.running(scope).contains(&info.to_string());
                let same = self.inner.files(scope, &info, "files").is_none_or(|files| {
                    let text = Some(files["file"].clone());
                    text == file(app)
                });
                if there && (same || self.flaw == Flaw::KeepsOldFiles) && app.spec().replica != 0 {
                    return Ok(());
                }
            }
            _ => {}
        }
        self.inner.apply(scope, app).await
    }

    async fn stop(&self, scope: Scope, app: &AppInfo) -> Result<(), EngineError> {
        match self.flaw {
            Flaw::ForgetsWhatWasStopped => self.inner.remove(scope, app).await,
            Flaw::LeavesItRunning => Ok(()),
            _ => self.inner.stop(scope, app).await,
        }
    }

    async fn remove(&self, scope: Scope, app: &AppInfo) -> Result<(), EngineError> {
        match self.flaw {
            Flaw::RemovesAllVersions => {
                for state in self.inner.inventory(scope).await? {
                    self.inner.remove(scope, &state.info).await?;
                }
            }
            Flaw::MixesScopes => {
                for scope in Scope::ALL {
                    self.inner.remove(scope, app).await?;
                }
            }
            Flaw::MissesAbsent => {
                let all = self.inner.inventory(scope).await?;
                if !all.iter().any(|state| state.info == *app) {
                    return Err(EngineError::NotFound { engine: self.kind(), what: app.to_string() });
                }
            }
            _ => {}
        }
        self.inner.remove(scope, app).await
    }

    async fn inventory(&self, scope: Scope) -> Result<Vec<AppState>, EngineError> {
        let mut all = self.inner.inventory(scope).await?;
        if self.flaw == Flaw::DisordersInventory {
            all.reverse();
        }
        Ok(all)
    }
}

fn file(app: &dyn Application) -> Option<baetyl_core_lib::application::Content> {
    match app.volume("files")? {
        baetyl_core_lib::application::VolumeContent::Files { files, .. } => files.get("file").cloned(),
        _ => None,
    }
}

struct OnFake {
    backend: FakeEngine,
    flaw: Flaw,
}

impl OnFake {
    fn new(flaw: Flaw) -> Self {
        Self { backend: FakeEngine::new(), flaw }
    }
}

#[async_trait]
impl EngineFixture for OnFake {
    async fn engine(&self) -> Arc<dyn Engine> {
        match self.flaw {
            Flaw::None => Arc::new(self.backend.clone()),
            Flaw::ForgetsOnRestart => Arc::new(FakeEngine::new()),
            flaw => Arc::new(Flawed { inner: self.backend.clone(), flaw }),
        }
    }

    fn runs(&self, name: &str, version: &str, text: &str) -> Deployment {
        app(name).version(version).service("main").secret("files", "/files", &[("file", text)]).build()
    }

    fn fails(&self, name: &str, version: &str) -> Deployment {
        self.backend.fault(name, version, Fault::CrashLoop(1));
        self.runs(name, version, "")
    }

    fn listens(&self, name: &str, version: &str) -> Deployment {
        let app = app(name).version(version).service("main").host_port(8080, 80).readiness(Probe::default());
        app.secret("files", "/files", &[("file", "")]).build()
    }

    fn is_missing(&self, name: &str, version: &str) -> Deployment {
        self.backend.fault(name, version, Fault::Prepare);
        self.runs(name, version, "")
    }

    async fn processes(&self, scope: Scope, info: &AppInfo) -> usize {
        let all = self.backend.inventory(scope).await.unwrap();
        let of = all.iter().filter(|state| state.info == *info);
        of.flat_map(|state| state.instances.as_ref().unwrap()).filter(|one| one.run.is_some()).count()
    }

    async fn sees(&self, scope: Scope, info: &AppInfo) -> String {
        let files = self.backend.files(scope, info, "files").unwrap();
        String::from_utf8(files["file"].0.clone()).unwrap()
    }

    async fn lose(&self, scope: Scope, info: &AppInfo) {
        self.backend.lose(scope, info);
    }
}

#[tokio::test(start_paused = true)]
async fn the_engine_in_memory_conforms() {
    engine::check(|| OnFake::new(Flaw::None), &[]).await;
}

#[test]
fn flawed_engines_are_caught() {
    for flaw in [
        Flaw::RestartsOnApply,
        Flaw::StopsTheOldVersion,
        Flaw::RemovesAllVersions,
        Flaw::MixesScopes,
        Flaw::MissesAbsent,
        Flaw::ForgetsWhatWasStopped,
        Flaw::StartsOnPrepare,
        Flaw::HidesWhatFails,
        Flaw::DisordersInventory,
        Flaw::KeepsOldFiles,
        Flaw::IgnoresReplica,
        Flaw::LeavesItRunning,
        Flaw::ForgetsOnRestart,
    ] {
        caught(&format!("{flaw:?}"), engine::check(|| OnFake::new(flaw), &[]));
    }
}

/// The suite must panic over this one.
fn caught(what: &str, suite: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let result = catch_unwind(AssertUnwindSafe(|| runtime.block_on(suite)));
    assert!(result.is_err(), "{what}: not caught");
}

#[tokio::test]
#[should_panic(expected = "there is no case")]
async fn a_skipped_case_must_be_one_that_there_is() {
    store::check(|| InMemory(MemoryStore::new()), &["none"]).await;
}
