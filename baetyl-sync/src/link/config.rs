//! The settings of the HTTP link, with the original's keys and defaults (edge.md 4.1, "http client block").

use std::time::Duration;

use baetyl_core_lib::spec::duration;
use serde::Deserialize;

/// How to reach the cloud over HTTP. Keys that are not named here have no meaning for this link.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HttpConfig {
    /// Base addresses, separated by commas, tried in order.
    pub address: String,
    /// The path of report requests.
    pub report_url: String,
    /// The path of desire requests.
    pub desire_url: String,
    /// How long one address has for an answer, its body included.
    #[serde(deserialize_with = "duration::deserialize")]
    pub timeout: Duration,
    /// How long to wait for a connection, the TLS handshake included.
    #[serde(deserialize_with = "duration::deserialize")]
    pub tls_handshake_timeout: Duration,
    /// After how much silence TCP asks whether the other side is still there.
    #[serde(deserialize_with = "duration::deserialize")]
    pub keepalive: Duration,
    /// How long an unused connection stays open.
    #[serde(deserialize_with = "duration::deserialize")]
    pub idle_conn_timeout: Duration,
    /// How many unused connections stay open.
    pub max_idle_conns: usize,
    /// Accept any certificate of the cloud. Warned of at each start.
    pub insecure_skip_verify: bool,
    /// The cloud's authorities in PEM, beside the system's; filled in by the program that reads files.
    #[serde(skip)]
    pub ca_pem: Option<Vec<u8>>,
    /// The largest answer in bytes, unpacked; ours only.
    pub max_answer_size: usize,
    /// The largest request in bytes; ours only.
    pub max_request_size: usize,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            address: String::new(),
            report_url: "v1/sync/report".to_owned(),
            desire_url: "v1/sync/desire".to_owned(),
            timeout: Duration::from_secs(30),
            tls_handshake_timeout: Duration::from_secs(10),
            // Longer than the cloud holds a request, so that a line in use needs no probes.
            keepalive: Duration::from_secs(90),
            idle_conn_timeout: Duration::from_secs(600),
            max_idle_conns: 100,
            insecure_skip_verify: false,
            ca_pem: None,
            max_answer_size: 16 << 20,
            max_request_size: 16 << 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_originals_keys_are_read_and_its_defaults_fill_the_rest() {
        let config: HttpConfig = serde_json::from_str(
            r#"{"address": "https://a", "timeout": "1m30s", "insecureSkipVerify": true, "speedLimit": 3}"#,
        )
        .unwrap();
        let expected = HttpConfig {
            address: "https://a".to_owned(),
            timeout: Duration::from_secs(90),
            insecure_skip_verify: true,
            ..HttpConfig::default()
        };
        assert_eq!(config, expected);
    }
}
