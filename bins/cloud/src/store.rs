//! Where the cloud's documents lie: by kind, namespace and name, with a bounded past. What the documents
//! say is not known here.

use std::fmt::Debug;

use async_trait::async_trait;
use baetyl_core_lib::error::BoxError;

mod memory;
mod sqlite;

pub use self::memory::MemoryStore;
pub use self::sqlite::SqliteStore;

/// The kinds of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Nodes.
    Node,
    /// What each node should run.
    Desire,
    /// What each node said last.
    Report,
    /// Applications.
    App,
    /// Configurations.
    Config,
    /// Secrets, registries, certificates.
    Secret,
    /// Modules, that is what system applications are made of; the name holds the version.
    Module,
    /// Batches.
    Batch,
    /// Fingerprints of batches; the name holds the batch.
    Record,
    /// Properties.
    Property,
    /// Files; the name holds the bucket.
    Object,
    /// Namespaces, and what the cloud keeps for itself.
    Meta,
}

impl Kind {
    /// The word in the database; never changed once released.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Desire => "desire",
            Self::Report => "report",
            Self::App => "app",
            Self::Config => "config",
            Self::Secret => "secret",
            Self::Module => "module",
            Self::Batch => "batch",
            Self::Record => "record",
            Self::Property => "property",
            Self::Object => "object",
            Self::Meta => "meta",
        }
    }
}

/// One document. Its body may hold secrets, so it is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Document {
    /// Its name.
    pub name: String,
    /// Its version; empty where versions mean nothing.
    pub version: String,
    /// JSON.
    pub body: String,
}

impl Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Document")
            .field("name", &self.name)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// One step of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Adds or replaces a document. A replaced one keeps its place in the list.
    Put(Kind, Document),
    /// Removes a document with its past; being gone already is fine.
    Delete(Kind, String),
    /// Keeps a document as a past version, and of the past versions of its name the newest `usize`.
    Keep(Kind, Document, usize),
}

/// The store failed.
#[derive(Debug, thiserror::Error)]
#[error("the store failed to {what}")]
pub struct StoreError {
    /// What was tried.
    pub what: &'static str,
    /// What went wrong.
    #[source]
    pub source: BoxError,
}

/// Where the cloud's documents lie.
#[async_trait]
pub trait CloudStore: Debug + Send + Sync {
    /// One document.
    ///
    /// # Errors
    /// When the store failed; so for all methods.
    async fn get(&self, kind: Kind, namespace: &str, name: &str) -> Result<Option<Document>, StoreError>;

    /// All documents of a kind, in the order in which they were first put.
    async fn list(&self, kind: Kind, namespace: &str) -> Result<Vec<Document>, StoreError>;

    /// The past versions of a document, newest first.
    async fn past(&self, kind: Kind, namespace: &str, name: &str) -> Result<Vec<Document>, StoreError>;

    /// Does all changes, or none: durable when this returns.
    async fn commit(&self, namespace: &str, changes: Vec<Change>) -> Result<(), StoreError>;
}
