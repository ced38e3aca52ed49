//! What applications may not have in common: ports of the host, names (edge.md 6.3). Pure.

use std::collections::BTreeSet;

use baetyl_core_lib::spec::name::ServiceName;
use baetyl_core_lib::spec::{AppInfo, AppName, AppSpec, Version};

/// With this label set to `false`, the old version of an application is stopped before the new one starts, as
/// if both declared the same host port: for programs that hold what they cannot declare, or cannot share.
pub const OVERLAP_LABEL: &str = "baetyl-update-overlap";

/// Parts a list of the desire into what can be tried and what cannot, with the reason in words.
pub fn check_list(list: &[AppInfo]) -> (Vec<AppInfo>, Vec<(AppInfo, String)>) {
    let mut names = BTreeSet::new();
    let (mut fine, mut refused) = (Vec::new(), Vec::new());
    for info in list {
        let broken = AppName::parse(&info.name).err().or_else(|| Version::parse(&info.version).err());
        if let Some(error) = broken {
            refused.push((info.clone(), error.to_string()));
        } else if names.insert(info.name.as_str()) {
            fine.push(info.clone());
        } else {
            refused.push((info.clone(), format!("application {:?} is listed twice", info.name)));
        }
    }
    (fine, refused)
}

/// What is wrong with an application whatever else runs; `None` when nothing is.
pub fn check_spec(spec: &AppSpec) -> Option<String> {
    let mut names = BTreeSet::new();
    for service in spec.init_services.iter().chain(&spec.services) {
        if let Err(error) = ServiceName::parse(&service.name) {
            return Some(error.to_string());
        }
        if !names.insert(service.name.as_str()) {
            return Some(format!("service {:?} is there twice: give each its own name", service.name));
        }
    }
    let many = spec.services.iter().any(|service| spec.replicas(service) > 1);
    (many && !host_ports(spec).is_empty())
        .then(|| "an application with replica > 1 cannot configure a host port".to_owned())
}

/// The ports of the host that an application takes for itself.
pub fn host_ports(spec: &AppSpec) -> Vec<u16> {
    let ports = spec.services.iter().flat_map(|service| &service.ports);
    let fixed: BTreeSet<u16> =
        ports.filter_map(|port| u16::try_from(port.host_port).ok()).filter(|port| *port != 0).collect();
    fixed.into_iter().collect()
}

/// Whether no other version of the application may run beside this one, whatever their ports. Versions run
/// side by side unless its label says otherwise: a port that nobody declared only makes the new version fail.
/// `None` when the label says neither.
pub fn runs_alone(spec: &AppSpec) -> Option<bool> {
    match spec.labels.get(OVERLAP_LABEL).map(String::as_str) {
        None | Some("true") => Some(false),
        Some("false") => Some(true),
        Some(_) => None,
    }
}

/// Why an application cannot have its ports: another one, that runs or comes before it, has one of them.
pub fn port_taken<'a>(
    name: &str,
    ports: &[u16],
    others: impl IntoIterator<Item = (&'a str, &'a [u16])>,
) -> Option<String> {
    let others = others.into_iter().filter(|(other, _)| *other != name);
    others.into_iter().find_map(|(other, taken)| {
        let port = ports.iter().find(|port| taken.contains(port))?;
        Some(format!("port [{port}] in application [{name}] collide with service [{other}]"))
    })
}

#[cfg(test)]
mod tests {
    use baetyl_core_lib::spec::Service;
    use baetyl_core_lib::spec::application::Port;

    use super::*;

    fn app(replica: i64, port: i32) -> AppSpec {
        let port = Port { host_port: port, ..Port::default() };
        let service = Service { name: "web".to_owned(), ports: vec![port], ..Service::default() };
        AppSpec { replica, services: vec![service], ..AppSpec::default() }
    }

    #[test]
    fn a_host_port_and_more_than_one_replica_do_not_go_together() {
        assert_eq!(
            check_spec(&app(2, 80)).as_deref(),
            Some("an application with replica > 1 cannot configure a host port")
        );
        assert_eq!(check_spec(&app(1, 80)), None);
        assert_eq!(check_spec(&app(2, 0)), None);
    }

    #[test]
    fn the_loser_of_a_port_is_told_who_has_it() {
        let porta: (&str, &[u16]) = ("porta", &[80, 8899]);
        assert_eq!(
            port_taken("portb", &[8899], [porta]).as_deref(),
            Some("port [8899] in application [portb] collide with service [porta]")
        );
        assert_eq!(port_taken("porta", &[8899], [porta]), None);
        assert_eq!(port_taken("portb", &[81], [porta]), None);
    }

    #[test]
    fn names_that_are_no_names_or_come_twice_are_refused_and_the_rest_goes_on() {
        let list = ["web", "../etc", "web"].map(|name| AppInfo::new(name, "1"));
        let (fine, refused) = check_list(&list);
        assert_eq!(fine, vec![AppInfo::new("web", "1")]);
        assert_eq!(refused.len(), 2);
        assert!(refused[1].1.contains("listed twice"));
    }

    #[test]
    fn versions_run_side_by_side_unless_the_label_says_otherwise() {
        let labelled = |value: &str| {
            let mut spec = app(1, 0);
            spec.labels.insert(OVERLAP_LABEL.to_owned(), value.to_owned());
            runs_alone(&spec)
        };
        assert_eq!(runs_alone(&app(1, 0)), Some(false));
        assert_eq!(runs_alone(&app(1, 80)), Some(false));
        assert_eq!(labelled("true"), Some(false));
        assert_eq!(labelled("false"), Some(true));
        assert_eq!(labelled("no"), None);
    }
}
