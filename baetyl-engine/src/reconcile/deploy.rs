//! From name and version to a [`Deployment`]: documents, objects, certificates, variables (edge.md 5.8 to 5.10,
//! 6.5). Knows neither engines nor the store.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use baetyl_core_lib::application::{Content, Deployment, Scope, VolumeContent};
use baetyl_core_lib::cert::{CertError, CertIssuer, CertRequest, IssuedCert};
use baetyl_core_lib::durable::Disk;
use baetyl_core_lib::engine::EngineKind;
use baetyl_core_lib::error::BoxError;
use baetyl_core_lib::object::{ObjectError, ObjectSource, OnProgress};
use baetyl_core_lib::resource::{Resource, ResourceError, ResourceSource};
use baetyl_core_lib::spec::application::{EnvVar, ResourceRef};
use baetyl_core_lib::spec::secret::SECRET_TYPE_LABEL;
use baetyl_core_lib::spec::{
    AppInfo, AppSpec, Configuration, ResourceInfo, ResourceKind, Secret, Volume, VolumeMount, duration, hex,
};
use baetyl_core_lib::task::{Blocking, Lost, blocking};
use md5::{Digest, Md5};

use super::update::Facts;
use super::{conflict, route};

/// The label with which an application says how long it may take to become ready: `90`, `90s`, `5m`, `1h`.
pub const DEADLINE_LABEL: &str = "baetyl-update-deadline";

/// Where the certificates of a service lie; relative, so that each engine puts it where the service sees it.
pub const CERT_PATH: &str = "var/lib/baetyl/system/certs";

/// Told how many bytes of which configuration's objects are here.
pub type OnObject = Arc<dyn Fn(&str) -> OnProgress + Send + Sync>;

/// Everything that a deployment is made of.
#[derive(Debug)]
pub(super) struct Deployer {
    pub(super) resources: Arc<dyn ResourceSource>,
    pub(super) objects: Arc<dyn ObjectSource>,
    pub(super) certs: Option<Arc<dyn CertIssuer>>,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) pool: Arc<dyn Blocking>,
    pub(super) engines: Vec<EngineKind>,
    pub(super) lib: PathBuf,
    pub(super) node_name: String,
    pub(super) run_mode: String,
}

/// A deployment, where it runs, and what is to be remembered of it.
#[derive(Debug, Clone)]
pub(super) struct Resolved {
    pub(super) deployment: Arc<Deployment>,
    pub(super) engine: EngineKind,
    pub(super) facts: Facts,
}

/// An application's document, before what it names is at hand.
#[derive(Debug, Clone)]
pub(super) struct Described {
    pub(super) spec: AppSpec,
    pub(super) engine: EngineKind,
    pub(super) facts: Facts,
}

