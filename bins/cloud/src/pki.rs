//! The cloud's own certificate authority: made at the first start, kept with its key readable by the owner
//! alone.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use baetyl_core_lib::clock::Clock;
use baetyl_core_lib::durable::{self, Disk, OsDisk};
use baetyl_core_lib::error::BoxError;
use baetyl_core_lib::spec::hex;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use ring::rand::SecureRandom as _;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::error::ServiceError;
use crate::service::Authority;

const NODE_YEARS: i64 = 20;
const ROOT_YEARS: i64 = 50;
const SERVER_YEARS: i64 = 5;

/// The authority cannot be read or made.
#[derive(Debug, thiserror::Error)]
#[error("certificate authority: {what} ({path})")]
pub struct PkiError {
    /// What was tried.
    pub what: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What went wrong.
    #[source]
    pub source: BoxError,
}

/// The authority: root key and certificate, and a secret to sign addresses with.
pub struct Pki {
    issuer: Issuer<'static, KeyPair>,
    ca_pem: String,
    secret: [u8; 32],
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Pki {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pki").field("keys", &"[redacted]").finish_non_exhaustive()
    }
}

impl Pki {
    /// Reads the authority from `folder`, or makes it there.
    ///
    /// # Errors
    /// When a file cannot be read, written or understood. A key without its certificate is used again.
    pub fn open(folder: &Path, clock: Arc<dyn Clock>) -> Result<Self, PkiError> {
        let disk = OsDisk;
        let [key_path, ca_path, secret_path] =
            ["ca.key", "ca.pem", "secret.key"].map(|name| folder.join(name));
        let key_pem =
            read_or_make(&disk, &key_path, || Ok(KeyPair::generate()?.serialize_pem().into_bytes()))?;
        let fail = |what, path: &Path| {
            let path = path.to_owned();
            move |source: rcgen::Error| PkiError { what, path, source: source.into() }
        };
        let key = KeyPair::from_pem(&String::from_utf8_lossy(&key_pem))
            .map_err(fail("the key is not readable", &key_path))?;
        let now = wall(&*clock);
        let ca =
            read_or_make(&disk, &ca_path, || Ok(root_params(now).self_signed(&key)?.pem().into_bytes()))?;
        let ca_pem = String::from_utf8_lossy(&ca).into_owned();
        let issuer = Issuer::from_ca_cert_pem(&ca_pem, key)
            .map_err(fail("the certificate is not readable", &ca_path))?;
        let secret = read_or_make(&disk, &secret_path, || {
            let mut bytes = vec![0; 32];
            let random = ring::rand::SystemRandom::new();
            random.fill(&mut bytes).map_err(|_| io::Error::other("no randomness"))?;
            Ok(bytes)
        })?;
        let secret = <[u8; 32]>::try_from(secret.as_slice()).map_err(|source| PkiError {
            what: "the secret is not 32 bytes: remove the file to get another one",
            path: secret_path,
            source: source.into(),
        })?;
        Ok(Self { issuer, ca_pem, secret, clock })
    }

    /// A certificate for the servers under these names and addresses, and its key.
    ///
    /// # Errors
    /// When a name cannot stand in a certificate.
    pub fn server(
        &self,
        names: &[String],
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), ServiceError> {
        let fail = |source: rcgen::Error| ServiceError::internal("making the server certificate", source);
        let key = KeyPair::generate().map_err(fail)?;
        let mut params = self.params("baetyl-cloud", SERVER_YEARS)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        for name in names {
            let san = match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(name.clone().try_into().map_err(fail)?),
            };
            params.subject_alt_names.push(san);
        }
        let cert = params.signed_by(&key, &self.issuer).map_err(fail)?;
        Ok((vec![cert.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into()))
    }

