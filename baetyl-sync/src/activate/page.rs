//! The page on which a person enters what the node cannot know (edge.md 3.5).
//!
//! Nothing is tried before somebody asks for it here. The server goes away with the first success.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use baetyl_core_lib::error::Chain;
use baetyl_core_lib::task::TaskScope;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use reqwest::Url;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{ActivateError, Activated, Activator, Order};

mod html;

const CONNECTIONS: usize = 16;
/// How long one connection may last: a person types into the page, not into the connection.
const LONGEST: Duration = Duration::from_secs(120);
const LARGEST_FORM: usize = 64 * 1024;

type Fields = BTreeMap<String, String>;
/// A form, and whom to tell how it went.
type Entered = (Fields, oneshot::Sender<Result<(), String>>);

/// What connections share.
#[derive(Debug)]
struct Page {
    form: String,
    entered: mpsc::Sender<Entered>,
}

/// Serves the page until an activation that was asked for there has succeeded.
pub(super) async fn serve(
    activator: &Activator,
    listen: SocketAddr,
    shutdown: &CancellationToken,
) -> Result<Activated, ActivateError> {
    let bound = TcpListener::bind(listen).await;
    let listener = bound.map_err(|source| ActivateError::Listen { listen, source: source.into() })?;
    tracing::info!(%listen, "activation page is served");
    let (sender, mut entered) = mpsc::channel::<Entered>(1);
    let config = &activator.config;
    let form = html::form(&config.attributes, &config.nodeinfo, &config.serial);
    let page = Arc::new(Page { form, entered: sender });
    let scope = TaskScope::under(shutdown);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut known = None;
    let result = loop {
        tokio::select! {
            biased;
            // Connections are told through the scope.
            () = shutdown.cancelled() => break Err(ActivateError::Stopped),
            // A form stays in the channel until it is taken.
            Some((fields, done)) = entered.recv() => {
                let order = order(activator, &fields);
                let Some(tried) = shutdown.run_until_cancelled(Box::pin(activator.attempt(&order))).await else {
                    break Err(ActivateError::Stopped);
                };
                match tried {
                    Ok(activated) => {
                        // The browser may have gone; the node is activated all the same.
                        drop(done.send(Ok(())));
                        break Ok(activated);
                    }
                    Err(failure) => {
                        activator.tell(&failure, &mut known);
                        drop(done.send(Err(Chain(&failure).to_string())));
                    }
                }
            }
            // A connection that was not accepted waits in the operating system.
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
                        let (page, token) = (Arc::clone(&page), scope.token().clone());
                        scope.spawn("activation page", async move {
                            connection(stream, page, token).await;
                            drop(place);
                        });
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "activation page cannot accept a connection");
                    sleep(Duration::from_millis(200)).await;
                }
            },
        }
    };
    // Forms that wait are told that there is nobody any more.
    drop(entered);
    scope.stop().await;
    result
}

/// What a form asks for: its values where it has them, the configured ones where not.
fn order(activator: &Activator, fields: &Fields) -> Order {
    let config = &activator.config;
    let entered = |name: &str| fields.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
    let mut order = activator.order();
    for field in &config.attributes {
        if let Some(value) = entered(&field.name) {
            order.data.insert(field.name.clone(), value.to_owned());
        }
    }
    for field in config.nodeinfo.iter().chain(&config.serial) {
        order.data.insert(field.name.clone(), entered(&field.name).unwrap_or_default().to_owned());
    }
    for (name, place) in
        [("batch", &mut order.batch), ("namespace", &mut order.namespace), ("initAddr", &mut order.address)]
    {
        if let Some(value) = entered(name) {
            value.clone_into(place);
        }
    }
    order.sync_addr = entered("syncAddr").map(str::to_owned);
    order
}

async fn connection(stream: TcpStream, page: Arc<Page>, token: CancellationToken) {
    let service = service_fn(move |request| {
        let page = Arc::clone(&page);
        async move { Ok::<_, Infallible>(page.answer(request).await) }
    });
    let serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    let ended = tokio::select! {
        biased;
        // The answer under way is still given.
        () = token.cancelled() => {
            serving.as_mut().graceful_shutdown();
            timeout(Duration::from_secs(5), serving).await
        }
        // The connection is finished in the other arm.
        ended = timeout(LONGEST, serving.as_mut()) => ended,
    };
    if let Ok(Err(error)) = ended {
        tracing::debug!(%error, "connection to the activation page broke off");
    }
}

impl Page {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        match (request.method() == Method::POST, request.uri().path()) {
            (_, "/") => html_of(StatusCode::OK, self.form.clone()),
            (true, "/update") => match self.activate(request).await {
                Ok(Ok(())) => html_of(StatusCode::OK, html::SUCCESS.to_owned()),
                Ok(Err(reason)) => html_of(StatusCode::OK, html::failed(&reason)),
                Err(status) => text(status, "the form cannot be read"),
            },
            (true, "/active") => match self.activate(request).await {
                Ok(Ok(())) => text(StatusCode::OK, "active success"),
                Ok(Err(reason)) => text(StatusCode::INTERNAL_SERVER_ERROR, &reason),
                Err(status) => text(status, "the form cannot be read"),
            },
            (false, "/update" | "/active") => text(StatusCode::METHOD_NOT_ALLOWED, "use POST"),
            _ => text(StatusCode::NOT_FOUND, "there is no such page"),
        }
    }

    async fn activate(&self, request: Request<Incoming>) -> Result<Result<(), String>, StatusCode> {
        let body = Limited::new(request.into_body(), LARGEST_FORM).collect().await;
        let body = body.map_err(|_| StatusCode::BAD_REQUEST)?.to_bytes();
        let fields = fields(&body).ok_or(StatusCode::BAD_REQUEST)?;
        let (done, result) = oneshot::channel();
        let gone = || Err("the node is being activated or stopped already".to_owned());
        if self.entered.send((fields, done)).await.is_err() {
            return Ok(gone());
        }
        Ok(result.await.unwrap_or_else(|_| gone()))
    }
}

/// The fields of a form as browsers send it.
fn fields(body: &[u8]) -> Option<Fields> {
    let body = std::str::from_utf8(body).ok()?;
    // A form has the shape of a query, and this is a parser of queries.
    let mut url = Url::parse("http://form/").ok()?;
    url.set_query(Some(body));
    Some(url.query_pairs().into_owned().collect())
}

fn html_of(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    response(status, "text/html; charset=utf-8", body)
}

fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", body.to_owned())
}

fn response(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    // Nobody else may put the form into a page of his own.
    headers.insert(header::X_FRAME_OPTIONS, header::HeaderValue::from_static("DENY"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read_as_browsers_send_them() {
        let found = fields(b"a=1+2&b=%E4%BD%A0&c=&d=x%26y#z").unwrap();
        let expected = [("a", "1 2"), ("b", "你"), ("c", ""), ("d", "x&y#z")];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        assert_eq!(fields(b"\xff"), None);
    }
}
