//! The node's own authority.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use baetyl_core_lib::cert::{CertIssuer as _, CertRequest, IssuedCert};
use baetyl_core_lib::clock::{Clock, Trust};
use baetyl_core_lib::durable::OsDisk;
use baetyl_core_lib::spec::Timestamp;
use baetyl_core_lib::store::{MemoryStore, Store as _, Table};
use baetyl_engine::cert::{NodeAuthority, PkiConfig, write};
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

const NOW: i64 = 1_800_000_000;
const DAY: u64 = 86_400;

#[derive(Debug)]
struct Watch(Mutex<(i64, Trust)>);

impl Watch {
    fn set(&self, now: i64, trust: Trust) {
        *self.0.lock().unwrap() = (now, trust);
    }
}

impl Clock for Watch {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix(self.0.lock().unwrap().0)
    }

    fn trust(&self) -> Trust {
        self.0.lock().unwrap().1
    }

    fn raise_floor(&self, _floor: Timestamp) {}
}

struct Bed {
    store: Arc<MemoryStore>,
    clock: Arc<Watch>,
}

impl Bed {
    fn new() -> Self {
        Self { store: Arc::default(), clock: Arc::new(Watch(Mutex::new((NOW, Trust::Synchronised)))) }
    }

    async fn open(&self, name: &str) -> NodeAuthority {
        let (store, clock) = (Arc::<MemoryStore>::clone(&self.store), Arc::<Watch>::clone(&self.clock));
        NodeAuthority::open(store, name, clock, PkiConfig::default()).await.unwrap()
    }
}

fn request(name: &str) -> CertRequest {
    CertRequest {
        common_name: name.to_owned(),
        dns: vec!["app1.baetyl-edge".to_owned(), "localhost".to_owned()],
        ip: vec!["0.0.0.0".parse().unwrap(), "127.0.0.1".parse().unwrap()],
    }
}

fn pems(text: &[u8]) -> Vec<Pem> {
    Pem::iter_from_buffer(text).map(Result::unwrap).collect()
}

fn check(issued: &IssuedCert, look: impl FnOnce(&X509Certificate<'_>, &X509Certificate<'_>)) {
    let (leaf, ca) = (pems(&issued.cert.0), pems(&issued.ca.0));
    assert_eq!((leaf.len(), ca.len()), (1, 1));
    look(&leaf[0].parse_x509().unwrap(), &ca[0].parse_x509().unwrap());
}

#[tokio::test]
async fn certificate_is_what_programs_of_the_sdk_expect() {
    let issued = Bed::new().open("ns.node1").await.issue(&request("app1.s0")).await.unwrap();
    check(&issued, |leaf, ca| {
        leaf.verify_signature(Some(ca.public_key())).unwrap();
        ca.verify_signature(None).unwrap();
        assert_eq!(leaf.issuer().as_raw(), ca.subject().as_raw());
        let unit: Vec<_> =
            leaf.subject().iter_organizational_unit().map(|unit| unit.as_str().unwrap()).collect();
        assert_eq!(unit, ["BAETYL"]);
        let text = leaf.subject().to_string();
        for part in ["C=CN", "ST=Beijing", "L=Haidian District", "O=Linux Foundation Edge", "CN=app1.s0"] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(ca.subject().iter_common_name().next().unwrap().as_str().unwrap(), "ns.node1");
        assert!(ca.is_ca() && !leaf.is_ca());
        assert_eq!(leaf.raw_serial().len(), 16);
        assert_eq!(leaf.validity().not_before.timestamp(), NOW - 600);
        assert_eq!(leaf.validity().not_after.timestamp(), NOW + 365 * 86_400);
        let usage = leaf.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.client_auth && usage.server_auth);
        let names = &leaf.subject_alternative_name().unwrap().unwrap().value.general_names;
        assert!(
            names.contains(&GeneralName::DNSName("localhost"))
                && names.contains(&GeneralName::IPAddress(&[0; 4]))
        );
    });
}

#[tokio::test]
async fn key_is_sec1_with_its_curve_and_fits_the_certificate() {
    let issued = Bed::new().open("ns.node1").await.issue(&request("app1.s0")).await.unwrap();
    let key = &pems(&issued.key.0)[0];
    assert_eq!(key.label, "EC PRIVATE KEY");
    assert_eq!((key.contents.len(), &key.contents[..7]), (121, &[0x30, 0x77, 2, 1, 1, 4, 32][..]));
    assert!(key.contents.windows(8).any(|bytes| bytes == [0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]));
    let leaf = pems(&issued.cert.0).remove(0);
    let (_, leaf) = X509Certificate::from_der(&leaf.contents).unwrap();
    assert_eq!(&key.contents[56..], &leaf.public_key().subject_public_key.data[..]);
}

