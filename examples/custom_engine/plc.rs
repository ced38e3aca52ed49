//! A controller with a table of programs, and the engine that makes applications run in it.
//!
//! A service's image names one of the programs that the controller has; each instance is one slot.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use baetyl::core::application::{Application, Content, Scope, VolumeContent};
use baetyl::core::engine::{
    AppState, Engine, EngineError, EngineKind, EventSource, Exit, InstanceState, Readiness,
};
use baetyl::core::spec::{AppInfo, Service, Status};
use tokio::sync::Notify;

/// What the controller's maker calls the engine.
const KIND: EngineKind = EngineKind::Custom("plc");

/// The programs that the controller has. `faulty` ends at each scan and is started again by the controller.
pub(crate) const PROGRAMS: [&str; 2] = ["mixer", "faulty"];

/// The controller: what is loaded into it stays, whoever asks. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plc {
    table: Arc<Mutex<Table>>,
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Table {
    loaded: BTreeMap<(Scope, AppInfo), Loaded>,
    /// How often anything was started: tells one run from any other.
    starts: u32,
}

/// One version of one application.
#[derive(Debug, Default)]
struct Loaded {
    wanted: u32,
    slots: BTreeMap<String, Slot>,
    files: BTreeMap<String, Content>,
}

#[derive(Debug)]
struct Slot {
    service: String,
    program: String,
    run: Option<u32>,
    restarts: u32,
}

impl Plc {
    /// How many slots of this version run.
    pub(crate) fn running(&self, scope: Scope, info: &AppInfo) -> usize {
        let table = self.lock();
        let slots = table.loaded.get(&(scope, info.clone())).map(|loaded| loaded.slots.values());
        slots.into_iter().flatten().filter(|slot| slot.run.is_some()).count()
    }

    /// What the programs of this version read in a file.
    pub(crate) fn reads(&self, scope: Scope, info: &AppInfo, file: &str) -> String {
        let table = self.lock();
        let file = table.loaded.get(&(scope, info.clone())).and_then(|loaded| loaded.files.get(file));
        file.map(|content| String::from_utf8_lossy(&content.0).into_owned()).unwrap_or_default()
    }

    /// Somebody at the controller clears the slots of this version.
    pub(crate) fn clear(&self, scope: Scope, info: &AppInfo) {
        if let Some(loaded) = self.lock().loaded.get_mut(&(scope, info.clone())) {
            loaded.slots.clear();
        }
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The engine. It knows nothing of its own: a new one over the same controller finds all that runs.
#[derive(Debug)]
pub(crate) struct PlcEngine {
    plc: Plc,
}

impl PlcEngine {
    pub(crate) fn new(plc: Plc) -> Self {
        Self { plc }
    }
}

#[async_trait]
impl Engine for PlcEngine {
    fn kind(&self) -> EngineKind {
        KIND
    }

    /// Checks what the application's author may have got wrong. Nothing has to be fetched.
    async fn prepare(&self, _: Scope, app: &dyn Application) -> Result<(), EngineError> {
        for Service { name, image, .. } in &app.spec().services {
            if !PROGRAMS.contains(&image.as_str()) {
                return Err(EngineError::Invalid {
                    reason: format!(
                        "service {name:?}: there is no program {image:?}, write one of {PROGRAMS:?}"
                    ),
                });
            }
        }
        Ok(())
    }

    async fn apply(&self, scope: Scope, app: &dyn Application) -> Result<(), EngineError> {
        self.plc.lock().load(scope, app);
        self.plc.changed.notify_one();
        Ok(())
    }

    async fn stop(&self, scope: Scope, info: &AppInfo) -> Result<(), EngineError> {
        if let Some(loaded) = self.plc.lock().loaded.get_mut(&(scope, info.clone())) {
            loaded.slots.values_mut().for_each(|slot| slot.run = None);
        }
        Ok(())
    }

    async fn remove(&self, scope: Scope, info: &AppInfo) -> Result<(), EngineError> {
        self.plc.lock().loaded.remove(&(scope, info.clone()));
        Ok(())
    }

    async fn inventory(&self, scope: Scope) -> Result<Vec<AppState>, EngineError> {
        let mut table = self.plc.lock();
        table.scan();
        let of_scope = table.loaded.iter().filter(|((of, _), _)| *of == scope);
        Ok(of_scope.map(|((_, info), loaded)| loaded.state(info)).collect())
    }

    fn events(&self) -> Option<&dyn EventSource> {
        Some(self)
    }
}

#[async_trait]
impl EventSource for PlcEngine {
    async fn changed(&self) {
        self.plc.changed.notified().await;
    }
}

impl Table {
    /// Makes one version run: what runs is left alone, what is missing started, what is too much taken out.
    fn load(&mut self, scope: Scope, app: &dyn Application) {
        let (spec, info) = (app.spec(), app.info());
        let loaded = self.loaded.entry((scope, info.clone())).or_default();
        let mut names = BTreeSet::new();
        for service in &spec.services {
            for number in 0..spec.replica {
                let name = format!("{}-{}-{}-{number}", info.name, info.version, service.name);
                names.insert(name.clone());
                let slot = loaded.slots.entry(name).or_insert_with(|| Slot {
                    service: service.name.clone(),
                    program: service.image.clone(),
                    run: None,
                    restarts: 0,
                });
                if slot.run.is_none() {
                    self.starts += 1;
                    (slot.run, slot.restarts) = (Some(self.starts), 0);
                }
            }
        }
        loaded.slots.retain(|name, _| names.contains(name));
        loaded.wanted = u32::try_from(names.len()).unwrap_or(u32::MAX);
        let volumes = spec.volumes.iter().filter_map(|volume| app.volume(&volume.name));
        loaded.files = volumes
            .flat_map(|content| match content {
                VolumeContent::Files { files, .. } => files.clone(),
                _ => BTreeMap::new(),
            })
            .collect();
    }

    /// One scan of the controller: what ended is started again.
    fn scan(&mut self) {
        for slot in self.loaded.values_mut().flat_map(|loaded| loaded.slots.values_mut()) {
            if slot.program == "faulty" && slot.run.is_some() {
                self.starts += 1;
                slot.run = Some(self.starts);
                slot.restarts += 1;
            }
        }
    }
}

impl Loaded {
    fn state(&self, info: &AppInfo) -> AppState {
        let instances = self.slots.iter().map(|(name, slot)| {
            let mut state = InstanceState::new(name, &slot.service);
            state.run = slot.run.map(|run| run.to_string());
            state.restarts = slot.restarts;
            state.last_exit = (slot.restarts > 0).then_some(Exit::Code(1));
            if slot.run.is_some() {
                // The controller cannot tell: the reconciler waits until the program has lived for a while.
                (state.status, state.readiness) = (Status::Running, Readiness::Unprobed);
            }
            state
        });
        AppState { info: info.clone(), wanted: Some(self.wanted), instances: Ok(instances.collect()) }
    }
}
