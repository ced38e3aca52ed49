//! An engine whose backend is a table in memory, and which fails, hangs and crash-loops as asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::application::{Application, Content, Scope};
use crate::engine::{
    AppState, AppUsage, Engine, EngineError, EngineKind, EventSource, Exit, InstanceUsage, LogSource,
    UsageSource,
};
use crate::spec::AppInfo;

mod backend;

use self::backend::{App, Backend, Key};

/// What goes wrong with one version of an application, until it is mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Fault {
    /// `prepare` fails; trying again may help.
    Prepare,
    /// `prepare` fails, and the application's author must change it.
    Invalid,
    /// `apply` fails before it changes anything.
    Apply,
    /// `stop` fails.
    Stop,
    /// `remove` fails.
    Remove,
    /// `prepare` does not return.
    HangPrepare,
    /// `apply` does not return.
    HangApply,
    /// `remove` does not return.
    HangRemove,
    /// Each run ends a second after its start with this exit code, and the next one begins a second later.
    CrashLoop(i32),
    /// Its instances never become ready.
    NeverReady,
    /// Its instances are ready this long after they were started.
    ReadyAfter(Duration),
    /// Its instances are ready after this many inventories.
    ReadyAfterLooks(u32),
    /// It cannot be looked at.
    Broken,
}

/// An engine in memory. Clones work on the same backend, so a clone plays the engine of an agent that was
/// started again.
///
/// An instance runs as soon as `apply` returns. One with a readiness or startup probe, or a fault that is
/// about readiness, is [`Readiness::Ready`](crate::engine::Readiness::Ready) or not; the others are [`Readiness::Unprobed`](crate::engine::Readiness::Unprobed). A fixed host
/// port belongs to one instance at a time.
///
/// ```
/// use baetyl_core_lib::application::{Application, Scope};
/// use baetyl_core_lib::engine::Engine;
/// use baetyl_core_lib::testing::{FakeEngine, app};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), baetyl_core_lib::engine::EngineError> {
/// let engine = FakeEngine::new();
/// engine.apply(Scope::User, &app("web").service("server").build()).await?;
/// assert_eq!(engine.running(Scope::User), ["web@1"]);
/// assert_eq!(engine.calls(), ["apply user web@1"]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct FakeEngine {
    inner: Arc<Mutex<Backend>>,
    mended: Arc<Notify>,
    changed: Arc<Notify>,
}

impl FakeEngine {
    /// An engine with an empty backend.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes something go wrong with one version, besides what already does.
    pub fn fault(&self, name: &str, version: &str, fault: Fault) {
        self.lock().faults.entry(AppInfo::new(name, version)).or_default().insert(fault);
    }

    /// Mends one version. Calls that hang go on.
    pub fn mend(&self, name: &str, version: &str) {
        self.lock().faults.remove(&AppInfo::new(name, version));
        self.mended.notify_waiters();
    }

    /// From now on the backend cannot be reached: all calls fail.
    pub fn go_away(&self) {
        self.lock().gone = true;
    }

    /// The backend can be reached again.
    pub fn come_back(&self) {
        self.lock().gone = false;
        self.changed.notify_one();
    }

    /// The calls that were to change something, oldest first: `apply user web@1`.
    pub fn calls(&self) -> Vec<String> {
        self.lock().calls.clone()
    }

    /// Forgets the calls so far.
    pub fn clear_calls(&self) {
        self.lock().calls.clear();
    }

    /// The versions of which something runs: `web@1`, sorted.
    pub fn running(&self, scope: Scope) -> Vec<String> {
        let running = |app: &App| app.instances.values().any(|instance| instance.run.is_some());
        let inner = self.lock();
        let apps = inner.apps.iter().filter(|((of, ..), app)| *of == scope && running(app));
        apps.map(|((_, name, version), _)| format!("{name}@{version}")).collect()
    }

    /// The files behind a volume, as the instances see them now.
    pub fn files(&self, scope: Scope, info: &AppInfo, volume: &str) -> Option<BTreeMap<String, Content>> {
        self.lock().apps.get(&key(scope, info))?.files.get(volume).cloned()
    }

    /// All instances of a version end with this exit and are started again.
    pub fn end(&self, scope: Scope, info: &AppInfo, exit: Exit) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        for instance in
            inner.apps.get_mut(&key(scope, info)).into_iter().flat_map(|app| app.instances.values_mut())
        {
            inner.runs += 1;
            instance.run = Some(inner.runs);
            instance.restarts += 1;
            instance.last_exit = Some(exit);
            instance.started = Instant::now();
        }
        self.changed.notify_one();
    }

    /// All instances of a version vanish behind the engine's back.
    pub fn lose(&self, scope: Scope, info: &AppInfo) {
        if let Some(app) = self.lock().apps.get_mut(&key(scope, info)) {
            app.instances.clear();
        }
        self.changed.notify_one();
    }

    /// Adds to the log of an instance.
    pub fn write_log(&self, instance: &str, text: &str) {
        self.lock().logs.entry(instance.into()).or_default().extend_from_slice(text.as_bytes());
    }

    fn lock(&self) -> MutexGuard<'_, Backend> {
        // A test that failed may have poisoned it; the others go on.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a call, hangs and fails as asked.
    async fn enter(
        &self,
        operation: &'static str,
        scope: Scope,
        info: &AppInfo,
        hang: Option<Fault>,
        fail: Fault,
    ) -> Result<(), EngineError> {
        self.lock().calls.push(format!("{operation} {scope} {info}"));
        loop {
            let mended = self.mended.notified();
            tokio::pin!(mended);
            mended.as_mut().enable();
            if !hang.is_some_and(|hang| self.lock().has(info, hang)) {
                break;
            }
            mended.await;
        }
        let inner = self.lock();
        inner.reach(operation)?;
        if inner.has(info, fail) {
            return Err(EngineError::Failed {
                engine: EngineKind::Custom("fake"),
                operation: format!("{operation} {info}"),
                source: "asked to fail".into(),
            });
        }
        Ok(())
    }
}

