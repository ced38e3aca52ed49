//! A small HTTP/1.1 server for a function from request to response: over TCP, TLS or a socket file that
//! only its owner may open.

use std::future::Future;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use baetyl_core_lib::api;
use baetyl_core_lib::task::TaskScope;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// The largest body of a request.
const MAX_BODY: usize = 1 << 20;
/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How many connections are served at once.
const MAX_CONNECTIONS: usize = 64;

/// Answers requests.
pub type Handler =
    Arc<dyn Fn(api::Request) -> Pin<Box<dyn Future<Output = api::Response> + Send>> + Send + Sync>;

/// Where to listen.
#[derive(Debug)]
pub enum Listener {
    /// Plain HTTP.
    Tcp(TcpListener),
    /// HTTPS.
    Tls(TcpListener, Arc<rustls::ServerConfig>),
    /// A socket file.
    Unix(UnixListener),
}

/// Binds a socket file that only its owner may open. A file that a killed process left is replaced.
///
/// # Errors
/// Those of the operating system.
pub fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let short = ShortPath::of(path)?;
    let listener = UnixListener::bind(&short.path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// A path of a socket file that is short enough for the operating system's 108 bytes, whatever folder it
/// lies in.
#[derive(Debug)]
pub struct ShortPath {
    /// The path to bind or connect, good as long as this value lives.
    pub path: PathBuf,
    _folder: Option<std::fs::File>,
}

impl ShortPath {
    /// The short form of `path`.
    ///
    /// # Errors
    /// When its folder cannot be opened.
    pub fn of(path: &Path) -> io::Result<Self> {
        if path.as_os_str().len() < 100 {
            return Ok(Self { path: path.to_owned(), _folder: None });
        }
        let folder = std::fs::File::open(path.parent().unwrap_or(Path::new(".")))?;
        let short = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string());
        Ok(Self { path: short.join(path.file_name().unwrap_or_default()), _folder: Some(folder) })
    }
}

/// Serves until the token is cancelled, then lets requests under way end.
pub async fn serve(listener: Listener, handler: Handler, shutdown: CancellationToken) {
    let connections = TaskScope::under(&shutdown);
    let room = Arc::new(tokio::sync::Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { break };
        let accepted = tokio::select! {
            biased;
            // Cancel-safe: a token stays cancelled.
            () = shutdown.cancelled() => break,
            // Cancel-safe: a connection that is not accepted stays in the queue.
            accepted = accept(&listener) => accepted,
        };
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                // Out of file numbers, most likely: do not spin.
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        let handler = Arc::clone(&handler);
        let token = connections.token().clone();
        connections.spawn("local connection", async move {
            let _place = place;
            match stream {
                Stream::Tcp(tcp) => connection(tcp, handler, token).await,
                Stream::Unix(unix) => connection(unix, handler, token).await,
                Stream::Tls(tcp, config) => {
                    let accept = TlsAcceptor::from(config).accept(tcp);
                    match tokio::time::timeout(HEAD_TIMEOUT, accept).await {
                        Ok(Ok(tls)) => connection(tls, handler, token).await,
                        Ok(Err(error)) => tracing::debug!(%error, "TLS not agreed on"),
                        Err(_) => {}
                    }
                }
            }
        });
    }
    connections.stop().await;
}

enum Stream {
    Tcp(tokio::net::TcpStream),
    Tls(tokio::net::TcpStream, Arc<rustls::ServerConfig>),
    Unix(tokio::net::UnixStream),
}

async fn accept(listener: &Listener) -> io::Result<Stream> {
    let tcp = |stream: tokio::net::TcpStream| stream.set_nodelay(true).map(|()| stream);
    match listener {
        Listener::Tcp(listener) => Ok(Stream::Tcp(tcp(listener.accept().await?.0)?)),
        Listener::Tls(listener, config) => {
            Ok(Stream::Tls(tcp(listener.accept().await?.0)?, Arc::clone(config)))
        }
        Listener::Unix(listener) => Ok(Stream::Unix(listener.accept().await?.0)),
    }
}

async fn connection<S>(stream: S, handler: Handler, token: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let handler = Arc::clone(&handler);
        async move { Ok::<_, std::convert::Infallible>(answer(request, &handler).await) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(64 * 1024);
    let connection = http.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        biased;
        // Cancel-safe: the connection is pinned outside and goes on below.
        ended = connection.as_mut() => ended,
        // Cancel-safe: a token stays cancelled.
        () = token.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

async fn answer(request: hyper::Request<Incoming>, handler: &Handler) -> hyper::Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let response = match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => {
            handler(api::Request {
                method: head.method.as_str().to_owned(),
                path: head.uri.path().to_owned(),
                query: head.uri.query().unwrap_or_default().to_owned(),
                body: body.to_bytes(),
            })
            .await
        }
        Err(error) => {
            api::Response::error(400, "RequestParamInvalid", &format!("body cannot be read: {error}"))
        }
    };
    let mut answer = hyper::Response::new(Full::new(response.body));
    *answer.status_mut() =
        hyper::StatusCode::from_u16(response.status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    answer
        .headers_mut()
        .insert(hyper::header::CONTENT_TYPE, hyper::header::HeaderValue::from_static(response.content_type));
    answer
}
