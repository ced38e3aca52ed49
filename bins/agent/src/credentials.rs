//! What lets a node in at its cloud: got once by activation, read again at each start.

use std::path::Path;
use std::sync::Arc;

use baetyl_core_lib::clock::Clock;
use baetyl_core_lib::durable::OsDisk;
use baetyl_core_lib::error::BoxError;
use baetyl_core_lib::identity::Identity;
use baetyl_core_lib::store::MemoryStore;
use baetyl_core_lib::task::{Blocking, Pool, blocking};
use baetyl_engine::host::{Host, HostClock, OsRandom};
use baetyl_sync::activate::{ActivateConfig, Activator, CertificateFiles, Facts};
use baetyl_sync::identity::FileIdentity;
use baetyl_sync::link::HttpConfig;
use tokio_util::sync::CancellationToken;

use crate::builder::BuildError;

/// What lets a node in at its cloud.
///
/// ```no_run
/// use baetyl::sync::activate::{ActivateConfig, BatchConfig, Proof};
/// use baetyl::{Agent, Credentials};
/// # async fn example(token: String) -> Result<(), Box<dyn std::error::Error>> {
/// let folder = std::path::Path::new("/var/lib/press");
/// let shutdown = tokio_util::sync::CancellationToken::new();
///
/// let batch = BatchConfig {
///     name: "presses".into(),
///     namespace: "baetyl-cloud".into(),
///     security_type: "Token".into(),
///     security_key: token,
///     mode: "native".into(),
/// };
/// let mut config = ActivateConfig::new(batch, "https://cloud.example:9003", Credentials::files(folder));
/// config.fingerprints = vec![Proof::parse("hostName", "")?];
///
/// let credentials = Credentials::obtain(config, shutdown.clone()).await?;
/// let builder = Agent::builder(folder, &credentials.namespace, &credentials.node_name)
///     .http(credentials.link("https://cloud.example:9005"), credentials.identity);
/// # drop(builder);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The cloud's namespace.
    pub namespace: String,
    /// The name that the node has there.
    pub node_name: String,
    /// The node's certificate and key.
    pub identity: Arc<dyn Identity>,
    /// The cloud's authority in PEM, where the cloud gave one.
    pub ca_pem: Option<Vec<u8>>,
    /// The cloud's address, where a person entered it on the activation page just now: it is kept nowhere.
    pub entered_address: Option<String>,
}

impl Credentials {
    /// Where they lie in an agent's folder, below `node` as in a stock installation.
    pub fn files(folder: impl AsRef<Path>) -> CertificateFiles {
        let file = |name| folder.as_ref().join("node").join(name);
        CertificateFiles { ca: file("ca.pem"), key: file("client.key"), cert: file("client.pem") }
    }

    /// Reads the files of a node that is activated; activates it first, with what this host says of itself
    /// as its fingerprint, where they are not there. Tries until a cloud takes the node.
    ///
    /// For serial numbers from files, or a key in hardware, use [`Activator`] itself.
    ///
    /// # Errors
    /// [`BuildError`] when the configuration or the files cannot be used, and when `shutdown` was cancelled.
    pub async fn obtain(config: ActivateConfig, shutdown: CancellationToken) -> Result<Self, BuildError> {
        let pool: Arc<dyn Blocking> = Arc::new(Pool::new(1));
        // The floor of the time comes from the agent's own store later; here the release date has to do.
        let clock: Arc<dyn Clock> =
            Arc::new(HostClock::open(Arc::new(MemoryStore::new()), crate::released()).await?);
        let known = Host::new("/", Arc::clone(&pool)).facts().map_err(failed)?;
        let facts = Facts {
            hostname: known.hostname,
            machine_id: known.machine_id,
            system_uuid: known.system_uuid,
            boot_id: known.boot_id,
            ..Facts::default()
        };
        let files = config.files.clone();
        let activator =
            Activator::try_new(config, facts, Arc::new(OsDisk), Arc::clone(&pool), clock, Arc::new(OsRandom))
                .map_err(failed)?;
        let activated = activator.run(shutdown).await.map_err(failed)?;
        let (identity, ca_pem) =
            blocking(&*pool, move || read(&files)).await.map_err(failed)?.map_err(failed)?;
        Ok(Self {
            namespace: activated.namespace,
            node_name: activated.node_name,
            identity: Arc::new(identity),
            ca_pem,
            entered_address: activated.sync_addr,
        })
    }

    /// The way to the cloud at this address, trusting its authority.
    pub fn link(&self, address: impl Into<String>) -> HttpConfig {
        HttpConfig { address: address.into(), ca_pem: self.ca_pem.clone(), ..HttpConfig::default() }
    }
}

fn read(files: &CertificateFiles) -> Result<(FileIdentity, Option<Vec<u8>>), BoxError> {
    let named = |path: &Path, error: std::io::Error| BoxError::from(format!("{}: {error}", path.display()));
    let whole = |path: &Path| std::fs::read(path).map_err(|error| named(path, error));
    let identity = FileIdentity::load(&whole(&files.cert)?, &whole(&files.key)?)?;
    let ca_pem = match std::fs::read(&files.ca) {
        Ok(pem) => Some(pem),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(named(&files.ca, error)),
    };
    Ok((identity, ca_pem))
}

fn failed(source: impl Into<BoxError>) -> BuildError {
    BuildError::Part { what: "certificate", source: source.into() }
}
