//! Which program a service runs (edge.md 7.7): the `entry` of a `program.yml` that it mounts.

use std::io;
use std::path::{Path, PathBuf};

use baetyl_core_lib::durable::{Disk, Entry};
use baetyl_core_lib::engine::{EngineError, EngineKind};
use serde::Deserialize;

use super::mounts::{Mount, Source, inside};

/// Where a package of programs is mounted.
const BIN: &str = "var/lib/baetyl/bin";
/// The file that names the program of a package.
const PROGRAM_FILE: &str = "program.yml";

/// The program of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Program {
    /// A path of the host.
    Host(PathBuf),
    /// A path inside the instance's folder.
    Inside(PathBuf),
}

impl Program {
    /// Its absolute path for an instance in `folder`.
    pub(crate) fn path(&self, folder: &Path) -> PathBuf {
        match self {
            Self::Host(path) => path.clone(),
            Self::Inside(path) => folder.join(path),
        }
    }
}

#[derive(Deserialize)]
struct Package {
    #[serde(default)]
    entry: String,
}

/// Finds the program of a service among its mounts.
pub(crate) fn find(disk: &dyn Disk, service: &str, mounts: &[Mount]) -> Result<Program, EngineError> {
    // What is mounted at the place for programs goes before any other configuration that has one.
    let (at_bin, others): (Vec<_>, Vec<_>) = mounts.iter().partition(|mount| mount.path == Path::new(BIN));
    let others = others.into_iter().filter(|mount| !matches!(mount.source, Source::Link { host: true, .. }));
    for mount in at_bin.into_iter().chain(others) {
        let Some(text) = package(disk, mount).map_err(|source| unreadable(mount, source))? else { continue };
        let entry = match serde_saphyr::from_slice::<Package>(&text) {
            Ok(package) if !package.entry.trim().is_empty() => package.entry,
            Ok(_) => return Err(invalid(service, mount, "has no key entry: name the program to run there")),
            Err(error) => return Err(invalid(service, mount, &format!("cannot be read: {error}"))),
        };
        let entry = entry.trim();
        if Path::new(entry).is_absolute() {
            exists(disk, service, mount, Path::new(entry))?;
            return Ok(Program::Host(PathBuf::from(entry)));
        }
        let Some(entry) = inside(entry) else {
            return Err(invalid(service, mount, "names an entry outside its folder: remove the '..'"));
        };
        return match &mount.source {
            Source::Link { target, .. } => {
                exists(disk, service, mount, &target.join(&entry))?;
                Ok(Program::Host(target.join(entry)))
            }
            Source::Files { files, objects, .. } => {
                let own = entry.to_str().is_some_and(|name| files.contains_key(name));
                match objects {
                    Some(objects) if !own => exists(disk, service, mount, &objects.join(&entry))?,
                    None if !own => return Err(missing(service, mount, &entry)),
                    _ => {}
                }
                Ok(Program::Inside(mount.path.join(entry)))
            }
            Source::File { .. } | Source::Empty => Err(missing(service, mount, &entry)),
        };
    }
    let reason = format!(
        "service {service:?} has no program: mount a configuration or host path at /{BIN} with a {PROGRAM_FILE} whose \
         key entry names the program"
    );
    Err(EngineError::Invalid { reason })
}

/// The text of the `program.yml` that a mount brings.
fn package(disk: &dyn Disk, mount: &Mount) -> io::Result<Option<Vec<u8>>> {
    let folder = match &mount.source {
        Source::Files { files, .. } if files.contains_key(PROGRAM_FILE) => {
            return Ok(files.get(PROGRAM_FILE).map(|content| content.0.clone()));
        }
        Source::Link { target, .. } => target,
        Source::Files { objects: Some(objects), .. } => objects,
        Source::Files { .. } | Source::File { .. } | Source::Empty => return Ok(None),
    };
    match disk.read(&folder.join(PROGRAM_FILE)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn exists(disk: &dyn Disk, service: &str, mount: &Mount, path: &Path) -> Result<(), EngineError> {
    match disk.entry(path).map_err(|source| unreadable(mount, source))? {
        Some(Entry::File(_) | Entry::Link) => Ok(()),
        Some(_) | None => Err(missing(service, mount, path)),
    }
}

fn missing(service: &str, mount: &Mount, entry: &Path) -> EngineError {
    invalid(
        service,
        mount,
        &format!("names the entry {:?}, which is not there: add the program or correct entry", entry),
    )
}

fn invalid(service: &str, mount: &Mount, what: &str) -> EngineError {
    let reason = format!("service {service:?}: {PROGRAM_FILE} at {:?} {what}", mount.path);
    EngineError::Invalid { reason }
}

fn unreadable(mount: &Mount, source: io::Error) -> EngineError {
    let operation = format!("read what is mounted at {:?}", mount.path);
    EngineError::Failed { engine: EngineKind::Process, operation, source: source.into() }
}
