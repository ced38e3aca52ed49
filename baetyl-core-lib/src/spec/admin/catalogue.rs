//! What the cloud has on offer: modules, properties, functions, objects (cloud.md 3.6, 3.7).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::spec::wire::{Timestamp, is_default, null_as_default};

/// One version of a module: what a system application runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Module {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Its image.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// Addresses of its packages by platform.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub programs: BTreeMap<String, String>,
    /// `user`, `runtime_user`, `system`, `opt_system`, `opt_system_kube` or `opt_system_native`.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub module_type: String,
    /// Always sent.
    pub flag: i64,
    /// Whether it is the one that new nodes get.
    #[serde(skip_serializing_if = "is_default")]
    pub is_latest: bool,
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// When it was made.
    pub create_time: Timestamp,
    /// When it was last changed.
    pub update_time: Timestamp,
}

/// A namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Namespace {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
}

/// A property of the cloud.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Property {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// When it was made.
    pub create_time: Timestamp,
    /// When it was last changed.
    pub update_time: Timestamp,
}

/// One setting of the system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SysConfig {
    /// Its type.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub config_type: String,
    /// Its key.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// Its value.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub value: String,
}

/// All settings of a type.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SysConfigs {
    /// The settings.
    #[serde(deserialize_with = "null_as_default")]
    pub sysconfigs: Vec<SysConfig>,
}

/// The answer to `GET /v1/functions`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FunctionSources {
    /// Where functions can be imported from.
    #[serde(deserialize_with = "null_as_default")]
    pub sources: Vec<SourceName>,
    /// Images by runtime.
    #[serde(deserialize_with = "null_as_default")]
    pub runtimes: BTreeMap<String, String>,
}

/// The answer to `GET /v1/objects`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ObjectSources {
    /// A list of [`SourceName`]; a map by name in the second version of the route.
    pub sources: Value,
}

/// A source by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceName {
    /// Its name.
    pub name: String,
}
