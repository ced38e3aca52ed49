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
use hyper::body::{Body as _, Incoming};
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
    // One that says beforehand that it is too large is not read at all.
    let said = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if said > MAX_BODY {
        let reason = format!("body of {said} bytes: {MAX_BODY} are taken at most");
        return dress(api::Response::error(413, "RequestParamInvalid", &reason));
    }
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
    dress(response)
}

fn dress(response: api::Response) -> hyper::Response<Full<Bytes>> {
    let mut answer = hyper::Response::new(Full::new(response.body));
    *answer.status_mut() =
        hyper::StatusCode::from_u16(response.status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    answer
        .headers_mut()
        .insert(hyper::header::CONTENT_TYPE, hyper::header::HeaderValue::from_static(response.content_type));
    answer
}

#[cfg(all(test, feature = "process", feature = "http", feature = "activate", feature = "pki"))]
mod tests {
    use super::*;
    use crate::cli::client;

    fn echo() -> Handler {
        Arc::new(|request| {
            Box::pin(async move {
                match request.path.as_str() {
                    "/echo" => api::Response::json(&(request.method, request.query)),
                    _ => api::Response::error(404, "NotFound", "there is no such thing"),
                }
            })
        })
    }

    #[tokio::test]
    async fn only_the_owner_may_open_the_socket_however_deep_it_lies() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("d".repeat(60)).join("e".repeat(60));
        for socket in [folder.path().join("core.sock"), deep.join("core.sock")] {
            // A file that a killed process left is no obstacle.
            drop(bind_unix(&socket).unwrap());
            let listener = bind_unix(&socket).unwrap();
            let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", socket.display());
            let shutdown = CancellationToken::new();
            let tasks = TaskScope::new();
            tasks.spawn("server", serve(Listener::Unix(listener), echo(), shutdown.clone()));
            let answer = client::get(&socket, "/echo?a=1").await.unwrap();
            assert_eq!(answer, serde_json::json!(["GET", "a=1"]));
            let refused = client::post(&socket, "/nothing").await.unwrap_err();
            assert_eq!(refused.to_string(), "there is no such thing");
            shutdown.cancel();
            tasks.wait().await;
            let gone = client::get(&socket, "/echo").await.unwrap_err();
            assert_eq!(gone.code(), 75, "{gone}");
        }
    }

    #[tokio::test]
    async fn a_body_that_is_too_large_is_refused_and_the_server_lives_on() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tasks = TaskScope::new();
        let shutdown = CancellationToken::new();
        tasks.spawn("server", serve(Listener::Tcp(listener), echo(), shutdown.clone()));
        for (size, status) in [(MAX_BODY + 1, "413"), (10, "200")] {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let head = format!(
                "PUT /echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {size}\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            if size < MAX_BODY {
                stream.write_all(&vec![b'x'; size]).await.unwrap();
            }
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            let answer = String::from_utf8_lossy(&answer).into_owned();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{size}: {answer}");
        }
        shutdown.cancel();
        tasks.wait().await;
    }
}
