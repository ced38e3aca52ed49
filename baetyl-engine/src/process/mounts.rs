//! What an instance sees below its folder: first decided (pure), then made.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};

use baetyl_core_lib::application::{Application, Content, VolumeContent};
use baetyl_core_lib::durable::{self, Disk, Entry};
use baetyl_core_lib::engine::EngineError;
use baetyl_core_lib::spec::Service;

use super::program::SPEC_FILE;
use super::record;

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Where, relative to the instance's folder.
    pub(crate) path: PathBuf,
    pub(crate) source: Source,
}

/// What lies at a mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A path outside, as a link.
    Link {
        target: PathBuf,
        /// Whether it is a host path, rather than the objects of a configuration.
        host: bool,
    },
    /// Files of our own, and links to what lies in a folder of objects.
    Files { files: BTreeMap<String, Content>, objects: Option<PathBuf>, secret: bool },
    /// One file of our own.
    File { content: Content, secret: bool },
    /// An empty folder.
    Empty,
}

/// Decides the mounts of a service.
pub(crate) fn plan(app: &dyn Application, service: &Service) -> Result<Vec<Mount>, EngineError> {
    let mut mounts: Vec<Mount> = Vec::new();
    for mount in &service.volume_mounts {
        let Some(volume) = app.volume(&mount.name) else {
            return Err(invalid(format!(
                "service {:?} mounts volume {:?}, which the application does not have: add the volume or remove \
                 the mount",
                service.name, mount.name
            )));
        };
        let path = inside(&mount.mount_path).filter(|path| !path.as_os_str().is_empty());
        let path = path.filter(|path| !path.starts_with(SPEC_FILE) && !path.starts_with("service.yml"));
        let Some(path) = path else {
            return Err(invalid(format!(
                "service {:?} cannot mount volume {:?} at {:?}: give a path below the instance's folder, without '..'",
                service.name, mount.name, mount.mount_path
            )));
        };
        let Some(part) = inside(&mount.sub_path) else {
            return Err(invalid(format!(
                "service {:?} cannot mount the part {:?} of volume {:?}: give a path without '..'",
                service.name, mount.sub_path, mount.name
            )));
        };
        let Some(source) = source(volume, &part) else {
            return Err(invalid(format!(
                "service {:?} cannot mount {:?} of volume {:?}: there is no such file",
                service.name, mount.sub_path, mount.name
            )));
        };
        mounts.extend(source.map(|source| Mount { path, source }));
    }
    // Outer ones first, so that what lies inside them is made last.
    mounts.sort_by(|one, other| one.path.cmp(&other.path));
    check_nesting(service, &mounts)?;
    Ok(mounts)
}

/// Makes a mount, or brings it up to date in place. `old` are the links made before; returns what to
/// remember of this one.
pub(crate) fn make(
    disk: &dyn Disk,
    folder: &Path,
    mount: &Mount,
    executable: Option<&Path>,
    old: &BTreeMap<PathBuf, PathBuf>,
) -> io::Result<BTreeMap<PathBuf, PathBuf>> {
    let at = folder.join(&mount.path);
    if let Some(parent) = at.parent() {
        disk.create_folder(parent, 0o755)?;
    }
    let mut links = BTreeMap::new();
    match &mount.source {
        Source::Link { target, host } => {
            // As container runtimes do: a host path that is not there becomes a folder; a device never does.
            let kernel = ["/dev", "/proc", "/sys"].iter().any(|root| target.starts_with(root));
            if *host && !kernel && disk.entry(target)?.is_none() {
                make_folder(disk, target, 0o755)?;
            }
            link(disk, folder, &mount.path, target, old, &mut links)?;
        }
        Source::Empty => make_folder(disk, &at, 0o755)?,
        Source::File { content, secret } => {
            let mode = mode(*secret, executable == Some(&mount.path));
            record::put(disk, &at, &content.0, mode)?;
        }
        Source::Files { files, objects, secret } => {
            make_folder(disk, &at, if *secret { 0o700 } else { 0o755 })?;
            let mut keep: BTreeSet<String> = files.keys().cloned().collect();
            if let Some(objects) = objects {
                for name in disk.list(objects)?.into_iter().filter(|name| !files.contains_key(name)) {
                    link(disk, folder, &mount.path.join(&name), &objects.join(&name), old, &mut links)?;
                    keep.insert(name);
                }
            }
            for (name, content) in files {
                let path = mount.path.join(name);
                if disk.entry(&at.join(name))? == Some(Entry::Link) {
                    disk.remove_file(&at.join(name))?;
                }
                let mode = mode(*secret, executable == Some(&path));
                record::put(disk, &at.join(name), &content.0, mode)?;
            }
            remove_others(disk, &at, &keep)?;
        }
    }
    Ok(links)
}

/// A path of a spec, relative to the instance's folder; `None` when it climbs out.
pub(crate) fn inside(path: &str) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(part) => clean.push(part),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(clean)
}

/// The source of a mount: `None` when the part is not there, `Some(None)` when there is nothing to mount.
fn source(volume: &VolumeContent, part: &Path) -> Option<Option<Source>> {
    let whole = part.as_os_str().is_empty();
    let link = |target: &Path, host| {
        let target = if whole { target.to_owned() } else { target.join(part) };
        Source::Link { target, host }
    };
    Some(Some(match volume {
        VolumeContent::HostPath(path) => link(path, true),
        VolumeContent::Files { files, objects, secret } if whole => match objects {
            Some(objects) if files.is_empty() => link(objects, false),
            _ => Source::Files { files: files.clone(), objects: objects.clone(), secret: *secret },
        },
        VolumeContent::Files { files, objects, secret } => {
            match (part.to_str().and_then(|part| files.get(part)), objects) {
                (Some(content), _) => Source::File { content: content.clone(), secret: *secret },
                (None, Some(objects)) => link(objects, false),
                (None, None) => return None,
            }
        }
        VolumeContent::EmptyDir => Source::Empty,
        VolumeContent::Registry { .. } => return Some(None),
    }))
}

