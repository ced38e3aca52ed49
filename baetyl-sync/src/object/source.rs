//! The seam through which bytes of objects come: HTTP, or a fake.

use std::fmt;

use async_trait::async_trait;
use baetyl_core_lib::error::BoxError;
use bytes::Bytes;

/// Asks for an object, from one of its bytes on.
#[derive(Clone, PartialEq, Eq)]
pub struct Ask {
    /// Its whole address.
    pub url: String,
    /// A token to send with the request; empty when there is none.
    pub token: String,
    /// How many bytes are here.
    pub from: u64,
    /// What the server told with those bytes: with other content it shall send all of it.
    pub validator: Option<String>,
}

impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Addresses may be signed, so neither they nor the token are shown.
        f.debug_struct("Ask").field("from", &self.from).finish_non_exhaustive()
    }
}

/// The start of an answer, and what the rest comes from.
pub struct Answer {
    /// The HTTP status, after redirects.
    pub status: u16,
    /// Which byte of the object is the first of the body.
    pub start: u64,
    /// The size of the whole object, as far as told.
    pub total: Option<u64>,
    /// A strong entity tag or a date of change.
    pub validator: Option<String>,
    /// The bytes.
    pub body: Box<dyn Body>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("start", &self.start)
            .field("total", &self.total)
            .finish_non_exhaustive()
    }
}

/// The bytes of an answer.
#[async_trait]
pub trait Body: Send {
    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// When the transfer broke off. What came before is good.
    async fn chunk(&mut self) -> Result<Option<Bytes>, BoxError>;
}

/// Where bytes of objects come from.
#[async_trait]
pub trait Source: fmt::Debug + Send + Sync {
    /// Asks for an object. A refusal is an answer, with its status.
    ///
    /// # Errors
    /// When there was no answer.
    async fn open(&self, ask: Ask) -> Result<Answer, BoxError>;
}
