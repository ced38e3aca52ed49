//! First contact: from a batch token to the node's certificate (edge.md 3).
//!
//! Owns the request, the fingerprint, the page on which a person enters what is missing, and the order in
//! which the files are written. Knows nothing of links and desires.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use baetyl_core_lib::backoff::Backoff;
use baetyl_core_lib::clock::{Clock, Random, Trust as ClockTrust};
use baetyl_core_lib::durable::Disk;
use baetyl_core_lib::error::{BoxError, Chain};
use baetyl_core_lib::spec::ActiveRequest;
use baetyl_core_lib::task::{Blocking, blocking};
use reqwest::Client;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

mod ask;
mod config;
#[cfg(test)]
mod crash;
mod files;
mod fingerprint;
mod page;

pub use self::config::{ActivateConfig, BatchConfig, Field};
pub use self::files::CertificateFiles;
pub use self::fingerprint::{Facts, FingerprintError, Proof};

use crate::tls::Trust;

/// What activation gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activated {
    /// The node's name, from its certificate.
    pub node_name: String,
    /// The cloud's namespace, from its certificate.
    pub namespace: String,
    /// The address of the cloud that a person entered on the page: to be kept and used for the link.
    pub sync_addr: Option<String>,
}

/// Activation cannot go on. What may still come right is tried again and never an error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ActivateError {
    /// The configuration cannot be used.
    #[error("{what} cannot be used: {reason}")]
    Config {
        /// The key in the configuration file.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
        /// What went wrong.
        #[source]
        source: Option<BoxError>,
    },
    /// The page cannot be served.
    #[error(
        "the activation page cannot be served at {listen}: free that address or change init.active.collector.server.listen"
    )]
    Listen {
        /// Where.
        listen: SocketAddr,
        /// What went wrong.
        #[source]
        source: BoxError,
    },
    /// The files of the node cannot be looked at.
    #[error("the node's certificate {path:?} cannot be read")]
    Files {
        /// The certificate.
        path: String,
        /// What went wrong.
        #[source]
        source: BoxError,
    },
    /// It was told to stop.
    #[error("stopped before the node was activated")]
    Stopped,
}

/// Why one try failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Fingerprint(#[from] FingerprintError),
    #[error("{address:?} is no address to activate at: give one that starts with https://")]
    Address { address: String },
    #[error("{address} refused to activate this node with {status} {told:?}: {hint}")]
    Refused { address: String, status: u16, told: String, hint: &'static str },
    #[error("{address} gave no answer to the activation")]
    Unreachable {
        address: String,
        #[source]
        source: BoxError,
    },
    #[error("the answer to the activation cannot be read: {reason}")]
    Garbled { reason: String },
    #[error("the certificate in the answer cannot be used")]
    Certificate {
        #[source]
        source: BoxError,
    },
    #[error("the node's key and certificate could not be made or written")]
    Files {
        #[source]
        source: BoxError,
    },
}

/// What a try sends: the configuration, and what a person entered over it.
#[derive(Debug, Clone)]
struct Order {
    batch: String,
    namespace: String,
    address: String,
    data: BTreeMap<String, String>,
    sync_addr: Option<String>,
}

/// Activates the node.
///
/// ```no_run
/// use std::sync::Arc;
///
/// use baetyl_core_lib::clock::{Clock, Random};
/// use baetyl_core_lib::durable::OsDisk;
/// use baetyl_core_lib::task::Pool;
/// use baetyl_sync::activate::{ActivateConfig, Activator, BatchConfig, CertificateFiles, Facts, Proof};
/// use tokio_util::sync::CancellationToken;
///
/// # async fn activate(
/// #     clock: Arc<dyn Clock>, random: Arc<dyn Random>, shutdown: CancellationToken,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// let batch = BatchConfig { name: "factory".into(), namespace: "default".into(), ..BatchConfig::default() };
/// let files = CertificateFiles { ca: "ca.pem".into(), key: "client.key".into(), cert: "client.pem".into() };
/// let mut config = ActivateConfig::new(batch, "https://cloud:9003", files);
/// config.fingerprints = vec![Proof::parse("hostName", "")?];
/// let facts = Facts { hostname: "gate-7".into(), ..Facts::default() };
/// let (disk, pool) = (Arc::new(OsDisk), Arc::new(Pool::new(1)));
/// let node = Activator::try_new(config, facts, disk, pool, clock, random)?.run(shutdown).await?;
/// # let _: String = node.node_name;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Activator {
    config: ActivateConfig,
    facts: Facts,
    client: Client,
    disk: Arc<dyn Disk>,
    pool: Arc<dyn Blocking>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

