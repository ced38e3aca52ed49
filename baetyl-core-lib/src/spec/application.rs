//! Applications as the cloud describes them: services, volumes and how many of each (edge.md 1.2).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::wire::{Timestamp, is_default, null_as_default};

/// The identity of an application's deployment: name and version. A new version is another deployment.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AppInfo {
    /// Its name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its version: opaque, compared for equality only.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
}

impl AppInfo {
    /// Names a deployment.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self { name: name.into(), version: version.into() }
    }
}

impl std::fmt::Display for AppInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

/// One version of an application, whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AppSpec {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// `container`, `function`, `helm`, `yaml` or `android`; empty means `container`.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub app_type: String,
    /// `kube` or `native`; nodes ignore it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mode: String,
    /// Labels, also those of the cloud.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub labels: BTreeMap<String, String>,
    /// The cloud's namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// When the application was made.
    pub create_time: Timestamp,
    /// Its version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Which nodes it is for; the cloud's business.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub selector: String,
    /// Which members of a node cluster it is for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node_selector: String,
    /// The services that must have ended well before the others start.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub init_services: Vec<Service>,
    /// The services.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub services: Vec<Service>,
    /// What the services may mount.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub volumes: Vec<Volume>,
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Whether it is one of the system's own.
    #[serde(skip_serializing_if = "is_default")]
    pub system: bool,
    /// 0 not set, 1 waiting, 2 finished; the cloud's business.
    #[serde(skip_serializing_if = "is_default")]
    pub cron_status: i64,
    /// When the application was last changed.
    pub update_time: Timestamp,
    /// When a waiting application is due; the cloud's business.
    pub cron_time: Timestamp,
    /// How many instances of each service; always sent.
    pub replica: i64,
    /// `deployment`, `statefulset`, `daemonset`, `job` or `custom`; empty means `deployment`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub workload: String,
    /// How a job ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_config: Option<JobConfig>,
    /// Android only; always sent, usually `{}`.
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
    /// Whether the original updates in place; ours always does.
    #[serde(skip_serializing_if = "is_default")]
    pub preserve_updates: bool,
}

impl AppSpec {
    /// Name and version.
    pub fn info(&self) -> AppInfo {
        AppInfo::new(self.name.clone(), self.version.clone())
    }

    /// How many instances of `service` there are to be.
    ///
    /// A service's own (older) count stands where the application has none, as in edge.md 7.1 and 7.7.
    pub fn replicas(&self, service: &Service) -> u32 {
        let count = if self.replica != 0 { self.replica } else { service.replica };
        u32::try_from(count).unwrap_or(0)
    }
}

/// How a job ends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct JobConfig {
    /// How many instances must end well; always sent.
    pub completions: i64,
    /// How many run at once.
    #[serde(skip_serializing_if = "is_default")]
    pub parallelism: i64,
    /// How many failures are tolerated.
    #[serde(skip_serializing_if = "is_default")]
    pub backoff_limit: i64,
    /// `Never` or `OnFailure`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub restart_policy: String,
}

/// The same keys on a service, where `completions` is left out when zero.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceJobConfig {
    /// How many instances must end well.
    #[serde(skip_serializing_if = "is_default")]
    pub completions: i64,
    /// How many run at once.
    #[serde(skip_serializing_if = "is_default")]
    pub parallelism: i64,
    /// How many failures are tolerated.
    #[serde(skip_serializing_if = "is_default")]
    pub backoff_limit: i64,
    /// `Never` or `OnFailure`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub restart_policy: String,
}

/// Over-the-air update of Android nodes: carried through unchanged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Ota {
    /// The package.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apk_info: Option<Value>,
    /// The device groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_group: Option<Value>,
    /// The task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<Value>,
}

/// Horizontal scaling.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AutoScale {
    /// The fewest instances.
    #[serde(skip_serializing_if = "is_default")]
    pub min_replicas: i64,
    /// The most instances.
    #[serde(skip_serializing_if = "is_default")]
    pub max_replicas: i64,
    /// What is looked at.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub metrics: Vec<Metric>,
}

/// One metric of [`AutoScale`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metric {
    /// `Resource`; empty means that.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub metric_type: String,
    /// The resource and its target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceMetric>,
}

/// A resource and the value at which to scale.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ResourceMetric {
    /// `cpu` or `memory`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// `Utilization`, `Value` or `AverageValue`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub target_type: String,
    /// A quantity.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// A quantity.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub average_value: String,
    /// Per cent.
    #[serde(skip_serializing_if = "is_default")]
    pub average_utilization: i64,
}

/// One service: a program or a container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Service {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Carried through; nobody uses it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// The image, or the chart file of a helm application.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// Which volumes it sees, and where.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub volume_mounts: Vec<VolumeMount>,
    /// The ports that it listens on.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub ports: Vec<Port>,
    /// Carried through.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub devices: Vec<Device>,
    /// Arguments.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub args: Vec<String>,
    /// What replaces the image's entry point.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub command: Vec<String>,
    /// The working directory.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Environment; later entries win.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub env: Vec<EnvVar>,
    /// Limits and requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// The key of a helm application's values.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub runtime: String,
    /// Privileges.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security: Option<Security>,
    /// The function runtime.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_config: Option<FunctionConfig>,
    /// The functions.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub functions: Vec<Function>,
    /// Older, per-service form of the application's labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub labels: BTreeMap<String, String>,
    /// Older, per-service form.
    #[serde(skip_serializing_if = "is_default")]
    pub host_network: bool,
    /// Older, per-service form.
    #[serde(skip_serializing_if = "is_default")]
    pub replica: i64,
    /// Older, per-service form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_config: Option<ServiceJobConfig>,
    /// Older, per-service form of `workload`; empty means `deployment`.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub service_type: String,
    /// Kubernetes' probe: is it alive?
    #[serde(skip_serializing_if = "Option::is_none")]
    pub liveness_probe: Option<Probe>,
    /// `Always`, `IfNotPresent` or `Never`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image_pull_policy: String,
    /// Kubernetes' probe: may it be called?
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readiness_probe: Option<Probe>,
    /// Kubernetes' probe: has it started?
    #[serde(skip_serializing_if = "Option::is_none")]
    pub startup_probe: Option<Probe>,
}

