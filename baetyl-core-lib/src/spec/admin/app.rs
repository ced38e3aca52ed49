//! Applications as the REST API shows and takes them (cloud.md 3.3).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::spec::application::{AutoScale, JobConfig, Ota, ResourceRef, Service, Volume};
use crate::spec::wire::{Timestamp, is_default, null_as_default};

/// An application: as nodes see it, plus program packages, certificates and registries by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AppView {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// `container`, `function`, `helm`, `yaml` or `android`; empty means `container`.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub app_type: String,
    /// `kube` or `native`; empty means `kube`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mode: String,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub labels: BTreeMap<String, String>,
    /// The cloud's namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// When it was made.
    pub create_time: Timestamp,
    /// Its version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Which nodes it is for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub selector: String,
    /// Which members of a node cluster it is for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node_selector: String,
    /// The services that must have ended well before the others start.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub init_services: Vec<ServiceView>,
    /// The services.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub services: Vec<ServiceView>,
    /// What the services may mount.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub volumes: Vec<VolumeView>,
    /// The registries whose logins it pulls with.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub registries: Vec<RegistryRef>,
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Whether it is one of the system's own.
    #[serde(skip_serializing_if = "is_default")]
    pub system: bool,
    /// 0 not set, 1 waiting, 2 finished; always sent.
    pub cron_status: i64,
    /// When a waiting application is due; always sent.
    pub cron_time: Timestamp,
    /// How many instances of each service; always sent in an answer. A request that has none means 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replica: Option<i64>,
    /// `deployment`, `statefulset`, `daemonset` or `job`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub workload: String,
    /// How a job ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_config: Option<JobConfig>,
    /// Android only; always sent.
    #[serde(deserialize_with = "null_as_default")]
    pub ota: Ota,
    /// Horizontal scaling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_scale_cfg: Option<AutoScale>,
    /// Whether the services share the host's network.
    #[serde(skip_serializing_if = "is_default")]
    pub host_network: bool,
    /// The Kubernetes DNS policy; empty means `ClusterFirst`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub dns_policy: String,
    /// Whether the original updates in place.
    #[serde(skip_serializing_if = "is_default")]
    pub preserve_updates: bool,
}

/// A service, plus its program package.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceView {
    /// As nodes see it.
    #[serde(flatten)]
    pub service: Service,
    /// The configuration that holds the program, by name; native applications only.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub program_config: String,
}

/// A volume, plus a certificate as its source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeView {
    /// As nodes see it.
    #[serde(flatten)]
    pub volume: Volume,
    /// A certificate; nodes see a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<ResourceRef>,
}

/// A registry of an application.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RegistryRef {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// The user.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub username: String,
}

/// An application in a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AppItem {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// `kube` or `native`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mode: String,
    /// What kind of application it is.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub app_type: String,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub labels: BTreeMap<String, String>,
    /// Which nodes it is for; always sent.
    pub selector: String,
    /// Which members of a node cluster it is for; always sent.
    pub node_selector: String,
    /// Its version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// The cloud's namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// When it was made.
    pub create_time: Timestamp,
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Whether it is one of the system's own.
    #[serde(skip_serializing_if = "is_default")]
    pub system: bool,
    /// 0 not set, 1 waiting, 2 finished.
    #[serde(skip_serializing_if = "is_default")]
    pub cron_status: i64,
    /// When a waiting application is due; always sent.
    pub cron_time: Timestamp,
    /// Whether the services share the host's network.
    #[serde(skip_serializing_if = "is_default")]
    pub host_network: bool,
    /// How many instances of each service.
    #[serde(skip_serializing_if = "is_default")]
    pub replica: i64,
    /// Its workload.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub workload: String,
    /// How a job ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_config: Option<JobConfig>,
    /// Android only; always sent.
    #[serde(deserialize_with = "null_as_default")]
    pub ota: Ota,
    /// Horizontal scaling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_scale_cfg: Option<AutoScale>,
    /// Whether the original updates in place.
    #[serde(skip_serializing_if = "is_default")]
    pub preserve_updates: bool,
}
