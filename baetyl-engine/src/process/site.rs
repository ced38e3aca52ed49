//! What is there: folders, locks and processes of all instances, always looked at, never remembered.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use baetyl_core_lib::application::Scope;
use baetyl_core_lib::durable::Disk;
use baetyl_core_lib::engine::{AppState, EngineError, EngineKind, InstanceState};
use baetyl_core_lib::spec::AppInfo;

use super::ProcessConfig;
use super::instance::{Seen, describe};
use super::layout::{InstanceId, Layout};
use super::lock::Lock;
use super::proc::{Proc, Stat};
use super::record::{self, AppRecord, InstanceSpec, Phase, State};
use super::services;
use super::spawn::Spawn;

/// Folders, locks and processes. All its calls block.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) config: ProcessConfig,
    pub(super) layout: Layout,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) spawner: Arc<dyn Spawn>,
    pub(super) proc: Proc,
}

/// The programs that run, by version and name of the instance, and all processes.
pub(super) type Running = (Vec<(AppInfo, Vec<(String, State)>)>, Vec<Stat>);

impl Site {
    /// Every version of every application of a scope.
    pub(super) fn inventory(&self, scope: Scope) -> Result<Vec<AppState>, EngineError> {
        self.spawner.reap();
        let versions =
            self.layout.versions(&*self.disk, scope).map_err(|error| failed("list applications", error))?;
        Ok(versions.into_iter().map(|info| self.app_state(scope, info)).collect())
    }

    fn app_state(&self, scope: Scope, info: AppInfo) -> AppState {
        let looked = self.record(scope, &info).and_then(|record| {
            let ids = self.layout.instances(&*self.disk, scope, &info)?;
            let instances = ids.iter().map(|id| {
                let instance = InstanceState::new(id.name(), id.service.as_str());
                Ok(describe(instance, &self.look(id)?))
            });
            Ok((record, instances.collect::<io::Result<Vec<_>>>()?))
        });
        match looked {
            Ok((record, instances)) => {
                AppState { info, wanted: record.map(|record| record.wanted()), instances: Ok(instances) }
            }
            Err(error) => {
                let error = failed(format!("look at {info}"), error);
                AppState { info, wanted: None, instances: Err(error) }
            }
        }
    }

    /// What runs, for measuring it.
    pub(super) fn running(&self, scope: Scope) -> Result<Running, EngineError> {
        let fail = |error| failed("list applications", error);
        let mut running = Vec::new();
        for info in self.layout.versions(&*self.disk, scope).map_err(fail)? {
            let ids = self.layout.instances(&*self.disk, scope, &info).map_err(fail)?;
            let states = ids.iter().filter_map(|id| match self.look(id) {
                Ok(Seen::Alive(state)) if state.child.is_some() => Some((id.name(), state)),
                _ => None,
            });
            let states: Vec<_> = states.collect();
            if !states.is_empty() {
                running.push((info, states));
            }
        }
        Ok((running, self.proc.scan()))
    }

