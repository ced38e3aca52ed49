//! What the three servers share: answers and errors in the original's form, bodies with a limit, gzip, and
//! the loop that accepts connections.

use std::convert::Infallible;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use baetyl_core_lib::clock::Random;
use baetyl_core_lib::error::Chain;
use baetyl_core_lib::task::TaskScope;
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, VARY};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::counts::Counts;
use crate::error::ServiceError;
use crate::pki::identity_of;

const REQUEST_ID: &str = "x-bce-request-id";
/// Answers below this are not worth compressing.
const WORTH: usize = 1024;
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Who is at the other end: namespace and node of a verified certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) identity: Option<(String, String)>,
}

/// An answer: JSON, or an error in the original's form.
pub(crate) type Answer = Result<Json<Value>, ServiceError>;

/// What a handler with nothing to say answers.
pub(crate) fn done(result: Result<(), ServiceError>) -> Answer {
    result.map(|()| Json(json!({ "success": true })))
}

impl IntoResponse for ServiceError {
    fn into_response(self) -> Response {
        if self.status() == 500 {
            tracing::error!(error = %Chain(&self), "request failed");
        }
        let status = StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = json!({ "code": self.code(), "message": self.to_string(), "requestId": "" });
        let mut response = (status, Json(body.clone())).into_response();
        let content_type = match self {
            Self::Body { .. } => "text/plain; charset=utf-8",
            _ => "application/json; charset=utf-8",
        };
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        response.extensions_mut().insert(Failure(body));
        response
    }
}

/// The body of an error, so that the request's id can be put into it.
#[derive(Clone)]
struct Failure(Value);

/// Reads a body, up to `limit`.
pub(crate) async fn read(body: Body, limit: usize) -> Result<Bytes, ServiceError> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ServiceError::TooLarge { limit }),
        Err(error) => Err(ServiceError::Body { reason: error.to_string() }),
    }
}

/// A router with what every server does: unknown routes, request ids, compression.
pub(crate) fn dress<S: Clone + Send + Sync + 'static>(
    routes: Router<S>,
    state: S,
    random: Arc<dyn Random>,
    (counts, server): (Counts, &'static str),
) -> Router {
    routes
        .fallback(unknown)
        .method_not_allowed_fallback(async || ServiceError::Route)
        .layer(middleware::from_fn(compress))
        .layer(middleware::from_fn(move |request, next| identify(Arc::clone(&random), request, next)))
        .layer(middleware::from_fn(move |request, next| counts.clone().count(server, request, next)))
        .with_state(state)
}

/// A trailing slash is redirected, as the original's router does; all else is unknown.
async fn unknown(request: Request) -> Response {
    let path = request.uri().path();
    let Some(shorter) =
        path.strip_suffix('/').filter(|shorter| !shorter.is_empty() && !shorter.starts_with("//"))
    else {
        return ServiceError::Route.into_response();
    };
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let Ok(target) = HeaderValue::from_str(&format!("{shorter}{query}")) else {
        return ServiceError::Route.into_response();
    };
    let get = request.method() == Method::GET;
    let status = if get { StatusCode::MOVED_PERMANENTLY } else { StatusCode::TEMPORARY_REDIRECT };
    let body = if get { format!("<a href=\"{shorter}\">Moved Permanently</a>.\n\n") } else { String::new() };
    (status, [(LOCATION, target), (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"))], body)
        .into_response()
}

async fn identify(random: Arc<dyn Random>, request: Request, next: Next) -> Response {
    let given = request.headers().get(REQUEST_ID).cloned();
    let mut response = next.run(request).await;
    if let (Some(Failure(mut body)), Some(id)) = (response.extensions_mut().remove::<Failure>(), &given) {
        body["requestId"] = Value::from(id.to_str().unwrap_or_default());
        response.headers_mut().remove(CONTENT_LENGTH);
        *response.body_mut() = Body::from(body.to_string());
    }
    let id = given.or_else(|| HeaderValue::from_str(&random.word(32)).ok());
    if let Some(id) = id {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// Compresses JSON answers where the client takes gzip and it is worth it.
async fn compress(request: Request, next: Next) -> Response {
    let takes = request.headers().get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    let takes = takes.is_some_and(|value| value.split(',').any(|item| item.trim().starts_with("gzip")));
    let response = next.run(request).await;
    let is_json = |headers: &HeaderMap| {
        headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/json"))
    };
    if !takes || !is_json(response.headers()) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(collected) = body.collect().await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let plain = collected.to_bytes();
    if plain.len() <= WORTH {
        return Response::from_parts(parts, Body::from(plain));
    }
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    match encoder.write_all(&plain).and_then(|()| encoder.finish()) {
        Ok(packed) => {
            parts.headers.remove(CONTENT_LENGTH);
            parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            parts.headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
            Response::from_parts(parts, Body::from(packed))
        }
        Err(_) => Response::from_parts(parts, Body::from(plain)),
    }
}

/// Accepts connections until `shutdown`, then lets what is under way end.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    shutdown: CancellationToken,
) {
    let scope = TaskScope::under(&shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            // Cancel-safe: a token stays cancelled.
            () = shutdown.cancelled() => break,
            // Cancel-safe: a connection that was not returned is accepted next time.
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                // Without it answers on kept connections wait for the client's acknowledgement.
                drop(stream.set_nodelay(true));
                let (tls, router, token) = (tls.clone(), router.clone(), scope.token().clone());
                scope.spawn("connection", async move {
                    match tls {
                        None => connection(stream, Peer { address, identity: None }, router, token).await,
                        Some(tls) => {
                            let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await
                            else {
                                tracing::debug!(peer = %address, "no TLS session");
                                return;
                            };
                            let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                            let identity = certificate.and_then(identity_of);
                            connection(stream, Peer { address, identity }, router, token).await;
                        }
                    }
                });
            }
            Err(error) => {
                // Out of file descriptors, usually: others must end first.
                tracing::warn!(error = %Chain(&error), "connection not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    scope.wait().await;
}

async fn connection<S>(stream: S, peer: Peer, router: Router, token: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = router.map_request(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(peer.clone());
        request.map(Body::new)
    });
    let service = TowerToHyperService::new(service.map_err(|error: Infallible| match error {}));
    let mut builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(30));
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(60))
        .keep_alive_timeout(Duration::from_secs(20));
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        biased;
        // Cancel-safe: the pinned connection is driven on below.
        result = connection.as_mut() => {
            if let Err(error) = result {
                tracing::debug!(error = %error, "connection ended");
            }
        }
        // Cancel-safe: a token stays cancelled.
        () = token.cancelled() => {
            connection.as_mut().graceful_shutdown();
            // Held polls end with the server: three seconds, as the original's grace.
            drop(tokio::time::timeout(Duration::from_secs(3), connection).await);
        }
    }
}
