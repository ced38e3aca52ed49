//! Activation against clouds on loopback: ours, others', and broken ones.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use baetyl_core_lib::durable::OsDisk;
use baetyl_core_lib::spec::{ActiveRequest, ActiveResponse, Certificate};
use baetyl_core_lib::task::{Inline, TaskScope};
use baetyl_core_lib::testing::{ManualClock, SeededRandom};
use baetyl_sync::activate::{
    ActivateConfig, ActivateError, Activated, Activator, BatchConfig, CertificateFiles, Facts, Field, Proof,
};
use baetyl_sync::identity::FileIdentity;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, DistinguishedName,
    DnType, IsCa, KeyPair,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_util::sync::CancellationToken;

/// What the cloud answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reply {
    /// A certificate for the key of the request, as ours does.
    Certified,
    /// A key and its certificate, as others do.
    KeySent,
    /// A certificate for somebody else's key.
    Foreign,
    /// A certificate whose name has no namespace.
    Nameless,
    Refused(u16),
    Garbage,
    /// The connection ends in the middle of the answer.
    Half,
}

/// Path and body of each request.
type Asked = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

struct Cloud {
    address: String,
    ca: String,
    asked: Asked,
    scope: TaskScope,
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.scope.token().cancel();
    }
}

impl Cloud {
    async fn start(tls: bool, replies: &[Reply]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if tls { "https" } else { "http" };
        let address = format!("{scheme}://{}", listener.local_addr().unwrap());
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let ca = issuer.pem();
        let acceptor = tls.then(|| acceptor(&issuer));
        let (asked, scope): (Asked, _) = (Arc::default(), TaskScope::new());
        let served = Arc::new(Served {
            issuer,
            replies: Mutex::new(replies.iter().copied().collect()),
            asked: Arc::clone(&asked),
        });
        let cloud = Self { address, ca, asked, scope: scope.clone() };
        let token = scope.token().clone();
        scope.clone().spawn("cloud", async move {
            loop {
                let stream = tokio::select! {
                    biased;
                    // Cancel-safe: a token stays cancelled.
                    () = token.cancelled() => return,
                    // Cancel-safe by its contract.
                    accepted = listener.accept() => accepted.unwrap().0,
                };
                let (served, acceptor) = (Arc::clone(&served), acceptor.clone());
                scope.spawn("connection", async move {
                    let Some(acceptor) = acceptor else { return serve(stream, served).await };
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(stream, served).await;
                    }
                });
            }
        });
        cloud
    }

    fn requests(&self) -> Vec<ActiveRequest> {
        let asked = self.asked.lock().unwrap();
        asked.iter().map(|(_, body)| serde_json::from_slice(body).unwrap()).collect()
    }
}

struct Served {
    issuer: CertifiedIssuer<'static, KeyPair>,
    replies: Mutex<VecDeque<Reply>>,
    asked: Asked,
}

impl Served {
    fn answer(&self, request: &ActiveRequest, reply: Reply) -> ActiveResponse {
        let name = if reply == Reply::Nameless { "nameless" } else { "default.node-1" };
        let mut subject = DistinguishedName::new();
        subject.push(DnType::CommonName, name);
        let (cert, key) = if matches!(reply, Reply::KeySent | Reply::Foreign) {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::default();
            params.distinguished_name = subject;
            let sent = if reply == Reply::KeySent { key.serialize_pem() } else { String::new() };
            (params.signed_by(&key, &self.issuer).unwrap().pem(), sent)
        } else {
            let mut csr = CertificateSigningRequestParams::from_pem(&request.csr).unwrap();
            csr.params.distinguished_name = subject;
            (csr.signed_by(&self.issuer).unwrap().pem(), String::new())
        };
        let certificate = Certificate { ca: self.issuer.pem(), cert, key, ..Certificate::default() };
        ActiveResponse { certificate, ..ActiveResponse::default() }
    }
}

