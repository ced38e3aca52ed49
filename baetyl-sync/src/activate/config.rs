//! How a node is activated. Plain data; the programs read it from the original's configuration file.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;

use super::{CertificateFiles, Proof};

/// The batch that the node belongs to: `init.batch`.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BatchConfig {
    /// Its name.
    pub name: String,
    /// The cloud's namespace.
    pub namespace: String,
    /// `None`, `Token`, `Cert` or `Dongle`.
    pub security_type: String,
    /// The token.
    pub security_key: String,
    /// `kube` or `native`.
    pub mode: String,
}

impl fmt::Debug for BatchConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchConfig")
            .field("name", &self.name)
            .field("namespace", &self.namespace)
            .field("security_type", &self.security_type)
            .field("security_key", &"[redacted]")
            .field("mode", &self.mode)
            .finish()
    }
}

/// Something that a person may be asked for: an item of `attributes`, `nodeinfo` or `serial`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Field {
    /// Its name in the request.
    pub name: String,
    /// What the page calls it.
    pub label: String,
    /// Its value, where nobody enters another.
    pub value: String,
    /// What the page says about it.
    pub description: String,
}

/// How a node is activated: `init` and `node` of the configuration file.
#[derive(Debug, Clone)]
pub struct ActivateConfig {
    /// The batch.
    pub batch: BatchConfig,
    /// The address of the cloud's activation.
    pub address: String,
    /// The path below it.
    pub url: String,
    /// The shortest time between two tries.
    pub interval: Duration,
    /// How long one try may take.
    pub timeout: Duration,
    /// The authority to trust, alone, in PEM; `None` for the system's.
    pub ca: Option<Vec<u8>>,
    /// Whether the cloud is not verified.
    pub insecure_skip_verify: bool,
    /// What proves who the node is; the first decides.
    pub fingerprints: Vec<Proof>,
    /// Attributes, sent with their values.
    pub attributes: Vec<Field>,
    /// What a person is asked for about the node.
    pub nodeinfo: Vec<Field>,
    /// What a person is asked for as serial number.
    pub serial: Vec<Field>,
    /// Where the page is served; with `None` there is no page, and the node tries by itself.
    pub listen: Option<SocketAddr>,
    /// Where the node's certificate goes: `node`.
    pub files: CertificateFiles,
    /// Where the certificate for MQTT goes: `mqttlink`, where that is the link.
    pub mqtt: Option<CertificateFiles>,
}

impl ActivateConfig {
    /// The usual path, interval and timeout, and no page.
    pub fn new(batch: BatchConfig, address: impl Into<String>, files: CertificateFiles) -> Self {
        Self {
            batch,
            address: address.into(),
            url: "/v1/active".to_owned(),
            interval: Duration::from_secs(45),
            timeout: Duration::from_secs(30),
            ca: None,
            insecure_skip_verify: false,
            fingerprints: Vec::new(),
            attributes: Vec::new(),
            nodeinfo: Vec::new(),
            serial: Vec::new(),
            listen: None,
            files,
            mqtt: None,
        }
    }
}
