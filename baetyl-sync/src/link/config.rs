//! The settings of the HTTP link, with the original's keys and defaults (edge.md 4.1, "http client block").

use std::time::Duration;

use serde::{Deserialize, Deserializer};

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
    #[serde(deserialize_with = "duration")]
    pub timeout: Duration,
    /// How long to wait for a connection, the TLS handshake included.
    #[serde(deserialize_with = "duration")]
    pub tls_handshake_timeout: Duration,
    /// After how much silence TCP asks whether the other side is still there.
    #[serde(deserialize_with = "duration")]
    pub keepalive: Duration,
    /// How long an unused connection stays open.
    #[serde(deserialize_with = "duration")]
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
            keepalive: Duration::from_secs(30),
            idle_conn_timeout: Duration::from_secs(90),
            max_idle_conns: 100,
            insecure_skip_verify: false,
            ca_pem: None,
            max_answer_size: 16 << 20,
            max_request_size: 16 << 20,
        }
    }
}

/// A duration as Go writes it: `1m30s`, `500ms`.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).ok_or_else(|| serde::de::Error::custom(format_args!("{text:?} is no duration like 1m30s")))
}

fn parse(text: &str) -> Option<Duration> {
    let mut sum = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (digits, after) = rest.split_at(number);
        let unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let seconds = match &after[..unit] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        let part = Duration::try_from_secs_f64(digits.parse::<f64>().ok()? * seconds).ok()?;
        sum = sum.checked_add(part)?;
        rest = &after[unit..];
    }
    (!text.is_empty()).then_some(sum)
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

    #[test]
    fn durations_are_those_of_go() {
        for (text, millis) in [
            ("20s", Some(20_000)),
            ("1h30m", Some(5_400_000)),
            ("1.5s", Some(1_500)),
            ("300ms", Some(300)),
            ("175200h", Some(630_720_000_000)),
            ("", None),
            ("20", None),
            ("s", None),
            ("5d", None),
            ("-1s", None),
        ] {
            assert_eq!(parse(text), millis.map(Duration::from_millis), "{text}");
        }
    }
}
