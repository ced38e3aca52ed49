//! What the cloud answers when it cannot do what was asked, and the code of the original for it (cloud.md
//! 3.1).

use baetyl_core_lib::error::BoxError;

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// A resource is not there, or not for whoever asked.
    #[error("the {kind} {name:?} is not there")]
    NotFound {
        /// What kind of resource.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// What was asked cannot be done; the reason says what to change.
    #[error("{reason}")]
    Invalid {
        /// Why, and what to change.
        reason: String,
    },
    /// The body is not what the route reads.
    #[error("the body cannot be read: {reason}")]
    Body {
        /// Why, with the place in the text.
        reason: String,
    },
    /// The body is larger than the route takes.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// The most that is read.
        limit: usize,
    },
    /// A resource is still used, or its name is taken.
    #[error("the {kind} {name:?} is in use")]
    InUse {
        /// What kind of resource.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The name is the system's.
    #[error("the name {name:?} holds \"baetyl\", which is kept for the system: choose another one")]
    Reserved {
        /// The name.
        name: String,
    },
    /// The application is the system's own business.
    #[error("the app {name:?} is not visible")]
    Invisible {
        /// The name.
        name: String,
    },
    /// A mount names a volume that the application lacks.
    #[error("the volume {name:?} is mounted but not listed in volumes")]
    VolumeMissing {
        /// The volume.
        name: String,
    },
    /// Two parts of an application have one name.
    #[error("{place} has two entries with the name {name:?}")]
    NameConflict {
        /// Which list.
        place: &'static str,
        /// The name.
        name: String,
    },
    /// The node has no system applications yet.
    #[error("the node {name:?} has no system applications: add a module \"baetyl\" for its mode")]
    NodeNotReady {
        /// The node.
        name: String,
    },
    /// Nobody, or somebody who may not.
    #[error("access denied: {reason}")]
    Denied {
        /// Why.
        reason: String,
    },
    /// No such route.
    #[error("the request method is not found")]
    Route,
    /// The store, or something else here, failed.
    #[error("the cloud failed at {what}")]
    Internal {
        /// What was tried.
        what: &'static str,
        /// What went wrong.
        #[source]
        source: BoxError,
    },
}

impl ServiceError {
    /// Shorthand for [`Self::Invalid`].
    pub(crate) fn invalid(reason: impl Into<String>) -> Self {
        Self::Invalid { reason: reason.into() }
    }

    /// Shorthand for [`Self::NotFound`].
    pub(crate) fn not_found(kind: &'static str, name: &str) -> Self {
        Self::NotFound { kind, name: name.to_owned() }
    }

    /// Wraps what went wrong below.
    pub(crate) fn internal(what: &'static str, source: impl Into<BoxError>) -> Self {
        Self::Internal { what, source: source.into() }
    }

    /// The original's code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "ErrResourceNotFound",
            Self::Invalid { .. } | Self::Body { .. } => "ErrRequestParamInvalid",
            Self::TooLarge { .. } => "ErrDataTooLarge",
            Self::InUse { .. } => "ErrResourceHasBeenUsed",
            Self::Reserved { .. } => "nonBaetyl",
            Self::Invisible { .. } => "ErrResourceInvisible",
            Self::VolumeMissing { .. } => "ErrVolumeNotFoundWhenMount",
            Self::NameConflict { .. } => "ErrAppNameConflict",
            Self::NodeNotReady { .. } => "ErrNodeNotReady",
            Self::Denied { .. } => "ErrRequestAccessDenied",
            Self::Route => "ErrRequestMethodNotFound",
            Self::Internal { .. } => "UnknownError",
        }
    }

    /// The HTTP status that goes with the code.
    pub const fn status(&self) -> u16 {
        match self {
            Self::NotFound { .. } | Self::Route => 404,
            Self::Denied { .. } => 401,
            Self::InUse { .. } => 403,
            Self::Internal { .. } => 500,
            _ => 400,
        }
    }
}
