//! From an identity and what to trust to the TLS settings of a client.
//!
//! The only place that knows rustls: one provider (ring), given explicitly; the key may live in hardware,
//! because signing goes through [`Identity`]; the time that certificates are checked against is the
//! clock's, so a node whose clock was never set still connects.

use std::sync::Arc;
use std::time::Duration;

use baetyl_core_lib::cert::pem;
use baetyl_core_lib::clock::Clock;
use baetyl_core_lib::error::BoxError;
use baetyl_core_lib::identity::{self, Identity};
use rustls::client::{ResolvesClientCert, Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore, SignatureAlgorithm, SignatureScheme};

mod insecure;
mod refusal;
mod system;

pub(crate) use self::refusal::refusal;
use self::system::SystemToo;

/// How many TLS sessions are kept for a quicker next handshake: one for each address is plenty.
const SESSIONS: usize = 8;

/// Whose certificates are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Those of the system's authorities.
    System,
    /// Those of the system's authorities and of these, in PEM.
    SystemAnd(Vec<u8>),
    /// Those of these authorities alone, in PEM.
    #[cfg_attr(
        not(feature = "activate"),
        expect(dead_code, reason = "first contact trusts one authority only")
    )]
    Only(Vec<u8>),
    /// Anybody's.
    Anything,
}

/// Why there are no TLS settings.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// The authorities' certificates cannot be used.
    #[error("the certificate of the cloud's authority cannot be read: give a PEM file that holds it")]
    Authority {
        /// What the decoder said.
        #[source]
        source: BoxError,
    },
    /// The TLS library refused the settings.
    #[error("TLS cannot be set up")]
    Setup {
        /// What it said.
        #[source]
        source: BoxError,
    },
}

/// TLS 1.2 and 1.3, HTTP/2 before HTTP/1.1; with `identity`, the server is shown the node's certificate.
pub(crate) fn client_config(
    trust: &Trust,
    identity: Option<Arc<dyn Identity>>,
    clock: Arc<dyn Clock>,
) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(default_provider());
    let builder = ClientConfig::builder_with_details(Arc::clone(&provider), Arc::new(ClockTime(clock)))
        .with_safe_default_protocol_versions()
        .map_err(|source| TlsError::Setup { source: source.into() })?;
    let builder = match trust {
        Trust::Anything => {
            tracing::warn!("the server's certificate is not verified: set insecureSkipVerify to false");
            let verifier = insecure::AcceptAny(provider);
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        }
        Trust::System => {
            let verifier = SystemToo { given: None, provider };
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        }
        Trust::SystemAnd(pem) => {
            let given = Some(verifier(pem, &provider)?);
            builder.dangerous().with_custom_certificate_verifier(Arc::new(SystemToo { given, provider }))
        }
        Trust::Only(pem) => builder.with_webpki_verifier(verifier(pem, &provider)?),
    };
    let mut config = match identity {
        Some(identity) => builder.with_client_cert_resolver(Arc::new(NodeCertificate(identity))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Ok(config)
}

/// A verifier of these authorities, in PEM.
fn verifier(text: &[u8], provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    let certificates =
        pem::certificates(text).map_err(|source| TlsError::Authority { source: source.into() })?;
    if certificates.is_empty() {
        return Err(TlsError::Authority { source: "there is no certificate in it".into() });
    }
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(|source| TlsError::Authority { source: source.into() })?;
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|source| TlsError::Authority { source: source.into() })
}

/// The clock as rustls asks it: never behind a time that is known to have passed.
#[derive(Debug)]
struct ClockTime(Arc<dyn Clock>);

impl TimeProvider for ClockTime {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.now().as_unix()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

/// Shows the node's certificate to every server that asks, whatever authorities it names: clouds of the
/// original name none of use.
#[derive(Debug)]
struct NodeCertificate(Arc<dyn Identity>);

impl ResolvesClientCert for NodeCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let chain = self.0.chain().into_iter().map(CertificateDer::from).collect();
        Some(Arc::new(CertifiedKey::new(chain, Arc::new(NodeKey(Arc::clone(&self.0))))))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// The node's key, which only its identity can reach.
#[derive(Debug)]
struct NodeKey(Arc<dyn Identity>);

impl SigningKey for NodeKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let scheme =
            self.0.schemes().into_iter().find(|scheme| offered.contains(&SignatureScheme::from(scheme.0)))?;
        Some(Box::new(NodeSigner { identity: Arc::clone(&self.0), scheme }))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.0.schemes().first().map(|scheme| scheme.0) {
            Some(0x0403 | 0x0503 | 0x0603) => SignatureAlgorithm::ECDSA,
            Some(0x0807) => SignatureAlgorithm::ED25519,
            _ => SignatureAlgorithm::RSA,
        }
    }
}

#[derive(Debug)]
struct NodeSigner {
    identity: Arc<dyn Identity>,
    scheme: identity::SignatureScheme,
}

impl Signer for NodeSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.identity
            .sign(self.scheme, message)
            .map_err(|error| rustls::Error::Other(rustls::OtherError(Arc::new(error))))
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme.0.into()
    }
}