fn acceptor(issuer: &CertifiedIssuer<'static, KeyPair>) -> TlsAcceptor {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let cert = params.signed_by(&key, issuer).unwrap().pem();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap(),
        );
    TlsAcceptor::from(Arc::new(config.unwrap()))
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, served: Arc<Served>) {
    let service = service_fn(|request: Request<Incoming>| {
        let served = Arc::clone(&served);
        async move {
            let (path, kind) = (request.uri().path().to_owned(), request.headers()["content-type"].clone());
            assert_eq!((request.method().as_str(), kind.as_bytes()), ("POST", &b"application/json"[..]));
            let body = request.collect().await.unwrap().to_bytes().to_vec();
            served.asked.lock().unwrap().push((path, body.clone()));
            let reply = served.replies.lock().unwrap().pop_front().unwrap_or(Reply::Certified);
            let (status, text) = match reply {
                Reply::Refused(status) => (status, r#"{"code":"x","message":"token expired"}"#.to_owned()),
                Reply::Garbage => (200, "<html>welcome</html>".to_owned()),
                Reply::Half => (200, "{".to_owned()),
                reply => {
                    let answer = served.answer(&serde_json::from_slice(&body).unwrap(), reply);
                    (200, serde_json::to_string(&answer).unwrap())
                }
            };
            let mut response = Response::builder().status(status);
            if reply == Reply::Half {
                // More is promised than comes, and hyper hangs up.
                response = response.header("content-length", "1000");
            }
            Ok::<_, Infallible>(response.body(Full::new(Bytes::from(text))).unwrap())
        }
    });
    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
}

fn files(folder: &Path) -> CertificateFiles {
    let node = folder.join("node");
    CertificateFiles { ca: node.join("ca.pem"), key: node.join("client.key"), cert: node.join("client.pem") }
}

fn config(cloud: &Cloud, folder: &Path) -> ActivateConfig {
    let batch = BatchConfig {
        name: "batch".to_owned(),
        namespace: "default".to_owned(),
        security_type: "Token".to_owned(),
        security_key: "secret-token".to_owned(),
        mode: "native".to_owned(),
    };
    let mut config = ActivateConfig::new(batch, cloud.address.clone(), files(folder));
    config.interval = Duration::from_millis(1);
    config.fingerprints = vec![Proof::MachineId];
    config.attributes = vec![field("site", "berlin"), field("door", "")];
    config
}

fn field(name: &str, value: &str) -> Field {
    Field { name: name.to_owned(), value: value.to_owned(), ..Field::default() }
}

fn activator(config: ActivateConfig, clock: ManualClock) -> Result<Activator, ActivateError> {
    let facts = Facts { machine_id: "M-1".to_owned(), ..Facts::default() };
    let random = Arc::new(SeededRandom::new(1));
    Activator::try_new(config, facts, Arc::new(OsDisk), Arc::new(Inline), Arc::new(clock), random)
}

fn clock() -> ManualClock {
    ManualClock::at("2026-06-01T00:00:00Z")
}

async fn run(config: ActivateConfig) -> Result<Activated, ActivateError> {
    activator(config, clock())?.run(CancellationToken::new()).await
}

fn activated() -> Activated {
    Activated { node_name: "node-1".to_owned(), namespace: "default".to_owned(), sync_addr: None }
}

#[tokio::test]
async fn the_key_never_leaves_where_the_cloud_honours_the_request() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(true, &[]).await;
    let mut config = config(&cloud, folder.path());
    config.ca = Some(cloud.ca.clone().into_bytes());
    assert_eq!(run(config).await.unwrap(), activated());

    let files = files(folder.path());
    let (cert, key) = (std::fs::read(&files.cert).unwrap(), std::fs::read_to_string(&files.key).unwrap());
    FileIdentity::load(&cert, key.as_bytes()).unwrap();
    assert_eq!(std::fs::read_to_string(&files.ca).unwrap(), cloud.ca);
    for path in [&files.ca, &files.key, &files.cert] {
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let mode = std::fs::metadata(folder.path().join("node")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);

    let asked = cloud.asked.lock().unwrap().clone();
    assert_eq!(asked[0].0, "/v1/active");
    let sent = String::from_utf8(asked[0].1.clone()).unwrap();
    assert!(!sent.contains("PRIVATE KEY"));
    let secret: String = key.lines().filter(|line| !line.starts_with('-')).collect();
    assert!(!sent.contains(&secret[secret.len() - 40..]));
}

#[tokio::test]
async fn the_request_is_that_of_the_original_and_a_csr() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(false, &[]).await;
    run(config(&cloud, folder.path())).await.unwrap();
    let mut sent: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(&cloud.asked.lock().unwrap()[0].1).unwrap();
    let csr = sent.remove("csr").unwrap();
    assert!(csr.as_str().unwrap().starts_with("-----BEGIN CERTIFICATE REQUEST-----"));
    let expected = serde_json::json!({
        "batchName": "batch", "namespace": "default", "fingerprintValue": "M-1", "securityType": "Token",
        "securityValue": "secret-token", "mode": "native", "penetrateData": {"site": "berlin", "door": ""},
    });
    assert_eq!(serde_json::to_value(sent).unwrap(), expected);
}

