//! The server for nodes (9005): who it is comes from the verified client certificate, nothing else.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::json;

use crate::error::ServiceError;
use crate::http::{Answer, Peer, done, read};
use crate::objects::ObjectFiles;
use crate::service::{Cloud, ReportContext};

const EXTENSION: &str = "x-baetyl-ext";
/// The most that a report or request may hold.
const MOST: usize = 8 * 1024 * 1024;
const HOLD: Duration = Duration::from_secs(50);

#[derive(Debug, Clone)]
pub(crate) struct Edge {
    pub(crate) cloud: Arc<Cloud>,
    pub(crate) files: ObjectFiles,
}

pub(crate) fn routes() -> Router<Edge> {
    Router::new()
        .route("/v1/sync/report", post(report))
        .route("/v1/sync/desire", post(desire))
        .route("/v1/sync/changes", post(changes))
        .route("/v1/objects/{sha256}", get(object))
        .route("/health", get(health))
}

async fn report(
    State(edge): State<Edge>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ServiceError> {
    let node = node(&edge, &peer)?;
    check_kind(&headers, "report")?;
    let body = unpacked(&headers, read(body, MOST).await?)?;
    let client_ip = peer.address.ip().to_string();
    let context = ReportContext { source: header(&headers, "source"), client_ip: &client_ip };
    let (delta, cursor) = edge.cloud.report(&node, context, &body).await?;
    let mut response = Json(delta).into_response();
    // Tells the node that its next requests may be packed (RFC 7694).
    response.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    if header(&headers, EXTENSION).split(',').any(|item| item.trim() == "changes/1")
        && let Ok(value) = HeaderValue::from_str(&format!("changes/1;cursor={cursor}"))
    {
        response.headers_mut().insert(EXTENSION, value);
    }
    Ok(response)
}

async fn desire(
    State(edge): State<Edge>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let node = node(&edge, &peer)?;
    check_kind(&headers, "desire")?;
    let body = unpacked(&headers, read(body, MOST).await?)?;
    Ok(Json(edge.cloud.desire_request(&node, &body).await?))
}

/// The body of a request, unpacked where it was packed.
fn unpacked(headers: &HeaderMap, body: Bytes) -> Result<Bytes, ServiceError> {
    if header(headers, CONTENT_ENCODING.as_str()) != "gzip" {
        return Ok(body);
    }
    let mut plain = Vec::new();
    // One byte more than is allowed tells that there is too much.
    let most = u64::try_from(MOST).unwrap_or(u64::MAX).saturating_add(1);
    flate2::read::GzDecoder::new(&*body)
        .take(most)
        .read_to_end(&mut plain)
        .map_err(|error| ServiceError::Body { reason: format!("it cannot be unpacked: {error}") })?;
    if plain.len() > MOST {
        return Err(ServiceError::TooLarge { limit: MOST });
    }
    Ok(plain.into())
}

async fn health(State(edge): State<Edge>, Extension(peer): Extension<Peer>) -> Answer {
    done(node(&edge, &peer).map(drop))
}

#[derive(Deserialize)]
struct Changes {
    #[serde(default)]
    cursor: String,
    /// Seconds.
    hold: Option<u64>,
}

async fn changes(
    State(edge): State<Edge>,
    Extension(peer): Extension<Peer>,
    body: Body,
) -> Result<Response, ServiceError> {
    let node = node(&edge, &peer)?;
    let body = read(body, 4096).await?;
    let request: Changes =
        serde_json::from_slice(&body).map_err(|error| ServiceError::Body { reason: error.to_string() })?;
    let hold = request.hold.map_or(HOLD, |seconds| Duration::from_secs(seconds.min(600)));
    Ok(match edge.cloud.changes(&node, &request.cursor, hold).await? {
        Some(cursor) => Json(json!({ "cursor": cursor })).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

async fn object(
    State(edge): State<Edge>,
    Extension(peer): Extension<Peer>,
    Path(sha256): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ServiceError> {
    let node = node(&edge, &peer)?;
    if !edge.cloud.knows(&node).await? {
        return Err(ServiceError::not_found("node", &node));
    }
    edge.files.serve(&sha256, &headers).await
}

fn node(edge: &Edge, peer: &Peer) -> Result<String, ServiceError> {
    match &peer.identity {
        Some((namespace, node)) if namespace == edge.cloud.namespace() => Ok(node.clone()),
        // A namespace that is not here has no nodes.
        Some((_, node)) => Err(ServiceError::not_found("node", node)),
        None => Err(ServiceError::Denied {
            reason: "the certificate's common name is not <namespace>.<node>".to_owned(),
        }),
    }
}

fn check_kind(headers: &HeaderMap, own: &str) -> Result<(), ServiceError> {
    match header(headers, "kind") {
        "" => Ok(()),
        kind if kind == own => Ok(()),
        kind => Err(ServiceError::invalid(format!("kind {kind:?} is not known here: use {own:?}"))),
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
