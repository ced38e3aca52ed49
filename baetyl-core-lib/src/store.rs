//! What must survive a power cut: the desire, resources, node properties, states of updates.
//!
//! Values are bytes under a table and a key. What they mean is the caller's business.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::error::BoxError;

pub mod memory;
#[cfg(feature = "redb")]
pub mod redb;

pub use self::memory::MemoryStore;
#[cfg(feature = "redb")]
pub use self::redb::{Opened, RedbStore};

/// A table of the store. Its name is part of the layout on disk: never change one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Table {
    /// The node's own document: desire, properties, clock floor.
    Node,
    /// Resources from the cloud, by kind, name and version.
    Resource,
    /// States of updates, by scope and application.
    Update,
    /// The node's certificate authority and the certificates that it issued.
    Certificate,
    /// What this role made or fetched and may therefore delete.
    Made,
    /// Desires that a person applied on the device.
    Local,
}

impl Table {
    /// All tables.
    pub const ALL: [Self; 6] =
        [Self::Node, Self::Resource, Self::Update, Self::Certificate, Self::Made, Self::Local];

    /// Its name on disk.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Resource => "resource",
            Self::Update => "update",
            Self::Certificate => "certificate",
            Self::Made => "made",
            Self::Local => "local",
        }
    }
}

/// A change of one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Sets a value.
    Put(Table, String, Vec<u8>),
    /// Removes a value; being gone already is fine.
    Remove(Table, String),
}

/// What must survive a power cut.
#[async_trait]
pub trait Store: Debug + Send + Sync {
    /// One value.
    ///
    /// # Errors
    /// [`StoreError`]; so for all methods.
    async fn load(&self, table: Table, key: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// All values of a table whose key starts with `prefix`, sorted by key.
    async fn list(&self, table: Table, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError>;

    /// Makes all changes durable, together: after a power cut either all of them are there or none.
    ///
    /// When it returns `Ok`, they survive a power cut and are seen by every later `load`. Changes that
    /// change nothing write nothing. Commits that come at the same time may be joined into one write.
    /// A dropped future may or may not have committed, whole in either case.
    async fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError>;
}

/// Why the store could not do as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The disk is full. Nothing was changed.
    #[error("no room on the disk for the store {path:?}")]
    Full {
        /// The store's file.
        path: String,
        /// What the disk said.
        #[source]
        source: BoxError,
    },
    /// The file is not a store of ours, or of a later version.
    #[error("{path:?} is not a store that this version reads: {reason}")]
    Foreign {
        /// The store's file.
        path: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// Another process has the file open.
    #[error("store {path:?} is in use by another process: stop that one first")]
    Busy {
        /// The store's file.
        path: String,
    },
    /// Reading or writing failed.
    #[error("store {path:?} failed to {operation}")]
    Failed {
        /// The store's file.
        path: String,
        /// What was tried.
        operation: &'static str,
        /// What the library said.
        #[source]
        source: BoxError,
    },
    /// A value is there but cannot be read: damaged, or written by something else.
    #[error("value {key:?} of table {table} is not what it should be")]
    Damaged {
        /// Its table.
        table: &'static str,
        /// Its key.
        key: String,
        /// What the decoder said.
        #[source]
        source: BoxError,
    },
}

impl StoreError {
    /// Whether trying again may help.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::Busy { .. } | Self::Failed { .. })
    }
}
