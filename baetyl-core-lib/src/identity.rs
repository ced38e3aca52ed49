//! Who this node is: its certificate chain, and a key that can sign but need not be readable.

use std::fmt::Debug;

use crate::error::BoxError;

/// A signature scheme of TLS, by its number in the protocol (RFC 8446, 4.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignatureScheme(pub u16);

impl SignatureScheme {
    /// ECDSA on P-256 with SHA-256.
    pub const ECDSA_P256_SHA256: Self = Self(0x0403);
    /// ECDSA on P-384 with SHA-384.
    pub const ECDSA_P384_SHA384: Self = Self(0x0503);
    /// Ed25519.
    pub const ED25519: Self = Self(0x0807);
    /// RSA-PSS with SHA-256.
    pub const RSA_PSS_SHA256: Self = Self(0x0804);
    /// RSA PKCS#1 with SHA-256 (TLS 1.2).
    pub const RSA_PKCS1_SHA256: Self = Self(0x0401);
}

/// Who this node is.
pub trait Identity: Debug + Send + Sync {
    /// The certificate chain in DER, the node's own first.
    fn chain(&self) -> Vec<Vec<u8>>;

    /// The schemes that the key can sign with, best first.
    fn schemes(&self) -> Vec<SignatureScheme>;

    /// Signs a message. Called on the event loop: hardware that is slow should answer within a second.
    ///
    /// # Errors
    /// When the key cannot be used.
    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, IdentityError>;
}

/// The key or certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The certificate or key cannot be read.
    #[error("{what} cannot be read: {reason}")]
    Invalid {
        /// Which file or slot.
        what: String,
        /// Why, and what to change.
        reason: String,
    },
    /// Signing failed.
    #[error("the node's key cannot sign")]
    Sign {
        /// What went wrong.
        #[source]
        source: BoxError,
    },
}
