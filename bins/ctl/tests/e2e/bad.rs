//! Bad input: each ends in one clear error that names the thing and what to change, on the terminal or in the
//! application's report, and nothing that runs is touched.
//!
//! What needs a disk or a clock of its own is shown where those are simulated: a disk that fills while an object
//! is fetched or unpacked in `baetyl-sync/src/object/tests.rs` and `src/unpack/tests.rs`, one that fills while
//! an update is written down in `baetyl-engine/tests/it/reconcile/crash.rs`, a clock of 1970 in
//! `baetyl-sync/tests/it/activate.rs`.

use std::net::TcpListener;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::{Process, Up, ctl, program, put, run, text, until_or};
use crate::life::{cause, shell, stat};
use crate::node::Node;

/// An application that cannot be, and what is said of it.
struct Bad {
    documents: Vec<Value>,
    /// All of it is in the one error.
    says: Vec<String>,
}

/// The well-made application of this name, changed.
fn bad(name: &str, says: &[&str], change: impl FnOnce(&mut Vec<Value>)) -> Bad {
    let mut documents = shell(name, "exec sleep 5001");
    change(&mut documents);
    Bad { documents, says: says.iter().map(|part| (*part).to_owned()).collect() }
}

fn with_file(documents: &mut Vec<Value>, name: &str, entry: Value) {
    let mut data = json!({});
    data["file.bin"] = entry;
    documents.insert(0, json!({"kind": "config", "name": name, "data": data}));
    let app = documents.last_mut().unwrap();
    app["volumes"] = json!([{"name": "files", "config": {"name": name}}]);
    app["services"][0]["volumeMounts"] = json!([{"name": "files", "mountPath": "files"}]);
}

fn refused_by_the_cloud() -> Vec<Bad> {
    vec![
        bad("unknown-volume", &["nowhere", "volumes"], |documents| {
            documents[1]["services"][0]["volumeMounts"] = json!([{"name": "nowhere", "mountPath": "files"}]);
        }),
        bad("missing-config", &["config", "no-config"], |documents| {
            documents[1]["volumes"] = json!([{"name": "files", "config": {"name": "no-config"}}]);
        }),
        bad("missing-secret", &["secret", "no-secret"], |documents| {
            documents[1]["volumes"] = json!([{"name": "files", "secret": {"name": "no-secret"}}]);
        }),
        bad("missing-object", &["object", "up/no-object"], |documents| {
            let entry = json!({"type": "object", "source": "local", "bucket": "up", "object": "no-object"});
            with_file(documents, "missing-object-file", entry);
        }),
        bad("no-program", &["main", "no program"], |documents| {
            documents.remove(0);
            documents[0]["services"][0].as_object_mut().unwrap().remove("programConfig");
        }),
    ]
}

fn reported_by_the_node(server: &str, busy: u16, hello: u16) -> Vec<Bad> {
    let http = |path: &str, more: Value| {
        let mut entry = json!({"type": "object", "source": "http", "url": format!("{server}/{path}")});
        entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        entry
    };
    let (busy, hello_text) = (busy.to_string(), hello.to_string());
    vec![
        bad("wrong-digest", &["file.bin", "wrong-digest-file", "md5", "upload it again"], |documents| {
            let entry = http("small", json!({"md5": "00000000000000000000000000000000"}));
            with_file(documents, "wrong-digest-file", entry);
        }),
        bad("too-large", &["file.bin", "too-large-file", "larger than"], |documents| {
            with_file(documents, "too-large-file", http("large", json!({})));
        }),
        bad("escaping", &["file.bin", "escaping-file", "evil"], |documents| {
            let entry = json!({"type": "object", "source": "local", "bucket": "up", "object": "evil.tgz", "unpack": "tgz"});
            with_file(documents, "escaping-file", entry);
        }),
        bad("no-entry", &["main", "program.yml", "has no key entry"], |documents| {
            documents[0]["data"]["program.yml"] = json!("args: []\n");
        }),
        bad("entry-missing", &["main", "bin/nothing", "not there"], |documents| {
            documents[0]["data"]["program.yml"] = json!("entry: bin/nothing\n");
        }),
        bad("bad-program-yaml", &["main", "program.yml", "cannot be read", "line"], |documents| {
            documents[0]["data"]["program.yml"] = json!("entry: [x\n");
        }),
        bad("port-of-another-app", &[&hello_text, "hello"], |documents| {
            documents[1]["services"][0]["ports"] =
                json!([{"hostPort": hello, "containerPort": hello, "protocol": "TCP"}]);
        }),
        bad("port-taken", &["cannot listen on", &busy, "in use"], |documents| {
            documents[0]["data"]["program.yml"] = json!(format!("entry: {}\n", program().display()));
            documents[1]["services"][0]["args"] =
                json!(["page", "page.html", "text.txt", format!("127.0.0.1:{busy}")]);
        }),
    ]
}

