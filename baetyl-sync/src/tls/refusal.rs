//! Whether a failed connection was a matter of certificates, and what to change then.

use std::error::Error;

use rustls::{AlertDescription, CertificateError, Error as TlsError};

/// What to change when a certificate of one side is not accepted by the other; `None` when the error is
/// about something else.
pub(crate) fn refusal(error: &(dyn Error + 'static), address: &str) -> Option<String> {
    match tls_error(error)? {
        TlsError::InvalidCertificate(problem) => Some(theirs(problem, address)),
        TlsError::AlertReceived(alert) => ours(*alert, address),
        TlsError::PeerIncompatible(_) | TlsError::General(_) | TlsError::Other(_) => Some(format!(
            "{address} and this node cannot agree on TLS: check both sides' versions and the node's key"
        )),
        _ => None,
    }
}

fn theirs(problem: &CertificateError, address: &str) -> String {
    let what = match problem {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "is of an authority that this node does not trust: put the cloud's authority into node.ca"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "has expired by this node's clock: renew it, or set the clock"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet by this node's clock: set the clock"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is for another name: correct the link's address or the cloud's certificate"
        }
        _ => "is not acceptable: correct the cloud's certificate",
    };
    format!("the certificate of {address} {what}")
}

fn ours(alert: AlertDescription, address: &str) -> Option<String> {
    let what = match alert {
        AlertDescription::CertificateExpired => "has expired: activate the node again or renew it",
        AlertDescription::CertificateRevoked => "was revoked: activate the node again",
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => {
            "was not shown: give node.cert and node.key"
        }
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied
        | AlertDescription::DecryptError => {
            "is not accepted: check that node.cert was issued by this cloud, and activate the node again if not"
        }
        _ => return None,
    };
    Some(format!("to {address} this node's certificate {what}"))
}

/// The TLS library's error in a chain. I/O errors hide the one that they wrap from [`Error::source`].
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a TlsError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<TlsError>() {
            return Some(found);
        }
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}
