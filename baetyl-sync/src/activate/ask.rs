//! One request for activation (edge.md 3.4), and what its answer means.

use std::sync::Arc;
use std::time::Duration;

use baetyl_core_lib::clock::Clock;
use baetyl_core_lib::error::BoxError;
use baetyl_core_lib::spec::{ActiveRequest, ActiveResponse};
use reqwest::{Client, Url, redirect};
use serde::Deserialize;

use super::{ActivateError, Failure};
use crate::tls::{self, Trust};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// The largest answer: two chains, keys and authorities are a few kilobytes each.
const LARGEST: usize = 256 * 1024;

/// A client that shows no certificate, because there is none yet.
pub(super) fn client(
    trust: &Trust,
    timeout: Duration,
    clock: Arc<dyn Clock>,
) -> Result<Client, ActivateError> {
    let failed = |source: BoxError| ActivateError::Config {
        what: "init.active.ca",
        reason: "it does not give TLS settings".to_owned(),
        source: Some(source),
    };
    let tls = tls::client_config(trust, None, clock).map_err(|error| failed(error.into()))?;
    Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(timeout)
        // A token is for the address that it was configured for.
        .redirect(redirect::Policy::none())
        .build()
        .map_err(|error| failed(error.into()))
}

/// The address to ask: `address` and `path`, with one slash between them.
pub(super) fn url(address: &str, path: &str) -> Result<Url, Failure> {
    let text = format!("{}/{}", address.trim_end_matches('/'), path.trim_start_matches('/'));
    match Url::parse(&text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url),
        _ => Err(Failure::Address { address: address.to_owned() }),
    }
}

/// Asks once.
pub(super) async fn ask(
    client: &Client,
    url: Url,
    request: &ActiveRequest,
) -> Result<ActiveResponse, Failure> {
    let address = url.origin().ascii_serialization();
    let unreachable = |error: reqwest::Error| Failure::Unreachable {
        address: address.clone(),
        source: error.without_url().into(),
    };
    let body = serde_json::to_vec(request).map_err(|error| Failure::Garbled { reason: error.to_string() })?;
    let mut response = client
        .post(url)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(body)
        .send()
        .await
        .map_err(unreachable)?;
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if bytes.len() + chunk.len() > LARGEST {
            return Err(Failure::Garbled { reason: format!("it has more than {LARGEST} bytes") });
        }
        bytes.extend_from_slice(&chunk);
    }
    let status = response.status().as_u16();
    if !(200..=208).contains(&status) {
        return Err(Failure::Refused { address, status, told: told(&bytes), hint: hint(status) });
    }
    let answer: ActiveResponse =
        serde_json::from_slice(&bytes).map_err(|error| Failure::Garbled { reason: error.to_string() })?;
    if answer.certificate.cert.is_empty() {
        return Err(Failure::Garbled { reason: "there is no certificate in it".to_owned() });
    }
    Ok(answer)
}

/// What the cloud says, on one line and not too long.
fn told(bytes: &[u8]) -> String {
    #[derive(Deserialize)]
    struct CloudError {
        #[serde(default)]
        message: String,
    }
    let text = serde_json::from_slice(bytes)
        .map_or_else(|_| String::from_utf8_lossy(bytes).into_owned(), |error: CloudError| error.message);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect()
}

const fn hint(status: u16) -> &'static str {
    match status {
        401 | 403 => "check init.batch.securityType and securityKey: the token may be wrong or have expired",
        404 => "check init.batch.name and namespace, and that init.active.address serves activation",
        409 => "this fingerprint may belong to another node: remove that node, or use another fingerprint",
        400..=499 => "check init.batch and init.active.collector",
        _ => "see the cloud's log; the node keeps trying",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_joined_with_one_slash() {
        for (address, path) in [("https://c:9003", "/v1/active"), ("https://c:9003/", "v1/active")] {
            assert_eq!(url(address, path).unwrap().as_str(), "https://c:9003/v1/active");
        }
        assert!(url("c:9003", "/v1/active").is_err());
        assert!(url("", "/v1/active").is_err());
    }

    #[test]
    fn what_the_cloud_says_is_short_and_on_one_line() {
        assert_eq!(told(br#"{"code":"x","message":"no\nsuch batch"}"#), "no such batch");
        assert_eq!(told("<html>".repeat(100).as_bytes()).len(), 300);
    }
}
