//! The node's identity from files: a certificate chain and its key in PEM.
//!
//! Knows the keys that ring can sign with. Who the node is stands in the leaf's common name,
//! `<namespace>.<node>` (edge.md 3.1).

use std::fmt;
use std::sync::Arc;

use baetyl_core_lib::cert::pem;
use baetyl_core_lib::identity::{Identity, IdentityError, SignatureScheme};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::sign::{CertifiedKey, SigningKey};

mod subject;

/// All schemes that a key may sign with, best first.
const SCHEMES: [SignatureScheme; 9] = [
    SignatureScheme::ED25519,
    SignatureScheme::ECDSA_P256_SHA256,
    SignatureScheme::ECDSA_P384_SHA384,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme(0x0805), // RSA-PSS with SHA-384
    SignatureScheme(0x0806), // RSA-PSS with SHA-512
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme(0x0501), // RSA PKCS#1 with SHA-384
    SignatureScheme(0x0601), // RSA PKCS#1 with SHA-512
];

/// Whose certificate it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommonName {
    /// The cloud's namespace: what stands before the first dot.
    pub namespace: String,
    /// The node's name: what follows the first dot.
    pub node: String,
}

/// An identity whose key was in a file.
///
/// ```
/// use baetyl_core_lib::identity::Identity;
/// use baetyl_sync::identity::FileIdentity;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let key = rcgen::KeyPair::generate()?;
/// let mut params = rcgen::CertificateParams::default();
/// params.distinguished_name.push(rcgen::DnType::CommonName, "baetyl-cloud.edge1");
/// let cert = params.self_signed(&key)?;
///
/// let identity = FileIdentity::load(cert.pem().as_bytes(), key.serialize_pem().as_bytes())?;
/// assert_eq!(identity.common_name().node, "edge1");
/// let scheme = identity.schemes()[0];
/// assert!(!identity.sign(scheme, b"hello")?.is_empty());
/// # Ok(())
/// # }
/// ```
pub struct FileIdentity {
    chain: Vec<Vec<u8>>,
    key: Arc<dyn SigningKey>,
    schemes: Vec<SignatureScheme>,
    name: CommonName,
}

impl FileIdentity {
    /// Reads a chain, the node's own certificate first, and its key: EC (SEC1 or PKCS#8), Ed25519 or RSA.
    ///
    /// # Errors
    /// When one of them cannot be read, when they do not belong together, or when the common name is not
    /// `<namespace>.<node>`.
    pub fn load(cert_pem: &[u8], key_pem: &[u8]) -> Result<Self, IdentityError> {
        let chain = pem::certificates(cert_pem).map_err(|error| invalid("certificate", &error))?;
        let leaf = chain.first().ok_or_else(|| invalid("certificate", &"there is none in the file"))?;
        let name = subject::common_name(leaf)
            .and_then(|text| split(&text))
            .ok_or_else(|| invalid("certificate", &"its common name is not <namespace>.<node>"))?;
        let key = pem::private_key(key_pem)
            .map_err(|error| invalid("key", &error))?
            .ok_or_else(|| invalid("key", &"there is none in the file"))?;
        let key = any_supported_type(&key).map_err(|error| invalid("key", &error))?;
        match CertifiedKey::new(chain.clone(), Arc::clone(&key)).keys_match() {
            // A key that does not show its public half cannot be compared; the cloud will.
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(_) => return Err(invalid("key", &"it does not belong to the certificate beside it")),
        }
        let schemes = SCHEMES.into_iter().filter(|scheme| signs(&*key, *scheme)).collect();
        Ok(Self { chain: chain.iter().map(|cert| cert.to_vec()).collect(), key, schemes, name })
    }

    /// Whose certificate it is.
    pub const fn common_name(&self) -> &CommonName {
        &self.name
    }
}

impl Identity for FileIdentity {
    fn chain(&self) -> Vec<Vec<u8>> {
        self.chain.clone()
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }

    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, IdentityError> {
        let signer = self.key.choose_scheme(&[scheme.0.into()]).ok_or_else(|| IdentityError::Sign {
            source: format!("the key has no scheme {:#06x}", scheme.0).into(),
        })?;
        signer.sign(message).map_err(|error| IdentityError::Sign { source: error.into() })
    }
}

impl fmt::Debug for FileIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileIdentity").field("name", &self.name).finish_non_exhaustive()
    }
}

fn signs(key: &dyn SigningKey, scheme: SignatureScheme) -> bool {
    key.choose_scheme(&[scheme.0.into()]).is_some()
}

fn split(text: &str) -> Option<CommonName> {
    let (namespace, node) = text.split_once('.')?;
    let named = !namespace.is_empty() && !node.is_empty();
    named.then(|| CommonName { namespace: namespace.to_owned(), node: node.to_owned() })
}

fn invalid(what: &str, reason: &dyn fmt::Display) -> IdentityError {
    IdentityError::Invalid { what: format!("the node's {what}"), reason: reason.to_string() }
}

#[cfg(test)]
mod tests;
