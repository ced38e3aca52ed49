//! A cloud on loopback: real TLS that asks for the node's certificate, real HTTP, answers from a function.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use baetyl_core_lib::clock::Clock;
use baetyl_core_lib::link::{Link, LinkError};
use baetyl_core_lib::task::TaskScope;
use baetyl_core_lib::testing::ManualClock;
use baetyl_sync::identity::FileIdentity;
use baetyl_sync::link::{HttpConfig, LinkConfig, connect};
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// A certificate authority and what it issued.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority");
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    pub(crate) fn pem(&self) -> Vec<u8> {
        self.issuer.pem().into_bytes()
    }

    /// Certificate and key in PEM, valid on loopback.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    pub(crate) fn node(&self) -> Arc<FileIdentity> {
        let (cert, key) = self.issue("baetyl-cloud.edge1");
        Arc::new(FileIdentity::load(cert.as_bytes(), key.as_bytes()).unwrap())
    }
}

/// A request as it came over the wire.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    pub(crate) connection: usize,
    pub(crate) version: String,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// What the cloud does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Answer {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: Vec<u8>,
    },
    /// Half of the body, then the connection is cut.
    Half,
    /// No answer: the stream or the connection is cut.
    HangUp,
    /// Nothing, ever.
    Silence,
    /// Nothing for so long, then this.
    Late(Duration, Box<Self>),
    /// Held until this number is known, which is the cursor of the news.
    Held(watch::Receiver<u32>, u32),
}

impl Act {
    pub(crate) fn json(status: u16, body: &str) -> Self {
        Self::Answer { status, headers: vec![], body: body.as_bytes().to_vec() }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        if let Self::Answer { headers, .. } = &mut self {
            headers.push((name, value.to_owned()));
        }
        self
    }
}

type Behaviour = Arc<dyn Fn(&Recorded) -> Act + Send + Sync>;

/// A cloud that is up until it is dropped.
pub(crate) struct Cloud {
    pub(crate) address: String,
    pub(crate) authority: Authority,
    recorded: Arc<Mutex<Vec<Recorded>>>,
    scope: TaskScope,
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.scope.token().cancel();
    }
}

impl Cloud {
    /// A cloud that speaks HTTP/2 and HTTP/1.1.
    pub(crate) async fn start(act: impl Fn(&Recorded) -> Act + Send + Sync + 'static) -> Self {
        Self::with_protocols(&["h2", "http/1.1"], act).await
    }

    pub(crate) async fn with_protocols(
        protocols: &[&str],
        act: impl Fn(&Recorded) -> Act + Send + Sync + 'static,
    ) -> Self {
        let authority = Authority::new();
        let acceptor = TlsAcceptor::from(Arc::new(server_config(&authority, protocols)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("https://{}", listener.local_addr().unwrap());
        let (recorded, scope) = (Arc::default(), TaskScope::new());
        let act: Behaviour = Arc::new(act);
        let cloud = Self { address, authority, recorded: Arc::clone(&recorded), scope: scope.clone() };
        let token = scope.token().clone();
        scope.clone().spawn("cloud", async move {
            let mut connection = 0;
            loop {
                let stream = tokio::select! {
                    biased;
                    // Cancel-safe: a token stays cancelled.
                    () = token.cancelled() => return,
                    // Cancel-safe by its contract.
                    accepted = listener.accept() => accepted.unwrap().0,
                };
                connection += 1;
                let (acceptor, act, recorded) = (acceptor.clone(), Arc::clone(&act), Arc::clone(&recorded));
                let token = token.clone();
                scope.spawn("connection", async move {
                    tokio::select! {
                        biased;
                        // Cancel-safe: a token stays cancelled.
                        () = token.cancelled() => {}
                        // Dropping it cuts the connection, as a cloud that dies does.
                        () = serve(stream, acceptor, connection, act, recorded) => {}
                    }
                });
            }
        });
        cloud
    }

    pub(crate) fn recorded(&self) -> Vec<Recorded> {
        self.recorded.lock().unwrap().clone()
    }

    /// What a node of this cloud is configured with.
    pub(crate) fn config(&self) -> HttpConfig {
        HttpConfig {
            address: self.address.clone(),
            ca_pem: Some(self.authority.pem()),
            timeout: Duration::from_secs(5),
            ..HttpConfig::default()
        }
    }

    /// A link of a node of this cloud.
    pub(crate) fn link(&self) -> Arc<dyn Link> {
        self.link_with(self.config()).unwrap()
    }

    pub(crate) fn link_with(&self, config: HttpConfig) -> Result<Arc<dyn Link>, LinkError> {
        connect(LinkConfig::Http(config), self.authority.node(), clock(), BTreeMap::new())
    }
}

pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(ManualClock::at("2026-06-01T00:00:00Z"))
}

/// A server that sends these bytes to whoever connects, whatever it speaks, and hangs up.
pub(crate) async fn babbler(scope: &TaskScope) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    let token = scope.token().clone();
    scope.spawn("babbler", async move {
        loop {
            tokio::select! {
                biased;
                // Cancel-safe: a token stays cancelled.
                () = token.cancelled() => return,
                // Cancel-safe by its contract.
                accepted = listener.accept() => {
                    let (mut stream, _) = accepted.unwrap();
                    stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await.ok();
                }
            }
        }
    });
    address
}

