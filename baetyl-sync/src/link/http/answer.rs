//! What came back: an answer of the cloud, or the error that it amounts to.

use std::time::Duration;

use baetyl_core_lib::error::Chain;
use baetyl_core_lib::link::LinkError;
use baetyl_core_lib::spec::Timestamp;
use http::StatusCode;
use http::header::{DATE, HeaderMap, RETRY_AFTER};
use reqwest::Response;
use serde::Deserialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::Address;
use crate::template::Templates;
use crate::tls;

/// How much of an error's body is kept.
const ERROR_TEXT: usize = 512;

/// An answer that says yes.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    headers: HeaderMap,
    /// The cloud's time, where it is certain to be the cloud's.
    pub(super) date: Option<Timestamp>,
    body: Vec<u8>,
}

/// The original's error body.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ErrorBody {
    code: String,
    message: String,
}

impl Answer {
    /// A header as text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON, placeholders substituted; `null` when it is empty.
    pub(super) fn content(self, address: &str, templates: &Templates) -> Result<Box<RawValue>, LinkError> {
        let text = String::from_utf8(self.body).map_err(|_| bad(address, "it is not UTF-8"))?;
        if text.is_empty() {
            return Ok(RawValue::NULL.to_owned());
        }
        let text = templates.apply(&text).into_owned();
        RawValue::from_string(text).map_err(|error| bad(address, &format!("it is not JSON, {error}")))
    }
}

/// Reads an answer to its end; one that says no becomes the error.
pub(super) async fn read(
    mut response: Response,
    address: &Address,
    limit: usize,
    timeout: Duration,
) -> Result<Answer, LinkError> {
    let status = response.status();
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > limit => {
                return Err(bad(
                    &address.text,
                    &format!("it is larger than the {limit} bytes that are allowed"),
                ));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => break,
            Err(error) if error.is_timeout() => {
                return Err(LinkError::Timeout { address: address.text.clone(), after: timeout });
            }
            Err(error) => {
                return Err(bad(&address.text, &format!("it was cut short or damaged: {}", Chain(&error))));
            }
        }
    }
    let headers = std::mem::take(response.headers_mut());
    if (200..=208).contains(&status.as_u16()) {
        let date = if address.verified { date(&headers) } else { None };
        return Ok(Answer { status, headers, date, body });
    }
    Err(refused(status, &headers, &body))
}

/// The error for a request that got no answer at all.
pub(super) fn failure(error: reqwest::Error, address: &str, timeout: Duration) -> LinkError {
    if let Some(reason) = tls::refusal(&error, address) {
        return LinkError::Untrusted { reason, source: error.without_url().into() };
    }
    if error.is_timeout() && !error.is_connect() {
        return LinkError::Timeout { address: address.to_owned(), after: timeout };
    }
    LinkError::Unreachable { address: address.to_owned(), source: error.without_url().into() }
}

fn refused(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> LinkError {
    let error: ErrorBody = serde_json::from_slice(body).unwrap_or_default();
    let text = if error.message.is_empty() {
        String::from_utf8_lossy(&body[..body.len().min(ERROR_TEXT)]).into_owned()
    } else {
        error.message.chars().take(ERROR_TEXT).collect()
    };
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let retry_after = seconds.map(Duration::from_secs);
        return LinkError::Unavailable { status: status.as_u16(), body: text, retry_after };
    }
    LinkError::Rejected { status: status.as_u16(), code: error.code, body: text }
}

fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let text = headers.get(DATE)?.to_str().ok()?;
    let moment = OffsetDateTime::parse(text, &Rfc2822).ok()?;
    Some(Timestamp::from_unix(moment.unix_timestamp()))
}

pub(super) fn bad(address: &str, reason: &str) -> LinkError {
    LinkError::BadAnswer { address: address.to_owned(), reason: reason.to_owned() }
}
