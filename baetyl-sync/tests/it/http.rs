//! The HTTP link against clouds on loopback: good ones, bad ones, and none.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use baetyl_core_lib::error::Chain;
use baetyl_core_lib::link::{Link, LinkError, LinkState};
use baetyl_core_lib::spec::{Kind, Message};
use baetyl_core_lib::task::TaskScope;
use baetyl_sync::link::{HttpConfig, LinkConfig, connect};
use serde_json::{Value, json};

use crate::server::{Act, Authority, Cloud, Recorded, babbler, clock};

fn report() -> Message {
    Message::new(Kind::Report).with_content(&json!({"apps": []})).unwrap().with_meta("source", "baetyl-core")
}

async fn ask(link: &Arc<dyn Link>) -> Result<Value, LinkError> {
    Ok(link.request(report()).await?.decode().unwrap())
}

#[tokio::test]
async fn one_connection_serves_all_requests_over_http_2() {
    let cloud = Cloud::start(|_| Act::json(200, "{}")).await;
    let link = cloud.link();
    for _ in 0..5 {
        assert_eq!(ask(&link).await.unwrap(), json!({}));
    }
    let recorded = cloud.recorded();
    assert!(recorded.iter().all(|request| request.version == "HTTP/2.0" && request.connection == 1));
    assert_eq!(link.state(), LinkState::Succeeded);
}

#[tokio::test]
async fn a_cloud_without_http_2_is_spoken_to_in_http_1_1() {
    let cloud = Cloud::with_protocols(&["http/1.1"], |_| Act::json(200, "{}")).await;
    let link = cloud.link();
    for _ in 0..3 {
        ask(&link).await.unwrap();
    }
    assert!(cloud.recorded().iter().all(|request| request.version == "HTTP/1.1" && request.connection == 1));
}

#[tokio::test]
async fn answers_may_be_packed_and_placeholders_are_substituted() {
    let mut packed = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    packed.write_all(br#"{"path": "{{.BAETYL_HOST_PATH_LIB}}/{{ .BAETYL_NODE_NAME }}/{{x}}"}"#).unwrap();
    let packed = packed.finish().unwrap();
    let cloud = Cloud::start(move |_| Act::Answer {
        status: 200,
        headers: vec![("content-encoding", "gzip".to_owned())],
        body: packed.clone(),
    })
    .await;
    let env = BTreeMap::from([("BAETYL_NODE_NAME".to_owned(), "edge1".to_owned())]);
    let link = connect(LinkConfig::Http(cloud.config()), cloud.authority.node(), clock(), env).unwrap();
    assert_eq!(ask(&link).await.unwrap(), json!({"path": "/var/lib/baetyl/edge1/{{x}}"}));
    assert_eq!(cloud.recorded()[0].headers["accept-encoding"], "gzip");
}

#[tokio::test]
async fn requests_are_packed_once_the_cloud_said_that_it_takes_that() {
    let cloud = Cloud::start(|_| Act::json(200, "{}").with("accept-encoding", "gzip")).await;
    let link = cloud.link();
    let apps: Vec<_> = (0..50).map(|index| json!({"name": format!("app-{index}"), "version": "1"})).collect();
    for _ in 0..2 {
        let report = Message::new(Kind::Report).with_content(&json!({"apps": apps})).unwrap();
        link.request(report).await.unwrap();
    }
    ask(&link).await.unwrap();
    let recorded = cloud.recorded();
    assert!(!recorded[0].headers.contains_key("content-encoding"), "it may be the original");
    assert_eq!(recorded[1].headers["content-encoding"], "gzip");
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&*recorded[1].body).read_to_end(&mut plain).unwrap();
    assert_eq!(plain, recorded[0].body);
    assert!(!recorded[2].headers.contains_key("content-encoding"), "a small one is not worth it");
}

