//! Requests for resources, which the wire calls "desire" requests, and their answers.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// The kind of a resource. `app` and `config` are synonyms on the wire; we send the long words.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ResourceKind {
    /// An application.
    Application,
    /// A configuration.
    Configuration,
    /// A secret.
    Secret,
    /// Any other kind, as it stands on the wire.
    Other(String),
}

impl ResourceKind {
    /// The word that we send.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Application => "application",
            Self::Configuration => "configuration",
            Self::Secret => "secret",
            Self::Other(text) => text,
        }
    }
}

impl From<&str> for ResourceKind {
    fn from(text: &str) -> Self {
        match text {
            "application" | "app" => Self::Application,
            "configuration" | "config" => Self::Configuration,
            "secret" => Self::Secret,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ResourceKind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ResourceKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Ok(Self::from(&*text))
    }
}

/// Which resource: kind, name and version. The request of one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ResourceInfo {
    /// Its kind as it stands on the wire: `app` and `application` mean the same but are echoed as asked.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Its name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its version.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
}

impl ResourceInfo {
    /// Names a resource.
    pub fn new(kind: &ResourceKind, name: &str, version: &str) -> Self {
        Self { kind: kind.as_str().to_owned(), name: name.to_owned(), version: version.to_owned() }
    }

    /// What kind the word on the wire stands for.
    pub fn resource_kind(&self) -> ResourceKind {
        ResourceKind::from(self.kind.as_str())
    }
}

/// The body of `POST /v1/sync/desire`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesireRequest {
    /// What is asked for, in the order in which the answer comes.
    #[serde(default, deserialize_with = "super::wire::null_as_default")]
    pub infos: Vec<ResourceInfo>,
}

/// The answer to a [`DesireRequest`]: one value for each entry, in the same order.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct DesireResponse {
    /// The values; `null` (the original's answer to an empty request) reads as `None`.
    #[serde(default)]
    pub values: Option<Vec<ResourceValue>>,
}

/// One resource as it was answered: kind, name and version echo the request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ResourceValue {
    /// The kind that was asked for, as it was written.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The name that was asked for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The version that was asked for; the value may hold another one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// The resource itself: an `AppSpec`, a `Configuration` or a `Secret`.
    #[serde(default = "null")]
    pub value: Box<RawValue>,
}

fn null() -> Box<RawValue> {
    RawValue::NULL.to_owned()
}
