//! Applications: create, read, list, update, delete, with matching (cloud.md 3.3).

use baetyl_core_lib::spec::application::{AutoScale, JobConfig, ResourceRef, ServiceJobConfig};
use baetyl_core_lib::spec::{AppSpec, Service, Timestamp, Volume, VolumeMount};
use serde::Deserialize;
use serde_json::Value;

use super::app_view::{brief, functions, in_list};
use super::{Cloud, ListOptions, Tx, app_check, check_not_reserved, view};
use crate::error::ServiceError;
use crate::store::Kind;

pub(super) const MODE_LABEL: &str = "baetyl-app-mode";
pub(super) const PROGRAM_VOLUME: &str = "baetyl-program-config-";
pub(super) const PROGRAM_MOUNT: &str = "/var/lib/baetyl/bin";

/// What an application's body says beside its specification.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Extras {
    replica: Option<i64>,
    registries: Vec<ResourceRef>,
    services: Vec<ServiceExtras>,
    volumes: Vec<VolumeExtras>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ServiceExtras {
    program_config: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct VolumeExtras {
    certificate: Option<ResourceRef>,
}

impl Cloud {
    /// Makes an application; `base` names another whose services and volumes come first.
    ///
    /// # Errors
    /// All that [`ServiceError`] has of applications.
    pub async fn create_app(&self, base: Option<&str>, body: &[u8]) -> Result<Value, ServiceError> {
        let (mut app, extras) = read_app(body)?;
        super::check_name(&app.name)?;
        check_not_reserved(&app.name)?;
        let mut tx = self.begin().await;
        if let Some(base) = base {
            let from: Option<AppSpec> = tx.read(Kind::App, base).await?;
            let from = from.ok_or_else(|| ServiceError::not_found("app", base))?;
            if from.app_type != app.app_type {
                return Err(ServiceError::invalid(format!(
                    "the base {base:?} is of type {:?}",
                    from.app_type
                )));
            }
            app.services.splice(0..0, from.services);
            app.volumes.splice(0..0, from.volumes);
        }
        let now = self.now_whole();
        let cron_time = app.cron_time;
        tx.complete(&mut app, extras).await?;
        if tx.read::<AppSpec>(Kind::App, &app.name).await?.is_some() {
            return Err(ServiceError::InUse { kind: "app", name: app.name });
        }
        app.create_time = now;
        app.update_time = now;
        app.cron_time = if cron_time.is_zero() { now } else { cron_time };
        app.version = tx.version();
        let shown = app.clone();
        if app.cron_status == 1 {
            tx.put(Kind::Meta, &cron_key(&app.name), "", &app.selector)?;
            app.selector.clear();
        }
        app.auto_scale_cfg.get_or_insert_with(AutoScale::default);
        tx.put(Kind::App, &app.name, &app.version, &app)?;
        tx.place(&app).await?;
        tx.commit().await?;
        // The original answers the selector of a waiting application only when it is read again.
        let shown = AppSpec { selector: app.selector.clone(), auto_scale_cfg: app.auto_scale_cfg, ..shown };
        self.app_view(shown).await
    }

    /// An application.
    ///
    /// # Errors
    /// `NotFound`, `Invisible`.
    pub async fn app(&self, name: &str) -> Result<Value, ServiceError> {
        let mut app = self.visible_app(name).await?;
        if app.cron_status == 1 {
            app.selector = self.read(Kind::Meta, &cron_key(name)).await?.unwrap_or_default();
        }
        self.app_view(app).await
    }

    /// Applications, in short.
    ///
    /// # Errors
    /// When the store failed.
    pub async fn apps(&self, options: ListOptions) -> Result<Value, ServiceError> {
        let options = options.require("baetyl-cloud-system", "!baetyl-cloud-system");
        let apps = self.all::<AppSpec>(Kind::App).await?;
        Ok(options.answer(apps, |app| in_list(&app)))
    }

    /// Changes an application: always a new version.
    ///
    /// # Errors
    /// All that [`ServiceError`] has of applications.
    pub async fn update_app(&self, name: &str, body: &[u8]) -> Result<Value, ServiceError> {
        let (mut app, extras) = read_app(body)?;
        let scaled = app.auto_scale_cfg.is_some();
        let old = self.visible_app(name).await?;
        let mut tx = self.begin().await;
        name.clone_into(&mut app.name);
        let cron_time = app.cron_time;
        let cron_status = app.cron_status;
        app.cron_status = 0;
        tx.complete(&mut app, extras).await?;
        app.create_time = old.create_time;
        app.cron_time = if cron_time.is_zero() { old.cron_time } else { cron_time };
        app.cron_status = if old.cron_status == 1 && cron_status == 0 { 0 } else { old.cron_status };
        if old.system {
            app.selector.clone_from(&old.selector);
            app.labels.clone_from(&old.labels);
            app.system = true;
        }
        if app.cron_status == 1 {
            tx.put(Kind::Meta, &cron_key(name), "", &app.selector)?;
            app.selector.clear();
        } else if old.cron_status == 1 {
            tx.delete(Kind::Meta, &cron_key(name));
        }
        app.auto_scale_cfg.get_or_insert_with(AutoScale::default);
        let mut app = tx.replace_app(&old, app).await?;
        tx.commit().await?;
        if !scaled {
            app.auto_scale_cfg = None;
        }
        self.app_view(app).await
    }

    /// Removes an application. Being gone already is fine.
    ///
    /// # Errors
    /// `Reserved` for the system's.
    pub async fn delete_app(&self, name: &str) -> Result<(), ServiceError> {
        check_not_reserved(name)?;
        let mut tx = self.begin().await;
        if tx.read::<AppSpec>(Kind::App, name).await?.is_none() {
            return Ok(());
        }
        tx.displace(name).await?;
        tx.delete(Kind::App, name);
        tx.delete(Kind::Meta, &cron_key(name));
        tx.delete(Kind::Meta, &stopped_key(name));
        tx.commit().await
    }

    /// An application as its node gets it. One that was made without a count runs once: the original sends
    /// the 0 that it shows, and nothing runs.
    pub(super) async fn for_node(&self, mut app: AppSpec) -> Result<AppSpec, ServiceError> {
        let counted = app.replica != 0 || app.services.iter().any(|service| service.replica != 0);
        if !counted && !app.system && self.read::<bool>(Kind::Meta, &stopped_key(&app.name)).await?.is_none()
        {
            app.replica = 1;
            app.services.iter_mut().for_each(|service| service.replica = 1);
        }
        Ok(app)
    }

    /// The applications that a node should run, in short.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn node_apps_view(&self, node: &str) -> Result<Value, ServiceError> {
        Ok(brief(&self.node_apps(node).await?))
    }

    /// The functions of the applications that a node should run.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn node_functions(&self, node: &str) -> Result<Value, ServiceError> {
        Ok(functions(&self.node_apps(node).await?))
    }

    /// The applications that mount a configuration (`true`) or secret, in short.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn users_view(&self, config: bool, name: &str) -> Result<Value, ServiceError> {
        Ok(brief(&self.users(config, name).await?))
    }

    async fn visible_app(&self, name: &str) -> Result<AppSpec, ServiceError> {
        let app: Option<AppSpec> = self.read(Kind::App, name).await?;
        let app = app.ok_or_else(|| ServiceError::not_found("app", name))?;
        if app.labels.get("resource-invisible").is_some_and(|value| value == "true") {
            return Err(ServiceError::Invisible { name: name.to_owned() });
        }
        Ok(app)
    }
}

