//! Nodes: the stored document, its views, and what members of a node say of themselves (edge.md 1.4,
//! cloud.md 2.3).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::application::AppInfo;
use super::report::CoreInfo;
use super::stats::AppStats;
use super::wire::{Timestamp, is_default, null_as_default};

/// A node as it is stored: at the device only `createTime`, `report` and `desire` are filled.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NodeSpec {
    /// The cloud's namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// When it was made.
    pub create_time: Timestamp,
    /// `nvidia`, `jetson`, `ascend`, `bitmain`, `cambricon` or `kunlun`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub accelerator: String,
    /// `cloud` or `local`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mode: String,
    /// `kube`, `native` or `android`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node_mode: String,
    /// Whether it has several members.
    #[serde(skip_serializing_if = "is_default")]
    pub cluster: bool,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub annotations: BTreeMap<String, String>,
    /// Attributes: any JSON by key.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub attr: BTreeMap<String, Value>,
    /// The report, as it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<Value>,
    /// The desire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desire: Option<Value>,
    /// The optional system applications.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub sys_apps: Vec<String>,
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The link that it uses.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub link: String,
    /// The identity of its core.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub core_id: String,
}

/// A node as it is shown: `GET /v1/nodes/:name` of the cloud, `GET /node/stats` of the device.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NodeView {
    /// The cloud's namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// When it was made.
    pub create_time: Timestamp,
    /// Its accelerator.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub accelerator: String,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub annotations: BTreeMap<String, String>,
    /// The report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<ReportView>,
    /// `kube` or `native`, found out from the report.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub app_mode: String,
    /// The desire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desire: Option<Value>,
    /// The optional system applications.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub sys_apps: Vec<String>,
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Whether it has several members; always sent.
    pub cluster: bool,
    /// 0 never reported, 1 online, 2 offline; always sent.
    pub ready: i64,
    /// `cloud` or `local`; always sent.
    pub mode: String,
    /// `kube`, `native` or `android`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node_mode: String,
    /// The link that it uses.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub link: String,
    /// The identity of its core.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub core_id: String,
}

/// A report as it is shown: quantities made plain, shares computed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReportView {
    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    /// The user's applications.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub apps: Vec<AppInfo>,
    /// The system's applications.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub sysapps: Vec<AppInfo>,
    /// The agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub core: Option<CoreInfo>,
    /// How the user's applications fare.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub appstats: Vec<AppStats>,
    /// How the system's applications fare.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub sysappstats: Vec<AppStats>,
    /// The members.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub node: BTreeMap<String, NodeInfo>,
    /// How the members fare.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub nodestats: BTreeMap<String, NodeStats>,
    /// How many instances each member runs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub nodeinsnum: BTreeMap<String, i64>,
    /// The version of the Kubernetes server, or an empty text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modeinfo: Option<Value>,
}

/// What a member of a node is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NodeInfo {
    /// Its host name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// Its addresses, joined by commas.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub address: String,
    /// `amd64`, `arm64`, `arm` …, in Go's words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub arch: String,
    /// The kernel's version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kernel_ver: String,
    /// `linux` …, in Go's words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub os: String,
    /// The container runtime; always sent.
    pub container_runtime: String,
    /// The machine's identity; always sent.
    #[serde(rename = "machineID")]
    pub machine_id: String,
    /// The boot's identity; always sent.
    #[serde(rename = "bootID")]
    pub boot_id: String,
    /// The board's identity; always sent.
    #[serde(rename = "systemUUID")]
    pub system_uuid: String,
    /// The operating system in words; always sent.
    pub os_image: String,
    /// The variant of the architecture: `v7`, `v8`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// The host's identity.
    #[serde(rename = "hostID", skip_serializing_if = "String::is_empty")]
    pub host_id: String,
    /// `master` or `worker`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub role: String,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub labels: BTreeMap<String, String>,
    /// The address that the cloud saw.
    #[serde(rename = "clientIP", skip_serializing_if = "String::is_empty")]
    pub client_ip: String,
}

/// How a member of a node fares.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NodeStats {
    /// The disk is nearly full.
    #[serde(skip_serializing_if = "is_default")]
    pub disk_pressure: bool,
    /// Memory is nearly used up.
    #[serde(skip_serializing_if = "is_default")]
    pub memory_pressure: bool,
    /// Process numbers are nearly used up.
    #[serde(skip_serializing_if = "is_default")]
    pub pid_pressure: bool,
    /// The network is not there; capital N on the wire.
    #[serde(rename = "NetworkUnavailable", skip_serializing_if = "is_default")]
    pub network_unavailable: bool,
    /// It can run applications.
    #[serde(skip_serializing_if = "is_default")]
    pub ready: bool,
    /// What is used, as quantities.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub usage: BTreeMap<String, String>,
    /// What there is, as quantities.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub capacity: BTreeMap<String, String>,
    /// The share that is used, 0 to 1.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub percent: BTreeMap<String, String>,
    /// What went over the network.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub netio: BTreeMap<String, String>,
    /// Numbers of plug-ins; the original sends `null` without them.
    #[serde(skip_serializing_if = "super::wire::Section::is_absent")]
    pub extension: super::wire::Section<Value>,
}
