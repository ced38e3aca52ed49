//! Certificates for applications, and reading PEM.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::application::Content;
use crate::error::BoxError;

#[cfg(feature = "pem")]
pub mod pem;

/// Whom a certificate is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CertRequest {
    /// The common name: `<app>.<service>` (edge.md 6.5).
    pub common_name: String,
    /// DNS names.
    pub dns: Vec<String>,
    /// IP addresses.
    pub ip: Vec<std::net::IpAddr>,
}

/// A certificate, its key and the authority that issued it, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedCert {
    /// One certificate.
    pub cert: Content,
    /// Its key: SEC1, `EC PRIVATE KEY`.
    pub key: Content,
    /// The authority.
    pub ca: Content,
}

/// Issues certificates: the node's own authority.
#[async_trait]
pub trait CertIssuer: Debug + Send + Sync {
    /// The certificate for this request: the stored one while at least a third of its life is left, else a
    /// new one, stored before it is returned.
    ///
    /// # Errors
    /// When it can neither be read nor made.
    async fn issue(&self, request: &CertRequest) -> Result<IssuedCert, CertError>;

    /// Forgets the certificates whose common name is not in `keep`.
    ///
    /// # Errors
    /// When the store failed.
    async fn retain(&self, keep: &std::collections::BTreeSet<String>) -> Result<(), CertError>;
}

/// A certificate could not be issued.
#[derive(Debug, thiserror::Error)]
#[error("no certificate for {common_name:?}")]
pub struct CertError {
    /// Whom it was for.
    pub common_name: String,
    /// What went wrong.
    #[source]
    pub source: BoxError,
}