fn server_config(authority: &Authority, protocols: &[&str]) -> ServerConfig {
    let mut roots = RootCertStore::empty();
    roots.add(authority.issuer.der().clone()).unwrap();
    let provider = Arc::new(default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let (cert, key) = authority.issue("cloud");
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    config
}

async fn serve(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    connection: usize,
    act: Behaviour,
    recorded: Arc<Mutex<Vec<Recorded>>>,
) {
    stream.set_nodelay(true).unwrap();
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let service = service_fn(|request| answer(request, connection, Arc::clone(&act), Arc::clone(&recorded)));
    hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await
        .ok();
}

async fn answer(
    request: Request<Incoming>,
    connection: usize,
    act: Behaviour,
    recorded: Arc<Mutex<Vec<Recorded>>>,
) -> Result<Response<BoxBody<Bytes, io::Error>>, io::Error> {
    let (parts, body) = request.into_parts();
    let headers = parts.headers.iter();
    let request = Recorded {
        connection,
        version: format!("{:?}", parts.version),
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        headers: headers
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect(),
        body: body.collect().await.map_err(io::Error::other)?.to_bytes().to_vec(),
    };
    recorded.lock().unwrap().push(request.clone());
    let act = match act(&request) {
        Act::Late(pause, then) => {
            tokio::time::sleep(pause).await;
            *then
        }
        Act::Held(mut state, known) => match state.wait_for(|state| *state != known).await {
            Ok(state) => Act::json(200, &format!(r#"{{"cursor":"{}"}}"#, *state)),
            Err(_) => Act::Silence,
        },
        act => act,
    };
    match act {
        Act::Answer { status, headers, body } => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            let body = http_body_util::Full::new(Bytes::from(body));
            Ok(response.body(body.map_err(|never| match never {}).boxed()).unwrap())
        }
        Act::Half => {
            let parts = futures_util::stream::unfold(false, |begun| async move {
                if !begun {
                    return Some((Ok(Frame::data(Bytes::from_static(b"{\"apps\":["))), true));
                }
                // Until the first part is out.
                for _ in 0..50 {
                    tokio::task::yield_now().await;
                }
                Some((Err(io::Error::other("power is gone")), true))
            });
            Ok(Response::new(BodyExt::boxed(StreamBody::new(Box::pin(parts)))))
        }
        Act::HangUp => Err(io::Error::other("gone")),
        Act::Silence | Act::Late(..) | Act::Held(..) => std::future::pending().await,
    }
}
