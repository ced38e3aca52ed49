//! What a node says of itself: the body of `POST /v1/sync/report` (edge.md 1.4, 1.6).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::application::AppInfo;
use super::node::{NodeInfo, NodeStats};
use super::stats::AppStats;
use super::wire::{Section, Timestamp};

/// A node's report. Each section is absent, `null`, or has a value; absent ones are not spoken of.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// When it was made, by the node's clock.
    #[serde(skip_serializing_if = "Section::is_absent")]
    pub time: Section<Timestamp>,
    /// The user's applications that are there.
    #[serde(skip_serializing_if = "Section::is_absent")]
    pub apps: Section<Vec<AppInfo>>,
    /// The system's applications that are there.
    #[serde(skip_serializing_if = "Section::is_absent")]
    pub sysapps: Section<Vec<AppInfo>>,
    /// How the user's applications fare.
    #[serde(skip_serializing_if = "Section::is_absent")]
    pub appstats: Section<Vec<AppStats>>,
    /// How the system's applications fare.
    #[serde(skip_serializing_if = "Section::is_absent")]
    pub sysappstats: Section<Vec<AppStats>>,
    /// Applications that a person applied on the device; ours only (design.md 5).
    #[serde(skip_serializing_if = "Section::is_absent")]
    pub localapps: Section<Vec<AppInfo>>,
    /// The agent itself.
    #[serde(skip_serializing_if = "Section::is_absent")]
    pub core: Section<CoreInfo>,
    /// The members of the node by name.
    #[serde(skip_serializing_if = "Section::is_absent")]
    pub node: Section<BTreeMap<String, NodeInfo>>,
    /// How the members fare.
    #[serde(skip_serializing_if = "Section::is_absent")]
    pub nodestats: Section<BTreeMap<String, NodeStats>>,
    /// Properties of the node.
    #[serde(skip_serializing_if = "Section::is_absent")]
    pub nodeprops: Section<BTreeMap<String, Value>>,
    /// Devices of the node.
    #[serde(skip_serializing_if = "Section::is_absent")]
    pub devices: Section<Vec<AppInfo>>,
    /// The version of the Kubernetes server, or an empty text.
    #[serde(skip_serializing_if = "Section::is_absent")]
    pub modeinfo: Section<Value>,
    /// Sections that this version does not know.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// What runs as the agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CoreInfo {
    /// The language's version; the key is the original's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub go_version: String,
    /// The agent's version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub bin_version: String,
    /// The revision of its source.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub git_revision: String,
}
