//! Configurations, secrets, registries and certificates as the REST API shows and takes them (cloud.md 3.4, 3.5).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::spec::secret::SecretText;
use crate::spec::wire::{Timestamp, is_default, null_as_default};

/// A configuration. Lists hold `Configuration`, the stored form, instead.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConfigView {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The cloud's namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub labels: BTreeMap<String, String>,
    /// Its entries.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub data: Vec<ConfigEntry>,
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

/// One entry of a configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigEntry {
    /// The file name, without the prefix of objects.
    pub key: String,
    /// Texts by name; `type` is `kv`, `object` or `function` and says which others there are.
    #[serde(deserialize_with = "null_as_default")]
    pub value: BTreeMap<String, String>,
}

/// A secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SecretView {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The cloud's namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// File names and contents; lists leave it out.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub data: BTreeMap<String, SecretText>,
    /// When it was made.
    pub create_time: Timestamp,
    /// When it was last changed.
    pub update_time: Timestamp,
    /// For people; always sent.
    pub description: String,
    /// Its version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
}

/// A registry's login.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RegistryView {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The cloud's namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// The registry's address; always sent.
    pub address: String,
    /// The user; always sent.
    pub username: String,
    /// The password; never in an answer.
    #[serde(skip_serializing_if = "SecretText::is_empty")]
    pub password: SecretText,
    /// When it was made.
    pub create_time: Timestamp,
    /// When it was last changed.
    pub update_time: Timestamp,
    /// For people; always sent.
    pub description: String,
    /// Its version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
}

/// The body of `POST /v1/registries/:name/refresh`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NewPassword {
    /// The new password.
    pub password: SecretText,
}

/// A certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CertificateView {
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The cloud's namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// How it is signed, in Go's words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub signature_algorithm: String,
    /// From when it holds, in Go's default form.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub effective_time: String,
    /// Until when it holds, in Go's default form.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub expired_time: String,
    /// Its serial number, decimal.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub serial_number: String,
    /// The common name of its issuer.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub issuer: String,
    /// SHA-256 of the DER: upper-case hex pairs joined by colons.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub finger_print: String,
    /// Key and certificate.
    pub data: CertificateData,
    /// When it was made.
    pub create_time: Timestamp,
    /// When it was last changed.
    pub update_time: Timestamp,
    /// For people; always sent.
    pub description: String,
    /// Its version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
}

/// Key and certificate, in PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CertificateData {
    /// The private key; never in an answer.
    #[serde(skip_serializing_if = "SecretText::is_empty")]
    pub key: SecretText,
    /// The certificate.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub certificate: String,
}
