//! The three servers over one cloud: started, found, run, stopped.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use baetyl_core_lib::clock::{Clock, Random};
use baetyl_core_lib::error::BoxError;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Admin};
use crate::counts::Counts;
use crate::edge::{self, Edge};
use crate::error::ServiceError;
use crate::http::{dress, serve};
use crate::init::{self, Init};
use crate::objects::ObjectFiles;
use crate::pki::{Pki, PkiError};
use crate::service::{Cloud, Settings};
use crate::store::{SqliteStore, StoreError};

/// The original's namespace, the only one of its open edition.
pub const NAMESPACE: &str = "baetyl-cloud";

/// What a cloud is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder that everything is kept in.
    pub data: PathBuf,
    /// Where people and tools reach it: plain HTTP.
    pub admin: SocketAddr,
    /// Where nodes reach it: TLS with client certificates.
    pub node: SocketAddr,
    /// Where devices without a certificate reach it: TLS.
    pub init: SocketAddr,
    /// The host name or address that nodes are told; the node address's own, else 127.0.0.1, when not given.
    pub public: Option<String>,
    /// The whole address that nodes are told, where something stands in between.
    pub node_url: Option<String>,
    /// More names and addresses for the server certificate.
    pub names: Vec<String>,
    /// The address of a native core's own API.
    pub core_api: String,
    /// The most bytes that one object may have.
    pub object_limit: u64,
}

impl Options {
    /// The defaults of the program, with this data folder.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            admin: SocketAddr::from(([127, 0, 0, 1], 9004)),
            node: SocketAddr::from(([0, 0, 0, 0], 9005)),
            init: SocketAddr::from(([0, 0, 0, 0], 9003)),
            public: None,
            node_url: None,
            names: Vec::new(),
            core_api: "127.0.0.1:8443".to_owned(),
            object_limit: 2 * 1024 * 1024 * 1024,
        }
    }
}

/// Where the servers listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// Plain HTTP for people and tools.
    pub admin: SocketAddr,
    /// TLS for nodes.
    pub node: SocketAddr,
    /// TLS for devices without a certificate.
    pub init: SocketAddr,
}

/// The cloud cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloudError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: choose another address with {flag}, or stop what uses it")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The flag that changes it.
        flag: &'static str,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The data folder cannot be used.
    #[error("the data folder {} cannot be used: choose another one with --data", path.display())]
    Data {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The certificate authority cannot be used.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The cloud cannot be put together.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls {
        /// What went wrong.
        #[source]
        source: BoxError,
    },
}