/// Where a service sees a volume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct VolumeMount {
    /// The volume.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The path.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mount_path: String,
    /// The part of the volume; empty for all of it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sub_path: String,
    /// Whether the service may not write.
    #[serde(skip_serializing_if = "is_default")]
    pub read_only: bool,
    /// Carried through.
    #[serde(skip_serializing_if = "is_default")]
    pub immutable: bool,
    /// Whether objects of an old version may go by themselves.
    #[serde(skip_serializing_if = "is_default")]
    pub auto_clean: bool,
}

/// A port of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Port {
    /// The host's port; 0 for none.
    #[serde(skip_serializing_if = "is_default")]
    pub host_port: i32,
    /// The service's own port.
    #[serde(skip_serializing_if = "is_default")]
    pub container_port: i32,
    /// `TCP`, `UDP` or `SCTP`; empty means TCP.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub protocol: String,
    /// The host's address; empty for all.
    #[serde(rename = "hostIP", skip_serializing_if = "String::is_empty")]
    pub host_ip: String,
    /// `ClusterIP` or `NodePort`; empty means `ClusterIP`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_type: String,
    /// The port on every Kubernetes node.
    #[serde(skip_serializing_if = "is_default")]
    pub node_port: i32,
}

/// A device of the host; carried through.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Device {
    /// Its path.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub device_path: String,
    /// Its policy.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub policy: String,
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
}

/// One variable of the environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EnvVar {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its value.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub value: String,
}

/// Limits and requests, as Kubernetes' quantities.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// What it may use at most.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub limits: BTreeMap<String, String>,
    /// What is kept for it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub requests: BTreeMap<String, String>,
}

/// Privileges; the key on the wire is `security`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Security {
    /// Whether it runs with all of them.
    #[serde(skip_serializing_if = "is_default")]
    pub privileged: bool,
}

/// The runtime of a function service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FunctionConfig {
    /// The configuration that holds the code.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The runtime.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub runtime: String,
}

/// One function.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Function {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The handler in the code.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub handler: String,
    /// Where the code lies.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub codedir: String,
}

/// A volume: a name and exactly one source, inlined beside it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Volume {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// A path of the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_path: Option<HostPath>,
    /// A configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<ResourceRef>,
    /// A secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<ResourceRef>,
    /// An empty folder that lives as long as the instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub empty_dir: Option<EmptyDir>,
}

/// A path of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostPath {
    /// Absolute, or relative to the agent's `host` folder.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// Kubernetes' host path type.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub path_type: String,
}

/// Name and version of a configuration or secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourceRef {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
}

/// An empty folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EmptyDir {
    /// `Memory`, or empty for the disk.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub medium: String,
    /// The most that it may hold, as a quantity.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub size_limit: String,
}

/// Kubernetes' v1 Probe.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Probe {
    /// Runs a program inside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecAction>,
    /// Asks over HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_get: Option<HttpGetAction>,
    /// Connects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_socket: Option<TcpSocketAction>,
    /// Asks the gRPC health service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcAction>,
    /// Seconds before the first probe.
    #[serde(skip_serializing_if = "is_default")]
    pub initial_delay_seconds: i32,
    /// Seconds until a probe counts as failed; 0 means 1.
    #[serde(skip_serializing_if = "is_default")]
    pub timeout_seconds: i32,
    /// Seconds between probes; 0 means 10.
    #[serde(skip_serializing_if = "is_default")]
    pub period_seconds: i32,
    /// How many successes make it good; 0 means 1.
    #[serde(skip_serializing_if = "is_default")]
    pub success_threshold: i32,
    /// How many failures make it bad; 0 means 3.
    #[serde(skip_serializing_if = "is_default")]
    pub failure_threshold: i32,
    /// Seconds of grace when this probe ends the instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub termination_grace_period_seconds: Option<i64>,
}

/// Runs a program inside; exit code 0 is success.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExecAction {
    /// The command line.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub command: Vec<String>,
}

/// Asks over HTTP; 200 to 399 is success.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HttpGetAction {
    /// The path.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// The port, or its name.
    pub port: IntOrString,
    /// The host; empty for the instance itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// `HTTP` or `HTTPS`; empty means HTTP.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub scheme: String,
    /// Headers to send.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub http_headers: Vec<HttpHeader>,
}

/// A header of an [`HttpGetAction`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HttpHeader {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// Connects to a port.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TcpSocketAction {
    /// The port, or its name.
    pub port: IntOrString,
    /// The host; empty for the instance itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
}

/// Asks the gRPC health service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GrpcAction {
    /// The port.
    pub port: i32,
    /// The service's name in the health request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
}

/// A port as Kubernetes writes it: a number or a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum IntOrString {
    /// A number.
    Int(i32),
    /// A name.
    String(String),
}

impl Default for IntOrString {
    fn default() -> Self {
        Self::Int(0)
    }
}
