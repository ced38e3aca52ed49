//! The node's own certificate authority: certificates by which applications of the node know each other
//! (edge.md 6.5, 9).
//!
//! Authority and certificates are stored and used until a third of their life is left. It knows no
//! application; whom a certificate is for stands in the request.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use baetyl_core_lib::application::Content;
use baetyl_core_lib::cert::{CertError, CertIssuer, CertRequest, IssuedCert};
use baetyl_core_lib::clock::{Clock, Trust};
use baetyl_core_lib::durable::{self, Disk};
use baetyl_core_lib::error::BoxError;
use baetyl_core_lib::spec::Timestamp;
use baetyl_core_lib::store::{Change, Store, Table};
use serde::{Deserialize, Serialize};

mod make;

use self::make::{Kind, Made};

/// Where the authority is stored.
const ROOT: &str = "root";
/// Before the common names of what it issued.
const LEAF: &str = "leaf/";

/// How long certificates live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PkiConfig {
    /// Certificates of applications (`security.pki.subDuration`). They are renewed in place, so a year
    /// is plenty; a node that sleeps for eight months still wakes with a valid one.
    pub sub_duration: Duration,
    /// The authority's own (`security.pki.rootDuration`).
    pub root_duration: Duration,
}

impl Default for PkiConfig {
    fn default() -> Self {
        let hours = |count: u64| Duration::from_secs(count * 3600);
        Self { sub_duration: hours(8760), root_duration: hours(438_000) }
    }
}

/// The node's own certificate authority.
#[derive(Debug)]
pub struct NodeAuthority {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    config: PkiConfig,
    root: Stored,
}

/// A certificate as it is stored.
#[derive(Clone, Serialize, Deserialize)]
struct Stored {
    format: u32,
    common_name: String,
    dns: Vec<String>,
    ip: Vec<IpAddr>,
    cert: String,
    /// PKCS#8 for the authority, SEC1 for what it issued.
    key: String,
    /// When it was made, in seconds since 1970.
    made: i64,
    not_before: i64,
    not_after: i64,
    /// The authority that issued it; empty for the authority.
    issuer: String,
}

impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { common_name, not_after, .. } = self;
        f.debug_struct("Stored")
            .field("common_name", common_name)
            .field("key", &"[redacted]")
            .field("not_after", not_after)
            .finish_non_exhaustive()
    }
}

impl NodeAuthority {
    /// The stored authority, or a new one where there is none, it is another node's, or less than a third
    /// of its life is left. `common_name` is `<namespace>.<node>`.
    ///
    /// # Errors
    /// When it can neither be read nor made and stored.
    pub async fn open(
        store: Arc<dyn Store>,
        common_name: &str,
        clock: Arc<dyn Clock>,
        config: PkiConfig,
    ) -> Result<Self, CertError> {
        let fail = |source: BoxError| CertError { common_name: common_name.to_owned(), source };
        let stored = load(&*store, ROOT).await.map_err(fail)?;
        let root = match stored.filter(|root| root.common_name == common_name && root.is_fresh(&*clock)) {
            Some(root) => root,
            None => {
                let request = CertRequest {
                    common_name: common_name.to_owned(),
                    dns: Vec::new(),
                    ip: vec![Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::LOCALHOST.into()],
                };
                let life = Life::new(&*clock, config.root_duration);
                let made = make::certificate(&request, life.span(), Kind::Root).map_err(fail)?;
                let root = Stored::new(request, made, life, String::new());
                save(&*store, ROOT, &root).await.map_err(fail)?;
                root
            }
        };
        Ok(Self { store, clock, config, root })
    }

    /// The authority's certificate, in PEM.
    pub fn ca(&self) -> Content {
        Content(self.root.cert.clone().into_bytes())
    }

    fn is_usable(&self, stored: &Stored, request: &CertRequest) -> bool {
        stored.common_name == request.common_name
            && stored.dns == request.dns
            && stored.ip == request.ip
            && stored.issuer == self.root.cert
            && stored.is_fresh(&*self.clock)
    }

    async fn find_or_make(&self, request: &CertRequest) -> Result<Stored, BoxError> {
        let key = format!("{LEAF}{}", request.common_name);
        if let Some(stored) = load(&*self.store, &key).await?.filter(|stored| self.is_usable(stored, request))
        {
            return Ok(stored);
        }
        let life = Life::new(&*self.clock, self.config.sub_duration);
        let by = Kind::Leaf { issuer: &self.root.common_name, key: &self.root.key };
        let made = make::certificate(request, life.span(), by)?;
        let stored = Stored::new(request.clone(), made, life, self.root.cert.clone());
        save(&*self.store, &key, &stored).await?;
        Ok(stored)
    }
}

