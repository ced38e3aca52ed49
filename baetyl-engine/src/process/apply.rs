//! Makes a version run: decides all of it first, then lays out folders and starts supervisors.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use baetyl_core_lib::application::{Deployment, Role, Scope};
use baetyl_core_lib::engine::EngineError;
use baetyl_core_lib::spec::{AppSpec, Service};
use rustix::process::Signal;
use serde::Deserialize;

use super::entry::{self, Program};
use super::instance::Seen;
use super::layout::{InstanceId, segment};
use super::lock::Lock;
use super::mounts::{self, Mount};
use super::ports;
use super::proc;
use super::record::{self, AppRecord, FORMAT, InstanceSpec, LogRule, Phase, Restart, ServiceRecord};
use super::site::{Site, failed};

/// A service, decided.
#[derive(Debug)]
struct Planned<'a> {
    service: &'a Service,
    replicas: u32,
    mounts: Vec<Mount>,
    program: Program,
}

/// The part of a program's own configuration that says how its log is kept (edge.md 7.7).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct OwnConfig {
    logger: Logger,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Logger {
    /// In megabytes.
    max_size: Option<u64>,
    max_backups: Option<u32>,
}

impl Site {
    /// Checks all that `apply` would need; changes nothing.
    pub(super) fn prepare(&self, app: &Deployment) -> Result<(), EngineError> {
        self.plan(app).map(drop)
    }

    /// Lays a version out and starts what does not run; returns the instances that it has too many.
    pub(super) fn apply(&self, scope: Scope, app: &Deployment) -> Result<Vec<InstanceId>, EngineError> {
        let planned = self.plan(app)?;
        let info = app.spec.info();
        let what = format!("lay out {info}");
        // The work of a call that was dropped may still be under way.
        let version = self.layout.version(scope, &info);
        let _lock = Lock::wait_in_place(&*self.disk, &version).map_err(|error| failed(&what, error))?;
        let wanted = self.reserve(scope, app, &planned, &what)?;
        let mut first_error = None;
        for (id, plan, spec) in &wanted {
            let made = self.make(id, plan, spec.clone()).map_err(|error| failed(&what, error));
            let started = made.and_then(|changed| {
                self.start(id, changed).map_err(|error| failed(format!("start {}", id.name()), error))
            });
            // The others are made all the same.
            first_error = first_error.or(started.err());
        }
        let named = self.give_names(scope, &info).map_err(|error| failed(&what, error));
        if let Some(error) = first_error.or(named.err()) {
            return Err(error);
        }
        let there = self.layout.instances(&*self.disk, scope, &info).map_err(|error| failed(&what, error))?;
        let wanted: BTreeSet<_> = wanted.into_iter().map(|(id, ..)| id).collect();
        Ok(there.into_iter().filter(|id| !wanted.contains(id)).collect())
    }

