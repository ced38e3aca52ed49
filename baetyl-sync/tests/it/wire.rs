//! What goes over the wire, against what the original sent and was answered (`tests/fixtures/edge`).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use baetyl_core_lib::application::Role;
use baetyl_core_lib::link::LinkError;
use baetyl_core_lib::resource::ResourceSource;
use baetyl_core_lib::shadow::{Shadow, StoredShadow};
use baetyl_core_lib::spec::{Desire, DesireRequest, Kind, Message};
use baetyl_core_lib::store::MemoryStore;
use baetyl_core_lib::task::TaskScope;
use baetyl_core_lib::testing::SeededRandom;
use baetyl_sync::cadence::Intervals;
use baetyl_sync::resource::ResourceClient;
use baetyl_sync::syncer::{SyncConfig, Syncer, SyncerParts};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::server::{Act, Cloud, Recorded};

/// Headers of HTTP itself and of this client, which have no part in the protocol.
const OTHERS: [&str; 5] = ["accept", "content-length", "host", "user-agent", "x-baetyl-ext"];

struct Exchange {
    name: String,
    fixture: Value,
}

/// All recorded exchanges of this path.
fn exchanges(path: &str) -> Vec<Exchange> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../baetyl-core-lib/tests/fixtures/edge");
    let mut exchanges: Vec<Exchange> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| !entry.file_name().to_string_lossy().starts_with("timeline"))
        .map(|entry| Exchange {
            name: entry.file_name().into_string().unwrap(),
            fixture: serde_json::from_slice(&std::fs::read(entry.path()).unwrap()).unwrap(),
        })
        .filter(|exchange| exchange.fixture["request"]["path"] == path)
        .collect();
    exchanges.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(!exchanges.is_empty());
    exchanges
}

impl Exchange {
    async fn cloud(&self) -> Cloud {
        let response = &self.fixture["response"];
        let act = Act::json(
            u16::try_from(response["status"].as_u64().unwrap()).unwrap(),
            &response["body"].to_string(),
        );
        Cloud::start(move |_| act.clone()).await
    }

    fn check(&self, sent: &Recorded) {
        let (name, recorded) = (&self.name, &self.fixture["request"]);
        let text = |map: &BTreeMap<String, String>| {
            let mut map = map.clone();
            map.retain(|header, _| !OTHERS.contains(&header.as_str()));
            map
        };
        let headers: BTreeMap<String, String> = serde_json::from_value(recorded["headers"].clone()).unwrap();
        assert_eq!(text(&sent.headers), text(&headers), "{name}");
        assert_eq!(sent.version, self.fixture["protocol"], "{name}");
        assert_eq!(sent.method, recorded["method"], "{name}");
        assert_eq!(sent.path, recorded["path"], "{name}");
        assert_eq!(serde_json::from_slice::<Value>(&sent.body).unwrap(), recorded["body"], "{name}");
    }
}

#[tokio::test]
async fn reports_go_out_as_the_original_sent_them() {
    for exchange in exchanges("/v1/sync/report") {
        let cloud = exchange.cloud().await;
        let (request, response) = (&exchange.fixture["request"], &exchange.fixture["response"]);
        let source = request["headers"]["source"].as_str().unwrap();
        let message = Message::new(Kind::Report).with_content(&request["body"]).unwrap();
        let answer = cloud.link().request(message.with_meta("source", source)).await;
        exchange.check(&cloud.recorded()[0]);
        match answer {
            Ok(answer) => {
                assert_eq!(answer.decode::<Value>().unwrap(), response["body"], "{}", exchange.name)
            }
            Err(LinkError::Unavailable { status, .. }) => assert_eq!(status, response["status"]),
            Err(error) => panic!("{}: {error:?}", exchange.name),
        }
    }
}

#[tokio::test]
async fn resources_are_asked_for_as_the_original_asked_and_its_answers_are_read() {
    for exchange in exchanges("/v1/sync/desire") {
        let cloud = exchange.cloud().await;
        let request = &exchange.fixture["request"];
        let asked: DesireRequest = serde_json::from_value(request["body"].clone()).unwrap();
        let mut client =
            ResourceClient::new(cloud.link(), Arc::new(MemoryStore::new()), "linux-amd64".to_owned());
        if exchange.fixture["scenario"] == "native" {
            client = client.telling_platform();
        }
        let found = client.fetch(&asked.infos).await;
        exchange.check(&cloud.recorded()[0]);
        for resource in found {
            assert!(resource.is_ok(), "{}: {resource:?}", exchange.name);
        }
    }
}

/// A node over a real link: its shadow, and what ends it.
async fn node(cloud: &Cloud) -> (Arc<StoredShadow>, TaskScope) {
    let shadow = Arc::new(StoredShadow::open(Arc::new(MemoryStore::new())).await.unwrap());
    let inventory = json!({"apps": [], "sysapps": []});
    shadow.merge_report(serde_json::from_value(inventory).unwrap()).await.unwrap();
    let syncer = Syncer::new(SyncerParts {
        link: cloud.link(),
        shadow: Arc::clone(&shadow) as _,
        clock: crate::server::clock(),
        random: Arc::new(SeededRandom::new(1)),
        role: Role::Core,
        config: SyncConfig {
            intervals: Intervals { plain: Duration::from_millis(100), push: Duration::from_secs(300) },
            ..SyncConfig::default()
        },
    });
    let scope = TaskScope::new();
    scope.spawn("syncer", syncer.run(scope.token().clone()));
    (shadow, scope)
}

#[tokio::test]
async fn the_original_cloud_is_polled_and_its_answer_becomes_the_desire() {
    let exchange = exchanges("/v1/sync/report").remove(0);
    let cloud = exchange.cloud().await;
    let (shadow, scope) = node(&cloud).await;
    let mut desire = shadow.desire();
    desire.wait_for(|desire| desire.sysapps.as_ref().is_some_and(|apps| apps.len() == 3)).await.unwrap();
    while cloud.recorded().len() < 3 {
        tokio::task::yield_now().await;
    }
    scope.stop().await;
    assert!(cloud.recorded().iter().all(|request| request.path == "/v1/sync/report"));
}

#[tokio::test]
async fn a_cloud_that_offers_push_brings_news_through_a_held_poll() {
    let (tell, told) = watch::channel(1_u32);
    let cloud = Cloud::start(move |request| {
        let now = *told.borrow();
        if request.path == "/v1/sync/report" {
            let delta = json!({"apps": [{"name": "web", "version": now.to_string()}]});
            return Act::json(200, &delta.to_string())
                .with("x-baetyl-ext", &format!("changes/1;cursor={now}"));
        }
        let asked: Value = serde_json::from_slice(&request.body).unwrap();
        Act::Held(told.clone(), asked["cursor"].as_str().unwrap().parse().unwrap())
    })
    .await;
    let (shadow, scope) = node(&cloud).await;
    let mut desire = shadow.desire();
    for version in 1_u32..4 {
        let is = |desire: &Arc<Desire>| {
            desire.apps.as_ref().is_some_and(|apps| apps[0].version == version.to_string())
        };
        desire.wait_for(is).await.unwrap();
        tell.send(version + 1).unwrap();
    }
    scope.stop().await;
}