#[tokio::test]
async fn a_key_that_another_cloud_sends_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(false, &[Reply::KeySent]).await;
    assert_eq!(run(config(&cloud, folder.path())).await.unwrap(), activated());
    let files = files(folder.path());
    FileIdentity::load(&std::fs::read(&files.cert).unwrap(), &std::fs::read(&files.key).unwrap()).unwrap();
}

#[tokio::test]
async fn a_cloud_that_answers_badly_is_asked_again_with_the_same_key() {
    let folder = tempfile::tempdir().unwrap();
    let bad = [
        Reply::Refused(401),
        Reply::Refused(500),
        Reply::Garbage,
        Reply::Half,
        Reply::Foreign,
        Reply::Nameless,
    ];
    let cloud = Cloud::start(false, &bad).await;
    assert_eq!(run(config(&cloud, folder.path())).await.unwrap(), activated());
    let requests = cloud.requests();
    assert_eq!(requests.len(), bad.len() + 1);
    let keys: Vec<_> = requests
        .iter()
        .map(|request| {
            let csr = CertificateSigningRequestParams::from_pem(&request.csr).unwrap();
            rcgen::PublicKeyData::der_bytes(&csr.public_key).to_vec()
        })
        .collect();
    assert!(keys.iter().all(|key| *key == keys[0]));
}

#[tokio::test]
async fn an_activated_node_asks_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(false, &[]).await;
    run(config(&cloud, folder.path())).await.unwrap();
    assert_eq!(run(config(&cloud, folder.path())).await.unwrap(), activated());
    assert_eq!(cloud.requests().len(), 1);
    // What the original leaves behind when it dies between certificate and key.
    std::fs::remove_file(files(folder.path()).key).unwrap();
    assert_eq!(run(config(&cloud, folder.path())).await.unwrap(), activated());
    assert_eq!(cloud.requests().len(), 2);
}

#[tokio::test]
async fn a_cloud_of_another_authority_and_a_clock_of_1970_are_waited_out() {
    let folder = tempfile::tempdir().unwrap();
    let (cloud, other) = (Cloud::start(true, &[]).await, Cloud::start(true, &[]).await);
    let stop = CancellationToken::new();
    let mut wrong = config(&cloud, folder.path());
    wrong.ca = Some(other.ca.clone().into_bytes());
    let waiting = activator(wrong, clock()).unwrap().run(stop.clone());
    let mut waiting = std::pin::pin!(waiting);
    assert!(tokio::time::timeout(Duration::from_millis(100), waiting.as_mut()).await.is_err(), "it goes on");
    stop.cancel();
    assert!(matches!(waiting.await, Err(ActivateError::Stopped)));
    assert!(cloud.requests().is_empty(), "the token is not shown to strangers");

    let clock = ManualClock::unset();
    let mut right = config(&cloud, folder.path());
    right.ca = Some(cloud.ca.clone().into_bytes());
    let waiting = activator(right, clock.clone()).unwrap().run(CancellationToken::new());
    let mut waiting = std::pin::pin!(waiting);
    assert!(tokio::time::timeout(Duration::from_millis(100), waiting.as_mut()).await.is_err(), "it goes on");
    clock.set("2026-06-01T00:00:00Z");
    assert_eq!(waiting.await.unwrap(), activated());
}

