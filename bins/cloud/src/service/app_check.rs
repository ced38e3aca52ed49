//! What an application may not be (cloud.md 3.3). Pure.

use std::collections::BTreeSet;

use baetyl_core_lib::spec::name::ServiceName;
use baetyl_core_lib::spec::{AppName, AppSpec, Timestamp};

use super::app::{PROGRAM_MOUNT, cron_passed};
use crate::error::ServiceError;

/// Checks all that does not need other documents.
pub(super) fn check(app: &AppSpec, now: Timestamp) -> Result<(), ServiceError> {
    let invalid = |reason: String| Err(ServiceError::invalid(reason));
    if app.name.len() > 55 {
        return invalid(format!("the name {:?} is too long: use at most 55 characters", app.name));
    }
    for service in app.services.iter().chain(&app.init_services) {
        ServiceName::parse(&service.name)
            .map_err(|error| ServiceError::Body { reason: error.to_string() })?;
    }
    for volume in &app.volumes {
        AppName::parse(&volume.name).map_err(|error| ServiceError::Body { reason: error.to_string() })?;
    }
    super::check_labels(&app.labels)?;
    if !["container", "function", "helm", "yaml", "android"].contains(&app.app_type.as_str()) {
        return invalid(format!("type {:?}: use container, function, helm, yaml or android", app.app_type));
    }
    if !["kube", "native"].contains(&app.mode.as_str()) {
        return invalid(format!("mode {:?}: use kube or native", app.mode));
    }
    if cron_passed(app, now) {
        return invalid(format!("cronTime {} has passed: choose a later time", app.cron_time));
    }
    if ["helm", "yaml"].contains(&app.app_type.as_str()) {
        return Ok(());
    }
    if !["deployment", "daemonset", "statefulset", "job"].contains(&app.workload.as_str()) {
        return invalid(format!(
            "workload {:?}: use deployment, daemonset, statefulset or job",
            app.workload
        ));
    }
    for service in &app.services {
        let name = &service.name;
        if app.app_type == "container" {
            if service.function_config.is_some() || !service.functions.is_empty() {
                return invalid(format!("service {name:?} has functions: use type function"));
            }
            if app.mode == "kube" && service.image.is_empty() {
                return invalid(format!("service {name:?} needs an image"));
            }
        } else if app.app_type == "function" && service.function_config.is_none() {
            return invalid(format!("service {name:?} needs a functionConfig"));
        }
    }
    check_ports(app)?;
    check_scale(app)
}

/// Checks that each native service has a program.
pub(super) fn check_programs(app: &AppSpec) -> Result<(), ServiceError> {
    if app.mode != "native" || app.app_type != "container" {
        return Ok(());
    }
    let without = app.services.iter().find(|service| {
        let own = |mount: &baetyl_core_lib::spec::VolumeMount| mount.mount_path == PROGRAM_MOUNT;
        !service.volume_mounts.iter().any(own) && !app.volumes.iter().any(|volume| volume.config.is_some())
    });
    match without {
        Some(service) => Err(ServiceError::invalid(format!(
            "service {:?} has no program: give programConfig, or mount one at {PROGRAM_MOUNT}",
            service.name
        ))),
        None => Ok(()),
    }
}

/// Checks that names are there once, and what is mounted is there.
pub(super) fn check_mounts(app: &AppSpec) -> Result<(), ServiceError> {
    let mut volumes = BTreeSet::new();
    for volume in &app.volumes {
        if !volumes.insert(volume.name.as_str()) {
            return Err(ServiceError::NameConflict { place: "volumes", name: volume.name.clone() });
        }
    }
    let mut services = BTreeSet::new();
    for service in app.services.iter().chain(&app.init_services) {
        if !services.insert(service.name.as_str()) {
            return Err(ServiceError::NameConflict { place: "services", name: service.name.clone() });
        }
        let missing = service.volume_mounts.iter().find(|mount| !volumes.contains(mount.name.as_str()));
        if let Some(mount) = missing {
            return Err(ServiceError::VolumeMissing { name: mount.name.clone() });
        }
    }
    Ok(())
}

fn check_ports(app: &AppSpec) -> Result<(), ServiceError> {
    let mut taken = BTreeSet::new();
    for port in app.services.iter().flat_map(|service| &service.ports) {
        let udp = port.protocol.eq_ignore_ascii_case("udp");
        if port.service_type == "NodePort" && port.node_port <= 0 {
            return Err(ServiceError::invalid("a port of serviceType NodePort needs a nodePort above 0"));
        }
        for (kind, number) in [("host", port.host_port), ("node", port.node_port)] {
            if number != 0 && !taken.insert((kind, udp, number)) {
                return Err(ServiceError::invalid(format!("the {kind} port {number} is there twice")));
            }
        }
        if port.host_port != 0 && app.replica > 1 {
            return Err(ServiceError::invalid(format!(
                "host port {}: only with a replica of 1",
                port.host_port
            )));
        }
    }
    Ok(())
}

fn check_scale(app: &AppSpec) -> Result<(), ServiceError> {
    let Some(scale) = app.auto_scale_cfg.as_ref().filter(|scale| !scale.metrics.is_empty()) else {
        return Ok(());
    };
    if scale.min_replicas <= 0 || scale.max_replicas < scale.min_replicas {
        return Err(ServiceError::invalid(
            "autoScaleCfg: minReplicas must be above 0 and not above maxReplicas",
        ));
    }
    let known = |name: &str| ["cpu", "memory"].contains(&name);
    let odd = scale
        .metrics
        .iter()
        .filter_map(|metric| metric.resource.as_ref())
        .find(|resource| !known(&resource.name));
    odd.map_or(Ok(()), |resource| {
        Err(ServiceError::invalid(format!("autoScaleCfg: metric {:?} is not cpu or memory", resource.name)))
    })
}