#[tokio::test]
async fn a_cloud_that_refused_is_not_sent_packed_requests() {
    let answers = AtomicUsize::new(0);
    let cloud = Cloud::start(move |_| match answers.fetch_add(1, Ordering::Relaxed) {
        0 => Act::json(200, "{}").with("accept-encoding", "gzip"),
        1 => Act::json(415, r#"{"code": "X"}"#),
        _ => Act::json(200, "{}"),
    })
    .await;
    let link = cloud.link();
    let content = json!({"apps": vec!["x".repeat(1000)]});
    let mut sent = Vec::new();
    for _ in 0..3 {
        sent.push(link.request(Message::new(Kind::Report).with_content(&content).unwrap()).await.is_ok());
    }
    assert_eq!(sent, [true, false, true]);
    let packed = |request: &Recorded| request.headers.contains_key("content-encoding");
    assert_eq!(cloud.recorded().iter().map(packed).collect::<Vec<_>>(), [false, true, false]);
}

#[tokio::test]
async fn an_empty_answer_says_nothing() {
    let cloud = Cloud::start(|_| Act::json(204, "")).await;
    assert_eq!(ask(&cloud.link()).await.unwrap(), Value::Null);
}

#[tokio::test]
async fn the_next_address_stands_in_and_is_asked_first_from_then_on() {
    let cloud = Cloud::start(|request| match request.path.as_str() {
        "/down/v1/sync/report" => Act::json(503, "down"),
        _ => Act::json(200, "{}"),
    })
    .await;
    let scope = TaskScope::new();
    let address = format!("{0}/down/, {1} ,https://127.0.0.1:1,{0}/up", cloud.address, babbler(&scope).await);
    let link = cloud.link_with(HttpConfig { address, ..cloud.config() }).unwrap();
    ask(&link).await.unwrap();
    ask(&link).await.unwrap();
    let paths: Vec<String> = cloud.recorded().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, ["/down/v1/sync/report", "/up/v1/sync/report", "/up/v1/sync/report"]);
}

#[tokio::test]
async fn a_refusal_of_the_cloud_is_final_and_that_of_a_stranger_is_not() {
    let answer = Arc::new(AtomicBool::new(true));
    let speaks = Arc::clone(&answer);
    let cloud = Cloud::start(move |request| {
        if request.path.starts_with("/a/") && speaks.load(Ordering::Relaxed) {
            Act::json(
                404,
                r#"{"code":"ErrResourceNotFound","message":"The (node) resource (edge1) is not found."}"#,
            )
        } else if request.path.starts_with("/a/") {
            Act::json(404, "<html>nginx</html>")
        } else {
            Act::json(200, "{}")
        }
    })
    .await;
    let address = format!("{0}/a,{0}/b", cloud.address);
    let link = cloud.link_with(HttpConfig { address, ..cloud.config() }).unwrap();
    let error = ask(&link).await.unwrap_err();
    assert!(matches!(&error, LinkError::Rejected { status: 404, code, .. } if code == "ErrResourceNotFound"));
    assert!(!error.is_transient());
    let LinkState::NodeNotFound(words) = link.state() else { panic!("{:?}", link.state()) };
    assert!(words.contains("(edge1)"));
    answer.store(false, Ordering::Relaxed);
    ask(&link).await.unwrap();
}

