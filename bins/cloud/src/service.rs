//! The logic of the cloud, without HTTP: a [`Cloud`] over a store, a clock, randomness and an authority.
//!
//! Everything that writes goes through one transaction at a time (`Tx`), so what is read in it stays true
//! until it is committed. This module knows no HTTP and no TLS.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

use baetyl_core_lib::clock::{Clock, Random};
use baetyl_core_lib::spec::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, MutexGuard};

use crate::error::ServiceError;
use crate::store::{Change, CloudStore, Document, Kind};
use crate::version;

mod app;
mod app_check;
mod app_view;
mod batch;
mod config;
mod list;
mod module;
mod news;
mod node;
mod object;
mod placement;
mod property;
mod secret;
mod sync;
mod system;
mod view;

pub use self::batch::{BatchInput, NodeKey};
pub use self::list::ListOptions;
pub use self::news::{News, Poll};
pub use self::node::NodeInput;
pub use self::object::ObjectInfo;
pub use self::secret::SecretType;
pub use self::sync::ReportContext;

use self::list::Listed;

/// How many past versions of a resource are kept for nodes that ask for one.
const PAST: usize = 10;

/// Issues certificates to nodes.
pub trait Authority: Debug + Send + Sync {
    /// The authority's own certificate in PEM.
    fn ca_pem(&self) -> String;

    /// A key and its certificate for this common name, both in PEM: (certificate, key).
    ///
    /// # Errors
    /// When it cannot be made.
    fn issue(&self, common_name: &str) -> Result<(String, String), ServiceError>;

    /// A certificate in PEM for the key of a signing request.
    ///
    /// # Errors
    /// When the request cannot be read, or its signature is wrong.
    fn sign(&self, common_name: &str, csr_pem: &str) -> Result<String, ServiceError>;
}

/// What the logic must be told of its surroundings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The one namespace.
    pub namespace: String,
    /// Where nodes reach the cloud: `https://host:9005`.
    pub node_url: String,
    /// Where nodes are installed from: `https://host:9003`.
    pub init_url: String,
    /// The address of a native core's own API.
    pub core_api: String,
}

/// The cloud.
#[derive(Debug)]
pub struct Cloud {
    pub(crate) store: Arc<dyn CloudStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) authority: Arc<dyn Authority>,
    pub(crate) settings: Settings,
    pub(crate) news: News,
    /// The newest version; whoever holds it writes.
    last: Mutex<String>,
}

const LAST_VERSION: &str = "last-version";

impl Cloud {
    /// Puts the cloud together and reads where it was.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn open(
        store: Arc<dyn CloudStore>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        authority: Arc<dyn Authority>,
        settings: Settings,
    ) -> Result<Self, ServiceError> {
        let last = store.get(Kind::Meta, &settings.namespace, LAST_VERSION).await.map_err(stored)?;
        let last = Mutex::new(last.map(|document| document.version).unwrap_or_default());
        let cloud = Self { store, clock, random, authority, settings, news: News::default(), last };
        cloud.publish_addresses().await?;
        Ok(cloud)
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.settings.namespace
    }

    /// Who issues the nodes' certificates.
    pub fn authority(&self) -> &dyn Authority {
        &*self.authority
    }

    /// Who waits for news.
    pub const fn news(&self) -> &News {
        &self.news
    }

    /// The time now, and whole seconds of it, as documents have.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn now_whole(&self) -> Timestamp {
        Timestamp::from_unix(self.clock.now().as_unix())
    }

    pub(crate) async fn read<T: DeserializeOwned>(
        &self,
        kind: Kind,
        name: &str,
    ) -> Result<Option<T>, ServiceError> {
        let document = self.store.get(kind, self.namespace(), name).await.map_err(stored)?;
        document.map(|document| decode(&document)).transpose()
    }

    pub(crate) async fn all<T: DeserializeOwned>(&self, kind: Kind) -> Result<Vec<T>, ServiceError> {
        let documents = self.store.list(kind, self.namespace()).await.map_err(stored)?;
        documents.iter().map(decode).collect()
    }

    pub(crate) async fn past<T: DeserializeOwned>(
        &self,
        kind: Kind,
        name: &str,
    ) -> Result<Vec<T>, ServiceError> {
        let documents = self.store.past(kind, self.namespace(), name).await.map_err(stored)?;
        documents.iter().map(decode).collect()
    }

    /// Begins a transaction; waits for the one that is under way.
    pub(crate) async fn begin(&self) -> Tx<'_> {
        let last = self.last.lock().await;
        let newest = last.clone();
        Tx {
            cloud: self,
            last,
            newest,
            overlay: BTreeMap::new(),
            order: Vec::new(),
            kept: Vec::new(),
            news: BTreeSet::new(),
        }
    }
}

/// A transaction: reads see what was written in it, nothing is stored before [`Tx::commit`], and dropping it
/// undoes it.
pub(crate) struct Tx<'a> {
    pub(crate) cloud: &'a Cloud,
    last: MutexGuard<'a, String>,
    newest: String,
    overlay: BTreeMap<(Kind, String), Option<Document>>,
    order: Vec<(Kind, String)>,
    kept: Vec<Change>,
    news: BTreeSet<(String, String)>,
}