impl Tx<'_> {
    /// Stores a new version of an application, and has every node know.
    pub(super) async fn replace_app(
        &mut self,
        old: &AppSpec,
        mut app: AppSpec,
    ) -> Result<AppSpec, ServiceError> {
        app.version = self.version();
        app.update_time = self.cloud.now_whole();
        self.keep(Kind::App, &old.name, &old.version, old)?;
        self.put(Kind::App, &app.name, &app.version, &app)?;
        self.place(&app).await?;
        Ok(app)
    }

    /// Turns what a person wrote into what nodes get: defaults, volumes of secrets and programs, versions.
    async fn complete(&mut self, app: &mut AppSpec, extras: Extras) -> Result<(), ServiceError> {
        self.cloud.namespace().clone_into(&mut app.namespace);
        app.system = false;
        let key = stopped_key(&app.name);
        if extras.replica == Some(0) {
            self.put(Kind::Meta, &key, "", &true)?;
        } else if self.read::<bool>(Kind::Meta, &key).await?.is_some() {
            self.delete(Kind::Meta, &key);
        }
        fill(app);
        app_check::check(app, self.cloud.now())?;
        // The volumes and services of a base come first: the extras belong to the last ones.
        let first = app.volumes.len().saturating_sub(extras.volumes.len());
        for (volume, extra) in app.volumes[first..].iter_mut().zip(extras.volumes) {
            if let Some(certificate) = extra.certificate {
                volume.secret = Some(certificate);
            }
        }
        for registry in extras.registries {
            let volume = Volume { name: registry.name.clone(), secret: Some(registry), ..Volume::default() };
            if !app.volumes.iter().any(|known| known.name == volume.name) {
                app.volumes.push(volume);
            }
        }
        let first = app.services.len().saturating_sub(extras.services.len());
        for (service, extra) in app.services[first..].iter_mut().zip(extras.services) {
            if !extra.program_config.is_empty() {
                let name = format!("{PROGRAM_VOLUME}{}", self.cloud.random.word(9));
                service.volume_mounts.retain(|mount| !mount.name.starts_with(PROGRAM_VOLUME));
                service.volume_mounts.push(VolumeMount {
                    name: name.clone(),
                    mount_path: PROGRAM_MOUNT.to_owned(),
                    read_only: true,
                    ..VolumeMount::default()
                });
                let config = ResourceRef { name: extra.program_config, ..ResourceRef::default() };
                app.volumes.push(Volume { name, config: Some(config), ..Volume::default() });
            }
        }
        app_check::check_programs(app)?;
        for volume in &mut app.volumes {
            if let Some(config) = &mut volume.config {
                config.version = self.version_in(Kind::Config, "config", &config.name).await?;
            } else if let Some(secret) = &mut volume.secret {
                secret.version = self.version_in(Kind::Secret, "secret", &secret.name).await?;
            }
        }
        app_check::check_mounts(app)?;
        app.labels.insert(MODE_LABEL.to_owned(), app.mode.clone());
        Ok(())
    }

    async fn version_in(&self, kind: Kind, word: &'static str, name: &str) -> Result<String, ServiceError> {
        let document: Option<Value> = self.read(kind, name).await?;
        let document = document.ok_or_else(|| ServiceError::not_found(word, name))?;
        Ok(document["version"].as_str().unwrap_or_default().to_owned())
    }
}

