//! The local API: routes, statuses and bodies.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use baetyl_core_lib::api::{Context, Request, Response, handle};
use baetyl_core_lib::application::Scope;
use baetyl_core_lib::clock::Clock;
use baetyl_core_lib::engine::{Engine, EngineError, EngineKind, LogSource};
use baetyl_core_lib::link::{DuplexLink, Link, LinkError, LinkState};
use baetyl_core_lib::shadow::{Shadow, StoredShadow};
use baetyl_core_lib::spec::{Desire, Kind, Message, Report, Section, Timestamp};
use baetyl_core_lib::store::MemoryStore;
use baetyl_core_lib::testing::{FakeEngine, ManualClock, app};
use serde_json::{Value, json};

/// A link that gives out storage credentials, when it may push.
#[derive(Debug)]
struct StsLink {
    state: LinkState,
    pushes: bool,
    answer: Mutex<Value>,
    asked: AtomicUsize,
}

impl StsLink {
    fn new(state: LinkState, pushes: bool) -> Arc<Self> {
        Arc::new(Self { state, pushes, answer: Mutex::default(), asked: AtomicUsize::new(0) })
    }
}

#[async_trait]
impl Link for StsLink {
    async fn request(&self, message: Message) -> Result<Message, LinkError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        assert_eq!((message.kind.as_str(), message.meta["cmd"].as_str()), ("sts", "minio"));
        assert_eq!(
            message.decode::<Value>().unwrap(),
            json!({"stsType": "minio", "expiredTime": 43_200_000_000_000_u64})
        );
        let answer = self.answer.lock().unwrap().clone();
        let kind = if answer.is_string() { Kind::Error } else { message.kind };
        Ok(Message::new(kind).with_content(&answer).unwrap())
    }

    fn state(&self) -> LinkState {
        self.state.clone()
    }

    fn duplex(&self) -> Option<&dyn DuplexLink> {
        self.pushes.then_some(self)
    }
}

#[async_trait]
impl DuplexLink for StsLink {
    async fn send(&self, _: Message) -> Result<(), LinkError> {
        Ok(())
    }

    async fn incoming(&self) -> Result<Message, LinkError> {
        std::future::pending().await
    }
}

struct Bed {
    store: MemoryStore,
    shadow: Arc<StoredShadow>,
    engine: FakeEngine,
    clock: Arc<ManualClock>,
    context: Context,
}

async fn bed(link: Option<Arc<StsLink>>) -> Bed {
    let store = MemoryStore::new();
    let shadow = Arc::new(StoredShadow::open(Arc::new(store.clone())).await.unwrap());
    let engine = FakeEngine::new();
    let clock = Arc::new(ManualClock::at("2026-01-01T00:00:00Z"));
    let engines: Vec<Arc<dyn Engine>> = vec![Arc::new(FakeEngine::new()), Arc::new(engine.clone())];
    let link = link.map(|link| link as Arc<dyn Link>);
    let context = Context::new("edge-a".to_owned(), shadow.clone(), link, engines, clock.clone());
    Bed { store, shadow, engine, clock, context }
}

impl Bed {
    async fn send(&self, method: &str, path: &str, body: &str) -> Response {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let request = Request {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            body: body.to_owned().into(),
        };
        handle(&self.context, request).await
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        status_and_json(&self.send("GET", path, "").await)
    }

    async fn put(&self, body: &str) -> (u16, Value) {
        status_and_json(&self.send("PUT", "/node/properties", body).await)
    }

    async fn sts(&self, body: &str) -> (u16, Value) {
        status_and_json(&self.send("POST", "/agent/sts", body).await)
    }
}

fn status_and_json(response: &Response) -> (u16, Value) {
    assert_eq!(response.content_type, "application/json");
    (response.status, serde_json::from_slice(&response.body).unwrap())
}

#[track_caller]
fn assert_refused((status, body): (u16, Value), expected: u16, code: &str) {
    assert_eq!((status, body["code"].as_str()), (expected, Some(code)), "{body}");
    assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
}

#[tokio::test]
async fn unknown_paths_are_404_and_wrong_methods_405() {
    let bed = bed(None).await;
    for path in ["", "/", "/node", "/node/stats/", "//node/stats", "/services/log", "/services/a/b/log"] {
        assert_refused(bed.get(path).await, 404, "ErrRequestMethodNotFound");
    }
    for (method, path) in [
        ("POST", "/health"),
        ("PUT", "/node/stats"),
        ("DELETE", "/node/properties"),
        ("POST", "/services/a/log"),
        ("PUT", "/sync/state"),
        ("GET", "/agent/sts"),
    ] {
        let refused = status_and_json(&bed.send(method, path, "").await);
        assert_refused(refused, 405, "ErrRequestMethodNotFound");
    }
    assert_eq!(bed.get("/health").await, (200, json!({"success": true})));
}

