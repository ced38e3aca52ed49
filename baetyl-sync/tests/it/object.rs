//! Objects over HTTP: ranges, redirects, and whom the node shows its certificate and tokens.

use std::collections::BTreeSet;
use std::io::{Cursor, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use baetyl_core_lib::durable::OsDisk;
use baetyl_core_lib::object::{ObjectError, ObjectSource};
use baetyl_core_lib::spec::Configuration;
use baetyl_core_lib::store::MemoryStore;
use baetyl_core_lib::task::{Inline, Pool, TaskScope};
use baetyl_core_lib::testing::{MemoryDisk, SeededRandom};
use baetyl_sync::object::{Ask, HttpConfig, HttpSource, ObjectConfig, Objects, Source};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::server::{Act, Cloud, Recorded, clock};

const CONTENT: &[u8] = b"0123456789";

/// Ten bytes, with ranges.
fn ranged(request: &Recorded) -> Act {
    let start =
        request.headers.get("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
    let whole = Act::json(200, "0123456789").with("etag", "\"one\"");
    let Some(start) = start.and_then(|start| start.parse::<usize>().ok()) else { return whole };
    if request.headers.get("if-range").is_some_and(|tag| tag != "\"one\"") {
        return whole;
    }
    let rest = String::from_utf8_lossy(&CONTENT[start..]).into_owned();
    Act::json(206, &rest).with("content-range", &format!("bytes {start}-9/10"))
}

fn source(cloud: &Cloud) -> HttpSource {
    let config = HttpConfig {
        ca: Some(cloud.authority.pem()),
        insecure_skip_verify: false,
        own: vec![cloud.address.clone()],
    };
    HttpSource::try_new(&config, Some(cloud.authority.node()), clock()).unwrap()
}

fn ask(url: String) -> Ask {
    Ask { url, token: "secret".to_owned(), from: 0, validator: None }
}

async fn fetch(source: &HttpSource, ask: Ask) -> (u16, u64, Option<u64>, Vec<u8>) {
    let mut answer = source.open(ask).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.body.chunk().await.unwrap() {
        bytes.extend_from_slice(&chunk);
    }
    (answer.status, answer.start, answer.total, bytes)
}

/// A server without TLS that answers every request with this, and keeps what it was asked.
async fn plain(scope: &TaskScope, answer: String) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let (kept, token) = (Arc::clone(&asked), scope.token().clone());
    scope.spawn("plain", async move {
        loop {
            let mut stream = tokio::select! {
                biased;
                // Cancel-safe: a token stays cancelled.
                () = token.cancelled() => return,
                // Cancel-safe by its contract.
                accepted = listener.accept() => accepted.unwrap().0,
            };
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.unwrap();
            kept.lock().unwrap().push(String::from_utf8_lossy(&request[..read]).to_lowercase());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (address, asked)
}

#[tokio::test]
async fn an_object_of_the_own_cloud_is_fetched_with_the_certificate_and_in_parts() {
    // This cloud refuses connections without a certificate of its own authority.
    let cloud = Cloud::start(ranged).await;
    let source = source(&cloud);
    let url = format!("{}/v1/object/x", cloud.address);
    assert_eq!(fetch(&source, ask(url.clone())).await, (200, 0, Some(10), CONTENT.to_vec()));
    let rest = Ask { from: 4, validator: Some("\"one\"".to_owned()), ..ask(url.clone()) };
    assert_eq!(fetch(&source, rest).await, (206, 4, Some(10), CONTENT[4..].to_vec()));
    let other = Ask { from: 4, validator: Some("\"two\"".to_owned()), ..ask(url) };
    assert_eq!(fetch(&source, other).await, (200, 0, Some(10), CONTENT.to_vec()));
    let recorded = cloud.recorded();
    assert_eq!(recorded[0].headers["x-bce-security-token"], "secret");
    assert_eq!(recorded[0].headers["accept-encoding"], "identity");
    assert!(!recorded[0].headers.contains_key("range"));
}

#[tokio::test]
async fn the_certificate_is_not_shown_to_other_servers() {
    let cloud = Cloud::start(ranged).await;
    let config = HttpConfig { ca: Some(cloud.authority.pem()), ..HttpConfig::default() };
    let source = HttpSource::try_new(&config, Some(cloud.authority.node()), clock()).unwrap();
    let refused = source.open(ask(format!("{}/x", cloud.address))).await;
    assert!(refused.is_err(), "a server that wants a certificate got one: {refused:?}");
    assert!(cloud.recorded().is_empty());
}

#[tokio::test]
async fn a_redirect_is_followed_without_the_token_and_never_out_of_tls() {
    let scope = TaskScope::new();
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok".to_owned();
    let (target, asked) = plain(&scope, answer).await;
    let moved = format!(
        "HTTP/1.1 302 Found\r\nlocation: {target}/there\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    let (door, asked_first) = plain(&scope, moved).await;
    let location = format!("{target}/there");
    let cloud = Cloud::start(move |_| Act::json(302, "").with("location", &location)).await;
    let source = source(&cloud);
    assert_eq!(fetch(&source, ask(format!("{door}/here"))).await.3, b"ok");
    assert!(asked_first.lock().unwrap()[0].contains("x-bce-security-token: secret"));
    assert!(!asked.lock().unwrap()[0].contains("secret"));
    let error = source.open(ask(format!("{}/x", cloud.address))).await.unwrap_err().to_string();
    assert!(error.contains("redirects from https"), "{error}");
    scope.stop().await;
}

#[tokio::test]
async fn a_configuration_of_the_own_cloud_becomes_a_folder() {
    let cloud = Cloud::start(ranged).await;
    let (disk, random) = (MemoryDisk::new(), Arc::new(SeededRandom::new(1)));
    let mut config = ObjectConfig::new("/lib/object");
    config.address = Some(format!("{}/v1/object", cloud.address));
    let (store, kept) = (Arc::new(MemoryStore::new()), Arc::new(disk.clone()));
    let objects = Objects::new(config, Arc::new(source(&cloud)), kept, Arc::new(Inline), store, random);
    let described = r#"{"url":"sha256-x","md5":"781e5e245d69b566979b86e28d23f2c7"}"#;
    let mut config = Configuration { name: "conf".to_owned(), version: "1".to_owned(), ..Default::default() };
    config.data.insert("_object_digits".to_owned(), described.to_owned());
    let folder = objects.ensure(&config, Arc::new(|_| {})).await.unwrap();
    assert_eq!(folder, Path::new("/lib/object/conf/1"));
    assert_eq!(baetyl_core_lib::durable::Disk::read(&disk, &folder.join("digits")).unwrap(), CONTENT);
    assert_eq!(cloud.recorded()[0].path, "/v1/object/sha256-x");
}

#[tokio::test]
async fn on_a_real_disk_an_archive_becomes_a_folder_that_programs_may_run_from() {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    writer.start_file("bin/run", options.unix_permissions(0o6755)).unwrap();
    writer.write_all(b"#!/bin/sh").unwrap();
    writer.add_symlink("run", "bin/run", options).unwrap();
    let archive = writer.finish().unwrap().into_inner();
    let body = archive.clone();
    let cloud = Cloud::start(move |_| Act::Answer { status: 200, headers: vec![], body: body.clone() }).await;
    let folder = tempfile::tempdir().unwrap();
    let config = ObjectConfig::new(folder.path().join("object"));
    let (store, random) = (Arc::new(MemoryStore::new()), Arc::new(SeededRandom::new(1)));
    let pool = Arc::new(Pool::new(2));
    let objects = Objects::new(config, Arc::new(source(&cloud)), Arc::new(OsDisk), pool, store, random);
    let mut config = Configuration { name: "conf".to_owned(), version: "1".to_owned(), ..Default::default() };
    let described = format!(r#"{{"url":"{}/x","unpack":"zip"}}"#, cloud.address);
    config.data.insert("_object_program.zip".to_owned(), described);
    // What the original left there.
    let old = folder.path().join("object/conf/1");
    std::fs::create_dir_all(&old).unwrap();
    std::fs::write(old.join("program.zip"), "half").unwrap();
    let made = objects.ensure(&config, Arc::new(|_| {})).await.unwrap();
    assert_eq!(std::fs::read(made.join("run")).unwrap(), b"#!/bin/sh");
    let mode = std::fs::metadata(made.join("bin/run")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755);
    let mut names: Vec<_> =
        std::fs::read_dir(&made).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [".baetyl-done", "bin", "run"]);
    objects.retain(&BTreeSet::new()).await.unwrap();
    assert_eq!(std::fs::read_dir(folder.path().join("object/conf")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_refusal_is_told_with_its_status() {
    let cloud = Cloud::start(|_| Act::json(403, "expired")).await;
    let (disk, random) = (Arc::new(MemoryDisk::new()), Arc::new(SeededRandom::new(1)));
    let (config, store) = (ObjectConfig::new("/lib/object"), Arc::new(MemoryStore::new()));
    let objects = Objects::new(config, Arc::new(source(&cloud)), disk, Arc::new(Inline), store, random);
    let mut config = Configuration { name: "conf".to_owned(), version: "1".to_owned(), ..Default::default() };
    let described = format!(r#"{{"url":"{}/x"}}"#, cloud.address);
    config.data.insert("_object_digits".to_owned(), described);
    let error = objects.ensure(&config, Arc::new(|_| {})).await.unwrap_err();
    assert!(matches!(error, ObjectError::Rejected { status: 403, .. }), "{error}");
}
