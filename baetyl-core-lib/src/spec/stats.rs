//! How applications fare: status, instances and what they use (edge.md 1.4).

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::wire::{Timestamp, is_default, null_as_default};

/// The status of an application or instance. Unknown words travel through unchanged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum Status {
    /// Not said.
    #[default]
    Empty,
    /// Not yet what it is to be.
    Pending,
    /// Ended badly.
    Failed,
    /// As it is to be.
    Running,
    /// Ended well.
    Succeeded,
    /// Nobody knows.
    Unknown,
    /// Any other word, as it stands on the wire.
    Other(String),
}

impl Status {
    /// The word on the wire; empty when not said.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Empty => "",
            Self::Pending => "Pending",
            Self::Failed => "Failed",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Unknown => "Unknown",
            Self::Other(text) => text,
        }
    }

    /// Whether nothing is said.
    pub const fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }
}

impl From<&str> for Status {
    fn from(text: &str) -> Self {
        match text {
            "" => Self::Empty,
            "Pending" => Self::Pending,
            "Failed" => Self::Failed,
            "Running" => Self::Running,
            "Succeeded" => Self::Succeeded,
            "Unknown" => Self::Unknown,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl Serialize for Status {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Ok(Self::from(&*text))
    }
}

/// How one application fares.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AppStats {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// What kind of workload it is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub deploy_type: String,
    /// Its status.
    #[serde(skip_serializing_if = "Status::is_empty")]
    pub status: Status,
    /// Why it is not running, in words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cause: String,
    /// Its instances by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub instances: BTreeMap<String, InstanceStats>,
}

/// How one instance fares.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct InstanceStats {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its service.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_name: String,
    /// Its application.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub app_name: String,
    /// What it uses, as quantities: `cpu`, `memory`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub usage: BTreeMap<String, String>,
    /// Numbers of plug-ins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extension: Option<Value>,
    /// Its status.
    #[serde(skip_serializing_if = "Status::is_empty")]
    pub status: Status,
    /// Why it is not running, in words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cause: String,
    /// Its address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ip: String,
    /// The member of the node that it runs on.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node_name: String,
    /// Its process.
    #[serde(skip_serializing_if = "is_default")]
    pub pid: i32,
    /// The parent of its process.
    #[serde(skip_serializing_if = "is_default")]
    pub ppid: i32,
    /// When it was started; always sent.
    pub create_time: Timestamp,
    /// Its containers.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub containers: Vec<ContainerInfo>,
    /// Its init containers.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub init_containers: Vec<ContainerInfo>,
}

/// One container of an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerInfo {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// What it uses.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub usage: BTreeMap<String, String>,
    /// `Waiting`, `Running` or `Terminated`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// Why.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}