impl Activator {
    /// Checks the configuration. Starts nothing.
    ///
    /// # Errors
    /// [`ActivateError::Config`] when the authority cannot be read, or without a page the address is none.
    pub fn try_new(
        config: ActivateConfig,
        facts: Facts,
        disk: Arc<dyn Disk>,
        pool: Arc<dyn Blocking>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, ActivateError> {
        let trust = match (&config.ca, config.insecure_skip_verify) {
            (_, true) => Trust::Anything,
            (Some(pem), false) => Trust::Only(pem.clone()),
            (None, false) => Trust::System,
        };
        if let (None, Err(bad)) = (config.listen, ask::url(&config.address, &config.url)) {
            let reason = "it is no address".to_owned();
            return Err(ActivateError::Config {
                what: "init.active.address",
                reason,
                source: Some(bad.into()),
            });
        }
        let client = ask::client(&trust, config.timeout, Arc::clone(&clock))?;
        Ok(Self { config, facts, client, disk, pool, clock, random })
    }

    /// Runs until the node is activated: at once where its certificate is here, else until a cloud gives
    /// one. Tries for ever; what fails is logged when it begins to fail so.
    ///
    /// # Errors
    /// [`ActivateError::Stopped`] when `shutdown` was cancelled, and when the page cannot be served or the
    /// files cannot be looked at.
    pub async fn run(self, shutdown: CancellationToken) -> Result<Activated, ActivateError> {
        let files = self.config.files.clone();
        let found = self.blocking(move |disk| files::current(disk, &files)).await;
        let found = found.and_then(|found| found.map_err(BoxError::from));
        match found {
            Ok(None) => {}
            Ok(Some(name)) => {
                return Ok(Activated { node_name: name.node, namespace: name.namespace, sync_addr: None });
            }
            Err(source) => {
                let path = self.config.files.cert.display().to_string();
                return Err(ActivateError::Files { path, source });
            }
        }
        match self.config.listen {
            Some(listen) => page::serve(&self, listen, &shutdown).await,
            None => self.knock(&shutdown).await,
        }
    }

    async fn knock(&self, shutdown: &CancellationToken) -> Result<Activated, ActivateError> {
        // From the second step on, jitter leaves at least the interval. Only silence makes the node ask less.
        let wait = self.config.interval;
        let backoff = Backoff { min: wait, max: wait.saturating_mul(4), factor: 2 };
        let mut known = None;
        let mut failures = 1;
        let order = self.order();
        loop {
            let failure = tokio::select! {
                biased;
                // Nothing is lost: the files are written whole or not at all.
                () = shutdown.cancelled() => return Err(ActivateError::Stopped),
                // The other arm ends the whole run.
                result = Box::pin(self.attempt(&order)) => match result {
                    Ok(activated) => return Ok(activated),
                    Err(failure) => failure,
                },
            };
            self.tell(&failure, &mut known);
            failures = if matches!(failure, Failure::Unreachable { .. }) { failures + 1 } else { 2 };
            let delay = backoff.delay(failures, self.random.next_u32());
            tokio::select! {
                biased;
                // Sleeping loses nothing.
                () = shutdown.cancelled() => return Err(ActivateError::Stopped),
                // As above.
                () = sleep(delay) => {}
            }
        }
    }

    /// Logs a failure when it is another than the last one.
    fn tell(&self, failure: &Failure, known: &mut Option<String>) {
        let text = Chain(failure).to_string();
        if known.as_ref() == Some(&text) {
            tracing::debug!(error = text, "node is not activated yet");
        } else {
            let clock = self.clock.trust();
            if clock == ClockTrust::Unset && matches!(failure, Failure::Unreachable { .. }) {
                tracing::warn!("this node's clock is not set: certificates may look as if not valid yet");
            }
            tracing::error!(error = text, "node is not activated; trying on");
            *known = Some(text);
        }
    }

    /// What is sent when nobody enters anything.
    fn order(&self) -> Order {
        let config = &self.config;
        let data = config.attributes.iter().map(|field| (field.name.clone(), field.value.clone()));
        Order {
            batch: config.batch.name.clone(),
            namespace: config.batch.namespace.clone(),
            address: config.address.clone(),
            data: data.collect(),
            sync_addr: None,
        }
    }

    async fn attempt(&self, order: &Order) -> Result<Activated, Failure> {
        let config = &self.config;
        let fingerprint = fingerprint::fingerprint(&config.fingerprints, &order.data, &self.facts)?;
        let url = ask::url(&order.address, &config.url)?;
        let (files, subject) = (config.files.clone(), fingerprint.clone());
        let (key, csr) = self
            .blocking(move |disk| {
                let key = files::key(disk, &files)?;
                let csr = files::request(&key, &subject)
                    .map_err(|error| Failure::Files { source: error.into() })?;
                Ok::<_, Failure>((key, csr))
            })
            .await
            .map_err(|source| Failure::Files { source })??;
        let request = ActiveRequest {
            batch_name: order.batch.clone(),
            namespace: order.namespace.clone(),
            fingerprint_value: fingerprint,
            security_type: config.batch.security_type.clone(),
            security_value: config.batch.security_key.clone(),
            mode: config.batch.mode.clone(),
            penetrate_data: order.data.clone(),
            csr,
        };
        let answer = ask::ask(&self.client, url, &request).await?;
        let (files, mqtt) = (config.files.clone(), config.mqtt.clone());
        let name = self
            .blocking(move |disk| {
                files::keep(disk, &files, mqtt.as_ref(), &key, &answer.certificate, &answer.mqtt_cert)
            })
            .await
            .map_err(|source| Failure::Files { source })??;
        tracing::info!(node = %name.node, namespace = %name.namespace, "node is activated");
        Ok(Activated { node_name: name.node, namespace: name.namespace, sync_addr: order.sync_addr.clone() })
    }

    async fn blocking<T, F>(&self, job: F) -> Result<T, BoxError>
    where
        T: Send + 'static,
        F: FnOnce(&dyn Disk) -> T + Send + 'static,
    {
        let disk = Arc::clone(&self.disk);
        blocking(&*self.pool, move || job(&*disk)).await.map_err(BoxError::from)
    }
}