#[async_trait]
impl CertIssuer for NodeAuthority {
    async fn issue(&self, request: &CertRequest) -> Result<IssuedCert, CertError> {
        let fail = |source| CertError { common_name: request.common_name.clone(), source };
        let stored = self.find_or_make(request).await.map_err(fail)?;
        Ok(IssuedCert {
            cert: Content(stored.cert.into_bytes()),
            key: Content(stored.key.into_bytes()),
            ca: self.ca(),
        })
    }

    async fn retain(&self, keep: &BTreeSet<String>) -> Result<(), CertError> {
        let fail = |source: BoxError| CertError { common_name: self.root.common_name.clone(), source };
        let stored = self.store.list(Table::Certificate, LEAF).await.map_err(|error| fail(error.into()))?;
        let gone = stored.into_iter().map(|(key, _)| key).filter(|key| !keep.contains(&key[LEAF.len()..]));
        let changes: Vec<_> = gone.map(|key| Change::Remove(Table::Certificate, key)).collect();
        if changes.is_empty() {
            return Ok(());
        }
        self.store.commit(changes).await.map_err(|error| fail(error.into()))
    }
}

/// Writes a certificate where programs of the SDK look for it (`crt.pem`, `key.pem`, `ca.pem`), unless it
/// is there already. Nobody else may read the folder.
///
/// # Errors
/// Those of the disk. Each file is the old one or the new one, whole.
pub fn write(disk: &dyn Disk, folder: &Path, issued: &IssuedCert) -> io::Result<()> {
    disk.create_folder(folder, 0o700)?;
    let files = [("ca.pem", &issued.ca), ("crt.pem", &issued.cert), ("key.pem", &issued.key)];
    for (name, content) in files {
        durable::replace_if_changed(disk, &folder.join(name), &content.0, 0o600)?;
    }
    Ok(())
}

/// From when to when a certificate made now is valid.
#[derive(Debug, Clone, Copy)]
struct Life {
    made: Timestamp,
    not_before: i64,
    not_after: i64,
}

impl Life {
    /// Members of a cluster and programs with a slow clock may be so far behind.
    const SKEW: i64 = 600;

    fn new(clock: &dyn Clock, duration: Duration) -> Self {
        let made = clock.now();
        // Where the clock cannot be trusted, programs of this node see the wrong time too: a certificate
        // that is valid since 1970 works for them all the same.
        let not_before = match clock.trust() {
            Trust::Synchronised => made.as_unix().saturating_sub(Self::SKEW),
            Trust::Unset | Trust::Floor => 0,
        };
        Self { made, not_before, not_after: made.saturating_add(duration).as_unix() }
    }

    const fn span(&self) -> (i64, i64) {
        (self.not_before, self.not_after)
    }
}

impl Stored {
    fn new(request: CertRequest, made: Made, life: Life, issuer: String) -> Self {
        let CertRequest { common_name, dns, ip } = request;
        let (made_at, not_before, not_after) = (life.made.as_unix(), life.not_before, life.not_after);
        let Made { cert, key } = made;
        Self { format: 1, common_name, dns, ip, cert, key, made: made_at, not_before, not_after, issuer }
    }

    /// Whether at least a third of its life is left.
    fn is_fresh(&self, clock: &dyn Clock) -> bool {
        let now = clock.now().as_unix();
        // A clock that nobody set is no reason to think that it is not valid yet.
        let begun = clock.trust() != Trust::Synchronised || self.not_before <= now;
        begun && self.not_after.saturating_sub(now) >= self.not_after.saturating_sub(self.made) / 3
    }
}

async fn load(store: &dyn Store, key: &str) -> Result<Option<Stored>, BoxError> {
    let value = store.load(Table::Certificate, key).await?;
    // What cannot be read is made anew: nothing depends on the old one but what is renewed with it.
    Ok(value
        .and_then(|value| serde_json::from_slice(&value).ok())
        .filter(|stored: &Stored| stored.format == 1))
}

async fn save(store: &dyn Store, key: &str, stored: &Stored) -> Result<(), BoxError> {
    let value = serde_json::to_vec(stored)?;
    Ok(store.commit(vec![Change::Put(Table::Certificate, key.to_owned(), value)]).await?)
}