/// A cloud that listens, and answers once it runs.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use baetyl_cloud::system::{SystemClock, SystemRandom};
/// # use baetyl_cloud::{CloudError, Options, Server};
/// # use tokio_util::sync::CancellationToken;
/// # async fn start() -> Result<(), CloudError> {
/// let options = Options::new("cloud-data");
/// let server = Server::start(options, Arc::new(SystemClock), Arc::new(SystemRandom::default())).await?;
/// let admin = server.addresses().admin;
/// server.run(CancellationToken::new()).await;
/// # Ok(())
/// # }
/// ```
pub struct Server {
    cloud: Arc<Cloud>,
    pki: Arc<Pki>,
    store: Arc<SqliteStore>,
    files: ObjectFiles,
    random: Arc<dyn Random>,
    admin: TcpListener,
    node: TcpListener,
    init: TcpListener,
    addresses: Addresses,
    node_tls: TlsAcceptor,
    init_tls: TlsAcceptor,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl Server {
    /// Opens the data folder and binds the three addresses; port 0 takes a free one.
    ///
    /// # Errors
    /// [`CloudError`] names what is wrong and what to change.
    pub async fn start(
        options: Options,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, CloudError> {
        let (admin, admin_address) = listen(options.admin, "--admin").await?;
        let (node, node_address) = listen(options.node, "--node").await?;
        let (init, init_address) = listen(options.init, "--init").await?;
        let addresses = Addresses { admin: admin_address, node: node_address, init: init_address };
        private_folder(&options.data)?;

        let pki = Arc::new(Pki::open(&options.data, Arc::clone(&clock))?);
        let store = Arc::new(SqliteStore::open(&options.data.join("cloud.db")).await?);
        let host = options.public.clone().unwrap_or_else(|| host_of(node_address.ip()));
        let mut names = vec!["127.0.0.1".to_owned(), "::1".to_owned(), "localhost".to_owned(), host.clone()];
        names.extend(options.names);
        names.extend(options.node_url.as_deref().and_then(host_in).map(str::to_owned));
        names.sort();
        names.dedup();
        let (node_tls, init_tls) = acceptors(&pki, &names)?;

        let url = |port: u16| {
            if host.contains(':') {
                format!("https://[{host}]:{port}")
            } else {
                format!("https://{host}:{port}")
            }
        };
        let settings = Settings {
            namespace: NAMESPACE.to_owned(),
            node_url: options.node_url.unwrap_or_else(|| url(node_address.port())),
            init_url: url(init_address.port()),
            core_api: options.core_api,
        };
        let authority: Arc<Pki> = Arc::clone(&pki);
        let documents: Arc<SqliteStore> = Arc::clone(&store);
        let cloud = Arc::new(Cloud::open(documents, clock, Arc::clone(&random), authority, settings).await?);
        let files = ObjectFiles::new(options.data.join("objects"), options.object_limit);
        if let Err(error) = files.sweep().await {
            tracing::warn!(%error, "unfinished uploads not removed");
        }
        Ok(Self { cloud, pki, store, files, random, admin, node, init, addresses, node_tls, init_tls })
    }

    /// Where the servers listen.
    pub const fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The root certificate that nodes must trust, in PEM.
    pub fn ca_pem(&self) -> String {
        crate::service::Authority::ca_pem(&*self.pki)
    }

    /// The logic behind the servers.
    pub fn cloud(&self) -> Arc<Cloud> {
        Arc::clone(&self.cloud)
    }

    /// Answers until `shutdown`; then ends what is under way and closes the store.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { cloud, pki, store, files, random, admin, node, init, node_tls, init_tls, .. } = self;
        let counts = Counts::default();
        let admin_state = Admin {
            cloud: Arc::clone(&cloud),
            files: files.clone(),
            pki: Arc::clone(&pki),
            counts: counts.clone(),
        };
        let init_state = Init { cloud: Arc::clone(&cloud), files: files.clone(), pki };
        let admin_routes =
            dress(admin::routes(), admin_state, Arc::clone(&random), (counts.clone(), "admin"));
        let node_routes =
            dress(edge::routes(), Edge { cloud, files }, Arc::clone(&random), (counts.clone(), "node"));
        let init_routes = dress(init::routes(), init_state, random, (counts, "init"));
        tokio::join!(
            serve(admin, None, admin_routes, shutdown.clone()),
            serve(node, Some(node_tls), node_routes, shutdown.clone()),
            serve(init, Some(init_tls), init_routes, shutdown),
        );
        store.close().await;
    }
}

async fn listen(address: SocketAddr, flag: &'static str) -> Result<(TcpListener, SocketAddr), CloudError> {
    let fail = |source| CloudError::Listen { address, flag, source };
    let listener = TcpListener::bind(address).await.map_err(fail)?;
    let bound = listener.local_addr().map_err(fail)?;
    Ok((listener, bound))
}

/// The host of an address like `https://host:9005`.
fn host_in(url: &str) -> Option<&str> {
    let rest = url.split_once("://")?.1;
    let authority = rest.split('/').next()?;
    if let Some(literal) = authority.strip_prefix('[') {
        return literal.split(']').next();
    }
    authority.split(':').next().filter(|host| !host.is_empty())
}

fn host_of(address: IpAddr) -> String {
    if address.is_unspecified() { "127.0.0.1".to_owned() } else { address.to_string() }
}

fn private_folder(path: &std::path::Path) -> Result<(), CloudError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| CloudError::Data { path: path.to_owned(), source })
}

fn acceptors(pki: &Pki, names: &[String]) -> Result<(TlsAcceptor, TlsAcceptor), CloudError> {
    fn fail(source: impl Into<BoxError>) -> CloudError {
        CloudError::Tls { source: source.into() }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(pki.root()?).map_err(fail)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(fail)?;
    let (chain, key) = pki.server(names)?;
    let builder =
        || ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let mut node = builder()
        .map_err(fail)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.clone(), key.clone_key())
        .map_err(fail)?;
    let mut init =
        builder().map_err(fail)?.with_no_client_auth().with_single_cert(chain, key).map_err(fail)?;
    for config in [&mut node, &mut init] {
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    }
    Ok((TlsAcceptor::from(Arc::new(node)), TlsAcceptor::from(Arc::new(init))))
}
