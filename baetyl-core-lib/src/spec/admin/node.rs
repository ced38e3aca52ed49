//! What hangs on a node in the REST API (cloud.md 3.2).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::spec::wire::{Timestamp, is_default, null_as_default};

/// The body of `PUT /v1/nodes?batch`, which reads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeNames {
    /// At most 20 names.
    #[serde(deserialize_with = "null_as_default")]
    pub names: Vec<String>,
}

/// The body of `PUT /v1/nodes/:name/mode`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeMode {
    /// `cloud` or `local`.
    pub mode: String,
}

/// The properties of a node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeProperties {
    /// Their values.
    #[serde(deserialize_with = "null_as_default")]
    pub state: PropertyStates,
    /// When they were last changed.
    #[serde(deserialize_with = "null_as_default")]
    pub metadata: PropertyTimes,
}

/// Values of properties.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PropertyStates {
    /// What the node says.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub report: BTreeMap<String, Value>,
    /// What is wanted: texts; anything else is refused.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub desire: BTreeMap<String, Value>,
}

/// Times of change of properties.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PropertyTimes {
    /// Of what the node says.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub report: BTreeMap<String, Timestamp>,
    /// Of what is wanted.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub desire: BTreeMap<String, Timestamp>,
}

/// The settings of a node's core.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CoreConfigs {
    /// Its version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Seconds between reports, 1 to 300.
    #[serde(skip_serializing_if = "is_default")]
    pub frequency: i64,
    /// The host's port of its local API.
    #[serde(rename = "apiport", skip_serializing_if = "is_default")]
    pub api_port: i64,
    /// The agent's port.
    #[serde(rename = "agentport", skip_serializing_if = "is_default")]
    pub agent_port: i64,
    /// `debug`, `info`, `warn` or `error`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub log_level: String,
    /// The unit of `speed_limit`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub byte_unit: String,
    /// The most that it downloads in a second; 0 for no limit.
    #[serde(skip_serializing_if = "is_default")]
    pub speed_limit: i64,
}

/// The versions that a node's core can have: the one before, the one it has, the latest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CoreVersions {
    /// The versions.
    #[serde(deserialize_with = "null_as_default")]
    pub versions: Vec<String>,
}

/// The functions that a node runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeFunctions {
    /// `<application>/<function>` each.
    #[serde(deserialize_with = "null_as_default")]
    pub functions: Vec<String>,
}

/// How to install a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InitCommand {
    /// The command.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cmd: String,
    /// Android only: the package.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub apk: String,
    /// Android only: the system's package.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub apk_sys: String,
}
