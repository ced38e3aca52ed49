//! The files that make a node: key first, certificate last, each whole or not there.

use std::io;
use std::path::{Path, PathBuf};

use baetyl_core_lib::durable::{self, Disk};
use baetyl_core_lib::error::BoxError;
use baetyl_core_lib::spec::Certificate;
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};

use super::Failure;
use crate::identity::{CommonName, FileIdentity};

/// Where a certificate, its key and its authority lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The authority.
    pub ca: PathBuf,
    /// The private key.
    pub key: PathBuf,
    /// The certificate; once it is there the node is activated.
    pub cert: PathBuf,
}

/// Who the node is by its files; `None` when it has not been activated.
pub(super) fn current(disk: &dyn Disk, files: &CertificateFiles) -> io::Result<Option<CommonName>> {
    let Some(cert) = read(disk, &files.cert)? else { return Ok(None) };
    let Some(key) = read(disk, &files.key)? else {
        tracing::warn!("there is a certificate without its key: the node is activated again");
        return Ok(None);
    };
    match FileIdentity::load(&cert, &key) {
        Ok(identity) => Ok(Some(identity.common_name().clone())),
        Err(error) => {
            tracing::warn!(%error, "the node's certificate cannot be used: the node is activated again");
            Ok(None)
        }
    }
}

/// The node's key in PEM: the one that is there, or a new one, durable before anybody hears of it. So a
/// request that is repeated after a crash names the same key.
pub(super) fn key(disk: &dyn Disk, files: &CertificateFiles) -> Result<String, Failure> {
    if let Some(pem) = read(disk, &files.key).map_err(failed)? {
        let pem = String::from_utf8(pem).unwrap_or_default();
        if KeyPair::from_pem(&pem).is_ok() {
            return Ok(pem);
        }
        tracing::warn!("the node's key cannot be used: a new one is made");
    }
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
    let pem = key.serialize_pem();
    write(disk, &files.key, &pem).map_err(failed)?;
    Ok(pem)
}

/// A request for a certificate of this key, in PEM.
pub(super) fn request(key: &str, fingerprint: &str) -> Result<String, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, fingerprint);
    params.serialize_request(&KeyPair::from_pem(key)?)?.pem()
}

/// Writes what the cloud gave, after it was found to fit: the certificate of MQTT, then key, authority and
/// at last the certificate.
pub(super) fn keep(
    disk: &dyn Disk,
    files: &CertificateFiles,
    mqtt: Option<&CertificateFiles>,
    made: &str,
    given: &Certificate,
    given_mqtt: &Certificate,
) -> Result<CommonName, Failure> {
    let key = if given.key.is_empty() { made } else { &given.key };
    let identity = FileIdentity::load(given.cert.as_bytes(), key.as_bytes())
        .map_err(|source| Failure::Certificate { source: source.into() })?;
    if let Some(mqtt) = mqtt.filter(|_| !given_mqtt.cert.is_empty()) {
        let key = if given_mqtt.key.is_empty() { made } else { &given_mqtt.key };
        write(disk, &mqtt.key, key).map_err(failed)?;
        write(disk, &mqtt.ca, &given_mqtt.ca).map_err(failed)?;
        write(disk, &mqtt.cert, &given_mqtt.cert).map_err(failed)?;
    }
    if key != made {
        write(disk, &files.key, key).map_err(failed)?;
    }
    if !given.ca.is_empty() {
        write(disk, &files.ca, &given.ca).map_err(failed)?;
    }
    write(disk, &files.cert, &given.cert).map_err(failed)?;
    Ok(identity.common_name().clone())
}

fn write(disk: &dyn Disk, path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        if disk.entry(folder)?.is_none() {
            disk.create_folder(folder, 0o700)?;
        }
        if let Some(above) = folder.parent() {
            disk.sync_folder(above)?;
        }
    }
    durable::replace(disk, path, text.as_bytes(), 0o600)
}

fn read(disk: &dyn Disk, path: &Path) -> io::Result<Option<Vec<u8>>> {
    match disk.read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn failed(error: impl Into<BoxError>) -> Failure {
    Failure::Files { source: error.into() }
}
