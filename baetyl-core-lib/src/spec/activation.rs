//! First contact: from a batch token to a node's certificate (edge.md 3.4).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::wire::{is_default, null_as_default};

/// The body of `POST /v1/active`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ActiveRequest {
    /// The batch.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub batch_name: String,
    /// The cloud's namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// What tells this node from all others.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub fingerprint_value: String,
    /// `None`, `Token`, `Cert` or `Dongle`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub security_type: String,
    /// The token.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub security_value: String,
    /// `kube` or `native`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mode: String,
    /// Attributes that a person or the configuration gave.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub penetrate_data: BTreeMap<String, String>,
    /// A certificate signing request in PEM, so that the key never leaves the node; ours only. A cloud
    /// that does not know it makes a key and sends it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub csr: String,
}

impl fmt::Debug for ActiveRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActiveRequest")
            .field("batch_name", &self.batch_name)
            .field("namespace", &self.namespace)
            .field("fingerprint_value", &self.fingerprint_value)
            .field("security_type", &self.security_type)
            .field("security_value", &"[redacted]")
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

/// The answer to an [`ActiveRequest`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ActiveResponse {
    /// The node that was made or found.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node_name: String,
    /// The cloud's namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// The certificate for the HTTP and WebSocket links.
    #[serde(deserialize_with = "null_as_default")]
    pub certificate: Certificate,
    /// The certificate for the MQTT link.
    #[serde(deserialize_with = "null_as_default")]
    pub mqtt_cert: Certificate,
}

/// Certificate and key: PEM contents in an answer, paths in a configuration file.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Certificate {
    /// Whom to trust.
    pub ca: String,
    /// The private key; empty where the node made its own.
    pub key: String,
    /// The certificate.
    pub cert: String,
    /// The server's name.
    pub name: String,
    /// What the key is encrypted with.
    pub passphrase: String,
    /// Whether the server is not verified.
    pub insecure_skip_verify: bool,
    /// Go's `tls.ClientAuthType`, 0 to 4.
    pub client_auth_type: i64,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("ca", &self.ca)
            .field("cert", &self.cert)
            .field("key", &"[redacted]")
            .field("name", &self.name)
            .field("insecure_skip_verify", &self.insecure_skip_verify)
            .finish_non_exhaustive()
    }
}

/// A batch: nodes that activate with the same token (cloud.md 3.9).
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Batch {
    /// Its name.
    pub name: String,
    /// The cloud's namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// How many nodes it may have.
    pub quota_num: i64,
    /// 1 when only fingerprints on its list may activate.
    pub enable_whitelist: i64,
    /// 1 when its nodes have several members.
    #[serde(skip_serializing_if = "is_default")]
    pub cluster: i64,
    /// `None`, `Token`, `Cert` or `Dongle`.
    pub security_type: String,
    /// The token.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub security_key: String,
    /// The callback that is told of each new node.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub callback_name: String,
    /// Labels of its nodes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub labels: BTreeMap<String, String>,
    /// The accelerator of its nodes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub accelerator: String,
    /// The optional system applications of its nodes.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub sys_apps: Vec<String>,
    /// `kube` or `native`: the mode of its nodes, where the node does not say.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node_mode: String,
    /// Which proofs of identity count.
    pub fingerprint: FingerprintRule,
    /// When it was made.
    pub create_time: super::wire::Timestamp,
    /// When it was last changed.
    pub update_time: super::wire::Timestamp,
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("name", &self.name)
            .field("security_key", &"[redacted]")
            .finish_non_exhaustive()
    }
}

/// Which proofs of identity count: a bit mask of 1 serial number, 2 input, 4 host name, 8 boot,
/// 16 system UUID, 32 machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct FingerprintRule {
    /// The bit mask.
    #[serde(rename = "type")]
    pub proof: i64,
    /// Where the serial number lies.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sn_path: String,
    /// The attribute that a person enters.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub input_field: String,
}

/// One fingerprint of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BatchRecord {
    /// Its name.
    pub name: String,
    /// Its batch.
    pub batch_name: String,
    /// The cloud's namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// The fingerprint.
    pub fingerprint_value: String,
    /// 1 when its node is active.
    pub active: i64,
    /// Its node.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node_name: String,
    /// The address that it activated from.
    #[serde(rename = "activeIP", skip_serializing_if = "String::is_empty")]
    pub active_ip: String,
    /// When it activated.
    pub active_time: super::wire::Timestamp,
}