    /// The instance of this name.
    pub(super) fn find(&self, scope: Scope, name: &str) -> Result<Option<InstanceId>, EngineError> {
        let fail = |error| failed("list instances", error);
        // Names of applications and versions may hold dots, so the name is looked up, not taken apart.
        for info in self.layout.versions(&*self.disk, scope).map_err(fail)? {
            let ids = self.layout.instances(&*self.disk, scope, &info).map_err(fail)?;
            if let Some(id) = ids.into_iter().find(|id| id.name() == name) {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// How the supervisor of an instance fares.
    pub(super) fn look(&self, id: &InstanceId) -> io::Result<Seen> {
        if !Lock::is_held(&self.layout.instance(id))? {
            return Ok(Seen::Dead);
        }
        let state = self.state(id).filter(|state| state.phase != Phase::Stopped && self.proc.runs(state.own));
        Ok(state.map_or(Seen::Starting, Seen::Alive))
    }

    /// What the supervisor of an instance said last in this boot.
    pub(super) fn state(&self, id: &InstanceId) -> Option<State> {
        // Where an older agent's supervisor keeps it stands in its spec.
        let spec = self.spec(id).ok().flatten();
        let path = spec.map_or_else(|| self.layout.state(id), |spec| spec.state);
        let state = record::read::<State>(&*self.disk, &path).ok().flatten();
        state.filter(|state| state.boot == self.proc.boot())
    }

    pub(super) fn spec(&self, id: &InstanceId) -> io::Result<Option<InstanceSpec>> {
        record::read(&*self.disk, &self.layout.spec(id))
    }

    pub(super) fn record(&self, scope: Scope, info: &AppInfo) -> io::Result<Option<AppRecord>> {
        record::read(&*self.disk, &self.layout.record(scope, info))
    }

    /// Every port that some instance of the node has.
    pub(super) fn ports_given(&self) -> io::Result<BTreeSet<u16>> {
        let mut given = BTreeSet::new();
        for scope in Scope::ALL {
            for info in self.layout.versions(&*self.disk, scope)? {
                let ids = self.layout.instances(&*self.disk, scope, &info)?;
                given.extend(ids.iter().filter_map(|id| Some(self.spec(id).ok()??.port)));
            }
        }
        Ok(given)
    }

    /// Puts a version that was applied into `services.yml`, unless another version runs: that one keeps
    /// the names until it is stopped or removed.
    pub(super) fn give_names(&self, scope: Scope, info: &AppInfo) -> io::Result<()> {
        let versions = self.layout.versions_of(&*self.disk, scope, &info.name)?;
        for version in versions.iter().filter(|version| *version != info) {
            if self.is_running(scope, version)? {
                return Ok(());
            }
        }
        self.name(scope, &info.name, Some(info))
    }

    /// Hands the names of a version that is to end to the one that was applied last and still runs.
    pub(super) fn hand_names_over(&self, scope: Scope, info: &AppInfo) -> io::Result<()> {
        let mut heir = None;
        for version in self.layout.versions_of(&*self.disk, scope, &info.name)? {
            if version != *info && self.is_running(scope, &version)? {
                let sequence = self.record(scope, &version).ok().flatten().map(|record| record.sequence);
                heir = heir.max(Some((sequence, version)));
            }
        }
        self.name(scope, &info.name, heir.as_ref().map(|(_, version)| version))
    }

    fn is_running(&self, scope: Scope, info: &AppInfo) -> io::Result<bool> {
        for id in self.layout.instances(&*self.disk, scope, info)? {
            if self.look(&id)? != Seen::Dead {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn name(&self, scope: Scope, app: &str, holder: Option<&AppInfo>) -> io::Result<()> {
        let run = self.layout.run();
        if self.disk.entry(&run)?.is_none() {
            return Ok(());
        }
        let _lock = Lock::wait(&run)?;
        let mut own = BTreeMap::new();
        for version in self.layout.versions_of(&*self.disk, scope, app)? {
            self.collect_ports(scope, &version, &mut own)?;
        }
        let mut now = BTreeMap::new();
        if let Some(holder) = holder {
            self.collect_ports(scope, holder, &mut now)?;
        }
        let path = self.layout.services();
        let mut names = services::read(&*self.disk, &path)?;
        services::merge(&mut names, &own, &now);
        services::write(&*self.disk, &path, &names)
    }

    fn collect_ports(
        &self,
        scope: Scope,
        info: &AppInfo,
        into: &mut BTreeMap<String, Vec<u16>>,
    ) -> io::Result<()> {
        let Some(record) = self.record(scope, info).ok().flatten() else { return Ok(()) };
        for id in self.layout.instances(&*self.disk, scope, info)? {
            let service = record.services.iter().find(|service| service.name == id.service);
            let Some(service) = service.filter(|service| id.number <= service.replicas) else { continue };
            if let Some(spec) = self.spec(&id).ok().flatten() {
                into.entry(service.key.clone()).or_default().push(spec.port);
            }
        }
        Ok(())
    }
}

/// Says what was tried, in an engine's words.
pub(super) fn failed(operation: impl Into<String>, error: io::Error) -> EngineError {
    let operation = operation.into();
    if error.kind() == io::ErrorKind::StorageFull {
        return EngineError::Full { operation, source: error.into() };
    }
    EngineError::Failed { engine: EngineKind::Process, operation, source: error.into() }
}