/// Why an application cannot be put together.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeployError {
    #[error("{reason}")]
    Invalid { reason: String },
    #[error(transparent)]
    Resource(#[from] ResourceError),
    #[error(transparent)]
    Object(#[from] ObjectError),
    #[error(transparent)]
    Cert(#[from] CertError),
    #[error("folder {path:?} for volume {volume:?} cannot be made")]
    Folder {
        path: PathBuf,
        volume: String,
        #[source]
        source: BoxError,
    },
}

impl DeployError {
    pub(super) const fn is_transient(&self) -> bool {
        match self {
            Self::Invalid { .. } => false,
            Self::Resource(error) => error.is_transient(),
            Self::Object(error) => error.is_transient(),
            Self::Cert(_) | Self::Folder { .. } => true,
        }
    }
}

impl Deployer {
    /// The application's document, and what it says of itself.
    pub(super) async fn describe(&self, scope: Scope, info: &AppInfo) -> Result<Described, DeployError> {
        let wanted = ResourceInfo::new(&ResourceKind::Application, &info.name, &info.version);
        let spec = match self.resources.fetch(&[wanted]).await.pop() {
            Some(Ok(Resource::Application(spec))) => *spec,
            Some(Err(error)) => return Err(error.into()),
            Some(Ok(_)) | None => return Err(invalid(format!("the answer for application {info} is none"))),
        };
        if spec.info() != *info {
            return Err(invalid(format!("asked for application {info}, got {}", spec.info())));
        }
        if let Some(reason) = conflict::check_spec(&spec) {
            return Err(invalid(reason));
        }
        let engine = route::route(scope, &spec, &self.engines).map_err(invalid)?;
        let facts = facts(&spec, engine)?;
        Ok(Described { spec, engine, facts })
    }

    /// Puts everything together that the document names. From the caches where they have it.
    pub(super) async fn complete(
        &self,
        described: Described,
        progress: &OnObject,
    ) -> Result<Resolved, DeployError> {
        let Described { mut spec, engine, mut facts } = described;
        let info = spec.info();
        let mut volumes = self.volumes(&spec, &facts, progress).await?;
        for service in &mut spec.services {
            for (name, value) in [
                ("BAETYL_APP_NAME", info.name.as_str()),
                ("BAETYL_SERVICE_NAME", service.name.as_str()),
                ("BAETYL_APP_VERSION", info.version.as_str()),
                ("BAETYL_NODE_NAME", self.node_name.as_str()),
                ("BAETYL_RUN_MODE", self.run_mode.as_str()),
            ] {
                service.env.push(EnvVar { name: name.to_owned(), value: value.to_owned() });
            }
        }
        facts.certs = self.certify(&mut spec, &mut volumes).await?;
        Ok(Resolved { deployment: Arc::new(Deployment { spec, volumes }), engine, facts })
    }

    async fn volumes(
        &self,
        spec: &AppSpec,
        facts: &Facts,
        progress: &OnObject,
    ) -> Result<BTreeMap<String, VolumeContent>, DeployError> {
        let (configs, secrets) = self.documents(facts).await?;
        let mut volumes = BTreeMap::new();
        for volume in &spec.volumes {
            let content = if let Some(config) = volume.config.as_ref().and_then(|named| configs.get(named)) {
                self.files(config, progress).await?
            } else if let Some(secret) = volume.secret.as_ref().and_then(|named| secrets.get(named)) {
                secret_content(secret)?
            } else if let Some(path) = &volume.host_path {
                self.host_path(volume, &path.path).await?
            } else if volume.empty_dir.is_some() {
                VolumeContent::EmptyDir
            } else {
                return Err(invalid(format!(
                    "volume {:?} has no source: give it one of hostPath, config, secret, emptyDir",
                    volume.name
                )));
            };
            if volumes.insert(volume.name.clone(), content).is_some() {
                return Err(invalid(format!(
                    "volume {:?} is there twice: give each its own name",
                    volume.name
                )));
            }
        }
        Ok(volumes)
    }

    async fn documents(
        &self,
        facts: &Facts,
    ) -> Result<(BTreeMap<ResourceRef, Configuration>, BTreeMap<ResourceRef, Secret>), DeployError> {
        let named = |kind: ResourceKind| {
            move |named: &ResourceRef| ResourceInfo::new(&kind, &named.name, &named.version)
        };
        let configs = facts.configs.iter().map(named(ResourceKind::Configuration));
        let wanted: Vec<ResourceInfo> =
            configs.chain(facts.secrets.iter().map(named(ResourceKind::Secret))).collect();
        let (mut configs, mut secrets) = (BTreeMap::new(), BTreeMap::new());
        if wanted.is_empty() {
            return Ok((configs, secrets));
        }
        for (answer, info) in self.resources.fetch(&wanted).await.into_iter().zip(&wanted) {
            let named = ResourceRef { name: info.name.clone(), version: info.version.clone() };
            match answer? {
                Resource::Configuration(config) => drop(configs.insert(named, *config)),
                Resource::Secret(secret) => drop(secrets.insert(named, *secret)),
                _ => return Err(invalid(format!("the answer for {} {:?} is none", info.kind, info.name))),
            }
        }
        Ok((configs, secrets))
    }

    async fn files(&self, config: &Configuration, progress: &OnObject) -> Result<VolumeContent, DeployError> {
        let objects = match config.objects().next() {
            Some(_) => Some(self.objects.ensure(config, progress(&config.name)).await?),
            None => None,
        };
        let mut files = BTreeMap::new();
        for (name, text) in config.files() {
            file_name("configuration", &config.name, name)?;
            files.insert(name.to_owned(), Content(text.as_bytes().to_vec()));
        }
        Ok(VolumeContent::Files { files, objects, secret: false })
    }

    async fn host_path(&self, volume: &Volume, path: &str) -> Result<VolumeContent, DeployError> {
        if Path::new(path).is_absolute() {
            return Ok(VolumeContent::HostPath(PathBuf::from(path)));
        }
        let path = below(&self.lib.join("host"), path);
        let (disk, folder) = (Arc::clone(&self.disk), path.clone());
        let made = blocking(&*self.pool, move || match disk.entry(&folder)? {
            Some(_) => Ok(()),
            None => disk.create_folder(&folder, 0o755),
        });
        let made = made.await.map_err(|Lost| BoxError::from(Lost)).and_then(|made| Ok(made?));
        made.map_err(|source| DeployError::Folder {
            path: path.clone(),
            volume: volume.name.clone(),
            source,
        })?;
        Ok(VolumeContent::HostPath(path))
    }

    /// Gives each service its certificate (edge.md 6.5). Returns what tells this set of them from any other.
    async fn certify(
        &self,
        spec: &mut AppSpec,
        volumes: &mut BTreeMap<String, VolumeContent>,
    ) -> Result<String, DeployError> {
        let Some(certs) = self.certs.as_ref().filter(|_| has_certs(&spec.name)) else {
            return Ok(String::new());
        };
        let mut all = Md5::new();
        for index in 0..spec.services.len() {
            let request = cert_request(spec, &spec.services[index].name);
            let issued = certs.issue(&request).await?;
            all.update(&issued.cert.0);
            all.update(&issued.ca.0);
            let hash = hex::encode(&Md5::digest(request.common_name.as_bytes()));
            let volume = format!("baetyl-cert-volume-{hash}");
            spec.volumes.push(Volume {
                name: volume.clone(),
                secret: Some(ResourceRef {
                    name: format!("baetyl-cert-secret-{hash}"),
                    version: String::new(),
                }),
                ..Volume::default()
            });
            spec.services[index].volume_mounts.push(VolumeMount {
                name: volume.clone(),
                mount_path: CERT_PATH.to_owned(),
                read_only: true,
                ..VolumeMount::default()
            });
            volumes.insert(volume, cert_files(issued));
        }
        Ok(hex::encode(&all.finalize()))
    }
}

/// The common name of a service's certificate.
pub(super) fn common_name(app: &str, service: &str) -> String {
    format!("{app}.{service}")
}

/// Whether an application's services get certificates.
pub(super) fn has_certs(app: &str) -> bool {
    !app.contains("baetyl-core") && !app.contains("baetyl-init")
}

fn cert_request(spec: &AppSpec, service: &str) -> CertRequest {
    let scope = if spec.system { Scope::System } else { Scope::User };
    let mut dns = Vec::new();
    for name in [
        spec.name.clone(),
        service.to_owned(),
        format!("{}-nodeport", spec.name),
        format!("{service}-nodeport"),
    ] {
        dns.push(format!("{name}.{}", scope.namespace()));
        dns.push(name);
    }
    dns.push("localhost".to_owned());
    CertRequest {
        common_name: common_name(&spec.name, service),
        dns,
        ip: vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::LOCALHOST)],
    }
}