    /// The root certificate.
    ///
    /// # Errors
    /// When its PEM is broken.
    pub fn root(&self) -> Result<CertificateDer<'static>, ServiceError> {
        CertificateDer::from_pem_slice(self.ca_pem.as_bytes())
            .map_err(|error| ServiceError::internal("reading its root certificate", error))
    }

    /// The mark of an address that is valid until `expiry`.
    pub fn mark(&self, digest: &str, expiry: i64) -> String {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &self.secret);
        hex::encode(ring::hmac::sign(&key, format!("{digest}|{expiry}").as_bytes()).as_ref())
    }

    /// Whether a mark is right and its time has not passed.
    pub fn marked(&self, digest: &str, expiry: i64, mark: &str) -> bool {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &self.secret);
        let given = hex::decode(mark).unwrap_or_default();
        let right = ring::hmac::verify(&key, format!("{digest}|{expiry}").as_bytes(), &given).is_ok();
        right && self.clock.now().as_unix() < expiry
    }

    fn params(&self, common_name: &str, years: i64) -> Result<CertificateParams, ServiceError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(common_name);
        let now = wall(&*self.clock);
        // A day back, for nodes whose clock is a little behind.
        params.not_before = now - Duration::days(1);
        params.not_after = now + Duration::days(365 * years);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.use_authority_key_identifier_extension = true;
        let mut serial = [0; 16];
        let random = ring::rand::SystemRandom::new();
        random
            .fill(&mut serial)
            .map_err(|_| ServiceError::internal("making a serial number", "no randomness"))?;
        serial[0] &= 0x7f;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        Ok(params)
    }

    fn node_params(&self, common_name: &str) -> Result<CertificateParams, ServiceError> {
        let mut params = self.params(common_name, NODE_YEARS)?;
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        Ok(params)
    }
}

impl Authority for Pki {
    fn ca_pem(&self) -> String {
        self.ca_pem.clone()
    }

    fn issue(&self, common_name: &str) -> Result<(String, String), ServiceError> {
        let fail = |source: rcgen::Error| ServiceError::internal("making a node certificate", source);
        let key = KeyPair::generate().map_err(fail)?;
        let cert = self.node_params(common_name)?.signed_by(&key, &self.issuer).map_err(fail)?;
        Ok((cert.pem(), key.serialize_pem()))
    }

    fn sign(&self, common_name: &str, csr_pem: &str) -> Result<String, ServiceError> {
        let mut request = CertificateSigningRequestParams::from_pem(csr_pem).map_err(|error| {
            ServiceError::invalid(format!("csr is no valid signing request in PEM: {error}"))
        })?;
        // Nothing of what the node asks for but its key goes into the certificate.
        request.params = self.node_params(common_name)?;
        let cert = request.signed_by(&self.issuer);
        Ok(cert.map_err(|source| ServiceError::internal("signing a node certificate", source))?.pem())
    }
}

/// What is shown of a certificate, once its key fits (cloud.md 3.5).
pub(crate) fn describe_certificate(
    cert_pem: &str,
    key_pem: &str,
) -> Result<BTreeMap<String, String>, ServiceError> {
    let no_cert = || ServiceError::invalid("data.certificate is no certificate in PEM");
    let no_key = || ServiceError::invalid("data.key is no private key in PEM");
    let der = CertificateDer::from_pem_slice(cert_pem.as_bytes()).map_err(|_| no_cert())?;
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|_| no_key())?;
    let key = rustls::crypto::ring::sign::any_supported_type(&key).map_err(|_| no_key())?;
    let (_, cert) = X509Certificate::from_der(&der).map_err(|_| no_cert())?;
    let fits = key.public_key().is_some_and(|public| public.as_ref() == cert.public_key().raw);
    if !fits {
        return Err(ServiceError::invalid("data.key does not belong to data.certificate"));
    }
    let algorithm = match cert.signature_algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.10045.4.3.2" => "ECDSA-SHA256",
        "1.2.840.10045.4.3.3" => "ECDSA-SHA384",
        "1.2.840.10045.4.3.4" => "ECDSA-SHA512",
        "1.2.840.113549.1.1.11" => "SHA256-RSA",
        "1.2.840.113549.1.1.12" => "SHA384-RSA",
        "1.2.840.113549.1.1.13" => "SHA512-RSA",
        "1.3.101.112" => "Ed25519",
        _ => "0",
    };
    let time = |time: x509_parser::time::ASN1Time| {
        let at = time.to_datetime();
        let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
        format!(
            "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} +0000 UTC",
            at.hour(),
            at.minute(),
            at.second()
        )
    };
    let issuer =
        cert.issuer().iter_common_name().next().and_then(|name| name.as_str().ok()).unwrap_or_default();
    let print = ring::digest::digest(&ring::digest::SHA256, &der);
    let print: Vec<String> = print.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    Ok([
        ("signatureAlgorithm", algorithm.to_owned()),
        ("effectiveTime", time(cert.validity().not_before)),
        ("expiredTime", time(cert.validity().not_after)),
        ("serialNumber", cert.serial.to_string()),
        ("issuer", issuer.to_owned()),
        ("fingerPrint", print.join(":")),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into())
}

