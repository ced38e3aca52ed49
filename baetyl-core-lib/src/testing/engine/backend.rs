//! What a [`super::FakeEngine`] works on.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::{Fault, key};
use crate::application::{Application, Content, Scope, VolumeContent};
use crate::engine::{EngineError, EngineKind, Exit, InstanceState, Readiness};
use crate::spec::{AppInfo, Service, Status};

pub(super) type Key = (Scope, String, String);

#[derive(Debug, Default)]
pub(super) struct Backend {
    pub(super) apps: BTreeMap<Key, App>,
    pub(super) faults: BTreeMap<AppInfo, BTreeSet<Fault>>,
    pub(super) calls: Vec<String>,
    pub(super) logs: BTreeMap<String, Vec<u8>>,
    pub(super) gone: bool,
    pub(super) runs: i32,
}

#[derive(Debug, Default)]
pub(super) struct App {
    pub(super) wanted: u32,
    pub(super) instances: BTreeMap<String, Instance>,
    pub(super) files: BTreeMap<String, BTreeMap<String, Content>>,
    pub(super) looks: u32,
}

#[derive(Debug)]
pub(super) struct Instance {
    pub(super) service: Service,
    pub(super) run: Option<i32>,
    pub(super) restarts: u32,
    pub(super) last_exit: Option<Exit>,
    pub(super) started: Instant,
    pub(super) reason: Option<String>,
}

impl Backend {
    pub(super) fn has(&self, info: &AppInfo, fault: Fault) -> bool {
        self.faults.get(info).is_some_and(|faults| faults.contains(&fault))
    }

    pub(super) fn reach(&self, operation: &'static str) -> Result<(), EngineError> {
        if self.gone {
            let source = "backend has gone away".into();
            return Err(EngineError::Unreachable { engine: EngineKind::Custom("fake"), operation, source });
        }
        Ok(())
    }

    /// Whether another instance that runs has one of the service's fixed ports.
    fn port_taken(&self, service: &Service) -> Option<i32> {
        let fixed = |service: &Service| -> BTreeSet<i32> {
            service.ports.iter().map(|port| port.host_port).filter(|&port| port != 0).collect()
        };
        let wanted = fixed(service);
        let running =
            self.apps.values().flat_map(|app| app.instances.values()).filter(|other| other.run.is_some());
        running.flat_map(|other| fixed(&other.service)).find(|port| wanted.contains(port))
    }

    pub(super) fn apply(&mut self, scope: Scope, app: &dyn Application) -> Result<(), EngineError> {
        let (spec, info) = (app.spec(), app.info());
        let replica = u32::try_from(spec.replica).unwrap_or(0);
        let mut wanted = BTreeMap::new();
        for service in &spec.services {
            for number in 0..replica {
                let name = format!("{}-{}-{}-{number}", info.name, info.version, service.name);
                wanted.insert(name, service.clone());
            }
        }
        let entry = self.apps.entry(key(scope, &info)).or_default();
        entry.wanted = u32::try_from(wanted.len()).unwrap_or(u32::MAX);
        entry.instances.retain(|name, _| wanted.contains_key(name));
        for volume in &spec.volumes {
            if let Some(VolumeContent::Files { files, .. }) = app.volume(&volume.name) {
                entry.files.insert(volume.name.clone(), files.clone());
            }
        }
        let running = |instance: &Instance| instance.run.is_some();
        wanted.retain(|name, _| !entry.instances.get(name).is_some_and(running));
        let mut result = Ok(());
        for (name, service) in wanted {
            let taken = self.port_taken(&service);
            let reason = taken.map(|port| format!("port {port} of the host is taken"));
            self.runs += 1;
            let run = taken.is_none().then_some(self.runs);
            let started = Instant::now();
            let instance =
                Instance { service, run, restarts: 0, last_exit: None, started, reason: reason.clone() };
            self.apps.entry(key(scope, &info)).or_default().instances.insert(name, instance);
            if let Some(reason) = reason {
                result = Err(EngineError::Conflict { reason });
            }
        }
        result
    }

    pub(super) fn look(&mut self, key: &Key) -> Result<Vec<InstanceState>, EngineError> {
        let info = AppInfo::new(&key.1, &key.2);
        if self.has(&info, Fault::Broken) {
            return Err(EngineError::Failed {
                engine: EngineKind::Custom("fake"),
                operation: format!("look at {info}"),
                source: "asked to fail".into(),
            });
        }
        let faults = self.faults.get(&info).cloned().unwrap_or_default();
        let Some(app) = self.apps.get_mut(key) else { return Ok(Vec::new()) };
        app.looks += 1;
        let looks = app.looks;
        Ok(app.instances.iter().map(|(name, instance)| instance.state(name, &faults, looks)).collect())
    }
}

impl Instance {
    fn state(&self, name: &str, faults: &BTreeSet<Fault>, looks: u32) -> InstanceState {
        let mut state = InstanceState::new(name, &self.service.name);
        state.restarts = self.restarts;
        state.last_exit = self.last_exit;
        state.reason.clone_from(&self.reason);
        let Some(run) = self.run else {
            state.status = Status::Pending;
            return state;
        };
        state.status = Status::Running;
        state.pid = Some(1000 + run);
        state.run = Some(run.to_string());
        let age = self.started.elapsed();
        let probed = self.service.readiness_probe.is_some() || self.service.startup_probe.is_some();
        state.readiness = if probed { Readiness::Ready } else { Readiness::Unprobed };
        for fault in faults {
            let ready = match fault {
                Fault::NeverReady => false,
                Fault::ReadyAfter(time) => age >= *time,
                Fault::ReadyAfterLooks(number) => looks > *number,
                Fault::CrashLoop(code) => {
                    let ended = age.as_secs().div_ceil(2);
                    if ended > 0 {
                        state.restarts += u32::try_from(age.as_secs() / 2).unwrap_or(u32::MAX);
                        state.last_exit = Some(Exit::Code(*code));
                        state.reason = Some(format!("ended with {}", Exit::Code(*code)));
                    }
                    state.run = Some(format!("{run}.{}", age.as_secs() / 2));
                    if age.as_secs() % 2 == 1 {
                        (state.status, state.run, state.pid) = (Status::Failed, None, None);
                        state.readiness = Readiness::NotReady;
                    }
                    continue;
                }
                _ => continue,
            };
            state.readiness = if ready { Readiness::Ready } else { Readiness::NotReady };
        }
        state
    }
}
