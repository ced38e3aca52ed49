//! The power is cut at every call that changes the disk, and the next start still ends in a whole folder.

use std::fmt::Write as _;
use std::path::Path;

use baetyl_core_lib::spec::hex;
use baetyl_core_lib::testing::{Call, MemoryDisk, Tear};

use md5::{Digest as _, Md5};

use super::tests::{Bed, Server, VERSION, described, object, tar};
use super::*;

/// All calls that change the disk, by what is done. Each is a point at which the power is cut.
const POINTS: &str = include_str!("../../tests/fixtures/crash-points-object.txt");

const TEARS: [Tear; 5] = [Tear::Lost, Tear::Kept, Tear::Torn(1), Tear::Torn(2), Tear::Torn(3)];

fn file_config() -> (Configuration, Arc<Server>) {
    let bytes = vec![7; 300_000];
    (described(&[("model.bin", object(&bytes, ""))]), Server::of(&bytes))
}

fn archive_config() -> (Configuration, Arc<Server>) {
    let bytes = tar(&[("bin/run", b"#!/bin/sh"), ("program.yml", b"entry: bin/run")]);
    (described(&[("program.tar", object(&bytes, "tar"))]), Server::of(&bytes))
}

/// A disk with an installation's folder.
fn installed() -> MemoryDisk {
    let disk = MemoryDisk::new();
    disk.create_folder(Path::new("/lib"), 0o755).unwrap();
    disk.sync_folder(Path::new("/")).unwrap();
    disk
}

/// What lies below a folder, with the digest of its content; `None` where nothing does.
fn tree(disk: &MemoryDisk, folder: &Path) -> Option<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    disk.entry(folder).unwrap()?;
    while let Some(folder) = folders.pop() {
        for name in disk.list(&folder).unwrap() {
            let path = folder.join(name);
            match disk.read(&path) {
                Ok(bytes) => found.push((path.display().to_string(), hex::encode(&Md5::digest(bytes)))),
                Err(_) => folders.push(path),
            }
        }
    }
    found.sort();
    Some(found)
}

fn table(name: &str, calls: &[Call]) -> String {
    let mut text = format!("## {name}\n");
    for call in calls {
        writeln!(text, "{call}").unwrap();
    }
    text
}

/// Runs `before`, then `what` with the power cut at each of its calls, and `what` again. Returns its calls.
async fn cut_everywhere(make: fn() -> (Configuration, Arc<Server>), prepare: fn(&MemoryDisk)) -> Vec<Call> {
    let (config, server) = make();
    let whole = installed();
    prepare(&whole);
    let first = whole.calls();
    let old = tree(&whole, Path::new(VERSION));
    Bed::on(&server, whole.clone(), |_| {}).ensure(&config).await.unwrap();
    let new = tree(&whole, Path::new(VERSION));
    let calls = whole.trace().split_off(first);
    for (point, call) in calls.iter().enumerate() {
        for tear in TEARS {
            let disk = installed();
            prepare(&disk);
            disk.cut_at(first + point);
            drop(Bed::on(&server, disk.clone(), |_| {}).ensure(&config).await);
            assert!(disk.is_cut(), "{call} was not reached again");
            let left = disk.crash(tear);
            let found = tree(&left, Path::new(VERSION));
            assert!(
                found.is_none() || found == old || found == new,
                "{tear:?} at {call}: neither nothing nor whole: {found:?}"
            );
            let bed = Bed::on(&server, left.clone(), |_| {});
            bed.ensure(&config).await.unwrap_or_else(|error| panic!("{tear:?} at {call}: {error}"));
            assert_eq!(tree(&left, Path::new(VERSION)), new, "{tear:?} at {call}");
            assert_eq!(left.list(Path::new("/lib/object/conf")).unwrap(), ["7"], "{tear:?} at {call}");
            let after = left.crash(Tear::Lost);
            assert_eq!(tree(&after, Path::new(VERSION)), new, "{tear:?} at {call}: not durable");
        }
    }
    calls
}

async fn cut_removal() -> Vec<Call> {
    let (config, server) = archive_config();
    let whole = Bed::on(&server, installed(), |_| {});
    whole.ensure(&config).await.unwrap();
    let first = whole.disk.calls();
    let old = tree(&whole.disk, Path::new(VERSION));
    whole.objects.retain(&BTreeSet::new()).await.unwrap();
    let calls = whole.disk.trace().split_off(first);
    for (point, call) in calls.iter().enumerate() {
        for tear in TEARS {
            let bed = Bed::on(&server, installed(), |_| {});
            bed.ensure(&config).await.unwrap();
            bed.disk.cut_at(first + point);
            bed.objects.retain(&BTreeSet::new()).await.unwrap_err();
            let left = bed.disk.crash(tear);
            let found = tree(&left, Path::new(VERSION));
            assert!(found.is_none() || found == old, "{tear:?} at {call}: half removed: {found:?}");
            let next = Bed::on(&server, left.clone(), |_| {});
            next.ensure(&config).await.unwrap();
            assert_eq!(tree(&left, Path::new(VERSION)), old, "{tear:?} at {call}");
        }
    }
    calls
}

#[tokio::test(start_paused = true)]
async fn a_power_cut_at_any_call_leaves_nothing_or_the_whole_object() {
    let stale: fn(&MemoryDisk) = |disk| {
        disk.create_folder(Path::new(VERSION), 0o755).unwrap();
        drop(disk.create(&Path::new(VERSION).join("stale"), 0o644).unwrap());
        for folder in [VERSION, "/lib/object/conf", "/lib/object", "/lib", "/"] {
            disk.sync_folder(Path::new(folder)).unwrap();
        }
    };
    let mut found = String::new();
    let mut count = 0;
    for (name, calls) in [
        ("a file", cut_everywhere(file_config, |_| {}).await),
        ("an archive", cut_everywhere(archive_config, |_| {}).await),
        (
            "an archive in the place of a folder of the original agent",
            cut_everywhere(archive_config, stale).await,
        ),
        ("removal", cut_removal().await),
    ] {
        count += calls.len();
        found.push_str(&table(name, &calls));
    }
    println!("crash points of objects: {count}");
    let least = POINTS.lines().filter(|line| !line.starts_with('#')).count();
    assert!(count >= least, "{count} crash points, but there were {least}");
    assert_eq!(
        found, POINTS,
        "the calls have changed: look at each, then write this into the table:\n{found}"
    );
}
