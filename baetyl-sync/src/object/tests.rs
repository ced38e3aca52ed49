//! Objects against a server in memory that breaks off, refuses and lies.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::path::Path;

use baetyl_core_lib::error::BoxError;
use baetyl_core_lib::object::Progress;
use baetyl_core_lib::spec::hex;
use baetyl_core_lib::store::MemoryStore;
use baetyl_core_lib::task::Inline;
use baetyl_core_lib::testing::{MemoryDisk, SeededRandom};
use bytes::Bytes;
use md5::{Digest as _, Md5};
use tokio::time::Instant;

use super::*;

pub(super) const VERSION: &str = "/lib/object/conf/7";

/// What goes wrong with one answer.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    /// The transfer breaks off after so many bytes.
    Break(usize),
    /// The server sends nothing more after so many bytes.
    Stall(usize),
    /// The server answers this status.
    Status(u16),
    /// The server knows no ranges.
    NoRange,
    /// There is no answer.
    Silent,
    /// The server tells no size.
    NoSize,
    /// The server's object has changed.
    Changed(Vec<u8>),
}

/// A server of one object.
#[derive(Debug, Default)]
pub(super) struct Server {
    bytes: Mutex<Vec<u8>>,
    faults: Mutex<VecDeque<Fault>>,
    asked: Mutex<Vec<Ask>>,
}

impl Server {
    pub(super) fn of(bytes: &[u8]) -> Arc<Self> {
        let server = Self::default();
        *server.bytes.lock().unwrap() = bytes.to_vec();
        Arc::new(server)
    }

    fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().unwrap().extend(faults);
    }

    /// From which byte on it was asked, each time.
    fn starts(&self) -> Vec<u64> {
        self.asked.lock().unwrap().iter().map(|ask| ask.from).collect()
    }
}

#[async_trait]
impl Source for Server {
    async fn open(&self, ask: Ask) -> Result<Answer, BoxError> {
        self.asked.lock().unwrap().push(ask.clone());
        let fault = self.faults.lock().unwrap().pop_front();
        if let Some(Fault::Changed(bytes)) = &fault {
            self.bytes.lock().unwrap().clone_from(bytes);
        }
        let bytes = self.bytes.lock().unwrap().clone();
        let tag = hex::encode(&Md5::digest(&bytes));
        let same = ask.validator.as_ref().is_none_or(|told| *told == tag);
        let ranged = ask.from > 0 && same && !matches!(fault, Some(Fault::NoRange));
        let start = if ranged { ask.from } else { 0 };
        let mut status = if ranged { 206 } else { 200 };
        if start > bytes.len() as u64 {
            status = 416;
        }
        match fault {
            Some(Fault::Status(told)) => status = told,
            Some(Fault::Silent) => return Err("connection refused".into()),
            _ => {}
        }
        let mut rest = bytes.get(usize::try_from(start).unwrap()..).unwrap_or_default().to_vec();
        let total = (!matches!(fault, Some(Fault::NoSize))).then_some(bytes.len() as u64);
        let mut end = End::Whole;
        if let Some(Fault::Break(after) | Fault::Stall(after)) = fault {
            rest.truncate(after);
            end = if matches!(fault, Some(Fault::Stall(_))) { End::Stalled } else { End::Broken };
        }
        let chunks = rest.chunks(100_000).map(Bytes::copy_from_slice).collect();
        Ok(Answer { status, start, total, validator: Some(tag), body: Box::new(Chunks { chunks, end }) })
    }
}

enum End {
    Whole,
    Broken,
    Stalled,
}

struct Chunks {
    chunks: VecDeque<Bytes>,
    end: End,
}

#[async_trait]
impl Body for Chunks {
    async fn chunk(&mut self) -> Result<Option<Bytes>, BoxError> {
        match (self.chunks.pop_front(), &self.end) {
            (Some(chunk), _) => Ok(Some(chunk)),
            (None, End::Whole) => Ok(None),
            (None, End::Broken) => Err("connection reset".into()),
            (None, End::Stalled) => std::future::pending().await,
        }
    }
}

pub(super) struct Bed {
    pub(super) disk: MemoryDisk,
    pub(super) store: MemoryStore,
    pub(super) objects: Objects,
}

impl Bed {
    pub(super) fn new(server: &Arc<Server>) -> Self {
        Self::on(server, MemoryDisk::new(), |_| {})
    }

