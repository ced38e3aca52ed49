//! From what is known of the applications to their part of the report (edge.md 1.4). Pure.

use std::collections::BTreeMap;

use baetyl_core_lib::application::Scope;
use baetyl_core_lib::engine::{AppState, InstanceState, Readiness};
use baetyl_core_lib::object::Progress;
use baetyl_core_lib::spec::{AppInfo, AppStats, InstanceStats, Report, Section, Status};

use crate::collect::Usage;

/// One application as it is to be reported.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Told {
    /// The version that is there, else the one that is wanted.
    pub(super) info: AppInfo,
    /// Whether it is there.
    pub(super) present: bool,
    /// Its status.
    pub(super) status: Status,
    /// Why it is not what it is to be.
    pub(super) cause: String,
    /// Its instances.
    pub(super) instances: Vec<InstanceState>,
}

/// The report's sections of one scope, applications in the order of the desire, then by name.
pub(super) fn fill(report: &mut Report, scope: Scope, order: &[AppInfo], mut told: Vec<Told>, usage: &Usage) {
    let place =
        |told: &Told| order.iter().position(|info| info.name == told.info.name).unwrap_or(order.len());
    told.sort_by(|a, b| (place(a), &a.info).cmp(&(place(b), &b.info)));
    let list = told.iter().filter(|told| told.present).map(|told| told.info.clone()).collect();
    let stats = told.into_iter().map(|told| stats(scope, told, usage)).collect();
    match scope {
        Scope::System => (report.sysapps, report.sysappstats) = (Section::Is(list), Section::Is(stats)),
        Scope::User => (report.apps, report.appstats) = (Section::Is(list), Section::Is(stats)),
    }
}

/// The status of a version from that of its instances (edge.md, appendix C).
pub(super) fn status(state: &AppState) -> Status {
    let Ok(instances) = &state.instances else { return Status::Unknown };
    let any = |status: &Status| instances.iter().any(|instance| instance.status == *status);
    let all = |status: &Status| instances.iter().all(|instance| instance.status == *status);
    if state.wanted.is_some_and(|wanted| (instances.len() as u64) < u64::from(wanted)) {
        Status::Pending
    } else if any(&Status::Unknown) {
        Status::Unknown
    } else if !instances.is_empty() && all(&Status::Succeeded) {
        Status::Succeeded
    } else if instances.iter().all(is_up) {
        Status::Running
    } else {
        Status::Pending
    }
}

fn is_up(instance: &InstanceState) -> bool {
    match instance.status {
        Status::Running => instance.readiness != Readiness::NotReady,
        Status::Succeeded => true,
        _ => false,
    }
}

/// How far fetching is, in words.
pub(super) fn progress(config: &str, progress: Progress) -> String {
    match progress.total {
        Some(total) => format!("{} of {total} bytes of {config:?} are here", progress.done),
        None => format!("{} bytes of {config:?} are here", progress.done),
    }
}

fn stats(scope: Scope, told: Told, usage: &Usage) -> AppStats {
    let Told { info, status, cause, instances, .. } = told;
    let instances = instances.into_iter().map(|instance| {
        let name = instance.name.clone();
        (name, instance_stats(scope, &info.name, instance, usage))
    });
    AppStats {
        instances: instances.collect(),
        name: info.name,
        version: info.version,
        status,
        cause,
        ..AppStats::default()
    }
}

fn instance_stats(scope: Scope, app: &str, instance: InstanceState, usage: &Usage) -> InstanceStats {
    let usage = usage.of(scope, &instance.name).map_or_else(BTreeMap::new, |usage| {
        [("cpu", format!("{:.3}", usage.cpu)), ("memory", usage.memory.to_string())]
            .map(|(key, value)| (key.to_owned(), value))
            .into()
    });
    let cause = match (instance.reason, instance.last_exit) {
        (Some(reason), _) => reason,
        (None, Some(exit)) if instance.status != Status::Running => format!("ended with {exit}"),
        _ => String::new(),
    };
    InstanceStats {
        name: instance.name,
        service_name: instance.service,
        app_name: app.to_owned(),
        usage,
        status: instance.status,
        cause,
        ip: instance.ip.unwrap_or_default(),
        node_name: instance.member.unwrap_or_default(),
        pid: instance.pid.unwrap_or_default(),
        ppid: instance.parent.unwrap_or_default(),
        create_time: instance.started.unwrap_or_default(),
        ..InstanceStats::default()
    }
}
