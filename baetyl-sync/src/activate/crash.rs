//! The power is cut at every call with which activation changes the disk: afterwards the node is activated
//! or not, and never has a certificate without its key.

use std::fmt::Write as _;
use std::path::Path;

use baetyl_core_lib::durable::Disk as _;
use baetyl_core_lib::spec::Certificate;
use baetyl_core_lib::testing::{Call, MemoryDisk, Tear};
use rcgen::{CertificateParams, DnType, Issuer, KeyPair};

use super::files::{self, CertificateFiles};

/// All calls that change the disk, by what is done. Each is a point at which the power is cut.
const POINTS: &str = include_str!("../../tests/fixtures/crash-points-activate.txt");

const TEARS: [Tear; 5] = [Tear::Lost, Tear::Kept, Tear::Torn(1), Tear::Torn(2), Tear::Torn(3)];

fn paths(folder: &str) -> CertificateFiles {
    let at = |name: &str| Path::new(folder).join(name);
    CertificateFiles { ca: at("ca.pem"), key: at("client.key"), cert: at("client.pem") }
}

/// A cloud that makes a certificate for a key in PEM.
fn certificate(key: &str, answered_key: &str) -> Certificate {
    let issuer = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = authority.self_signed(&issuer).unwrap().pem();
    let mut node = CertificateParams::new(Vec::new()).unwrap();
    node.distinguished_name.push(DnType::CommonName, "default.node-1");
    let issuer = Issuer::new(authority, issuer);
    let cert = node.signed_by(&KeyPair::from_pem(key).unwrap(), &issuer).unwrap().pem();
    Certificate { ca, cert, key: answered_key.to_owned(), ..Certificate::default() }
}

fn installed() -> MemoryDisk {
    let disk = MemoryDisk::new();
    disk.create_folder(Path::new("/lib"), 0o755).unwrap();
    disk.sync_folder(Path::new("/")).unwrap();
    disk
}

/// Our cloud: the node's own key is certified.
fn own_key(disk: &MemoryDisk) -> Result<(), super::Failure> {
    let made = files::key(disk, &paths("/lib/node"))?;
    let given = certificate(&made, "");
    files::keep(disk, &paths("/lib/node"), None, &made, &given, &Certificate::default()).map(drop)
}

/// Another cloud: it sends a key, and a certificate for MQTT.
fn sent_key(disk: &MemoryDisk) -> Result<(), super::Failure> {
    let made = files::key(disk, &paths("/lib/node"))?;
    let sent = KeyPair::generate().unwrap().serialize_pem();
    let given = certificate(&sent, &sent);
    files::keep(disk, &paths("/lib/node"), Some(&paths("/lib/mqtt")), &made, &given, &given.clone()).map(drop)
}

fn check(disk: &MemoryDisk, what: &str) -> bool {
    let files = paths("/lib/node");
    let activated = files::current(disk, &files).unwrap().is_some();
    let certified = disk.entry(&files.cert).unwrap().is_some();
    assert_eq!(activated, certified, "{what}: a certificate that cannot be used");
    activated
}

fn cut_everywhere(activate: fn(&MemoryDisk) -> Result<(), super::Failure>) -> Vec<Call> {
    let whole = installed();
    let first = whole.calls();
    activate(&whole).unwrap();
    let calls = whole.trace().split_off(first);
    for (point, call) in calls.iter().enumerate() {
        for tear in TEARS {
            let what = format!("{tear:?} at {call}");
            let disk = installed();
            disk.cut_at(first + point);
            assert!(activate(&disk).is_err(), "{what}");
            let left = disk.crash(tear);
            if !check(&left, &what) {
                activate(&left).unwrap_or_else(|error| panic!("{what}: {error}"));
            }
            assert!(check(&left.crash(Tear::Lost), &what), "{what}: not durable");
            for path in [paths("/lib/node").key, paths("/lib/node").cert] {
                assert_eq!(left.mode(&path), Some(0o600), "{what}");
            }
            assert_eq!(left.mode(Path::new("/lib/node")), Some(0o700), "{what}");
        }
    }
    calls
}

#[test]
fn a_power_cut_at_any_call_leaves_a_node_that_can_go_on() {
    let mut found = String::new();
    let mut count = 0;
    for (name, calls) in
        [("the node's own key", cut_everywhere(own_key)), ("a key from the cloud", cut_everywhere(sent_key))]
    {
        writeln!(found, "## {name}").unwrap();
        for call in &calls {
            // Lengths differ with the digits of serial numbers and signatures.
            let call = call.to_string();
            writeln!(found, "{}", call.split_once(" 0+").map_or(call.as_str(), |(call, _)| call)).unwrap();
        }
        count += calls.len();
    }
    println!("crash points of activation: {count}");
    let least = POINTS.lines().filter(|line| !line.starts_with('#')).count();
    assert!(count >= least, "{count} crash points, but there were {least}");
    assert_eq!(
        found, POINTS,
        "the calls have changed: look at each, then write this into the table:\n{found}"
    );
}

#[test]
fn a_key_that_is_here_is_used_again_and_a_broken_one_is_not() {
    let (disk, files) = (installed(), paths("/lib/node"));
    let made = files::key(&disk, &files).unwrap();
    assert_eq!(files::key(&disk, &files).unwrap(), made);
    disk.create(&files.key, 0o600).unwrap().write_at(b"torn", 0).unwrap();
    assert_ne!(files::key(&disk, &files).unwrap(), made);
}

#[test]
fn nothing_is_written_that_does_not_fit() {
    let (disk, files) = (installed(), paths("/lib/node"));
    let made = files::key(&disk, &files).unwrap();
    let calls = disk.calls();
    let other = KeyPair::generate().unwrap().serialize_pem();
    let given = certificate(&other, "");
    let error = files::keep(&disk, &files, None, &made, &given, &Certificate::default()).unwrap_err();
    assert!(matches!(error, super::Failure::Certificate { .. }), "{error}");
    assert_eq!(disk.calls(), calls);
}