    pub(super) fn on(server: &Arc<Server>, disk: MemoryDisk, change: impl FnOnce(&mut ObjectConfig)) -> Self {
        let mut config = ObjectConfig::new("/lib/object");
        change(&mut config);
        let store = MemoryStore::new();
        let source: Arc<dyn Source> = Arc::clone(server) as _;
        let (shared, kept) = (Arc::new(disk.clone()), Arc::new(store.clone()));
        let random = Arc::new(SeededRandom::new(1));
        Self { disk, store, objects: Objects::new(config, source, shared, Arc::new(Inline), kept, random) }
    }

    pub(super) async fn ensure(&self, config: &Configuration) -> Result<PathBuf, ObjectError> {
        self.objects.ensure(config, Arc::new(|_| {})).await
    }

    fn read(&self, path: &str) -> Vec<u8> {
        self.disk.read(Path::new(path)).unwrap()
    }

    fn names(&self, path: &str) -> Vec<String> {
        self.disk.list(Path::new(path)).unwrap()
    }
}

pub(super) fn described(objects: &[(&str, String)]) -> Configuration {
    let data = objects.iter().map(|(key, text)| (format!("_object_{key}"), text.clone())).collect();
    Configuration { name: "conf".to_owned(), version: "7".to_owned(), data, ..Configuration::default() }
}

