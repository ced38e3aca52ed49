use rcgen::{
    CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
};

use super::*;

fn cert(names: &[&str], key: &KeyPair) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::OrganizationName, "x.y");
    for name in names {
        params.distinguished_name.push(DnType::CommonName, *name);
    }
    params.self_signed(key).unwrap().pem()
}

#[test]
fn the_common_name_is_split_at_the_first_dot() {
    let key = KeyPair::generate().unwrap();
    for (name, expected) in [
        ("baetyl-cloud.edge1", Some(("baetyl-cloud", "edge1"))),
        ("a.b.c", Some(("a", "b.c"))),
        ("nodot", None),
        (".edge1", None),
        ("baetyl-cloud.", None),
    ] {
        let identity = FileIdentity::load(cert(&[name], &key).as_bytes(), key.serialize_pem().as_bytes());
        let found = identity.ok().map(|identity| identity.common_name().clone());
        let expected =
            expected.map(|(ns, node)| CommonName { namespace: ns.to_owned(), node: node.to_owned() });
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn a_chain_is_read_leaf_first() {
    let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let chain = cert(&["ns.leaf"], &key) + &cert(&["ns.authority"], &other);
    let identity = FileIdentity::load(chain.as_bytes(), key.serialize_pem().as_bytes()).unwrap();
    assert_eq!(identity.common_name().node, "leaf");
    assert_eq!(identity.chain().len(), 2);
}

#[test]
fn every_kind_of_key_signs_with_each_scheme_that_it_names() {
    for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let identity =
            FileIdentity::load(cert(&["ns.n"], &key).as_bytes(), key.serialize_pem().as_bytes()).unwrap();
        assert!(!identity.schemes().is_empty());
        for scheme in identity.schemes() {
            assert!(!identity.sign(scheme, b"message").unwrap().is_empty());
        }
        assert!(identity.sign(SignatureScheme(0), b"message").is_err());
    }
}

#[test]
fn a_key_of_another_certificate_is_refused_in_words() {
    let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let error = FileIdentity::load(cert(&["ns.n"], &key).as_bytes(), other.serialize_pem().as_bytes());
    assert!(error.unwrap_err().to_string().contains("does not belong"));
    let error = FileIdentity::load(b"", key.serialize_pem().as_bytes());
    assert!(error.unwrap_err().to_string().contains("there is none"));
}