    fn plan<'a>(&self, app: &'a Deployment) -> Result<Vec<Planned<'a>>, EngineError> {
        segment("application", &app.spec.name)?;
        segment("version", &app.spec.version)?;
        let mut names = BTreeSet::new();
        let mut planned = Vec::new();
        for service in &app.spec.services {
            segment("service", &service.name)?;
            if !names.insert(&service.name) {
                let reason =
                    format!("there are two services named {:?}: give each its own name", service.name);
                return Err(EngineError::Invalid { reason });
            }
            let mounts = mounts::plan(app, service)?;
            let program = entry::find(&*self.disk, &service.name, &mounts)?;
            planned.push(Planned { service, replicas: app.spec.replicas(service), mounts, program });
        }
        Ok(planned)
    }

    /// Writes down what is wanted, and gives each instance its port, for its whole life. Ports are
    /// given under the lock of the folder, so no other engine of the node gives the same one.
    fn reserve<'a>(
        &self,
        scope: Scope,
        app: &Deployment,
        planned: &'a [Planned<'a>],
        what: &str,
    ) -> Result<Vec<(InstanceId, &'a Planned<'a>, InstanceSpec)>, EngineError> {
        let fail = |error| failed(what, error);
        let info = app.spec.info();
        let _lock = Lock::wait(&self.layout.run()).map_err(fail)?;
        self.write_record(scope, &app.spec, planned).map_err(fail)?;
        let mut taken = None;
        let mut wanted = Vec::new();
        for plan in planned {
            for number in 1..=plan.replicas {
                let service = plan.service.name.clone();
                let id = InstanceId { scope, info: info.clone(), service, number };
                let old = self.spec(&id).unwrap_or_default();
                let (port, is_new) = match &old {
                    Some(old) if self.keeps_port(&id, old.port).map_err(fail)? => (old.port, false),
                    Some(_) | None => {
                        let taken = match &mut taken {
                            Some(taken) => taken,
                            None => taken.insert(self.ports_given().map_err(fail)?),
                        };
                        (self.choose_port(taken)?, true)
                    }
                };
                let spec = self.describe(&id, app, plan, port, old.map(|old| old.links).unwrap_or_default());
                self.disk.create_folder(&self.layout.instance(&id), 0o755).map_err(fail)?;
                if is_new {
                    // Written at once, so that no other engine gives this port too.
                    record::write(&*self.disk, &self.layout.spec(&id), &spec).map_err(fail)?;
                }
                wanted.push((id, plan, spec));
            }
        }
        Ok(wanted)
    }

    fn write_record(&self, scope: Scope, spec: &AppSpec, planned: &[Planned<'_>]) -> io::Result<()> {
        let info = spec.info();
        let path = self.layout.record(scope, &info);
        let of_program = spec.app_type.is_empty() || spec.app_type == "container";
        let services = planned.iter().map(|plan| ServiceRecord {
            name: plan.service.name.clone(),
            key: if of_program { plan.service.name.clone() } else { spec.name.clone() },
            replicas: plan.replicas,
        });
        let sequence = match record::read::<AppRecord>(&*self.disk, &path).unwrap_or_default() {
            Some(old) => old.sequence,
            None => {
                let versions = self.layout.versions_of(&*self.disk, scope, &info.name)?;
                let records =
                    versions.iter().filter_map(|version| self.record(scope, version).ok().flatten());
                records.map(|record| record.sequence).max().unwrap_or(0).saturating_add(1)
            }
        };
        let record = AppRecord { format: FORMAT, sequence, services: services.collect() };
        record::write(&*self.disk, &path, &record).map(drop)
    }

    /// Whether an instance can go on with its port: not when it does not run and something else has
    /// taken the port meanwhile.
    fn keeps_port(&self, id: &InstanceId, port: u16) -> io::Result<bool> {
        let left = || self.state(id).is_some_and(|state| state.phase != Phase::Stopped);
        Ok(self.look(id)? != Seen::Dead || left() || ports::can_listen(port))
    }

    fn choose_port(&self, taken: &mut BTreeSet<u16>) -> Result<u16, EngineError> {
        let Some(port) = ports::choose(&self.config.ports, taken, ports::can_listen) else {
            let reason = format!(
                "no port from {} to {} is free: widen native.portsRange or remove an application",
                self.config.ports.start(),
                self.config.ports.end()
            );
            return Err(EngineError::Conflict { reason });
        };
        taken.insert(port);
        Ok(port)
    }

    fn describe(
        &self,
        id: &InstanceId,
        app: &Deployment,
        plan: &Planned<'_>,
        port: u16,
        links: BTreeMap<PathBuf, PathBuf>,
    ) -> InstanceSpec {
        let mut env = vec![
            ("PATH".to_owned(), self.config.path_env.clone()),
            ("BAETYL_HOST_PATH_LIB".to_owned(), self.config.lib.to_string_lossy().into_owned()),
        ];
        env.extend(plan.service.env.iter().map(|variable| (variable.name.clone(), variable.value.clone())));
        env.push(("BAETYL_SERVICE_DYNAMIC_PORT".to_owned(), port.to_string()));
        InstanceSpec {
            format: FORMAT,
            name: id.name(),
            display: format!("{} {}", id.info.name, id.service),
            exec: plan.program.path(&self.layout.instance(id)),
            args: plan.service.args.clone(),
            env,
            state: self.layout.state(id),
            log: LogRule {
                file: self.layout.log(id),
                max_bytes: self.config.log_bytes,
                backups: self.config.log_backups,
            },
            grace_ms: u64::try_from(self.config.grace.as_millis()).unwrap_or(u64::MAX),
            restart: restart(&app.spec, plan.service),
            // Init and core share nothing but the node: core may end, be killed or replaced, and what it
            // looks after goes on.
            agent: id.scope == Scope::System && id.service == Role::Core.source(),
            notify: self.config.agent_socket.clone(),
            port,
            links,
        }
    }

    /// Makes or mends the folder of an instance; returns whether its spec changed.
    fn make(&self, id: &InstanceId, plan: &Planned<'_>, mut spec: InstanceSpec) -> io::Result<bool> {
        let folder = self.layout.instance(id);
        let executable = match &plan.program {
            Program::Inside(path) => Some(path.as_path()),
            Program::Host(_) => None,
        };
        let mut links = BTreeMap::new();
        for mount in &plan.mounts {
            links.append(&mut mounts::make(&*self.disk, &folder, mount, executable, &spec.links)?);
        }
        spec.links = links;
        self.follow_own_logger(&folder, &mut spec.log);
        record::put(&*self.disk, &folder.join("service.yml"), service_yml(&spec, &folder).as_bytes(), 0o600)?;
        record::write(&*self.disk, &self.layout.spec(id), &spec)
    }

    fn follow_own_logger(&self, folder: &Path, rule: &mut LogRule) {
        let Ok(text) = self.disk.read(&folder.join("etc/baetyl/conf.yml")) else { return };
        // What the program makes of its own configuration is its business; only what is plain is used.
        let own: OwnConfig = serde_saphyr::from_slice(&text).unwrap_or_default();
        if let Some(megabytes) = own.logger.max_size.filter(|size| *size > 0) {
            rule.max_bytes = megabytes.saturating_mul(1 << 20);
        }
        rule.backups = own.logger.max_backups.unwrap_or(rule.backups);
    }

    /// Starts the supervisor of an instance that has none; tells one that lives of a changed spec.
    fn start(&self, id: &InstanceId, changed: bool) -> io::Result<()> {
        match self.look(id)? {
            Seen::Alive(state) => {
                if changed {
                    proc::signal(state.own.pid, Signal::HUP);
                }
                return Ok(());
            }
            Seen::Starting => return Ok(()),
            Seen::Dead => {}
        }
        let folder = self.layout.instance(id);
        // Taken here and passed on: from now on everybody sees that it is being started.
        let Some(lock) = Lock::take(&folder)? else { return Ok(()) };
        let mut argv = self.config.supervisor.clone();
        argv.extend(["program".into(), folder.clone().into_os_string()]);
        self.spawner.spawn(&argv, &folder, lock.into_fd()).map(drop)
    }
}

