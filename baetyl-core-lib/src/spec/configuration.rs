//! Configurations: named texts, some of which describe objects to download (edge.md 1.3).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::wire::{Timestamp, is_default, null_as_default};

/// A key with this prefix holds a [`ConfigurationObject`] as JSON text.
pub const OBJECT_PREFIX: &str = "_object_";

/// The label that tells what a configuration is for.
pub const CONFIG_TYPE_LABEL: &str = "baetyl-config-type";

/// The value of [`CONFIG_TYPE_LABEL`] of program packages: one object for each platform.
pub const PROGRAM_CONFIG: &str = "baetyl-program";

/// One version of a configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Configuration {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The cloud's namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub labels: BTreeMap<String, String>,
    /// File names and contents; entries under [`OBJECT_PREFIX`] describe objects.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub data: BTreeMap<String, String>,
    /// When it was made.
    pub create_time: Timestamp,
    /// When it was last changed.
    pub update_time: Timestamp,
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Its version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Whether it is one of the system's own.
    #[serde(skip_serializing_if = "is_default")]
    pub system: bool,
}

impl Configuration {
    /// The plain entries: file name and content.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.data
            .iter()
            .filter(|(key, _)| !key.starts_with(OBJECT_PREFIX))
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The object entries: name without the prefix, and the text that describes it.
    pub fn objects(&self) -> impl Iterator<Item = (&str, &str)> {
        self.data.iter().filter_map(|(key, value)| Some((key.strip_prefix(OBJECT_PREFIX)?, value.as_str())))
    }

    /// Whether this is a program package, with one object for each platform.
    pub fn is_program(&self) -> bool {
        self.labels.get(CONFIG_TYPE_LABEL).is_some_and(|value| value == PROGRAM_CONFIG)
    }
}

/// Where an object comes from and how to know that it is whole.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigurationObject {
    /// MD5 in hex; empty when not given.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub md5: String,
    /// SHA-256 in hex; empty when not given.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sha256: String,
    /// Its address; a text that does not start with `http` is relative to the download address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// A token to send with the request.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub token: String,
    /// `zip`, `tar` or `tgz`; empty when it is one file.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub unpack: String,
    /// What the cloud keeps about it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub metadata: BTreeMap<String, Value>,
}

impl std::fmt::Debug for ConfigurationObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConfigurationObject")
            .field("md5", &self.md5)
            .field("sha256", &self.sha256)
            .field("unpack", &self.unpack)
            .finish_non_exhaustive()
    }
}
