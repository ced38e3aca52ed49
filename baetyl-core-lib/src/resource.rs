//! Where applications, configurations and secrets come from.

use std::collections::BTreeSet;
use std::fmt::Debug;

use async_trait::async_trait;

use crate::error::BoxError;
use crate::spec::{AppSpec, Configuration, ResourceInfo, Secret};

/// A resource, decoded.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Resource {
    /// An application.
    Application(Box<AppSpec>),
    /// A configuration.
    Configuration(Box<Configuration>),
    /// A secret.
    Secret(Box<Secret>),
}

/// Documents by kind, name and version.
#[async_trait]
pub trait ResourceSource: Debug + Send + Sync {
    /// Fetches many, from the durable cache where they are there, else from the cloud in one request. The
    /// answers are in the order of the request, each with its own result. What came from the cloud is
    /// durable before it is returned, so that it can be had again with no line.
    ///
    /// A dropped future may or may not have stored what came.
    async fn fetch(&self, infos: &[ResourceInfo]) -> Vec<Result<Resource, ResourceError>>;

    /// Forgets everything that is not in `keep`. Only what this source stored.
    ///
    /// # Errors
    /// When the store failed; nothing is forgotten then.
    async fn retain(&self, keep: &BTreeSet<ResourceInfo>) -> Result<(), ResourceError>;
}

/// Why a resource could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResourceError {
    /// The cloud does not have it.
    #[error("{kind} {name:?} in version {version} is not known to the cloud")]
    NotFound {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// Its version.
        version: String,
    },
    /// The cloud answered another version than the one asked for (clouds of the original on SQL do).
    #[error("{kind} {name:?}: asked for version {version}, the cloud has {answered}")]
    OtherVersion {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// The version that was asked for.
        version: String,
        /// The version that came.
        answered: String,
    },
    /// What came cannot be read.
    #[error("{kind} {name:?} in version {version} cannot be read")]
    Invalid {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// Its version.
        version: String,
        /// What the decoder said, with line and column.
        #[source]
        source: BoxError,
    },
    /// The cloud could not be asked, and the cache does not have it.
    #[error("{kind} {name:?} in version {version} is not here yet, and the cloud cannot be asked")]
    Unreachable {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// Its version.
        version: String,
        /// What went wrong.
        #[source]
        source: BoxError,
    },
    /// The cache failed.
    #[error("the cache of resources failed")]
    Store {
        /// What went wrong.
        #[source]
        source: BoxError,
    },
}

impl ResourceError {
    /// Whether trying again, with nothing changed by anybody, may help.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Store { .. } | Self::OtherVersion { .. })
    }
}
