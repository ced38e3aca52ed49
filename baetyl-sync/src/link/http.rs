//! The link over HTTP and mutual TLS: a request for each message, the content alone as the body, metadata as
//! headers (edge.md 5.3). Several addresses stand in for each other; the last good one is asked first.
//!
//! Knows when to ask the next address. When to ask again at all is the caller's business.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use baetyl_core_lib::clock::Clock;
use baetyl_core_lib::error::Chain;
use baetyl_core_lib::identity::Identity;
use baetyl_core_lib::link::{ChangeWait, Link, LinkError, LinkState};
use baetyl_core_lib::spec::{Kind, Message};
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Url};
use rustls::ClientConfig;

use self::answer::Answer;
use self::changes::{Changes, EXTENSION, OFFER};
use super::HttpConfig;
use crate::template::Templates;
use crate::tls::{self, Trust};

mod answer;
mod changes;

/// Requests below this are not worth packing.
const WORTH_PACKING: usize = 512;
/// The metadata of an answer that tells the cloud's time, RFC 3339; only where the cloud proved who it is.
const DATE: &str = "date";

/// Requests over HTTP.
#[derive(Debug)]
pub(super) struct HttpLink {
    tls: ClientConfig,
    client: Mutex<Client>,
    addresses: Vec<Address>,
    config: HttpConfig,
    templates: Templates,
    /// Which address answered last.
    good: AtomicUsize,
    state: Mutex<LinkState>,
    changes: Mutex<Changes>,
    /// Whether the cloud said that it takes packed requests.
    packs: AtomicBool,
}

/// One cloud, or one way to it.
#[derive(Debug)]
struct Address {
    /// As it was configured, without the slash at its end.
    text: String,
    /// Whether what it answers is certain to be the cloud's word.
    verified: bool,
}

impl HttpLink {
    pub(super) fn try_new(
        config: HttpConfig,
        identity: Arc<dyn Identity>,
        clock: Arc<dyn Clock>,
        env: BTreeMap<String, String>,
    ) -> Result<Self, LinkError> {
        let addresses =
            env.get("BAETYL_SYNC_ADDR").filter(|text| !text.is_empty()).unwrap_or(&config.address);
        let addresses = parse_addresses(addresses, config.insecure_skip_verify)?;
        let trust = match (&config.ca_pem, config.insecure_skip_verify) {
            (_, true) => Trust::Anything,
            (Some(pem), false) => Trust::SystemAnd(pem.clone()),
            (None, false) => Trust::System,
        };
        let tls = tls::client_config(&trust, Some(identity), clock)
            .map_err(|error| LinkError::Invalid { reason: Chain(&error).to_string() })?;
        let client = client(&config, tls.clone())
            .map_err(|error| LinkError::Invalid { reason: Chain(&error).to_string() })?;
        Ok(Self {
            tls,
            client: Mutex::new(client),
            addresses,
            config,
            templates: Templates::new(env),
            good: AtomicUsize::new(0),
            state: Mutex::default(),
            changes: Mutex::default(),
            packs: AtomicBool::new(false),
        })
    }

    /// Asks one address after the other until one has spoken; its index and its answer.
    async fn ask(&self, path: &str, headers: &HeaderMap, body: &Bytes) -> Result<(usize, Answer), LinkError> {
        let good = self.good.load(Ordering::Relaxed);
        let mut order = (0..self.addresses.len()).filter(|index| *index != good);
        let mut index = good;
        loop {
            match self.exchange(index, path, headers.clone(), body.clone(), self.config.timeout).await {
                Ok(answer) => {
                    self.good.store(index, Ordering::Relaxed);
                    return Ok((index, answer));
                }
                Err(error) if is_final(&error) => return Err(error),
                Err(error) => {
                    self.leave_silent_connection(&error);
                    let Some(next) = order.next() else { return Err(error) };
                    let address = &self.addresses[index].text;
                    tracing::warn!(address, error = %Chain(&error), "address failed, the next one is asked");
                    index = next;
                }
            }
        }
    }

