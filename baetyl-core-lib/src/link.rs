//! Links: the way to the cloud.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;

use crate::error::BoxError;
use crate::spec::Message;

/// The state of the way to the cloud, in the original's words (edge.md 4.3).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LinkState {
    /// Nothing was tried yet.
    #[default]
    Unknown,
    /// The last request was answered.
    Succeeded,
    /// The cloud does not know this node; its words.
    NodeNotFound(String),
    /// The cloud could not be reached; why.
    NetworkError(String),
}

/// A way to the cloud that answers requests.
#[async_trait]
pub trait Link: Debug + Send + Sync {
    /// Sends a message and waits for its answer. Bounded in time and size by the link's configuration.
    ///
    /// Requests may come at once. A dropped future gives the request up: the cloud may or may not have
    /// taken it, and its answer is thrown away.
    ///
    /// # Errors
    /// [`LinkError`] tells whether trying again may help.
    async fn request(&self, message: Message) -> Result<Message, LinkError>;

    /// How the last request went.
    fn state(&self) -> LinkState;

    /// Waiting for news of the cloud, where the link and the cloud offer it. May become `Some` after the
    /// first answer, and `None` again when another cloud takes over.
    fn changes(&self) -> Option<&dyn ChangeWait> {
        None
    }

    /// Frames in both directions, where the link offers them.
    fn duplex(&self) -> Option<&dyn DuplexLink> {
        None
    }
}

/// Waiting for news of the cloud: a long poll that says only that there is some (design.md 2).
#[async_trait]
pub trait ChangeWait: Send + Sync {
    /// Waits until the cloud has news since the last answer to a report, or the hold time is over.
    ///
    /// Returns whether there is news. A dropped future ends the poll; no news is lost by that, because the
    /// cursor moves only with an answer that arrived.
    ///
    /// # Errors
    /// [`LinkError`]; the caller waits before it tries again.
    async fn wait(&self) -> Result<bool, LinkError>;
}

/// Frames in both directions: links that push.
#[async_trait]
pub trait DuplexLink: Send + Sync {
    /// Sends a frame and forgets it.
    ///
    /// # Errors
    /// When there is no connection.
    async fn send(&self, message: Message) -> Result<(), LinkError>;

    /// The next frame that nobody asked for. Cancel-safe.
    ///
    /// # Errors
    /// When the connection is lost; the next call waits for the next connection.
    async fn incoming(&self) -> Result<Message, LinkError>;
}

/// Why a request was not answered as it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The cloud could not be reached.
    #[error("cloud cannot be reached at {address}")]
    Unreachable {
        /// Where it was tried.
        address: String,
        /// What went wrong.
        #[source]
        source: BoxError,
    },
    /// No answer came in time.
    #[error("no answer from {address} in {after:?}")]
    Timeout {
        /// Where it was tried.
        address: String,
        /// How long was waited.
        after: Duration,
    },
    /// The cloud answered that it cannot now: 5xx, 429.
    #[error("cloud answered {status}: {body}")]
    Unavailable {
        /// The status.
        status: u16,
        /// The answer's first bytes.
        body: String,
        /// How long the cloud asks to wait.
        retry_after: Option<Duration>,
    },
    /// The cloud refused the request: 4xx.
    #[error("cloud refused with {status}: {body}")]
    Rejected {
        /// The status.
        status: u16,
        /// The code of the original's error body; empty when there was none.
        code: String,
        /// The answer's first bytes.
        body: String,
    },
    /// The certificate of one side is not accepted by the other.
    #[error("{reason}")]
    Untrusted {
        /// Which certificate, and what to change.
        reason: String,
        /// What the TLS library said.
        #[source]
        source: BoxError,
    },
    /// The answer is not what was agreed: no JSON, too large, cut short.
    #[error("answer of {address} is not valid: {reason}")]
    BadAnswer {
        /// Who answered.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The request cannot be sent over this link.
    #[error("{reason}")]
    Invalid {
        /// Why not.
        reason: String,
    },
}

impl LinkError {
    /// Whether trying again, with nothing changed by anybody, may help.
    pub const fn is_transient(&self) -> bool {
        !matches!(self, Self::Invalid { .. } | Self::Rejected { .. })
    }
}
