//! What the cloud's REST API shows and takes where it differs from what nodes see (cloud.md 3).
//!
//! In answers every field that is "always sent" is there. A request may leave out anything; what it leaves
//! out has its zero value here.

use serde::{Deserialize, Serialize};

use super::wire::is_default;

pub mod app;
pub mod catalogue;
pub mod node;
pub mod resource;

pub use self::app::{AppItem, AppView, RegistryRef, ServiceView, VolumeView};
pub use self::catalogue::{
    FunctionSources, Module, Namespace, ObjectSources, Property, SourceName, SysConfig, SysConfigs,
};
pub use self::node::{
    CoreConfigs, CoreVersions, InitCommand, NodeFunctions, NodeMode, NodeNames, NodeProperties,
    PropertyStates, PropertyTimes,
};
pub use self::resource::{
    CertificateData, CertificateView, ConfigEntry, ConfigView, NewPassword, RegistryView, SecretView,
};

/// The answer of a handler that has nothing to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Success {
    /// Always true.
    pub success: bool,
}

/// The body of an answer that refuses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ErrorBody {
    /// The code: clients look at nothing else.
    pub code: String,
    /// For people.
    pub message: String,
    /// The request's `x-bce-request-id`, or an empty text.
    pub request_id: String,
}

/// A list: the items, how many there are over all pages, and the options that were given.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct List<T> {
    /// How many items there are over all pages.
    pub total: i64,
    /// The options that were given.
    #[serde(flatten)]
    pub options: ListOptions,
    /// The items of this page; an empty list is `[]`.
    pub items: Vec<T>,
}

/// Options of a list: its query, and an echo in its answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ListOptions {
    /// A label selector.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub selector: String,
    /// A label selector on members of nodes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node_selector: String,
    /// A field selector.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field_selector: String,
    /// What `keyword` is looked for in.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub keyword_type: String,
    /// A text to look for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub keyword: String,
    /// An alias.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub alias: String,
    /// The most items.
    #[serde(skip_serializing_if = "is_default")]
    pub limit: i64,
    /// Where to go on.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub r#continue: String,
    /// A part of the name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Which page, from 1.
    #[serde(skip_serializing_if = "is_default")]
    pub page_no: i64,
    /// Items on a page; 0 for all on one.
    #[serde(skip_serializing_if = "is_default")]
    pub page_size: i64,
    /// Nodes only: `single` or `cluster`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// Nodes only: `online`, `offline` or `uninstall`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ready: String,
    /// Nodes only: `asc` or `desc`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub create_sort: String,
}