/// Only a job ends; everything else is started again whatever it says of restarts.
fn restart(app: &AppSpec, service: &Service) -> Restart {
    let workload = if app.workload.is_empty() { &service.service_type } else { &app.workload };
    if workload != "job" {
        return Restart::Always;
    }
    let own = service.job_config.as_ref().map(|job| job.restart_policy.as_str());
    match app
        .job_config
        .as_ref()
        .map(|job| job.restart_policy.as_str())
        .filter(|rule| !rule.is_empty())
        .or(own)
    {
        Some("OnFailure") => Restart::OnFailure,
        _ => Restart::Never,
    }
}

/// The original's description of an instance (edge.md 11), for its tools and for people.
fn service_yml(spec: &InstanceSpec, folder: &Path) -> String {
    // JSON is YAML, and needs no rules of its own for quoting.
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let list = |items: Vec<String>| serde_json::Value::from(items).to_string();
    let env = spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!(
        "name: {}\ndisplayName: {}\ndescription: {}\ndir: {}\nexec: {}\nargs: {}\nenv: {}\nlogger:\n  filename: {}\n  \
         maxSize: {}\n  maxBackups: {}\n",
        text(&spec.name),
        text(&spec.display),
        text(&spec.display),
        text(&folder.to_string_lossy()),
        text(&spec.exec.to_string_lossy()),
        list(spec.args.clone()),
        list(env),
        text(&spec.log.file.to_string_lossy()),
        spec.log.max_bytes >> 20,
        spec.log.backups,
    )
}