#[tokio::test]
async fn what_goes_wrong_is_told_in_its_own_words() {
    async fn check(act: Act, expected: fn(&LinkError) -> bool) {
        let cloud = Cloud::start(move |_| act.clone()).await;
        let config =
            HttpConfig { timeout: Duration::from_millis(300), max_answer_size: 1000, ..cloud.config() };
        let link = cloud.link_with(config).unwrap();
        let error = ask(&link).await.unwrap_err();
        assert!(expected(&error), "{error:?}");
        assert!(error.is_transient());
        assert!(matches!(link.state(), LinkState::NetworkError(_)));
    }
    check(Act::Half, |error| matches!(error, LinkError::BadAnswer { .. })).await;
    check(Act::Silence, |error| matches!(error, LinkError::Timeout { .. })).await;
    check(Act::json(200, "<html>"), |error| matches!(error, LinkError::BadAnswer { .. })).await;
    check(Act::json(200, "{"), |error| matches!(error, LinkError::BadAnswer { .. })).await;
    let long = format!("\"{}\"", "x".repeat(1000));
    check(Act::json(200, &long), |error| matches!(error, LinkError::BadAnswer { .. })).await;
    check(
        Act::json(500, r#"{"code":"UnknownError","message":"boom"}"#),
        |error| matches!(error, LinkError::Unavailable { status: 500, body, .. } if body == "boom"),
    )
    .await;
    check(Act::json(429, "slow down").with("retry-after", "7"), |error| {
        matches!(error, LinkError::Unavailable { retry_after: Some(wait), .. } if wait.as_secs() == 7)
    })
    .await;
}

#[tokio::test]
async fn a_small_packed_answer_cannot_fill_the_memory() {
    let mut packed = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    packed.write_all(&vec![b' '; 4 << 20]).unwrap();
    let packed = packed.finish().unwrap();
    let cloud = Cloud::start(move |_| Act::Answer {
        status: 200,
        headers: vec![("content-encoding", "gzip".to_owned())],
        body: packed.clone(),
    })
    .await;
    let config = HttpConfig { max_answer_size: 1 << 20, ..cloud.config() };
    let error = ask(&cloud.link_with(config).unwrap()).await.unwrap_err();
    assert!(matches!(error, LinkError::BadAnswer { .. }), "{error:?}");
}

#[tokio::test]
async fn a_cloud_that_is_not_there_or_no_cloud_is_unreachable() {
    let cloud = Cloud::start(|_| Act::json(200, "{}")).await;
    let scope = TaskScope::new();
    for address in ["https://127.0.0.1:1".to_owned(), babbler(&scope).await] {
        let link = cloud.link_with(HttpConfig { address, ..cloud.config() }).unwrap();
        let error = ask(&link).await.unwrap_err();
        assert!(matches!(error, LinkError::Unreachable { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_cloud_of_another_authority_is_not_trusted_and_the_error_says_what_to_change() {
    let cloud = Cloud::start(|_| Act::json(200, "{}")).await;
    let config = HttpConfig { ca_pem: Some(Authority::new().pem()), ..cloud.config() };
    let link = cloud.link_with(config.clone()).unwrap();
    let error = ask(&link).await.unwrap_err();
    assert!(matches!(error, LinkError::Untrusted { .. }), "{error:?}");
    assert!(error.to_string().contains("node.ca"), "{error}");
    let link = cloud.link_with(HttpConfig { insecure_skip_verify: true, ..config }).unwrap();
    let answer = link.request(report()).await.unwrap();
    assert!(!answer.meta.contains_key("date"), "the time of a stranger is not believed");
}

#[tokio::test]
async fn a_node_of_another_cloud_is_told_that_it_is_refused() {
    let cloud = Cloud::start(|_| Act::json(200, "{}")).await;
    let stranger = Authority::new().node();
    let link = connect(LinkConfig::Http(cloud.config()), stranger, clock(), BTreeMap::new()).unwrap();
    let error = ask(&link).await.unwrap_err();
    assert!(matches!(error, LinkError::Untrusted { .. }), "{error:?}");
    assert!(error.to_string().contains("node.cert"), "{}", Chain(&error));
}

#[tokio::test]
async fn certificates_are_checked_by_the_nodes_clock() {
    let cloud = Cloud::start(|_| Act::json(200, "{}")).await;
    let clock = Arc::new(baetyl_core_lib::testing::ManualClock::at("1970-01-02T00:00:00Z"));
    let config = LinkConfig::Http(cloud.config());
    let link = connect(config, cloud.authority.node(), Arc::clone(&clock) as _, BTreeMap::new()).unwrap();
    let error = ask(&link).await.unwrap_err();
    assert!(error.to_string().contains("set the clock"), "{}", Chain(&error));
    // A time that is known to have passed is enough; the clock itself need not be right.
    baetyl_core_lib::clock::Clock::raise_floor(
        &*clock,
        baetyl_core_lib::spec::Timestamp::parse("2026-06-01T00:00:00Z").unwrap(),
    );
    let answer = link.request(report()).await.unwrap();
    assert!(baetyl_core_lib::spec::Timestamp::parse(&answer.meta["date"]).is_some());
}

#[tokio::test]
async fn requests_that_cannot_be_sent_and_settings_that_cannot_work_say_why() {
    let cloud = Cloud::start(|_| Act::json(200, "{}")).await;
    for address in ["", "cloud:9005", "ftp://cloud", ","] {
        let error =
            cloud.link_with(HttpConfig { address: address.to_owned(), ..cloud.config() }).unwrap_err();
        assert!(matches!(error, LinkError::Invalid { .. }), "{address:?}: {error:?}");
    }
    let error = cloud.link_with(HttpConfig { ca_pem: Some(b"nothing".to_vec()), ..cloud.config() });
    assert!(error.unwrap_err().to_string().contains("PEM"));
    let link = cloud.link_with(HttpConfig { max_request_size: 10, ..cloud.config() }).unwrap();
    for message in [report(), Message::new(Kind::Command), report().with_meta("bad name", "x")] {
        let error = link.request(message).await.unwrap_err();
        assert!(matches!(error, LinkError::Invalid { .. }), "{error:?}");
    }
    assert!(cloud.recorded().is_empty());
}

/// A cloud that offers `changes/1`, whose state is a number: the cursor.
fn pushing(state: Arc<AtomicUsize>) -> impl Fn(&Recorded) -> Act + Send + Sync {
    move |request| {
        let now = state.load(Ordering::Relaxed).to_string();
        if request.path == "/v1/sync/report" {
            return Act::json(200, "{}").with("x-baetyl-ext", &format!("changes/1;cursor={now}"));
        }
        let asked: Value = serde_json::from_slice(&request.body).unwrap();
        if asked["cursor"] == now.as_str() {
            return Act::Late(Duration::from_millis(50), Box::new(Act::json(204, "")));
        }
        Act::json(200, &json!({ "cursor": now }).to_string())
    }
}

#[tokio::test]
async fn news_are_told_on_the_same_connection_and_only_once() {
    let state = Arc::new(AtomicUsize::new(1));
    let cloud = Cloud::start(pushing(Arc::clone(&state))).await;
    let link = cloud.link();
    assert!(link.changes().is_none(), "nothing was offered yet");
    ask(&link).await.unwrap();
    assert!(!link.changes().unwrap().wait().await.unwrap(), "the hold time is over");
    state.store(2, Ordering::Relaxed);
    assert!(link.changes().unwrap().wait().await.unwrap());
    assert!(!link.changes().unwrap().wait().await.unwrap());
    let recorded = cloud.recorded();
    assert!(recorded.iter().all(|request| request.connection == 1));
    assert_eq!(recorded[0].headers["x-baetyl-ext"], "changes/1");
    assert_eq!((recorded[1].method.as_str(), recorded[1].path.as_str()), ("POST", "/v1/sync/changes"));
    assert_eq!(recorded[1].body, br#"{"cursor":"1"}"#);
}

#[tokio::test]
async fn the_original_cloud_is_polled_and_push_ends_when_another_cloud_takes_over() {
    let offers = Arc::new(AtomicBool::new(true));
    let offering = Arc::clone(&offers);
    let cloud = Cloud::start(move |request| match request.path.as_str() {
        "/v1/sync/report" if offering.load(Ordering::Relaxed) => {
            Act::json(200, "{}").with("x-baetyl-ext", "changes/1; cursor=1")
        }
        "/v1/sync/report" => Act::json(200, "{}"),
        _ => Act::json(404, r#"{"code":"ErrRequestMethodNotFound","message":"no"}"#),
    })
    .await;
    let link = cloud.link();
    ask(&link).await.unwrap();
    assert!(!link.changes().unwrap().wait().await.unwrap());
    assert!(link.changes().is_none(), "a cloud without the path");
    ask(&link).await.unwrap();
    assert!(link.changes().is_some());
    offers.store(false, Ordering::Relaxed);
    ask(&link).await.unwrap();
    assert!(link.changes().is_none(), "a cloud without the header");
}

#[tokio::test]
async fn a_poll_that_is_cut_off_is_an_error_and_the_cursor_stays() {
    let cut = Arc::new(AtomicBool::new(true));
    let cutting = Arc::clone(&cut);
    let cloud = Cloud::start(move |request| match request.path.as_str() {
        "/v1/sync/report" => Act::json(200, "{}").with("x-baetyl-ext", "changes/1;cursor=1"),
        _ if cutting.load(Ordering::Relaxed) => Act::Half,
        _ => Act::json(200, r#"{"cursor":"2"}"#),
    })
    .await;
    let link = cloud.link();
    ask(&link).await.unwrap();
    assert!(link.changes().unwrap().wait().await.is_err());
    cut.store(false, Ordering::Relaxed);
    assert!(link.changes().unwrap().wait().await.unwrap());
    let cursors: Vec<Vec<u8>> = cloud.recorded().into_iter().skip(1).map(|request| request.body).collect();
    assert_eq!(cursors, [br#"{"cursor":"1"}"#; 2]);
    assert_eq!(link.state(), LinkState::Succeeded, "a poll is no request");
}

#[tokio::test]
async fn after_a_silent_request_the_next_one_takes_a_new_connection() {
    let cloud = Cloud::start(|request| match request.connection {
        1 => Act::Silence,
        _ => Act::json(200, "{}"),
    })
    .await;
    let config = HttpConfig { timeout: Duration::from_millis(200), ..cloud.config() };
    let link = cloud.link_with(config).unwrap();
    assert!(matches!(ask(&link).await, Err(LinkError::Timeout { .. })));
    ask(&link).await.unwrap();
}