#[tokio::test]
async fn certificate_is_used_until_a_third_of_its_life_is_left() {
    let bed = Bed::new();
    let first = bed.open("ns.node1").await.issue(&request("app1.s0")).await.unwrap();
    let days = |count: i64| NOW + count * 86_400;
    bed.clock.set(days(243), Trust::Synchronised);
    let authority = bed.open("ns.node1").await;
    assert_eq!(authority.issue(&request("app1.s0")).await.unwrap(), first);
    bed.clock.set(days(244), Trust::Synchronised);
    let renewed = authority.issue(&request("app1.s0")).await.unwrap();
    assert_ne!(renewed.cert, first.cert);
    assert_eq!(renewed.ca, first.ca);
    let mut other = request("app1.s0");
    other.dns.push("more".to_owned());
    assert_ne!(authority.issue(&other).await.unwrap().cert, renewed.cert);
}

#[tokio::test]
async fn node_of_another_name_has_another_authority() {
    let bed = Bed::new();
    let first = bed.open("ns.node1").await.issue(&request("app1.s0")).await.unwrap();
    let second = bed.open("ns.node2").await.issue(&request("app1.s0")).await.unwrap();
    assert!(first.ca != second.ca && first.cert != second.cert);
}

#[tokio::test]
async fn clock_that_nobody_set_neither_renews_nor_makes_what_is_not_valid_yet() {
    let bed = Bed::new();
    let before = bed.open("ns.node1").await.issue(&request("app1.s0")).await.unwrap();
    bed.clock.set(NOW - 1_000_000, Trust::Unset);
    let authority = bed.open("ns.node1").await;
    assert_eq!(authority.issue(&request("app1.s0")).await.unwrap(), before);
    let new = authority.issue(&request("app2.s0")).await.unwrap();
    check(&new, |leaf, _| assert_eq!(leaf.validity().not_before.timestamp(), 0));
}

#[tokio::test]
async fn what_was_made_in_a_wrong_future_is_made_again() {
    let bed = Bed::new();
    bed.clock.set(NOW + 3_000_000_000, Trust::Synchronised);
    let future = bed.open("ns.node1").await.issue(&request("app1.s0")).await.unwrap();
    bed.clock.set(NOW, Trust::Synchronised);
    let now = bed.open("ns.node1").await.issue(&request("app1.s0")).await.unwrap();
    assert!(future.ca != now.ca && future.cert != now.cert);
}

#[tokio::test]
async fn forgotten_certificates_leave_the_store() {
    let bed = Bed::new();
    let authority = bed.open("ns.node1").await;
    for name in ["app1.s0", "app2.s0"] {
        authority.issue(&request(name)).await.unwrap();
    }
    authority.retain(&BTreeSet::from(["app2.s0".to_owned()])).await.unwrap();
    let keys: Vec<_> =
        bed.store.list(Table::Certificate, "").await.unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["leaf/app2.s0", "root"]);
}

#[tokio::test]
async fn lives_are_configured() {
    let bed = Bed::new();
    let config =
        PkiConfig { sub_duration: Duration::from_secs(DAY), root_duration: Duration::from_secs(30 * DAY) };
    let (store, clock) = (Arc::<MemoryStore>::clone(&bed.store), Arc::<Watch>::clone(&bed.clock));
    let authority = NodeAuthority::open(store, "ns.node1", clock, config).await.unwrap();
    check(&authority.issue(&request("a.b")).await.unwrap(), |leaf, ca| {
        assert_eq!(leaf.validity().not_after.timestamp(), NOW + 86_400);
        assert_eq!(ca.validity().not_after.timestamp(), NOW + 30 * 86_400);
    });
}

#[tokio::test]
async fn files_are_for_the_owner_only() {
    let issued = Bed::new().open("ns.node1").await.issue(&request("baetyl-core")).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let certs = folder.path().join("system/certs");
    write(&OsDisk, &certs, &issued).unwrap();
    let mode = |path: &str| std::fs::metadata(certs.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("key.pem"), mode("crt.pem"), mode("ca.pem")), (0o700, 0o600, 0o600, 0o600));
    assert_eq!(std::fs::read(certs.join("crt.pem")).unwrap(), issued.cert.0);
}