#[tokio::test]
async fn stats_are_the_node_as_the_cloud_shows_it() {
    let bed = bed(None).await;
    let part: Report = serde_json::from_value(json!({
        "time": "2026-01-01T00:00:00Z",
        "apps": [{"name": "web", "version": "1"}],
        "node": {"kn": {"hostname": "kn"}},
        "nodestats": {"kn": {"usage": {"cpu": "500m"}, "capacity": {"cpu": "2"}}},
    }))
    .unwrap();
    bed.shadow.merge_report(part).await.unwrap();
    bed.shadow.apply_desire(Desire { apps: Some(vec![]), ..Desire::default() }).await.unwrap();

    let (status, shown) = bed.get("/node/stats").await;
    assert_eq!((status, &shown["name"], &shown["ready"]), (200, &json!("edge-a"), &json!(1)));
    assert_eq!((&shown["appMode"], &shown["desire"]), (&json!("native"), &json!({"apps": []})));
    assert_eq!(shown["report"]["nodestats"]["kn"]["percent"]["cpu"], "0.25");

    bed.clock.advance(Duration::from_secs(40));
    assert_eq!(bed.get("/node/stats").await.1["ready"], 2);
}

#[tokio::test]
async fn properties_are_patched_and_survive() {
    let bed = bed(None).await;
    assert_eq!(bed.get("/node/properties").await, (200, json!({"report": {}, "desire": {}})));
    let wanted = [("lamp".to_owned(), json!("off"))].into();
    bed.shadow.apply_desire(Desire { nodeprops: Some(wanted), ..Desire::default() }).await.unwrap();

    let props = json!({"lamp": "on", "fan": "off"});
    assert_eq!(bed.put(&props.to_string()).await, (200, props));
    assert_eq!(bed.put(r#"{"fan": null, "door": "shut"}"#).await.1, json!({"lamp": "on", "door": "shut"}));
    let expected = json!({"report": {"lamp": "on", "door": "shut"}, "desire": {"lamp": "off"}});
    assert_eq!(bed.get("/node/properties").await, (200, expected));

    let again = StoredShadow::open(Arc::new(bed.store.clone())).await.unwrap();
    assert_eq!(json!(again.report().borrow().nodeprops), json!({"lamp": "on", "door": "shut"}));
}

#[tokio::test]
async fn properties_that_are_no_texts_change_nothing() {
    let bed = bed(None).await;
    for body in ["", "[]", "null", "{", r#"{"a": "1", "b": 2}"#, r#"{"b": {"c": "1"}}"#] {
        assert_refused(bed.put(body).await, 500, "UnknownError");
    }
    assert_eq!(bed.shadow.report().borrow().nodeprops, Section::Absent);
}

#[tokio::test]
async fn logs_come_from_whichever_engine_has_the_instance() {
    let bed = bed(None).await;
    for (scope, name) in [(Scope::User, "web"), (Scope::System, "baetyl-broker-1")] {
        let deployment = app(name).service("web").build();
        let version = deployment.spec.version.clone();
        bed.engine.apply(scope, &deployment).await.unwrap();
        bed.engine.write_log(&format!("{name}-{version}-web-0"), "one\ntwo\nthree\n");
        let path = format!("/services/{name}-{version}-web-0/log");

        let all = bed.send("GET", &path, "").await;
        assert_eq!((all.status, all.content_type), (200, "text/plain; charset=utf-8"));
        assert_eq!(all.body, "one\ntwo\nthree\n");
        let last = bed.send("GET", &format!("{path}?container=c&tailLines=1&sinceSeconds=60"), "").await;
        assert_eq!(last.body, "three\n");
        for query in ["tailLines=-1", "tailLines=x", "sinceSeconds=1.5"] {
            assert_refused(bed.get(&format!("{path}?{query}")).await, 400, "RequestParamInvalid");
        }
    }
    assert_refused(bed.get("/services/gone/log").await, 500, "UnknownError");
    for name in ["..", "%2e%2e", "a%2Fb", ""] {
        assert_refused(bed.get(&format!("/services/{name}/log")).await, 400, "RequestParamInvalid");
    }
}

/// An engine whose log source tells only in which scope it was asked.
#[derive(Debug)]
struct ScopeTeller;

#[async_trait]
impl LogSource for ScopeTeller {
    async fn tail(&self, scope: Scope, instance: &str, _: usize) -> Result<Vec<u8>, EngineError> {
        if instance == "broken" {
            return Err(EngineError::Timeout {
                engine: EngineKind::Custom("teller"),
                operation: "read a log",
            });
        }
        Ok(scope.to_string().into_bytes())
    }
}

mod teller {
    use baetyl_core_lib::application::Application;
    use baetyl_core_lib::engine::AppState;
    use baetyl_core_lib::spec::AppInfo;

    use super::*;

    #[async_trait]
    impl Engine for ScopeTeller {
        fn kind(&self) -> EngineKind {
            EngineKind::Custom("teller")
        }

        async fn prepare(&self, _: Scope, _: &dyn Application) -> Result<(), EngineError> {
            Ok(())
        }

        async fn apply(&self, _: Scope, _: &dyn Application) -> Result<(), EngineError> {
            Ok(())
        }

        async fn stop(&self, _: Scope, _: &AppInfo) -> Result<(), EngineError> {
            Ok(())
        }

        async fn remove(&self, _: Scope, _: &AppInfo) -> Result<(), EngineError> {
            Ok(())
        }

        async fn inventory(&self, _: Scope) -> Result<Vec<AppState>, EngineError> {
            Ok(Vec::new())
        }

        fn logs(&self) -> Option<&dyn LogSource> {
            Some(self)
        }
    }
}

#[tokio::test]
async fn the_name_of_an_instance_tells_its_scope() {
    let shadow = StoredShadow::open(Arc::new(MemoryStore::new())).await.unwrap();
    let clock = Arc::new(ManualClock::at("2026-01-01T00:00:00Z"));
    let context = Context::new("n".to_owned(), Arc::new(shadow), None, vec![Arc::new(ScopeTeller)], clock);
    for (instance, scope) in [
        ("web-6c9f-x2x7k", "user"),
        ("baetyl-core-8xk2mq7ab-6c9f", "system"),
        ("baetyl-edge-system.baetyl-broker-1.2.broker.0", "system"),
        ("baetyl-edge.web.2.web.0", "user"),
        ("baetyl-edge-gateway-6c9f", "system"),
    ] {
        let path = format!("/services/{instance}/log");
        let request = Request { method: "GET".to_owned(), path, ..Request::default() };
        assert_eq!(handle(&context, request).await.body, scope, "{instance}");
    }
    let request =
        Request { method: "GET".to_owned(), path: "/services/broken/log".to_owned(), ..Request::default() };
    assert_refused(status_and_json(&handle(&context, request).await), 500, "UnknownError");
}

#[tokio::test]
async fn the_state_of_the_link_is_told_in_the_words_of_the_original() {
    for (link, state, message) in [
        (None, "Unknown", ""),
        (Some(LinkState::Unknown), "Unknown", ""),
        (Some(LinkState::Succeeded), "Succeeded", ""),
        (Some(LinkState::NodeNotFound("who?".to_owned())), "NodeNotFound", "who?"),
        (Some(LinkState::NetworkError("down".to_owned())), "NetworkError", "down"),
    ] {
        let bed = bed(link.map(|state| StsLink::new(state, false))).await;
        assert_eq!(bed.get("/sync/state").await, (200, json!({"state": state, "message": message})));
    }
}

#[tokio::test]
async fn credentials_need_a_link_that_can_ask_for_them() {
    assert_refused(bed(None).await.sts("{}").await, 500, "UnknownError");
    let link = StsLink::new(LinkState::Succeeded, false);
    assert_refused(bed(Some(link.clone())).await.sts("{}").await, 500, "UnknownError");
    assert_eq!(link.asked.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn credentials_are_asked_again_when_less_than_an_hour_is_left() {
    let link = StsLink::new(LinkState::Succeeded, true);
    let bed = bed(Some(link.clone())).await;
    for body in ["", "[1]", r#"{"stsType": "s3"}"#] {
        assert_refused(bed.sts(body).await, 500, "UnknownError");
    }
    *link.answer.lock().unwrap() = json!("no bucket");
    assert_refused(bed.sts("{}").await, 500, "UnknownError");

    let expiration = bed.clock.now().saturating_add(Duration::from_secs(2 * 3600));
    let answer = |expiration: Timestamp| {
        json!({
            "ak": "a", "sk": "s", "token": "t", "endpoint": "e", "bucket": "b", "namespace": "n",
            "nodeName": "edge-a", "expiration": expiration,
        })
    };
    *link.answer.lock().unwrap() = answer(expiration);
    assert_eq!(bed.sts(r#"{"stsType": "minio"}"#).await, (200, answer(expiration)));
    bed.clock.advance(Duration::from_secs(3600));
    assert_eq!(bed.sts("{}").await, (200, answer(expiration)));
    assert_eq!(link.asked.load(Ordering::Relaxed), 2);
    bed.clock.advance(Duration::from_secs(1));
    assert_eq!(bed.sts("{}").await.0, 200);
    assert_eq!(link.asked.load(Ordering::Relaxed), 3);
}
