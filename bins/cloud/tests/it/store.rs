//! What every store must do, on both of ours; and the cloud's logic without any server.

use std::sync::Arc;
use std::time::Duration;

use baetyl_cloud::error::ServiceError;
use baetyl_cloud::service::{Authority, Cloud, NodeInput, ReportContext, Settings};
use baetyl_cloud::store::{Change, CloudStore, Document, Kind, MemoryStore, SqliteStore};
use baetyl_core_lib::testing::{ManualClock, SeededRandom};
use serde_json::{Value, json};

fn document(name: &str, version: &str) -> Document {
    Document { name: name.to_owned(), version: version.to_owned(), body: format!("{{\"v\":\"{version}\"}}") }
}

async fn conforms(store: &dyn CloudStore) {
    let put = |name, version| Change::Put(Kind::App, document(name, version));
    store.commit("ns", vec![put("b", "1"), put("a", "1"), put("b", "2")]).await.unwrap();
    let names: Vec<String> =
        store.list(Kind::App, "ns").await.unwrap().into_iter().map(|found| found.name).collect();
    assert_eq!(names, ["b", "a"], "in the order in which they were first put");
    assert_eq!(store.get(Kind::App, "ns", "b").await.unwrap(), Some(document("b", "2")));
    assert_eq!(store.get(Kind::App, "other", "b").await.unwrap(), None, "namespaces are apart");
    assert_eq!(store.get(Kind::Config, "ns", "b").await.unwrap(), None, "kinds are apart");

    let keep = |version| Change::Keep(Kind::App, document("b", version), 2);
    store.commit("ns", vec![keep("1"), keep("2"), keep("3")]).await.unwrap();
    let past = store.past(Kind::App, "ns", "b").await.unwrap();
    assert_eq!(past, [document("b", "3"), document("b", "2")], "the newest are kept, newest first");

    store.commit("ns", vec![Change::Delete(Kind::App, "b".to_owned())]).await.unwrap();
    store.commit("ns", vec![Change::Delete(Kind::App, "b".to_owned())]).await.unwrap();
    assert_eq!(store.get(Kind::App, "ns", "b").await.unwrap(), None);
    assert!(store.past(Kind::App, "ns", "b").await.unwrap().is_empty(), "the past goes with it");
}

#[tokio::test]
async fn the_memory_store_conforms() {
    conforms(&MemoryStore::default()).await;
}

#[tokio::test]
async fn the_sqlite_store_conforms_and_survives() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cloud.db");
    let store = SqliteStore::open(&path).await.unwrap();
    conforms(&store).await;
    store.close().await;
    let store = SqliteStore::open(&path).await.unwrap();
    assert_eq!(store.list(Kind::App, "ns").await.unwrap(), [document("a", "1")]);
    store.close().await;
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cloud.db");
    std::fs::write(&path, "this is not a database, but it is long enough to have a header of one").unwrap();
    assert!(SqliteStore::open(&path).await.is_err());
}

/// Certificates whose text is their name, so that a simulation stays the same.
#[derive(Debug)]
struct Plain;

impl Authority for Plain {
    fn ca_pem(&self) -> String {
        "ca".to_owned()
    }
    fn issue(&self, common_name: &str) -> Result<(String, String), ServiceError> {
        Ok((common_name.to_owned(), "key".to_owned()))
    }
    fn sign(&self, common_name: &str, _: &str) -> Result<String, ServiceError> {
        Ok(common_name.to_owned())
    }
}

async fn simulate(seed: u32) -> Vec<Value> {
    let settings = Settings {
        namespace: "baetyl-cloud".to_owned(),
        node_url: "https://cloud.test:9005".to_owned(),
        init_url: "https://cloud.test:9003".to_owned(),
        core_api: "127.0.0.1:8443".to_owned(),
    };
    let clock = Arc::new(ManualClock::at("2026-11-23T00:00:00Z"));
    let random = Arc::new(SeededRandom::new(seed));
    let cloud = Cloud::open(Arc::new(MemoryStore::default()), clock, random, Arc::new(Plain), settings)
        .await
        .unwrap();
    let mut trace = Vec::new();
    let input = NodeInput { name: "n1".to_owned(), node_mode: "native".to_owned(), ..NodeInput::default() };
    trace.push(cloud.create_node(input).await.unwrap());
    let context = ReportContext { source: "baetyl-core", client_ip: "10.0.0.1" };
    let (answer, cursor) = cloud.report("n1", context, br#"{"apps":[],"sysapps":[]}"#).await.unwrap();
    trace.push(answer);
    let held = cloud.changes("n1", &cursor, Duration::from_secs(50));
    let change = async {
        let app = json!({ "name": "web", "selector": "baetyl-node-name=n1", "services": [{ "name": "web", "image": "i" }] });
        cloud.create_app(None, app.to_string().as_bytes()).await.unwrap()
    };
    let (news, app) = tokio::join!(held, change);
    trace.extend([json!(news.unwrap()), app]);
    let cursor = trace[2].as_str().unwrap().to_owned();
    trace.push(json!(cloud.changes("n1", &cursor, Duration::from_secs(50)).await.unwrap()));
    trace
}

#[tokio::test(start_paused = true)]
async fn the_logic_runs_without_servers_and_one_seed_gives_one_trace() {
    let trace = simulate(7).await;
    assert_eq!(trace[1], json!({}), "a native node without modules is ready");
    assert_eq!(trace[4], Value::Null, "the hold ends without news");
    assert_eq!(trace, simulate(7).await);
    assert_ne!(trace, simulate(8).await);
}