#[tokio::test]
async fn what_cannot_be_configured_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(false, &[]).await;
    let mut bad = config(&cloud, folder.path());
    bad.address = "nowhere".to_owned();
    let error = run(bad).await.unwrap_err().to_string();
    assert!(error.contains("init.active.address"), "{error}");
    let mut bad = config(&cloud, folder.path());
    bad.ca = Some(b"no PEM".to_vec());
    let error = run(bad).await.unwrap_err().to_string();
    assert!(error.contains("init.active.ca"), "{error}");
}

/// What a browser sees: status and body.
async fn browse(address: SocketAddr, method: &str, path: &str, form: &str) -> (String, String) {
    let mut stream = loop {
        // The page is served as soon as the activator runs.
        match TcpStream::connect(address).await {
            Ok(stream) => break stream,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let length = form.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: node\r\nconnection: close\r\ncontent-length: {length}\r\n\
         content-type: application/x-www-form-urlencoded\r\n\r\n{form}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[tokio::test]
async fn the_page_asks_a_person_and_goes_away_after_the_first_success() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(false, &[Reply::Refused(401), Reply::Refused(401)]).await;
    let listen = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut config = config(&cloud, folder.path());
    config.address = String::new();
    config.listen = Some(listen);
    config.fingerprints = vec![Proof::Input("door".to_owned())];
    config.serial = vec![field("plate", "")];
    let running = activator(config, clock()).unwrap().run(CancellationToken::new());
    let form = format!(
        "door=D%201&plate=7&namespace=default&batch=b2&syncAddr=https%3A%2F%2Fc&initAddr={}",
        cloud.address
    );
    let person = async {
        let (status, page) = browse(listen, "GET", "/", "").await;
        assert!(
            status.contains("200") && page.contains(r#"name="door""#) && page.contains(r#"name="plate""#)
        );
        assert!(browse(listen, "GET", "/update", "").await.0.contains("405"));
        assert!(browse(listen, "GET", "/else", "").await.0.contains("404"));
        let (status, page) = browse(listen, "POST", "/active", &form).await;
        assert!(status.contains("500") && page.contains("init.batch.securityType"), "{page}");
        let (status, page) = browse(listen, "POST", "/update", &form).await;
        assert!(
            status.contains("200") && page.contains("was not activated") && page.contains("token expired")
        );
        browse(listen, "POST", "/update", &form).await
    };
    let (result, (status, page)) = tokio::join!(running, person);
    assert!(status.contains("200") && page.contains("This node is activated"), "{status} {page}");
    assert_eq!(result.unwrap(), Activated { sync_addr: Some("https://c".to_owned()), ..activated() });
    let request = cloud.requests().pop().unwrap();
    assert_eq!((request.batch_name.as_str(), request.fingerprint_value.as_str()), ("b2", "D 1"));
    let data = [("door", "D 1"), ("plate", "7"), ("site", "berlin")];
    assert_eq!(request.penetrate_data, data.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    assert!(TcpStream::connect(listen).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_busy_port_for_the_page_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(false, &[]).await;
    let busy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = config(&cloud, folder.path());
    config.listen = Some(busy.local_addr().unwrap());
    let error = run(config).await.unwrap_err().to_string();
    assert!(error.contains("free that address"), "{error}");
}
