//! Which engine runs an application: system applications are programs where they can be. Pure.

use baetyl_core_lib::application::Scope;
use baetyl_core_lib::engine::EngineKind;
use baetyl_core_lib::spec::AppSpec;

/// Where a program package is mounted (edge.md 7.7).
const PROGRAM_PATH: &str = "/var/lib/baetyl/bin";

/// The engine for this application, among those that the node has, the preferred one first.
///
/// # Errors
/// Why none of them can run it, in words.
pub fn route(scope: Scope, spec: &AppSpec, engines: &[EngineKind]) -> Result<EngineKind, String> {
    let has = |kind: EngineKind| engines.contains(&kind).then_some(kind);
    if matches!(spec.app_type.as_str(), "helm" | "yaml") {
        return has(EngineKind::Kube).ok_or_else(|| {
            format!("applications of type {:?} need Kubernetes, which this node does not have", spec.app_type)
        });
    }
    if spec.app_type == "android" {
        return Err("applications of type \"android\" do not run on this node".to_owned());
    }
    let [first, rest @ ..] = engines else {
        return Err("this node has no engine to run it".to_owned());
    };
    if rest.is_empty() {
        return Ok(*first);
    }
    let containers = has(EngineKind::Docker).or_else(|| has(EngineKind::Kube));
    let kind = match has(EngineKind::Process) {
        Some(process) if is_program(scope, spec) => Some(process),
        process => containers.or(process),
    };
    Ok(kind.unwrap_or(*first))
}

fn is_program(scope: Scope, spec: &AppSpec) -> bool {
    let packaged = spec
        .services
        .iter()
        .flat_map(|service| &service.volume_mounts)
        .any(|mount| mount.mount_path.trim_end_matches('/') == PROGRAM_PATH);
    let imageless = spec.services.iter().all(|service| service.image.is_empty());
    imageless || (scope == Scope::System && packaged)
}

#[cfg(test)]
mod tests {
    use baetyl_core_lib::spec::{Service, VolumeMount};

    use super::*;

    fn app(image: &str, mount: &str) -> AppSpec {
        let mount = VolumeMount { mount_path: mount.to_owned(), ..VolumeMount::default() };
        let service = Service { image: image.to_owned(), volume_mounts: vec![mount], ..Service::default() };
        AppSpec { services: vec![service], ..AppSpec::default() }
    }

    #[test]
    fn each_application_goes_to_the_engine_that_can_run_it() {
        use EngineKind::{Docker, Process};
        let both = [Process, Docker];
        let check = |scope, spec: &AppSpec, engines: &[EngineKind], expected| {
            assert_eq!(route(scope, spec, engines), Ok(expected));
        };
        check(Scope::User, &app("nginx", "/etc"), &[Process], Process);
        check(Scope::User, &app("nginx", "/etc"), &both, Docker);
        check(Scope::User, &app("", "/etc"), &both, Process);
        check(Scope::System, &app("broker", "/var/lib/baetyl/bin"), &both, Process);
        check(Scope::User, &app("broker", "/var/lib/baetyl/bin"), &both, Docker);
        check(Scope::System, &app("broker", "/etc"), &both, Docker);
    }

    #[test]
    fn what_no_engine_runs_is_refused_with_the_reason() {
        let helm = AppSpec { app_type: "helm".to_owned(), ..AppSpec::default() };
        assert!(route(Scope::User, &helm, &[EngineKind::Process]).unwrap_err().contains("Kubernetes"));
        assert!(route(Scope::User, &AppSpec::default(), &[]).is_err());
    }
}
