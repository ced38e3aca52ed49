//! PEM to DER. The only user of rustls-pemfile, so that it can be replaced in one edit.

use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// All certificates of a PEM text, in order. Other blocks are skipped.
///
/// # Errors
/// When a block is damaged.
pub fn certificates(text: &[u8]) -> std::io::Result<Vec<CertificateDer<'static>>> {
    let mut text = text;
    rustls_pemfile::certs(&mut text).collect()
}

/// The first private key of a PEM text: PKCS#8, SEC1 or PKCS#1.
///
/// # Errors
/// When its block is damaged.
pub fn private_key(text: &[u8]) -> std::io::Result<Option<PrivateKeyDer<'static>>> {
    let mut text = text;
    rustls_pemfile::private_key(&mut text)
}
