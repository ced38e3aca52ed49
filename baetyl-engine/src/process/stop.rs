//! Ends instances, and removes what was made for them.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;

use baetyl_core_lib::application::Scope;
use baetyl_core_lib::engine::EngineError;
use baetyl_core_lib::spec::AppInfo;
use rustix::process::Signal;

use super::instance::Seen;
use super::layout::InstanceId;
use super::lock::Lock;
use super::proc;
use super::record::Phase;
use super::site::{Site, failed};

/// How instances are ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Force {
    /// Their supervisors are asked to.
    Ask,
    /// Supervisors that did not in time are killed with all that is theirs.
    Kill,
}

/// Which instances still run, and which supervisors were asked to stop.
#[derive(Debug, Default)]
pub(super) struct Ending {
    pub(super) left: Vec<InstanceId>,
    asked: BTreeSet<i32>,
    /// The first instance that could not be ended; it is no longer in `left`.
    pub(super) error: Option<EngineError>,
}

impl Ending {
    pub(super) fn of(instances: Vec<InstanceId>) -> Self {
        Self { left: instances, ..Self::default() }
    }
}

impl Site {
    /// The instances of a version.
    pub(super) fn instances(&self, scope: Scope, info: &AppInfo) -> Result<Vec<InstanceId>, EngineError> {
        let instances = self.layout.instances(&*self.disk, scope, info);
        instances.map_err(|error| failed(format!("look at {info}"), error))
    }

    /// Takes a step towards the end of instances; those that have ended are no longer in the result.
    pub(super) fn end(&self, ending: Ending, force: Force) -> Result<Ending, EngineError> {
        self.spawner.reap();
        let Ending { left, mut asked, mut error } = ending;
        let mut still = Vec::new();
        for id in left {
            match self.end_one(&id, &mut asked, force) {
                Ok(true) => {}
                Ok(false) => still.push(id),
                Err(source) => error = error.or_else(|| Some(failed(format!("stop {}", id.name()), source))),
            }
        }
        Ok(Ending { left: still, asked, error })
    }

    fn end_one(&self, id: &InstanceId, asked: &mut BTreeSet<i32>, force: Force) -> io::Result<bool> {
        match self.look(id)? {
            Seen::Dead => {
                // The supervisor may be gone while its program is not.
                match self.state(id).filter(|state| state.phase != Phase::Stopped) {
                    Some(state) => Ok(self.proc.kill_leftovers(&state)),
                    None => Ok(true),
                }
            }
            Seen::Starting => {
                // Its number is not known yet: it says it soon, unless there is no room to write it down.
                if force == Force::Kill {
                    let folder = self.layout.instance(id);
                    let supervisors = self.proc.commanded(&[OsStr::new("program"), folder.as_os_str()]);
                    self.proc.kill_until_gone(|all| proc::descendants(all, &supervisors));
                    supervisors.into_iter().for_each(|pid| proc::signal(pid, Signal::KILL));
                }
                Ok(false)
            }
            Seen::Alive(state) => {
                if force == Force::Kill {
                    self.proc.kill_until_gone(|all| proc::owned(all, &state));
                    proc::signal(state.own.pid, Signal::KILL);
                } else if asked.insert(state.own.pid) {
                    proc::signal(state.own.pid, Signal::TERM);
                }
                Ok(false)
            }
        }
    }

    /// Deletes the folders of instances of a version that have ended.
    pub(super) fn delete(
        &self,
        scope: Scope,
        info: &AppInfo,
        instances: &[InstanceId],
    ) -> Result<(), EngineError> {
        let _lock = self.lock_version(scope, info)?;
        self.delete_all(instances)
    }

    /// The lock of a version, under which its folders are made and deleted; `None` when it is not there.
    fn lock_version(&self, scope: Scope, info: &AppInfo) -> Result<Option<Lock>, EngineError> {
        match Lock::wait(&self.layout.version(scope, info)) {
            Ok(lock) => Ok(Some(lock)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(format!("remove {info}"), error)),
        }
    }

    fn delete_all(&self, instances: &[InstanceId]) -> Result<(), EngineError> {
        let mut error = None;
        for id in instances {
            let deleted =
                self.delete_one(id).map_err(|source| failed(format!("remove {}", id.name()), source));
            error = error.or(deleted.err());
        }
        error.map_or(Ok(()), Err)
    }

    fn delete_one(&self, id: &InstanceId) -> io::Result<()> {
        let folder = self.layout.instance(id);
        if self.disk.entry(&folder)?.is_none() {
            return Ok(());
        }
        // Held while it deletes, so that nobody starts what is half gone.
        let Some(_lock) = Lock::take(&folder)? else {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "it was started again meanwhile"));
        };
        self.disk.remove_file(&self.layout.state(id))?;
        self.disk.remove_folder(&folder)
    }

    /// Deletes a version whose instances have ended. Its logs stay; those of versions before it go.
    pub(super) fn delete_version(
        &self,
        scope: Scope,
        info: &AppInfo,
        instances: &[InstanceId],
    ) -> Result<(), EngineError> {
        let _lock = self.lock_version(scope, info)?;
        self.delete_all(instances)?;
        self.try_delete_version(scope, info).map_err(|error| failed(format!("remove {info}"), error))
    }

    fn try_delete_version(&self, scope: Scope, info: &AppInfo) -> io::Result<()> {
        self.disk.remove_folder(&self.layout.version(scope, info))?;
        self.disk.remove_folder(&self.layout.states(scope, info))?;
        let app = self.layout.app(scope, &info.name);
        if self.disk.entry(&app)?.is_some() && self.disk.list(&app)?.is_empty() {
            self.disk.remove_folder(&app)?;
        }
        let logs = self.layout.logs(scope, &info.name);
        if self.disk.entry(&logs)?.is_none() {
            return Ok(());
        }
        for version in self.disk.list(&logs)?.into_iter().filter(|version| *version != info.version) {
            let other = AppInfo::new(&info.name, &version);
            if self.disk.entry(&self.layout.version(scope, &other))?.is_none() {
                self.disk.remove_folder(&logs.join(version))?;
            }
        }
        Ok(())
    }
}
