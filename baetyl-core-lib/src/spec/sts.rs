//! Short-lived credentials for the cloud's object storage (edge.md 1.5, 4.3).

use serde::{Deserialize, Serialize};

use super::secret::SecretText;
use super::wire::{Timestamp, is_default};

/// The kind of a message that asks for credentials.
pub const STS_KIND: &str = "sts";

/// A request for credentials.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct StsRequest {
    /// The kind of storage; empty means `minio`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sts_type: String,
    /// How long the credentials are to hold, in nanoseconds.
    #[serde(skip_serializing_if = "is_default")]
    pub expired_time: i64,
}

/// Credentials.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct StsResponse {
    /// The access key.
    pub ak: String,
    /// The secret key.
    pub sk: SecretText,
    /// The session's token.
    pub token: SecretText,
    /// The storage's address.
    pub endpoint: String,
    /// The bucket.
    pub bucket: String,
    /// The cloud's namespace.
    pub namespace: String,
    /// The node.
    pub node_name: String,
    /// Until when they hold.
    pub expiration: Timestamp,
}
