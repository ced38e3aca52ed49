//! Builders of applications, for tests.

use std::collections::BTreeMap;

use crate::application::{Content, Deployment, VolumeContent};
use crate::spec::application::{EmptyDir, EnvVar, HostPath, Port, Probe, ResourceRef};
use crate::spec::{AppSpec, Service, Volume, VolumeMount};

/// Begins an application of this name, in version 1, one instance of each service, no service yet.
///
/// ```
/// use baetyl_core_lib::testing::app;
/// let web = app("web").version("2").service("server").image("nginx").port(80).build();
/// assert_eq!(web.spec.services[0].ports[0].container_port, 80);
/// ```
pub fn app(name: &str) -> AppBuilder {
    let spec = AppSpec { name: name.into(), version: "1".into(), replica: 1, ..AppSpec::default() };
    AppBuilder { deployment: Deployment { spec, volumes: BTreeMap::new() } }
}

/// An application to be. What describes a service is about the one that was named last.
#[derive(Debug, Clone)]
pub struct AppBuilder {
    deployment: Deployment,
}

impl AppBuilder {
    /// Sets the version.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        self.deployment.spec.version = version.into();
        self
    }

    /// Sets how many instances of each service there are to be.
    #[must_use]
    pub const fn replica(mut self, replica: i64) -> Self {
        self.deployment.spec.replica = replica;
        self
    }

    /// Sets the workload: `deployment`, `job` …
    #[must_use]
    pub fn workload(mut self, workload: &str) -> Self {
        self.deployment.spec.workload = workload.into();
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.deployment.spec.labels.insert(key.into(), value.into());
        self
    }

    /// Adds a service.
    #[must_use]
    pub fn service(mut self, name: &str) -> Self {
        self.deployment.spec.services.push(Service { name: name.into(), ..Service::default() });
        self
    }

    /// Sets the service's image.
    #[must_use]
    pub fn image(self, image: &str) -> Self {
        self.with(|service| service.image = image.into())
    }

    /// Sets the service's command.
    #[must_use]
    pub fn command(self, words: &[&str]) -> Self {
        self.with(|service| service.command = words.iter().map(|&word| word.into()).collect())
    }

    /// Sets the service's arguments.
    #[must_use]
    pub fn args(self, words: &[&str]) -> Self {
        self.with(|service| service.args = words.iter().map(|&word| word.into()).collect())
    }

    /// Adds a variable to the service's environment.
    #[must_use]
    pub fn env(self, name: &str, value: &str) -> Self {
        self.with(|service| service.env.push(EnvVar { name: name.into(), value: value.into() }))
    }

    /// Adds a port that the service listens on.
    #[must_use]
    pub fn port(self, container_port: i32) -> Self {
        self.with(|service| service.ports.push(Port { container_port, ..Port::default() }))
    }

    /// Adds a port that the service listens on, at this fixed port of the host.
    #[must_use]
    pub fn host_port(self, host_port: i32, container_port: i32) -> Self {
        self.with(|service| service.ports.push(Port { host_port, container_port, ..Port::default() }))
    }

    /// Gives the service a readiness probe.
    #[must_use]
    pub fn readiness(self, probe: Probe) -> Self {
        self.with(|service| service.readiness_probe = Some(probe))
    }

    /// Mounts a configuration of this name, in version 1, with these files, at `path` of the service.
    #[must_use]
    pub fn config(self, name: &str, path: &str, files: &[(&str, &str)]) -> Self {
        let source = ResourceRef { name: name.into(), version: "1".into() };
        self.files(Volume { name: name.into(), config: Some(source), ..Volume::default() }, path, files)
    }

    /// Mounts a secret of this name, in version 1, with these files, at `path` of the service.
    #[must_use]
    pub fn secret(self, name: &str, path: &str, files: &[(&str, &str)]) -> Self {
        let source = ResourceRef { name: name.into(), version: "1".into() };
        self.files(Volume { name: name.into(), secret: Some(source), ..Volume::default() }, path, files)
    }

    /// Mounts a path of the host at `path` of the service.
    #[must_use]
    pub fn host_path(self, name: &str, host: &str, path: &str) -> Self {
        let source = HostPath { path: host.into(), ..HostPath::default() };
        let volume = Volume { name: name.into(), host_path: Some(source), ..Volume::default() };
        self.volume(volume, path, VolumeContent::HostPath(host.into()))
    }

    /// Mounts an empty folder at `path` of the service.
    #[must_use]
    pub fn empty_dir(self, name: &str, path: &str) -> Self {
        let volume = Volume { name: name.into(), empty_dir: Some(EmptyDir::default()), ..Volume::default() };
        self.volume(volume, path, VolumeContent::EmptyDir)
    }

    /// The application with what lies behind its volumes.
    #[must_use]
    pub fn build(self) -> Deployment {
        self.deployment
    }

    /// The application as the cloud describes it.
    #[must_use]
    pub fn spec(self) -> AppSpec {
        self.deployment.spec
    }

    fn with(mut self, change: impl FnOnce(&mut Service)) -> Self {
        let services = &mut self.deployment.spec.services;
        assert!(!services.is_empty(), "name a service first");
        services.last_mut().map(change);
        self
    }

    fn files(self, volume: Volume, path: &str, files: &[(&str, &str)]) -> Self {
        let secret = volume.secret.is_some();
        let files =
            files.iter().map(|&(name, text)| (name.into(), Content(text.as_bytes().to_vec()))).collect();
        self.volume(volume, path, VolumeContent::Files { files, objects: None, secret })
    }

    fn volume(mut self, volume: Volume, path: &str, content: VolumeContent) -> Self {
        let name = volume.name.clone();
        self.deployment.spec.volumes.push(volume);
        self.deployment.volumes.insert(name.clone(), content);
        self.with(|service| {
            service.volume_mounts.push(VolumeMount {
                name,
                mount_path: path.into(),
                ..VolumeMount::default()
            });
        })
    }
}
