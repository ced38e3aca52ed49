//! Where everything of an instance lies (edge.md 7.7), and what lies there now.

use std::io;
use std::path::{Path, PathBuf};

use baetyl_core_lib::application::Scope;
use baetyl_core_lib::durable::{Disk, Entry};
use baetyl_core_lib::engine::EngineError;
use baetyl_core_lib::spec::AppInfo;

use super::program::SPEC_FILE;

/// One instance: the n-th copy of a service of a version of an application.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct InstanceId {
    pub(crate) scope: Scope,
    pub(crate) info: AppInfo,
    pub(crate) service: String,
    pub(crate) number: u32,
}

impl InstanceId {
    /// Its name, unique on the node (edge.md 7.7).
    pub(crate) fn name(&self) -> String {
        let Self { scope, info, service, number } = self;
        format!("{}.{}.{}.{service}.{number}", scope.namespace(), info.name, info.version)
    }
}

/// The folders.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) lib: PathBuf,
    pub(crate) runtime: PathBuf,
}

impl Layout {
    /// Folder of all that runs; also the lock under which ports and `services.yml` are changed.
    pub(crate) fn run(&self) -> PathBuf {
        self.lib.join("run")
    }

    /// Which ports the services listen on.
    pub(crate) fn services(&self) -> PathBuf {
        self.run().join("services.yml")
    }

    fn scope(&self, scope: Scope) -> PathBuf {
        self.run().join(scope.namespace())
    }

    /// Folder of all versions of an application.
    pub(crate) fn app(&self, scope: Scope, name: &str) -> PathBuf {
        self.scope(scope).join(name)
    }

    /// Folder of a version.
    pub(crate) fn version(&self, scope: Scope, info: &AppInfo) -> PathBuf {
        self.app(scope, &info.name).join(&info.version)
    }

    /// Record of what `apply` was asked to make.
    pub(crate) fn record(&self, scope: Scope, info: &AppInfo) -> PathBuf {
        self.version(scope, info).join("app.json")
    }

    /// Folder of an instance: its working directory, and the lock of its supervisor.
    pub(crate) fn instance(&self, id: &InstanceId) -> PathBuf {
        self.version(id.scope, &id.info).join(&id.service).join(id.number.to_string())
    }

    /// The supervisor's spec.
    pub(crate) fn spec(&self, id: &InstanceId) -> PathBuf {
        self.instance(id).join(SPEC_FILE)
    }

    /// Folder of the supervisors' states of a version.
    pub(crate) fn states(&self, scope: Scope, info: &AppInfo) -> PathBuf {
        self.runtime.join(scope.namespace()).join(&info.name).join(&info.version)
    }

    /// The supervisor's state.
    pub(crate) fn state(&self, id: &InstanceId) -> PathBuf {
        self.states(id.scope, &id.info).join(format!("{}-{}.json", id.service, id.number))
    }

    /// Folder of the logs of all versions of an application.
    pub(crate) fn logs(&self, scope: Scope, name: &str) -> PathBuf {
        self.lib.join("log").join(scope.namespace()).join(name)
    }

    /// The log of an instance.
    pub(crate) fn log(&self, id: &InstanceId) -> PathBuf {
        let folder = self.logs(id.scope, &id.info.name).join(&id.info.version);
        folder.join(format!("{}-{}.log", id.service, id.number))
    }

    /// All versions of all applications that are there, sorted.
    pub(crate) fn versions(&self, disk: &dyn Disk, scope: Scope) -> io::Result<Vec<AppInfo>> {
        let mut found = Vec::new();
        for name in folders(disk, &self.scope(scope))? {
            found.extend(self.versions_of(disk, scope, &name)?);
        }
        Ok(found)
    }

    /// All versions of an application that are there, sorted.
    pub(crate) fn versions_of(&self, disk: &dyn Disk, scope: Scope, name: &str) -> io::Result<Vec<AppInfo>> {
        let versions = folders(disk, &self.app(scope, name))?;
        Ok(versions.into_iter().map(|version| AppInfo::new(name, version)).collect())
    }

    /// All instances of a version that have a folder, in order.
    pub(crate) fn instances(
        &self,
        disk: &dyn Disk,
        scope: Scope,
        info: &AppInfo,
    ) -> io::Result<Vec<InstanceId>> {
        let version = self.version(scope, info);
        let mut found = Vec::new();
        for service in folders(disk, &version)? {
            let numbers = folders(disk, &version.join(&service))?;
            let numbers = numbers.iter().filter_map(|number| number.parse().ok());
            found.extend(numbers.map(|number| InstanceId {
                scope,
                info: info.clone(),
                service: service.clone(),
                number,
            }));
        }
        found.sort();
        Ok(found)
    }
}

/// Refuses a text that cannot be one name of a path.
pub(crate) fn segment(what: &str, text: &str) -> Result<(), EngineError> {
    let fits = (1..=128).contains(&text.len())
        && !text.starts_with('.')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_+.".contains(&byte));
    if fits {
        return Ok(());
    }
    let reason = format!(
        "{what} {text:?} cannot name a folder: use letters, digits, '-', '_', '+' and '.', not starting with a dot"
    );
    Err(EngineError::Invalid { reason })
}

/// The names of the folders in a folder, sorted; none when it is not there.
fn folders(disk: &dyn Disk, folder: &Path) -> io::Result<Vec<String>> {
    let names = match disk.list(folder) {
        Ok(names) => names,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for name in names {
        if segment("folder", &name).is_ok() && disk.entry(&folder.join(&name))? == Some(Entry::Folder) {
            found.push(name);
        }
    }
    Ok(found)
}
