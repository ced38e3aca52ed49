//! Whether a failed connection was a matter of certificates, and what to change then.

use std::error::Error;

use rustls::{CertificateError, Error as TlsError};

/// How an alert of the other side begins in words.
const ALERT: &str = "received fatal alert: ";

/// What to change when a certificate of one side is not accepted by the other; `None` when the error is
/// about something else.
pub(crate) fn refusal(error: &(dyn Error + 'static), address: &str) -> Option<String> {
    match cause(error)? {
        Cause::Tls(TlsError::InvalidCertificate(problem)) => Some(theirs(problem, address)),
        Cause::Tls(TlsError::AlertReceived(alert)) => ours(&format!("{alert:?}"), address),
        Cause::Tls(TlsError::PeerIncompatible(_) | TlsError::General(_) | TlsError::Other(_)) => {
            Some(format!(
                "{address} and this node cannot agree on TLS: check both sides' versions and the node's key"
            ))
        }
        Cause::Tls(_) => None,
        Cause::Alert(name) => ours(&name, address),
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

/// For an alert's name, because one that comes after the handshake has lost its type on the way.
fn ours(alert: &str, address: &str) -> Option<String> {
    let what = match alert {
        "CertificateExpired" => "has expired: activate the node again or renew it",
        "CertificateRevoked" => "was revoked: activate the node again",
        "CertificateRequired" | "NoCertificate" => "was not shown: give node.cert and node.key",
        "UnknownCA"
        | "BadCertificate"
        | "UnsupportedCertificate"
        | "CertificateUnknown"
        | "AccessDenied"
        | "DecryptError" => {
            "is not accepted: check that node.cert was issued by this cloud, and activate the node again if not"
        }
        _ => return None,
    };
    Some(format!("to {address} this node's certificate {what}"))
}

enum Cause<'a> {
    Tls(&'a TlsError),
    Alert(String),
}

/// What TLS had to do with an error. I/O errors hide the one that they wrap from [`Error::source`], and
/// HTTP/2 keeps of an I/O error its words only: there the refusal of a node's certificate arrives in TLS 1.3.
fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<Cause<'a>> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<TlsError>() {
            return Some(Cause::Tls(found));
        }
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
        if next.is_none() {
            return error.to_string().strip_prefix(ALERT).map(|name| Cause::Alert(name.to_owned()));
        }
    }
    None
}