#[test]
fn each_bad_application_has_one_clear_error_and_nothing_that_runs_is_touched() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let up = Up::start(folder.path(), &[]).await;
        let hello = page(folder.path()).expect("the page server runs");
        let busy = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = objects().await;
        let evil = format!("{}/v2/objects/local/buckets/up/object?object=evil.tgz", up.admin());
        put(&evil, &escaping_archive()).await.unwrap();

        for bad in refused_by_the_cloud() {
            let (status, said) = apply(&up, &bad.documents);
            assert_eq!(status, Some(1), "{said}");
            assert_eq!(said.lines().count(), 1, "one error: {said}");
            bad.says.iter().for_each(|part| assert!(said.contains(part), "{said:?} lacks {part:?}"));
        }

        let hello_port = up.told("/page").trim_end_matches('/').rsplit(':').next().unwrap().parse().unwrap();
        let reported = reported_by_the_node(&server, busy.local_addr().unwrap().port(), hello_port);
        for bad in &reported {
            let (status, said) = apply(&up, &bad.documents);
            assert_eq!(status, Some(0), "{said}");
        }
        for bad in reported {
            let name = bad.documents.last().unwrap()["name"].as_str().unwrap().to_owned();
            let last = std::cell::RefCell::new(String::new());
            let known = || async {
                let stat = stat(&up, &name).await?;
                let cause = cause(&stat);
                let all = bad.says.iter().all(|part| cause.contains(part)) && stat["status"] != "Running";
                last.replace(cause);
                all.then_some(())
            };
            let what = format!("{name} to say {:?}", bad.says);
            until_or(&what, known, || last.borrow().clone()).await;
        }
        assert_eq!(page(folder.path()), Some(hello), "the first application was not touched");
        up.stop().await;
    });
}

#[test]
fn an_unknown_batch_and_an_expired_token_are_named_where_the_node_starts() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let up = Up::start(folder.path(), &[]).await;
        let (_, said) = apply(
            &up,
            &[json!({"kind": "batch", "name": "old", "securityType": "Token", "securityKey": "t0ken",
                "enableWhitelist": 0, "quotaNum": 10, "nodeMode": "native", "expireTime": "2020-01-01T00:00:00Z"})],
        );
        assert!(said.contains("created"), "{said}");
        for (batch, token, says) in [
            ("nobody", "t0ken", ["nobody", "not there"]),
            ("old", "t0ken", ["old", "expired"]),
            ("up", "wr0ng", ["up", "init.batch.securityKey"]),
        ] {
            let other = tempfile::tempdir().unwrap();
            let node = Node::start(&up, folder.path(), other.path(), |conf| {
                conf["init"]["batch"]["name"] = json!(batch);
                conf["init"]["batch"]["securityKey"] = json!(token);
            });
            let told = || async {
                let log = node.log();
                log.lines().any(|line| says.iter().all(|part| line.contains(part))).then_some(())
            };
            until_or(&format!("init to say {says:?}"), told, || node.log()).await;
            assert!(!node.log().contains(token), "the token is not shown");
        }
        up.stop().await;
    });
}

/// The page server.
fn page(folder: &Path) -> Option<Process> {
    crate::harness::processes(folder).into_iter().find(|process| process.role() == "page")
}

/// Applies documents, and gives the exit code and what was said.
fn apply(up: &Up, documents: &[Value]) -> (Option<i32>, String) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let all: Vec<String> = documents.iter().map(Value::to_string).collect();
    std::fs::write(file.path(), all.join("\n---\n")).unwrap();
    let output = ctl(&["-s", &up.admin(), "apply", "-f", file.path().to_str().unwrap()]);
    let said = if output.status.success() { output.stdout } else { output.stderr };
    (output.status.code(), text(&said))
}

/// A server of objects: `/small` is one, and `/large` says that it is more than a node takes.
async fn objects() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn_local(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 4096];
            let count = stream.read(&mut head).await.unwrap_or_default();
            let length = if head[..count].starts_with(b"GET /large") { 1_u64 << 40 } else { 5 };
            let answer =
                format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\nsmall");
            stream.write_all(answer.as_bytes()).await.ok();
        }
    });
    format!("http://{address}")
}

/// An archive with a file outside its folder.
fn escaping_archive() -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_size(4);
    header.set_mode(0o644);
    let name = b"../../evil";
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_cksum();
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    tar.append(&header, &b"evil"[..]).unwrap();
    tar.into_inner().unwrap().finish().unwrap()
}
