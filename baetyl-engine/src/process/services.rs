//! `services.yml`: which ports the services listen on, shared by every process engine of the node.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use baetyl_core_lib::durable::Disk;
use baetyl_core_lib::spec::services::{ServicePorts, Services};

use super::record;

/// Reads the file; nothing when it is not there or damaged, for whoever writes next mends it.
pub(crate) fn read(disk: &dyn Disk, path: &Path) -> io::Result<Services> {
    match disk.read(path) {
        Ok(text) => Ok(serde_saphyr::from_slice(&text).unwrap_or_default()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Services::default()),
        Err(error) => Err(error),
    }
}

/// Writes the file whole, unless nothing changed. The caller holds the lock of the folder.
pub(crate) fn write(disk: &dyn Disk, path: &Path, services: &Services) -> io::Result<()> {
    record::put(disk, path, services.to_yaml().as_bytes(), 0o644).map(drop)
}

/// Gives names to an application: `own` are all ports of all its versions, `now` what is to be found under
/// each name. An entry that another application took over is left to it.
pub(crate) fn merge(
    services: &mut Services,
    own: &BTreeMap<String, Vec<u16>>,
    now: &BTreeMap<String, Vec<u16>>,
) {
    for (name, ports) in own.iter().filter(|(name, _)| !now.contains_key(*name)) {
        if let Some(entry) = services.0.get_mut(name) {
            entry.ports.retain(|port| !ports.contains(port));
        }
    }
    for (name, ports) in now {
        services.0.insert(name.clone(), ServicePorts { ports: ports.clone() });
    }
    services.0.retain(|_, entry| !entry.ports.is_empty());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(of: &[(&str, &[u16])]) -> BTreeMap<String, Vec<u16>> {
        of.iter().map(|(name, ports)| ((*name).to_owned(), ports.to_vec())).collect()
    }

    fn check(
        before: &[(&str, &[u16])],
        own: &[(&str, &[u16])],
        now: &[(&str, &[u16])],
        after: &[(&str, &[u16])],
    ) {
        let entry = |(name, ports)| (name, ServicePorts { ports });
        let mut services = Services(ports(before).into_iter().map(entry).collect());
        merge(&mut services, &ports(own), &ports(now));
        assert_eq!(services, Services(ports(after).into_iter().map(entry).collect()));
    }

    #[test]
    fn only_own_entries_change() {
        check(&[("core", &[1])], &[("web", &[2, 3])], &[("web", &[3])], &[("core", &[1]), ("web", &[3])]);
        check(&[("core", &[1]), ("web", &[2])], &[("web", &[2])], &[], &[("core", &[1])]);
    }

    #[test]
    fn name_that_another_application_took_stays_its() {
        check(&[("web", &[9])], &[("web", &[2])], &[], &[("web", &[9])]);
    }
}
