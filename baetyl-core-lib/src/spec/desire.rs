//! What the cloud wants of a node, and the delta in which it says so (edge.md 2.7).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::application::AppInfo;
use super::wire::Section;

/// The whole desire of a node.
///
/// A section that is `None` is one that the cloud has not spoken of yet: nothing is applied or removed
/// for it. Other sections that a cloud may add are kept in `extra`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Desire {
    /// The user's applications.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apps: Option<Vec<AppInfo>>,
    /// The system's applications.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sysapps: Option<Vec<AppInfo>>,
    /// Properties that the node is asked to take on: text, or `null` to drop one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodeprops: Option<BTreeMap<String, Value>>,
    /// Sections that this version does not know.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// The answer to a report: a JSON merge patch that turns the report's sections into the desire.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Delta {
    /// The user's applications.
    #[serde(skip_serializing_if = "Section::is_absent")]
    pub apps: Section<Vec<AppInfo>>,
    /// The system's applications.
    #[serde(skip_serializing_if = "Section::is_absent")]
    pub sysapps: Section<Vec<AppInfo>>,
    /// Node properties; the cloud always sends all that it desires.
    #[serde(skip_serializing_if = "Section::is_absent")]
    pub nodeprops: Section<BTreeMap<String, Value>>,
    /// Sections that this version does not know.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}