impl Tx<'_> {
    /// A version greater than all before.
    pub(crate) fn version(&mut self) -> String {
        self.newest = version::next(&self.newest, self.cloud.now().as_unix(), self.cloud.random.next_u32());
        self.newest.clone()
    }

    pub(crate) async fn read<T: DeserializeOwned>(
        &self,
        kind: Kind,
        name: &str,
    ) -> Result<Option<T>, ServiceError> {
        match self.overlay.get(&(kind, name.to_owned())) {
            Some(document) => document.as_ref().map(decode).transpose(),
            None => self.cloud.read(kind, name).await,
        }
    }

    pub(crate) async fn all<T: DeserializeOwned>(&self, kind: Kind) -> Result<Vec<T>, ServiceError> {
        let stored_documents = self.cloud.store.list(kind, self.cloud.namespace()).await.map_err(stored)?;
        let known: BTreeSet<&str> = stored_documents.iter().map(|document| document.name.as_str()).collect();
        let current = stored_documents.iter().map(|document| {
            self.overlay.get(&(kind, document.name.clone())).map_or(Some(document), Option::as_ref)
        });
        let added = self.order.iter().filter(|(of, name)| *of == kind && !known.contains(name.as_str()));
        let added = added.map(|key| self.overlay.get(key).and_then(Option::as_ref));
        current.chain(added).flatten().map(decode).collect()
    }

    pub(crate) fn put<T: Serialize>(
        &mut self,
        kind: Kind,
        name: &str,
        version: &str,
        value: &T,
    ) -> Result<(), ServiceError> {
        let body = serde_json::to_string(value)
            .map_err(|error| ServiceError::internal("writing a document", error))?;
        let document = Document { name: name.to_owned(), version: version.to_owned(), body };
        self.set((kind, name.to_owned()), Some(document));
        Ok(())
    }

    pub(crate) fn delete(&mut self, kind: Kind, name: &str) {
        self.set((kind, name.to_owned()), None);
    }

    /// Keeps a version that is about to be replaced, for nodes that still ask for it.
    pub(crate) fn keep<T: Serialize>(
        &mut self,
        kind: Kind,
        name: &str,
        version: &str,
        value: &T,
    ) -> Result<(), ServiceError> {
        let body = serde_json::to_string(value)
            .map_err(|error| ServiceError::internal("writing a document", error))?;
        let document = Document { name: name.to_owned(), version: version.to_owned(), body };
        self.kept.push(Change::Keep(kind, document, PAST));
        Ok(())
    }

    /// Has the polls of a node answered once this is committed.
    pub(crate) fn tell(&mut self, node: &str, cursor: &str) {
        self.news.insert((node.to_owned(), cursor.to_owned()));
    }

    /// Makes all of it durable, or none.
    pub(crate) async fn commit(mut self) -> Result<(), ServiceError> {
        if self.newest != *self.last {
            let newest = Document {
                name: LAST_VERSION.to_owned(),
                version: self.newest.clone(),
                body: "{}".to_owned(),
            };
            self.set((Kind::Meta, LAST_VERSION.to_owned()), Some(newest));
        }
        let mut changes = std::mem::take(&mut self.kept);
        for key in std::mem::take(&mut self.order) {
            changes.push(match self.overlay.remove(&key).flatten() {
                Some(document) => Change::Put(key.0, document),
                None => Change::Delete(key.0, key.1),
            });
        }
        if changes.is_empty() {
            return Ok(());
        }
        self.cloud.store.commit(self.cloud.namespace(), changes).await.map_err(stored)?;
        self.last.clone_from(&self.newest);
        for (node, cursor) in &self.news {
            self.cloud.news.tell(node, cursor);
        }
        Ok(())
    }

    fn set(&mut self, key: (Kind, String), document: Option<Document>) {
        if !self.overlay.contains_key(&key) {
            self.order.push(key.clone());
        }
        self.overlay.insert(key, document);
    }
}

fn decode<T: DeserializeOwned>(document: &Document) -> Result<T, ServiceError> {
    serde_json::from_str(&document.body)
        .map_err(|error| ServiceError::internal("reading a stored document", error))
}

fn stored(error: crate::store::StoreError) -> ServiceError {
    ServiceError::internal("its store", error)
}

/// Checks the name of a resource, and whether it is kept for the system.
pub(crate) fn check_name(name: &str) -> Result<(), ServiceError> {
    if name.is_empty() {
        return Err(ServiceError::invalid("name is required"));
    }
    if let Err(error) = baetyl_core_lib::spec::AppName::parse(name) {
        return Err(ServiceError::Body { reason: error.to_string() });
    }
    Ok(())
}

pub(crate) fn check_not_reserved(name: &str) -> Result<(), ServiceError> {
    if name.to_ascii_lowercase().contains("baetyl") {
        return Err(ServiceError::Reserved { name: name.to_owned() });
    }
    Ok(())
}

pub(crate) fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), ServiceError> {
    match labels
        .iter()
        .find(|(key, value)| !crate::matching::label_key(key) || !crate::matching::label_value(value))
    {
        Some((key, value)) => Err(ServiceError::Body {
            reason: format!(
                "label {key:?}={value:?} is not valid: up to 63 letters, digits, '-', '_' and '.'"
            ),
        }),
        None => Ok(()),
    }
}