fn stopped_key(app: &str) -> String {
    format!("stopped/{app}")
}

fn cron_key(app: &str) -> String {
    format!("cron/{app}")
}

fn read_app(body: &[u8]) -> Result<(AppSpec, Extras), ServiceError> {
    // The original answers these two with another content type than other unreadable bodies.
    let wrong =
        |error: serde_json::Error| ServiceError::invalid(format!("the body is no application: {error}"));
    let app: AppSpec = serde_json::from_slice(body).map_err(wrong)?;
    Ok((app, view::parse(body)?))
}

/// The defaults, and the older per-service fields beside the newer ones of the application (cloud.md 2.5).
fn fill(app: &mut AppSpec) {
    let or = |text: &mut String, default: &str| {
        if text.is_empty() {
            default.clone_into(text);
        }
    };
    or(&mut app.app_type, "container");
    or(&mut app.mode, "kube");
    or(&mut app.dns_policy, "ClusterFirst");
    let first = app.services.first().cloned().unwrap_or_default();
    or(&mut app.workload, if first.service_type.is_empty() { "deployment" } else { &first.service_type });
    let shared = app.host_network || app.services.iter().any(|service| service.host_network);
    app.host_network = shared;
    if app.replica == 0 {
        app.replica = first.replica;
    }
    if app.job_config.as_ref().is_none_or(|job| job.restart_policy.is_empty()) {
        let from = first.job_config.filter(|job| !job.restart_policy.is_empty());
        let from = from.unwrap_or_else(|| ServiceJobConfig {
            restart_policy: "Never".to_owned(),
            ..ServiceJobConfig::default()
        });
        app.job_config = Some(JobConfig {
            completions: from.completions,
            parallelism: from.parallelism,
            backoff_limit: from.backoff_limit,
            restart_policy: from.restart_policy,
        });
    }
    let job = app.job_config.clone().unwrap_or_default();
    for service in &mut app.services {
        service.host_network = shared;
        if service.replica == 0 {
            service.replica = app.replica;
        }
        if service.job_config.as_ref().is_none_or(|job| job.restart_policy.is_empty()) {
            service.job_config = Some(ServiceJobConfig {
                completions: job.completions,
                parallelism: job.parallelism,
                backoff_limit: job.backoff_limit,
                restart_policy: job.restart_policy.clone(),
            });
        }
    }
    let plain = |service: &mut Service| {
        or(&mut service.service_type, "deployment");
        service.image = service.image.trim().to_owned();
        for port in &mut service.ports {
            or(&mut port.service_type, "ClusterIP");
        }
    };
    app.services.iter_mut().for_each(plain);
    app.init_services.iter_mut().for_each(plain);
    for metric in app.auto_scale_cfg.iter_mut().flat_map(|scale| &mut scale.metrics) {
        or(&mut metric.metric_type, "Resource");
    }
}

/// Whether a waiting application may be made at all.
pub(super) fn cron_passed(app: &AppSpec, now: Timestamp) -> bool {
    app.cron_status == 1 && app.cron_time < now
}
