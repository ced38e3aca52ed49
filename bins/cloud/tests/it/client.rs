//! A cloud of a test's own, and a small HTTP client.

use std::sync::Arc;

use baetyl_cloud::system::{SystemClock, SystemRandom};
use baetyl_cloud::{Options, Server};
use baetyl_core_lib::clock::Clock;
use baetyl_core_lib::task::TaskScope;
use baetyl_core_lib::testing::ManualClock;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;

/// A running cloud; stopped when dropped.
pub(crate) struct Running {
    pub(crate) cloud: Arc<baetyl_cloud::service::Cloud>,
    pub(crate) addresses: baetyl_cloud::Addresses,
    ca: String,
    scope: TaskScope,
    _folder: tempfile::TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.scope.token().cancel();
    }
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) bytes: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&self.bytes).into_owned()))
    }
}

/// Certificate and key in PEM.
pub(crate) type Pair = (String, String);

impl Running {
    pub(crate) async fn start() -> Self {
        Self::with(Arc::new(SystemClock)).await
    }

    /// A cloud whose clock stands still: all that is made is of the same second, however slow the machine.
    pub(crate) async fn in_one_second() -> Self {
        Self::with(Arc::new(ManualClock::at(&SystemClock.now().to_string()))).await
    }

    async fn with(clock: Arc<dyn Clock>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = Options::new(folder.path());
        let any = "127.0.0.1:0".parse().unwrap();
        (options.admin, options.node, options.init) = (any, any, any);
        options.object_limit = 1024 * 1024;
        let server = Server::start(options, clock, Arc::new(SystemRandom::default())).await.unwrap();
        let (cloud, addresses, ca) = (server.cloud(), server.addresses(), server.ca_pem());
        let scope = TaskScope::new();
        let token = scope.token().clone();
        scope.spawn("cloud", async move { server.run(token).await });
        Self { cloud, addresses, ca, scope, _folder: folder }
    }

    /// A certificate as the cloud gives it to a node.
    pub(crate) fn pair(&self, common_name: &str) -> Pair {
        self.cloud.authority().issue(common_name).unwrap()
    }

    pub(crate) async fn admin(&self, method: &str, path: &str, body: impl Into<Bytes>) -> Answer {
        let stream = TcpStream::connect(self.addresses.admin).await.unwrap();
        send(stream, method, path, &[], body.into()).await
    }

    pub(crate) async fn admin_json(&self, method: &str, path: &str, body: Value) -> Value {
        let answer = self.admin(method, path, body.to_string()).await;
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.json());
        answer.json()
    }

    pub(crate) async fn node(
        &self,
        pair: &Pair,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let stream = self.tls(self.addresses.node, Some(pair)).await.unwrap();
        send(stream, method, path, headers, body.into()).await
    }

    pub(crate) async fn init(&self, method: &str, path: &str, body: impl Into<Bytes>) -> Answer {
        let stream = self.tls(self.addresses.init, None).await.unwrap();
        send(stream, method, path, &[], body.into()).await
    }

    pub(crate) async fn tls(
        &self,
        address: std::net::SocketAddr,
        pair: Option<&Pair>,
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.ca.as_bytes()).unwrap()).unwrap();
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match pair {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let cert = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![cert], key).unwrap()
            }
        };
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }
}

/// One request on a connection of its own.
pub(crate) async fn try_send<S>(
    stream: S,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> hyper::Result<Answer>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let scope = TaskScope::new();
    scope.spawn("client", async move { drop(connection.await) });
    let mut request = http::Request::builder().method(method).uri(path).header("host", "cloud.test");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = sender.send_request(request.body(Full::new(body)).unwrap()).await?;
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await?.to_bytes();
    Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, bytes })
}

async fn send<S>(stream: S, method: &str, path: &str, headers: &[(&str, &str)], body: Bytes) -> Answer
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    try_send(stream, method, path, headers, body).await.unwrap()
}
