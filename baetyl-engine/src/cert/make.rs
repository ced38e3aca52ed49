//! Makes one certificate (edge.md 9). Knows neither store nor clock; the key's randomness is ring's.

use baetyl_core_lib::cert::CertRequest;
use baetyl_core_lib::error::BoxError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SerialNumber,
};
use time::OffsetDateTime;

/// What is made.
#[derive(Clone, Copy)]
pub(super) enum Kind<'a> {
    /// An authority, signed by itself.
    Root,
    /// A certificate by the authority of this common name and key (PKCS#8).
    Leaf { issuer: &'a str, key: &'a str },
}

/// A certificate and its key in PEM: PKCS#8 for an authority, SEC1 for what it issues.
pub(super) struct Made {
    pub(super) cert: String,
    pub(super) key: String,
}

/// Makes a certificate that is valid between two moments, in seconds since 1970.
pub(super) fn certificate(request: &CertRequest, span: (i64, i64), kind: Kind<'_>) -> Result<Made, BoxError> {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    params.not_before = OffsetDateTime::from_unix_timestamp(span.0)?;
    params.not_after = OffsetDateTime::from_unix_timestamp(span.1)?;
    params.serial_number = Some(serial(&pair));
    params.distinguished_name = subject(&request.common_name)?;
    for name in &request.dns {
        params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into()?));
    }
    params.subject_alt_names.extend(request.ip.iter().map(|ip| SanType::IpAddress(*ip)));
    match kind {
        Kind::Root => {
            params.subject_alt_names.push(SanType::URI("https://localhost".try_into()?));
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = ca_usages();
            let cert = params.self_signed(&pair)?;
            Ok(Made { cert: cert.pem(), key: pair.serialize_pem() })
        }
        Kind::Leaf { issuer, key } => {
            params.use_authority_key_identifier_extension = true;
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
            params.extended_key_usages =
                vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
            let mut by = CertificateParams::default();
            by.distinguished_name = subject(issuer)?;
            by.key_usages = ca_usages();
            let cert = params.signed_by(&pair, &Issuer::new(by, KeyPair::from_pem(key)?))?;
            Ok(Made { cert: cert.pem(), key: sec1(&pair)? })
        }
    }
}

fn ca_usages() -> Vec<KeyUsagePurpose> {
    vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign]
}

/// The subject of every certificate; programs of the SDK check that the unit is `BAETYL`.
fn subject(common_name: &str) -> Result<DistinguishedName, BoxError> {
    let mut name = DistinguishedName::new();
    name.push(DnType::CountryName, DnValue::PrintableString("CN".try_into()?));
    name.push(DnType::StateOrProvinceName, "Beijing");
    name.push(DnType::LocalityName, "Haidian District");
    name.push(DnType::CustomDnType(vec![2, 5, 4, 9]), "Baidu Campus");
    name.push(DnType::CustomDnType(vec![2, 5, 4, 17]), "100093");
    name.push(DnType::OrganizationName, "Linux Foundation Edge");
    name.push(DnType::OrganizationalUnitName, "BAETYL");
    name.push(DnType::CommonName, common_name);
    Ok(name)
}

/// 127 bits of the key that was just made, as random as it is: a serial number is positive.
fn serial(pair: &KeyPair) -> SerialNumber {
    let point = pair.public_key_raw();
    let mut bytes: Vec<u8> = point.iter().skip(1).take(16).copied().collect();
    if let Some(first) = bytes.first_mut() {
        *first = (*first & 0x7f) | 0x40;
    }
    SerialNumber::from(bytes)
}

/// The key as `EC PRIVATE KEY`, with the name of its curve, without which Go does not read it.
fn sec1(pair: &KeyPair) -> Result<String, BoxError> {
    // RFC 5915 for P-256: every length is fixed.
    const HEAD: [u8; 7] = [0x30, 0x77, 0x02, 0x01, 0x01, 0x04, 0x20];
    const CURVE: [u8; 12] = [0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    const PUBLIC: [u8; 5] = [0xa1, 0x44, 0x03, 0x42, 0x00];
    let (pkcs8, public) = (pair.serialize_der(), pair.public_key_raw());
    // The PKCS#8 document wraps the same structure without the curve: version 1, then the scalar.
    let inner = pkcs8.windows(5).position(|bytes| bytes == &HEAD[2..]);
    let scalar = inner.and_then(|at| pkcs8.get(at + 5..at + 37));
    let (Some(scalar), 65) = (scalar, public.len()) else {
        return Err("the key that was made is not of the curve P-256".into());
    };
    let der = [&HEAD[..], scalar, &CURVE, &PUBLIC, public].concat();
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap_or_default()).collect();
    Ok(format!("-----BEGIN EC PRIVATE KEY-----\n{}\n-----END EC PRIVATE KEY-----\n", lines.join("\n")))
}