/// The namespace and node of a client certificate that was verified: its common name at the first dot.
pub(crate) fn identity_of(der: &CertificateDer<'_>) -> Option<(String, String)> {
    let (_, cert) = X509Certificate::from_der(der).ok()?;
    let name = cert.subject().iter_common_name().next()?.as_str().ok()?;
    let (namespace, node) = name.split_once('.')?;
    (!namespace.is_empty() && !node.is_empty()).then(|| (namespace.to_owned(), node.to_owned()))
}

fn wall(clock: &dyn Clock) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(clock.now().as_unix()).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn root_params(now: OffsetDateTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject("Baetyl cloud root");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params.not_before = now - Duration::days(1);
    params.not_after = now + Duration::days(365 * ROOT_YEARS);
    params
}

fn subject(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CountryName, "CN");
    name.push(DnType::StateOrProvinceName, "Beijing");
    name.push(DnType::LocalityName, "Haidian District");
    name.push(DnType::CustomDnType(vec![2, 5, 4, 9]), "Baidu Campus");
    name.push(DnType::CustomDnType(vec![2, 5, 4, 17]), "100093");
    name.push(DnType::OrganizationName, "Linux Foundation Edge");
    // Modules on the device look for this unit.
    name.push(DnType::OrganizationalUnitName, "BAETYL");
    name.push(DnType::CommonName, common_name);
    name
}

fn read_or_make(
    disk: &dyn Disk,
    path: &Path,
    make: impl FnOnce() -> Result<Vec<u8>, BoxError>,
) -> Result<Vec<u8>, PkiError> {
    let fail = |what, source: BoxError| PkiError { what, path: path.to_owned(), source };
    match disk.read(path) {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let bytes = make().map_err(|error| fail("a key or certificate cannot be made", error))?;
            durable::replace(disk, path, &bytes, 0o600)
                .map_err(|error| fail("the file cannot be written", error.into()))?;
            Ok(bytes)
        }
        Err(error) => Err(fail("the file cannot be read", error.into())),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use baetyl_core_lib::clock::{Clock, Trust};
    use baetyl_core_lib::spec::Timestamp;
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject as _;

    use super::{Pki, identity_of};
    use crate::service::Authority as _;

    #[derive(Debug)]
    struct At(i64);

    impl Clock for At {
        fn now(&self) -> Timestamp {
            Timestamp::from_unix(self.0)
        }
        fn trust(&self) -> Trust {
            Trust::Synchronised
        }
        fn raise_floor(&self, _: Timestamp) {}
    }

    #[test]
    fn the_authority_is_made_once_and_names_nodes() {
        let folder = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(At(1_800_000_000));
        let first = Pki::open(folder.path(), Arc::clone(&clock)).unwrap();
        let again = Pki::open(folder.path(), clock).unwrap();
        assert_eq!(first.ca_pem(), again.ca_pem());
        let (cert, _) = again.issue("baetyl-cloud.n.1").unwrap();
        let der = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
        assert_eq!(identity_of(&der), Some(("baetyl-cloud".to_owned(), "n.1".to_owned())));
    }

    #[test]
    fn a_marked_address_ends_and_cannot_be_changed() {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::open(folder.path(), Arc::new(At(100))).unwrap();
        let mark = pki.mark("aa", 101);
        assert!(pki.marked("aa", 101, &mark));
        assert!(!pki.marked("ab", 101, &mark));
        assert!(!pki.marked("aa", 102, &mark));
        assert!(!pki.marked("aa", 100, &pki.mark("aa", 100)));
    }
}
