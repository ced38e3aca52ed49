//! Objects over HTTP: ranges, redirects, and the node's certificate for its own cloud alone.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use baetyl_core_lib::clock::Clock;
use baetyl_core_lib::error::BoxError;
use baetyl_core_lib::identity::Identity;
use bytes::Bytes;
use http::{HeaderMap, header};
use reqwest::{Client, Response, Url, redirect};

use super::source::{Answer, Ask, Body, Source};
use crate::tls::{self, Trust};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
const REDIRECTS: usize = 5;

/// How servers of objects are reached.
#[derive(Debug, Clone, Default)]
pub struct HttpConfig {
    /// Authorities to trust beside the system's, in PEM.
    pub ca: Option<Vec<u8>>,
    /// Whether servers are not verified. Only for files that the original cloud made.
    pub insecure_skip_verify: bool,
    /// The addresses of the links: only their servers are shown the node's certificate.
    pub own: Vec<String>,
}

/// Objects over HTTP.
#[derive(Debug)]
pub struct HttpSource {
    own: BTreeSet<String>,
    known: Client,
    unknown: Client,
}

impl HttpSource {
    /// Clients for the node's own cloud, shown `identity`, and for all other servers.
    ///
    /// # Errors
    /// When the authorities cannot be read, or an address is none.
    pub fn try_new(
        config: &HttpConfig,
        identity: Option<Arc<dyn Identity>>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SourceError> {
        let trust = match (&config.ca, config.insecure_skip_verify) {
            (_, true) => Trust::Anything,
            (Some(pem), false) => Trust::SystemAnd(pem.clone()),
            (None, false) => Trust::System,
        };
        let mut own = BTreeSet::new();
        for address in &config.own {
            let url = Url::parse(address).map_err(|source| SourceError {
                what: format!("address {address:?}"),
                source: source.into(),
            })?;
            own.insert(url.origin().ascii_serialization());
        }
        let unknown = client(&trust, None, Arc::clone(&clock))?;
        let known = match identity {
            Some(identity) => client(&trust, Some(identity), clock)?,
            None => unknown.clone(),
        };
        Ok(Self { own, known, unknown })
    }

    async fn get(&self, url: &Url, ask: &Ask, token: &str) -> Result<Response, BoxError> {
        let own = self.own.contains(&url.origin().ascii_serialization());
        let client = if own { &self.known } else { &self.unknown };
        let mut request = client.get(url.clone()).header(header::ACCEPT_ENCODING, "identity");
        if !token.is_empty() {
            request = request.header("x-bce-security-token", token);
        }
        if ask.from > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", ask.from));
            if let Some(validator) = &ask.validator {
                request = request.header(header::IF_RANGE, validator);
            }
        }
        // The address may be signed: it is kept out of the error.
        Ok(request.send().await.map_err(reqwest::Error::without_url)?)
    }
}

#[async_trait]
impl Source for HttpSource {
    async fn open(&self, ask: Ask) -> Result<Answer, BoxError> {
        let mut url = Url::parse(&ask.url)?;
        let mut token = ask.token.as_str();
        for _ in 0..=REDIRECTS {
            let response = self.get(&url, &ask, token).await?;
            let location =
                response.headers().get(header::LOCATION).filter(|_| response.status().is_redirection());
            let Some(location) = location else { return Ok(answer(response)) };
            let next = url.join(location.to_str()?)?;
            if url.scheme() == "https" && next.scheme() != "https" {
                return Err("the server redirects from https to an address without it".into());
            }
            if next.origin() != url.origin() {
                // A token is for the server that it was given for.
                token = "";
            }
            url = next;
        }
        Err("the server redirects more than 5 times".into())
    }
}

/// Objects cannot be fetched at all.
#[derive(Debug, thiserror::Error)]
#[error("objects cannot be fetched: {what} cannot be used")]
pub struct SourceError {
    what: String,
    #[source]
    source: BoxError,
}

struct HttpBody(Response);

#[async_trait]
impl Body for HttpBody {
    async fn chunk(&mut self) -> Result<Option<Bytes>, BoxError> {
        Ok(self.0.chunk().await.map_err(reqwest::Error::without_url)?)
    }
}

fn client(
    trust: &Trust,
    identity: Option<Arc<dyn Identity>>,
    clock: Arc<dyn Clock>,
) -> Result<Client, SourceError> {
    let failed = |source: BoxError| SourceError { what: "the TLS configuration".to_owned(), source };
    let tls = tls::client_config(trust, identity, clock).map_err(|error| failed(error.into()))?;
    Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(CONNECT_TIMEOUT)
        // Digests and ranges are those of the bytes as stored.
        .no_gzip()
        .redirect(redirect::Policy::none())
        .pool_max_idle_per_host(1)
        .build()
        .map_err(|error| failed(error.into()))
}

fn answer(response: Response) -> Answer {
    let headers = response.headers();
    let (start, total) = match response.status().as_u16() {
        206 => content_range(headers).unwrap_or((u64::MAX, None)),
        // Not `Response::content_length`: it hides the header where the body was decoded.
        _ => (0, text(headers, header::CONTENT_LENGTH).and_then(|length| length.parse().ok())),
    };
    let strong = text(headers, header::ETAG).filter(|tag| !tag.starts_with("W/"));
    let validator = strong.or_else(|| text(headers, header::LAST_MODIFIED)).map(str::to_owned);
    Answer { status: response.status().as_u16(), start, total, validator, body: Box::new(HttpBody(response)) }
}

/// Start and size in all from `bytes 100-199/200` or `bytes 100-199/*`.
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let range = text(headers, header::CONTENT_RANGE)?.strip_prefix("bytes ")?;
    let (span, total) = range.split_once('/')?;
    let (start, _) = span.split_once('-')?;
    Some((start.trim().parse().ok()?, total.trim().parse().ok()))
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}