    /// One request to one address.
    async fn exchange(
        &self,
        index: usize,
        path: &str,
        headers: HeaderMap,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Answer, LinkError> {
        let address = &self.addresses[index];
        let url = format!("{}/{}", address.text, path.trim_start_matches('/'));
        let client = lock(&self.client).clone();
        let sent = client.post(url).headers(headers).body(body).timeout(timeout).send().await;
        let response = sent.map_err(|error| answer::failure(error, &address.text, timeout))?;
        answer::read(response, address, self.config.max_answer_size, timeout).await
    }

    /// A connection that swallows requests can look alive for long, behind a proxy for ever: after a timeout
    /// the next request takes a new one. Requests that are still held keep the old one.
    fn leave_silent_connection(&self, error: &LinkError) {
        if !matches!(error, LinkError::Timeout { .. }) {
            return;
        }
        match client(&self.config, self.tls.clone()) {
            Ok(client) => *lock(&self.client) = client,
            Err(error) => tracing::warn!(error = %Chain(&error), "connection is kept"),
        }
    }

    async fn answered(&self, message: Message) -> Result<Message, LinkError> {
        let path = self.path(&message.kind)?;
        let reports = message.kind == Kind::Report;
        let mut headers = headers(&message)?;
        if reports {
            headers.insert(EXTENSION, HeaderValue::from_static(OFFER));
        }
        let kind = message.kind;
        let body = Bytes::from(String::from(Box::<str>::from(message.content)));
        let (size, limit) = (body.len(), self.config.max_request_size);
        if size > limit {
            let reason = format!("request of {size} bytes is larger than the {limit} that are allowed");
            return Err(LinkError::Invalid { reason });
        }
        let body = self.packed(&mut headers, body);
        let asked = self.ask(path, &headers, &body).await;
        if asked.is_err() {
            // Whoever answers next may take plain requests only.
            self.packs.store(false, Ordering::Relaxed);
        }
        let (index, answer) = asked?;
        let mut message = Message::new(kind);
        if let Some(date) = answer.date {
            message.meta.insert(DATE.to_owned(), date.to_string());
        }
        let offer = answer.header(EXTENSION).map(str::to_owned);
        let packs = answer.header(ACCEPT_ENCODING.as_str()).is_some_and(|taken| taken.contains("gzip"));
        message.content = answer.content(&self.addresses[index].text, &self.templates)?;
        if reports {
            lock(&self.changes).offered(index, offer.as_deref());
            self.packs.store(packs, Ordering::Relaxed);
        }
        Ok(message)
    }

    /// The body as it is sent: packed where the cloud takes that and it is worth it.
    fn packed(&self, headers: &mut HeaderMap, body: Bytes) -> Bytes {
        if body.len() <= WORTH_PACKING || !self.packs.load(Ordering::Relaxed) {
            return body;
        }
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        match encoder.write_all(&body).and_then(|()| encoder.finish()) {
            Ok(packed) => {
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                packed.into()
            }
            // Writing to memory does not fail; if it did, plain is as good.
            Err(_) => body,
        }
    }

    fn path(&self, kind: &Kind) -> Result<&str, LinkError> {
        match kind.as_str() {
            "report" | "deviceReport" | "thing.lifecycle.post" => Ok(&self.config.report_url),
            "desire" | "deviceDesire" | "multipleDeviceDesire" => Ok(&self.config.desire_url),
            other => {
                Err(LinkError::Invalid { reason: format!("messages of kind {other:?} cannot go over HTTP") })
            }
        }
    }
}

#[async_trait]
impl Link for HttpLink {
    async fn request(&self, message: Message) -> Result<Message, LinkError> {
        let result = self.answered(message).await;
        *lock(&self.state) = state_after(&result);
        result
    }

    fn state(&self) -> LinkState {
        lock(&self.state).clone()
    }

    fn changes(&self) -> Option<&dyn ChangeWait> {
        lock(&self.changes).is_offered().then_some(self as &dyn ChangeWait)
    }
}

/// How soon a sign of life that was not answered is asked for again, and how often.
const KEEPALIVE_AGAIN: Duration = Duration::from_secs(10);
const KEEPALIVE_TRIES: u32 = 3;

fn client(config: &HttpConfig, tls: ClientConfig) -> reqwest::Result<Client> {
    Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(concat!("baetyl/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(config.tls_handshake_timeout)
        .tcp_nodelay(true)
        .tcp_keepalive(config.keepalive)
        .tcp_keepalive_interval(KEEPALIVE_AGAIN)
        .tcp_keepalive_retries(KEEPALIVE_TRIES)
        .pool_idle_timeout(config.idle_conn_timeout)
        .pool_max_idle_per_host(config.max_idle_conns)
        .build()
}

/// Each change under these locks is one assignment: a panic elsewhere cannot leave it half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the cloud itself has spoken, so that another address would say the same. Something else at the
/// address, a stranger's web server say, knows no codes of the cloud.
fn is_final(error: &LinkError) -> bool {
    matches!(error, LinkError::Rejected { code, .. } if !code.is_empty())
        || matches!(error, LinkError::Invalid { .. })
}

fn state_after(result: &Result<Message, LinkError>) -> LinkState {
    match result {
        Ok(_) => LinkState::Succeeded,
        Err(LinkError::Rejected { status: 404, body, .. }) if body.contains("(node) resource") => {
            LinkState::NodeNotFound(body.clone())
        }
        Err(LinkError::Rejected { status, .. }) if !matches!(status, 401 | 403) => LinkState::Succeeded,
        Err(error) => LinkState::NetworkError(Chain(error).to_string()),
    }
}

fn headers(message: &Message) -> Result<HeaderMap, LinkError> {
    let mut headers = HeaderMap::new();
    for (name, value) in &message.meta {
        let pair = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(value).ok());
        let (name, value) = pair.ok_or_else(|| LinkError::Invalid {
            reason: format!("metadata {name:?} of a message cannot be a header"),
        })?;
        headers.insert(name, value);
    }
    let kind = HeaderValue::from_str(message.kind.as_str())
        .map_err(|_| LinkError::Invalid { reason: "kind of a message cannot be a header".to_owned() })?;
    headers.insert("kind", kind);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(headers)
}

fn parse_addresses(text: &str, insecure: bool) -> Result<Vec<Address>, LinkError> {
    let addresses = text
        .split(',')
        .map(|part| part.trim().trim_end_matches('/'))
        .filter(|part| !part.is_empty())
        .map(|part| match Url::parse(part) {
            Ok(url) if matches!(url.scheme(), "https" | "http") && url.has_host() => {
                Ok(Address { text: part.to_owned(), verified: url.scheme() == "https" && !insecure })
            }
            _ => Err(LinkError::Invalid {
                reason: format!("{part:?} is not an address of a cloud: write https://<host>:<port>"),
            }),
        })
        .collect::<Result<Vec<_>, _>>()?;
    if addresses.is_empty() {
        let reason = "the link has no address: set httplink.address or BAETYL_SYNC_ADDR".to_owned();
        return Err(LinkError::Invalid { reason });
    }
    Ok(addresses)
}