fn key(scope: Scope, info: &AppInfo) -> Key {
    (scope, info.name.clone(), info.version.clone())
}

#[async_trait]
impl Engine for FakeEngine {
    fn kind(&self) -> EngineKind {
        EngineKind::Custom("fake")
    }

    async fn prepare(&self, scope: Scope, app: &dyn Application) -> Result<(), EngineError> {
        let info = app.info();
        self.enter("prepare", scope, &info, Some(Fault::HangPrepare), Fault::Prepare).await?;
        if self.lock().has(&info, Fault::Invalid) {
            return Err(EngineError::Invalid { reason: format!("{info} asks for what cannot be") });
        }
        Ok(())
    }

    async fn apply(&self, scope: Scope, app: &dyn Application) -> Result<(), EngineError> {
        self.enter("apply", scope, &app.info(), Some(Fault::HangApply), Fault::Apply).await?;
        let result = self.lock().apply(scope, app);
        self.changed.notify_one();
        result
    }

    async fn stop(&self, scope: Scope, info: &AppInfo) -> Result<(), EngineError> {
        self.enter("stop", scope, info, None, Fault::Stop).await?;
        for instance in
            self.lock().apps.get_mut(&key(scope, info)).into_iter().flat_map(|app| app.instances.values_mut())
        {
            instance.run = None;
            instance.restarts = 0;
            instance.reason = Some("stopped".into());
        }
        self.changed.notify_one();
        Ok(())
    }

    async fn remove(&self, scope: Scope, info: &AppInfo) -> Result<(), EngineError> {
        self.enter("remove", scope, info, Some(Fault::HangRemove), Fault::Remove).await?;
        self.lock().apps.remove(&key(scope, info));
        self.changed.notify_one();
        Ok(())
    }

    async fn inventory(&self, scope: Scope) -> Result<Vec<AppState>, EngineError> {
        let mut inner = self.lock();
        inner.reach("look")?;
        let keys: Vec<_> = inner.apps.keys().filter(|(of, ..)| *of == scope).cloned().collect();
        let state = |key: Key| AppState {
            info: AppInfo::new(&key.1, &key.2),
            wanted: inner.apps.get(&key).map(|app| app.wanted),
            instances: inner.look(&key),
        };
        Ok(keys.into_iter().map(state).collect())
    }

    fn usage(&self) -> Option<&dyn UsageSource> {
        Some(self)
    }

    fn logs(&self) -> Option<&dyn LogSource> {
        Some(self)
    }

    fn events(&self) -> Option<&dyn EventSource> {
        Some(self)
    }
}

#[async_trait]
impl UsageSource for FakeEngine {
    async fn usage(&self, scope: Scope) -> Result<Vec<AppUsage>, EngineError> {
        let inner = self.lock();
        inner.reach("measure")?;
        let used = |name: &String| InstanceUsage { name: name.clone(), cpu: 0.25, memory: 1 << 20 };
        let apps = inner.apps.iter().filter(|((of, ..), _)| *of == scope);
        Ok(apps
            .map(|((_, name, version), app)| AppUsage {
                info: AppInfo::new(name, version),
                instances: app
                    .instances
                    .iter()
                    .filter(|(_, i)| i.run.is_some())
                    .map(|(name, _)| used(name))
                    .collect(),
            })
            .collect())
    }
}

#[async_trait]
impl LogSource for FakeEngine {
    async fn tail(&self, scope: Scope, instance: &str, lines: usize) -> Result<Vec<u8>, EngineError> {
        let inner = self.lock();
        let mut apps = inner.apps.iter().filter(|((of, ..), _)| *of == scope);
        if !apps.any(|(_, app)| app.instances.contains_key(instance)) {
            let what = format!("instance {instance:?}");
            return Err(EngineError::NotFound { engine: EngineKind::Custom("fake"), what });
        }
        let log = inner.logs.get(instance).map_or(&[][..], Vec::as_slice);
        let all: Vec<_> = log.split_inclusive(|byte| *byte == b'\n').collect();
        Ok(all[all.len().saturating_sub(lines)..].concat())
    }
}

#[async_trait]
impl EventSource for FakeEngine {
    async fn changed(&self) {
        self.changed.notified().await;
    }
}

#[cfg(test)]
mod tests;
