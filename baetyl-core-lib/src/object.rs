//! Where the files of configurations with objects come from.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use crate::error::BoxError;
use crate::spec::Configuration;
use crate::spec::application::ResourceRef;

/// How far the objects of a configuration are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that are here.
    pub done: u64,
    /// Bytes in all, as far as known.
    pub total: Option<u64>,
}

/// Told of progress, now and then.
pub type OnProgress = Arc<dyn Fn(Progress) + Send + Sync>;

/// Files of configurations' objects: downloaded, checked, unpacked.
#[async_trait]
pub trait ObjectSource: Debug + Send + Sync {
    /// Makes the folder of all objects of this configuration complete, and returns its absolute path.
    ///
    /// Idempotent, and nothing is fetched again that is here, whole and unpacked. A dropped future or a
    /// power cut at any point leaves nothing or whole objects; what was downloaded is used again. Calls
    /// for the same configuration wait for each other.
    ///
    /// # Errors
    /// [`ObjectError`], naming the object. The objects beside it stay.
    async fn ensure(&self, config: &Configuration, progress: OnProgress) -> Result<PathBuf, ObjectError>;

    /// Removes the folders of configurations that are not in `keep`. Only what this source made.
    ///
    /// # Errors
    /// What could not be removed; the rest is removed all the same.
    async fn retain(&self, keep: &BTreeSet<ResourceRef>) -> Result<(), ObjectError>;
}

/// Why an object could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// Its description cannot be read, or asks for something that cannot be.
    #[error("object {object:?} of configuration {config:?}: {reason}")]
    Invalid {
        /// The configuration.
        config: String,
        /// The object.
        object: String,
        /// What is wrong, and what to change.
        reason: String,
    },
    /// What came does not have the digest that was told.
    #[error(
        "object {object:?} of configuration {config:?} has the {algorithm} {found}, but {expected} was told: \
         upload it again or correct the digest"
    )]
    WrongDigest {
        /// The configuration.
        config: String,
        /// The object.
        object: String,
        /// `md5` or `sha256`.
        algorithm: &'static str,
        /// What was told.
        expected: String,
        /// What came.
        found: String,
    },
    /// It is larger than this node allows.
    #[error(
        "object {object:?} of configuration {config:?} is larger than the {limit} bytes that are allowed here"
    )]
    TooLarge {
        /// The configuration.
        config: String,
        /// The object.
        object: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// There is no room for it on the disk.
    #[error("object {object:?} of configuration {config:?} needs {needed} bytes, but only {room} are free")]
    Full {
        /// The configuration.
        config: String,
        /// The object.
        object: String,
        /// Bytes needed.
        needed: u64,
        /// Bytes free.
        room: u64,
    },
    /// The server of objects refused.
    #[error(
        "object {object:?} of configuration {config:?}{} was refused with {status}: upload it again, or \
         correct the configuration",
        named(digest)
    )]
    Rejected {
        /// The configuration.
        config: String,
        /// The object.
        object: String,
        /// The digest under which it is known; empty when none was told.
        digest: String,
        /// The HTTP status.
        status: u16,
    },
    /// The server of objects could not be reached, or the transfer broke off.
    #[error("object {object:?} of configuration {config:?} could not be fetched")]
    Unreachable {
        /// The configuration.
        config: String,
        /// The object.
        object: String,
        /// What went wrong.
        #[source]
        source: BoxError,
    },
    /// The disk failed.
    #[error("object {object:?} of configuration {config:?} could not be stored")]
    Disk {
        /// The configuration.
        config: String,
        /// The object.
        object: String,
        /// What went wrong.
        #[source]
        source: BoxError,
    },
}

impl ObjectError {
    /// Whether trying again, with nothing changed by anybody, may help.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::Unreachable { .. } | Self::Disk { .. })
    }
}

fn named(digest: &str) -> String {
    if digest.is_empty() { String::new() } else { format!(" with digest {digest}") }
}