fn cert_files(issued: IssuedCert) -> VolumeContent {
    let files = [("crt.pem", issued.cert), ("key.pem", issued.key), ("ca.pem", issued.ca)];
    let files = files.into_iter().map(|(name, content)| (name.to_owned(), content)).collect();
    VolumeContent::Files { files, objects: None, secret: true }
}

fn secret_content(secret: &Secret) -> Result<VolumeContent, DeployError> {
    let text = |key: &str| secret.data.get(key).map(|bytes| bytes.0.clone()).unwrap_or_default();
    if secret.labels.get(SECRET_TYPE_LABEL).is_some_and(|kind| kind == "registry") {
        return Ok(VolumeContent::Registry {
            address: String::from_utf8_lossy(&text("address")).into_owned(),
            username: String::from_utf8_lossy(&text("username")).into_owned(),
            password: Content(text("password")),
        });
    }
    let mut files = BTreeMap::new();
    for (name, bytes) in &secret.data {
        file_name("secret", &secret.name, name)?;
        files.insert(name.clone(), Content(bytes.0.clone()));
    }
    Ok(VolumeContent::Files { files, objects: None, secret: true })
}

fn facts(spec: &AppSpec, engine: EngineKind) -> Result<Facts, DeployError> {
    for service in spec.init_services.iter().chain(&spec.services) {
        for mount in &service.volume_mounts {
            if !spec.volumes.iter().any(|volume| volume.name == mount.name) {
                return Err(invalid(format!(
                    "service {:?} mounts volume {:?}, which the application does not have: \
                     add it under volumes or correct the name",
                    service.name, mount.name
                )));
            }
        }
    }
    let deadline = match spec.labels.get(DEADLINE_LABEL) {
        Some(text) => Some(seconds(text).ok_or_else(|| {
            invalid(format!("label {DEADLINE_LABEL} is {text:?}: give it as 90, 90s, 5m or 1h"))
        })?),
        None => None,
    };
    let alone = conflict::runs_alone(spec)
        .ok_or_else(|| invalid(format!("label {} is neither true nor false", conflict::OVERLAP_LABEL)))?;
    let configs: BTreeSet<_> = spec.volumes.iter().filter_map(|volume| volume.config.clone()).collect();
    let secrets = spec.volumes.iter().filter(|volume| volume.config.is_none());
    let secrets: BTreeSet<_> = secrets.filter_map(|volume| volume.secret.clone()).collect();
    Ok(Facts {
        version: spec.version.clone(),
        engine: engine.to_string(),
        ports: conflict::host_ports(spec),
        alone,
        deadline,
        services: spec.services.iter().map(|service| service.name.clone()).collect(),
        configs: configs.into_iter().collect(),
        secrets: secrets.into_iter().collect(),
        certs: String::new(),
    })
}

fn seconds(text: &str) -> Option<u64> {
    let seconds = text.parse().ok().or_else(|| duration::parse(text).map(|duration| duration.as_secs()));
    seconds.filter(|seconds| *seconds > 0)
}

/// `path` below `folder`, where `..` climbs no higher than the folder (edge.md 5.10).
fn below(folder: &Path, path: &str) -> PathBuf {
    let mut inside = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => inside.push(name),
            Component::ParentDir => drop(inside.pop()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    folder.join(inside)
}

fn file_name(kind: &str, owner: &str, name: &str) -> Result<(), DeployError> {
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
        return Err(invalid(format!("{kind} {owner:?} has the entry {name:?}, which is not a file name")));
    }
    Ok(())
}

const fn invalid(reason: String) -> DeployError {
    DeployError::Invalid { reason }
}

#[cfg(test)]
mod tests;