fn check_nesting(service: &Service, mounts: &[Mount]) -> Result<(), EngineError> {
    for (at, mount) in mounts.iter().enumerate() {
        for outer in &mounts[..at] {
            if outer.path == mount.path {
                return Err(invalid(format!(
                    "service {:?} mounts two volumes at {:?}: give each a path of its own",
                    service.name, mount.path
                )));
            }
            let holds_links = matches!(outer.source, Source::Link { .. } | Source::File { .. });
            if holds_links && mount.path.starts_with(&outer.path) {
                return Err(invalid(format!(
                    "service {:?} mounts a volume at {:?}, inside the one at {:?}, which is not its own to change: \
                     mount it elsewhere",
                    service.name, mount.path, outer.path
                )));
            }
        }
    }
    Ok(())
}

fn link(
    disk: &dyn Disk,
    folder: &Path,
    path: &Path,
    target: &Path,
    old: &BTreeMap<PathBuf, PathBuf>,
    links: &mut BTreeMap<PathBuf, PathBuf>,
) -> io::Result<()> {
    let at = folder.join(path);
    let there = disk.entry(&at)?;
    if !(there == Some(Entry::Link) && old.get(path).is_some_and(|old| old == target)) {
        if there == Some(Entry::Folder) {
            disk.remove_folder(&at)?;
        }
        let new = durable::beside(&at);
        disk.remove_file(&new)?;
        disk.link(target, &new)?;
        disk.rename(&new, &at)?;
    }
    links.insert(path.to_owned(), target.to_owned());
    Ok(())
}

fn make_folder(disk: &dyn Disk, at: &Path, mode: u32) -> io::Result<()> {
    match disk.entry(at)? {
        Some(Entry::Folder) => return Ok(()),
        Some(_) => disk.remove_file(at)?,
        None => {}
    }
    disk.create_folder(at, mode)
}

/// Removes files and links that no longer belong to the volume; folders are what is mounted inside it.
fn remove_others(disk: &dyn Disk, at: &Path, keep: &BTreeSet<String>) -> io::Result<()> {
    for name in disk.list(at)?.into_iter().filter(|name| !keep.contains(name)) {
        let path = at.join(name);
        if disk.entry(&path)? != Some(Entry::Folder) {
            disk.remove_file(&path)?;
        }
    }
    Ok(())
}

const fn mode(secret: bool, executable: bool) -> u32 {
    match (secret, executable) {
        (true, false) => 0o600,
        (true, true) => 0o700,
        (false, false) => 0o644,
        (false, true) => 0o755,
    }
}

const fn invalid(reason: String) -> EngineError {
    EngineError::Invalid { reason }
}

#[cfg(test)]
mod tests {
    use baetyl_core_lib::application::Deployment;
    use baetyl_core_lib::spec::{AppSpec, VolumeMount};

    use super::*;

    fn planned(mounts: &[(&str, &str, &str)]) -> Result<Vec<Mount>, String> {
        let files = |objects: Option<&str>| VolumeContent::Files {
            files: BTreeMap::from([("a.txt".to_owned(), Content(b"a".to_vec()))]),
            objects: objects.map(PathBuf::from),
            secret: true,
        };
        let volumes = [
            ("host", VolumeContent::HostPath("/srv/host".into())),
            ("files", files(None)),
            ("both", files(Some("/srv/objects"))),
            ("empty", VolumeContent::EmptyDir),
        ];
        let mounts = mounts.iter().map(|(name, path, part)| VolumeMount {
            name: (*name).to_owned(),
            mount_path: (*path).to_owned(),
            sub_path: (*part).to_owned(),
            ..VolumeMount::default()
        });
        let service =
            Service { name: "web".to_owned(), volume_mounts: mounts.collect(), ..Service::default() };
        let volumes = volumes.map(|(name, content)| (name.to_owned(), content)).into();
        plan(&Deployment { spec: AppSpec::default(), volumes }, &service).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn refused(mounts: &[(&str, &str, &str)], expected: &str) {
        let error = planned(mounts).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn nothing_is_mounted_where_it_would_change_what_is_not_ours() {
        refused(&[("host", "/data", ""), ("files", "/data/conf", "")], "inside the one at \"data\"");
        refused(&[("files", "/x", ""), ("empty", "x/", "")], "two volumes at \"x\"");
        refused(&[("files", "/service.json", "")], "below the instance's folder");
        refused(&[("host", "/", "")], "below the instance's folder");
        refused(&[("host", "/data", "../up")], "without '..'");
        refused(&[("files", "/x", "b.txt")], "there is no such file");
        assert!(planned(&[("empty", "/data", ""), ("files", "/data/conf", "")]).is_ok());
    }

    #[test]
    fn part_of_a_volume_is_mounted_alone() {
        let source = |name, part| planned(&[(name, "/x", part)]).unwrap().remove(0).source;
        let link = |target: &str, host| Source::Link { target: target.into(), host };
        assert_eq!(source("host", "sub"), link("/srv/host/sub", true));
        assert_eq!(source("both", "big.bin"), link("/srv/objects/big.bin", false));
        assert_eq!(source("files", "a.txt"), Source::File { content: Content(b"a".to_vec()), secret: true });
    }

    proptest::proptest! {
        #[test]
        fn no_path_climbs_out(path in "[a./]{0,20}") {
            if let Some(path) = inside(&path) {
                assert!(path.components().all(|part| matches!(part, Component::Normal(_))));
            }
        }
    }
}