pub(super) fn object(bytes: &[u8], unpack: &str) -> String {
    let md5 = hex::encode(&Md5::digest(bytes));
    let sha256 = hex::encode(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
    format!(
        r#"{{"url":"http://objects/x?sign=1","md5":"{md5}","sha256":"{sha256}","token":"t","unpack":"{unpack}"}}"#
    )
}

fn noise(length: u32) -> Vec<u8> {
    (0..length).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

pub(super) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o755);
        builder.append_data(&mut header, name, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_object_is_fetched_once_and_then_here() {
    let bytes = noise(700_000);
    let server = Server::of(&bytes);
    let bed = Bed::new(&server);
    let config = described(&[("model.bin", object(&bytes, ""))]);
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&told);
    let progress: OnProgress = Arc::new(move |progress: Progress| sink.lock().unwrap().push(progress.done));
    assert_eq!(bed.objects.ensure(&config, progress).await.unwrap(), Path::new(VERSION));
    assert_eq!(bed.ensure(&config).await.unwrap(), Path::new(VERSION));
    assert_eq!(bed.read("/lib/object/conf/7/model.bin"), bytes);
    assert_eq!(bed.disk.mode(Path::new("/lib/object/conf/7/model.bin")), Some(0o644));
    assert_eq!(server.starts(), [0]);
    assert_eq!(server.asked.lock().unwrap()[0].token, "t");
    assert_eq!(told.lock().unwrap().first(), Some(&0));
    assert_eq!(told.lock().unwrap().last(), Some(&700_000));
    assert_eq!(bed.names("/lib/object/conf"), ["7"], "nothing is left beside it");
}

#[tokio::test(start_paused = true)]
async fn a_broken_download_goes_on_where_it_was() {
    let bytes = noise(900_000);
    let server = Server::of(&bytes);
    server.fail([Fault::Break(300_000), Fault::Silent, Fault::Status(503), Fault::Stall(10), Fault::NoSize]);
    let bed = Bed::new(&server);
    let config = described(&[("a", object(&bytes, ""))]);
    bed.ensure(&config).await.unwrap();
    assert_eq!(bed.read("/lib/object/conf/7/a"), bytes);
    assert_eq!(server.starts(), [0, 300_000, 300_000, 300_000, 300_010]);
}

#[tokio::test(start_paused = true)]
async fn a_next_start_goes_on_where_the_last_one_was() {
    let bytes = noise(900_000);
    let server = Server::of(&bytes);
    let bed = Bed::new(&server);
    let config = described(&[("a", object(&bytes, ""))]);
    server.fail([
        Fault::Break(500_000),
        Fault::Silent,
        Fault::Silent,
        Fault::Silent,
        Fault::Silent,
        Fault::Silent,
    ]);
    let failed = bed.ensure(&config).await;
    assert!(
        matches!(&failed, Err(error @ ObjectError::Unreachable { .. }) if error.is_transient()),
        "{failed:?}"
    );
    server.faults.lock().unwrap().clear();
    let next = Bed::on(&server, bed.disk.clone(), |_| {});
    next.ensure(&config).await.unwrap();
    assert_eq!(next.read("/lib/object/conf/7/a"), bytes);
    assert_eq!(server.starts().last(), Some(&500_000));
}

#[tokio::test(start_paused = true)]
async fn a_part_that_is_whole_is_not_asked_for_again() {
    let bytes = noise(600_000);
    let server = Server::of(&bytes);
    let config = described(&[("a", object(&bytes, ""))]);
    let whole = Bed::new(&server);
    whole.ensure(&config).await.unwrap();
    let sync = whole.disk.trace().iter().position(|call| call.to_string().ends_with(".part")).unwrap();
    let syncs =
        whole.disk.trace()[sync..].iter().position(|call| call.to_string().starts_with("sync ")).unwrap();
    let bed = Bed::new(&server);
    bed.disk.fail_at(sync + syncs, ErrorKind::Other);
    bed.ensure(&config).await.unwrap_err();
    bed.ensure(&config).await.unwrap();
    assert_eq!(bed.read("/lib/object/conf/7/a"), bytes);
    assert_eq!(server.starts(), [0, 0], "one for each disk");
}

#[tokio::test(start_paused = true)]
async fn a_server_without_ranges_or_with_other_content_starts_again() {
    let (bytes, other) = (noise(600_000), noise(600_001));
    let server = Server::of(&bytes);
    server.fail([Fault::Break(300_000), Fault::NoRange]);
    let bed = Bed::new(&server);
    bed.ensure(&described(&[("a", object(&bytes, ""))])).await.unwrap();
    assert_eq!(bed.read("/lib/object/conf/7/a"), bytes);

    let server = Server::of(&bytes);
    server.fail([Fault::Break(300_000), Fault::Changed(other.clone())]);
    let bed = Bed::new(&server);
    bed.ensure(&described(&[("a", r#"{"url":"http://objects/x"}"#.to_owned())])).await.unwrap();
    assert_eq!(bed.read("/lib/object/conf/7/a"), other, "never half of one and half of the other");
}

#[tokio::test(start_paused = true)]
async fn a_damaged_part_is_fetched_again_in_one_go() {
    let bytes = noise(600_000);
    let server = Server::of(&bytes);
    let bed = Bed::new(&server);
    let config = described(&[("a", object(&bytes, ""))]);
    server.fail([
        Fault::Break(300_000),
        Fault::Silent,
        Fault::Silent,
        Fault::Silent,
        Fault::Silent,
        Fault::Silent,
    ]);
    bed.ensure(&config).await.unwrap_err();
    server.faults.lock().unwrap().clear();
    let stage = "/lib/object/conf/.7.baetyl-part";
    let part = bed.names(stage).into_iter().find(|name| name.ends_with(".part")).unwrap();
    bed.disk.open(&Path::new(stage).join(part), 0o600).unwrap().write_at(b"torn", 9).unwrap();
    bed.ensure(&config).await.unwrap();
    assert_eq!(bed.read("/lib/object/conf/7/a"), bytes);
    assert_eq!(server.starts().last(), Some(&0));
}

#[tokio::test(start_paused = true)]
async fn what_has_another_digest_is_refused_and_not_kept() {
    let server = Server::of(b"what came");
    let bed = Bed::new(&server);
    let error = bed.ensure(&described(&[("a", object(b"what was told", ""))])).await.unwrap_err();
    assert!(matches!(&error, ObjectError::WrongDigest { algorithm: "md5", object, .. } if object == "a"));
    assert!(!error.is_transient());
    assert_eq!(bed.disk.entry(Path::new(VERSION)).unwrap(), None);
    assert_eq!(bed.names("/lib/object/conf/.7.baetyl-part"), ["plan", "tree"]);
    assert_eq!(server.starts(), [0], "the same bytes would come again");
}

#[tokio::test(start_paused = true)]
async fn refusals_limits_and_a_full_disk_are_told_apart() {
    async fn check(faults: Vec<Fault>, disk: MemoryDisk, change: fn(&mut ObjectConfig), expected: &str) {
        let bytes = noise(50_000);
        let server = Server::of(&bytes);
        server.fail(faults);
        let bed = Bed::on(&server, disk, change);
        let error = bed.ensure(&described(&[("a", object(&bytes, ""))])).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(expected), "{text:?} lacks {expected:?}");
        assert_eq!(bed.disk.entry(Path::new(VERSION)).unwrap(), None);
        let left = bed.names("/lib/object/conf/.7.baetyl-part");
        let kept = left.iter().any(|name| name.ends_with(".part"));
        assert!(!kept || error.is_transient() || expected.contains("404"), "{expected}: {left:?}");
    }
    let gone = vec![Fault::Status(404)];
    check(gone, MemoryDisk::new(), |_| {}, "was refused with 404").await;
    let small: fn(&mut ObjectConfig) = |config| config.max_size = 49_999;
    check(vec![], MemoryDisk::new(), small, "larger than the 49999 bytes").await;
    check(vec![Fault::NoSize], MemoryDisk::new(), small, "larger than the 49999 bytes").await;
    let greedy: fn(&mut ObjectConfig) = |config| config.reserve = 0;
    check(vec![], MemoryDisk::with_size(40_000), greedy, "needs 50000 bytes").await;
    check(vec![Fault::NoSize], MemoryDisk::with_size(40_000), greedy, "needs 50000 bytes").await;
}

#[tokio::test(start_paused = true)]
async fn descriptions_that_cannot_be_are_named() {
    async fn check(objects: &[(&str, &str)], expected: &str) {
        let objects: Vec<_> = objects.iter().map(|(key, text)| (*key, (*text).to_owned())).collect();
        let error = Bed::new(&Server::of(b"")).ensure(&described(&objects)).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, ObjectError::Invalid { .. }), "{text}");
        assert!(text.contains(expected), "{text:?} lacks {expected:?}");
    }
    check(&[("a", "{")], r#"object "a" of configuration "conf": its description is not JSON"#).await;
    check(&[("a", "{}")], "it has no url").await;
    check(&[("a", r#"{"url":"x"}"#)], "set sync.download.address").await;
    check(&[("a", r#"{"url":"http://x","unpack":"rar"}"#)], r#"unpack is "rar": use zip, tar, tgz"#).await;
    check(&[("a", r#"{"url":"http://x","md5":"zz"}"#)], "is not 32 hexadecimal digits").await;
    check(&[("../a", r#"{"url":"http://x"}"#)], "cannot be the name of a file").await;
    check(&[(".baetyl-done", r#"{"url":"http://x"}"#)], "cannot be the name of a file").await;
}

#[tokio::test(start_paused = true)]
async fn a_program_is_that_of_this_platform_and_may_be_run() {
    let server = Server::of(b"#!/bin/sh");
    let bed = Bed::on(&server, MemoryDisk::new(), |config| config.platform = Some("linux-amd64".to_owned()));
    let mut config = described(&[
        ("main_linux-amd64", r#"{"url":"http://objects/bin/main?sign=1"}"#.to_owned()),
        ("main_linux-arm-v7", "not even JSON".to_owned()),
    ]);
    config.labels.insert("baetyl-config-type".to_owned(), "baetyl-program".to_owned());
    bed.ensure(&config).await.unwrap();
    assert_eq!(bed.names(VERSION), [".baetyl-done", "main"]);
    assert_eq!(bed.disk.mode(Path::new("/lib/object/conf/7/main")), Some(0o755));
    config.data.retain(|key, _| key.contains("arm"));
    config.version = "8".to_owned();
    let error = bed.ensure(&config).await.unwrap_err().to_string();
    assert!(error.contains("no object for linux-amd64"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_archive_becomes_its_files_and_a_bad_one_is_told() {
    let archive = tar(&[("bin/run", b"x"), ("program.yml", b"entry: bin/run")]);
    let server = Server::of(&archive);
    let bed = Bed::new(&server);
    bed.ensure(&described(&[("p.tar", object(&archive, "tar"))])).await.unwrap();
    assert_eq!(bed.names(VERSION), [".baetyl-done", "bin", "program.yml"]);

    let server = Server::of(&archive);
    let bed = Bed::new(&server);
    let error = bed.ensure(&described(&[("p.zip", object(&archive, "zip"))])).await.unwrap_err();
    assert!(matches!(error, ObjectError::Invalid { .. }), "{error}");
    assert!(bed.names("/lib/object/conf/.7.baetyl-part/tree").is_empty(), "half a tree eats no room");
}

#[tokio::test(start_paused = true)]
async fn a_failed_object_leaves_the_others() {
    let server = Server::of(b"content");
    let bed = Bed::new(&server);
    let mut config = described(&[("a", object(b"content", "")), ("b", object(b"else", ""))]);
    bed.ensure(&config).await.unwrap_err();
    server.fail([Fault::Changed(b"else".to_vec())]);
    bed.ensure(&config).await.unwrap();
    assert_eq!(server.starts().len(), 3, "the good one is not fetched again");
    // The same version with another content: what was there is replaced, never mixed in.
    config.data.remove("_object_a");
    bed.ensure(&config).await.unwrap();
    assert_eq!(bed.names(VERSION), [".baetyl-done", "b"]);
    assert_eq!(bed.names("/lib/object/conf"), ["7"]);
}

#[tokio::test(start_paused = true)]
async fn a_folder_without_our_marker_is_replaced_whole() {
    let server = Server::of(b"content");
    let bed = Bed::new(&server);
    bed.disk.create_folder(Path::new(VERSION), 0o755).unwrap();
    drop(bed.disk.create(&Path::new(VERSION).join("stale"), 0o644).unwrap());
    bed.ensure(&described(&[("a", object(b"content", ""))])).await.unwrap();
    assert_eq!(bed.names(VERSION), [".baetyl-done", "a"]);
}

#[tokio::test(start_paused = true)]
async fn calls_for_one_version_wait_for_each_other() {
    let server = Server::of(b"content");
    let bed = Bed::new(&server);
    let config = described(&[("a", object(b"content", ""))]);
    let (one, two) = tokio::join!(bed.ensure(&config), bed.ensure(&config));
    assert_eq!(one.unwrap(), two.unwrap());
    assert_eq!(server.starts(), [0]);
}

#[tokio::test(start_paused = true)]
async fn retain_removes_what_was_made_here_and_nothing_else() {
    let server = Server::of(b"content");
    let bed = Bed::new(&server);
    let mut config = described(&[("a", object(b"content", ""))]);
    bed.ensure(&config).await.unwrap();
    config.version = "8".to_owned();
    bed.ensure(&config).await.unwrap();
    bed.disk.create_folder(Path::new("/lib/object/conf/6"), 0o755).unwrap();
    bed.disk.create_folder(Path::new("/lib/object/other/1"), 0o755).unwrap();
    let kept = ResourceRef { name: "conf".to_owned(), version: "8".to_owned() };
    bed.objects.retain(&BTreeSet::from([kept])).await.unwrap();
    assert_eq!(bed.names("/lib/object/conf"), ["6", "8"]);
    assert_eq!(bed.names("/lib/object/other"), ["1"]);
    let made = bed.store.list(Table::Made, "").await.unwrap();
    assert_eq!(made.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), ["object/conf/8"]);
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_cannot_be_removed_does_not_keep_the_others() {
    let server = Server::of(b"content");
    let bed = Bed::new(&server);
    let mut config = described(&[("a", object(b"content", ""))]);
    bed.ensure(&config).await.unwrap();
    config.version = "8".to_owned();
    bed.ensure(&config).await.unwrap();
    bed.disk.fail_at(bed.disk.calls(), ErrorKind::Other);
    let error = bed.objects.retain(&BTreeSet::new()).await.unwrap_err();
    assert!(matches!(error, ObjectError::Disk { .. }), "{error}");
    assert_eq!(bed.names("/lib/object/conf"), ["7"]);
    bed.objects.retain(&BTreeSet::new()).await.unwrap();
    assert!(bed.names("/lib/object/conf").is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_whole_is_used_even_where_nothing_can_be_removed() {
    let server = Server::of(b"content");
    let config = described(&[("a", object(b"content", ""))]);
    let whole = Bed::new(&server);
    whole.ensure(&config).await.unwrap();
    // The last calls clean up.
    let bed = Bed::new(&server);
    bed.disk.fail_at(whole.disk.calls() - 1, ErrorKind::PermissionDenied);
    bed.ensure(&config).await.unwrap();
    assert_eq!(bed.names("/lib/object/conf"), [".7.baetyl-part", "7"]);
    bed.ensure(&config).await.unwrap();
    assert_eq!(bed.names("/lib/object/conf"), ["7"]);
}

#[tokio::test(start_paused = true)]
async fn bandwidth_and_time_are_bounded() {
    let bytes = noise(1_000_000);
    let server = Server::of(&bytes);
    let bed = Bed::on(&server, MemoryDisk::new(), |config| {
        config.bandwidth = Some(100_000);
        config.timeout = Duration::from_secs(6);
    });
    let config = described(&[("a", object(&bytes, ""))]);
    let start = Instant::now();
    let error = bed.ensure(&config).await.unwrap_err();
    assert!(matches!(error, ObjectError::Unreachable { .. }), "{error}");
    assert_eq!(start.elapsed(), Duration::from_secs(6));
    bed.ensure(&config).await.unwrap();
    assert!(server.starts()[1] > 0, "the next call goes on");
}
