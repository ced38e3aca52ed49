//! What is ours: activation, isolation, objects, push.

use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use crate::client::{Pair, Running};

const TOKEN: &str = "t0ken";

async fn batch(cloud: &Running, change: Value) {
    let mut batch = json!({ "name": "line-1", "securityType": "Token", "securityKey": TOKEN, "quotaNum": 2,
        "labels": { "env": "test" } });
    for (key, value) in change.as_object().unwrap() {
        batch[key] = value.clone();
    }
    cloud.admin_json("POST", "/v1/register", batch).await;
}

fn request(fingerprint: &str, change: &Value) -> String {
    let mut request = json!({ "batchName": "line-1", "namespace": "baetyl-cloud", "fingerprintValue": fingerprint,
        "securityType": "Token", "securityValue": TOKEN, "mode": "native", "penetrateData": { "site": "lab" } });
    for (key, value) in change.as_object().unwrap() {
        request[key] = value.clone();
    }
    request.to_string()
}

/// Activates with a signing request: the node's name and its identity.
async fn activate(cloud: &Running, fingerprint: &str) -> (String, Pair) {
    let key = KeyPair::generate().unwrap();
    let csr = CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
    let answer = cloud.init("POST", "/v1/active", request(fingerprint, &json!({ "csr": csr }))).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    let body = answer.json();
    assert_eq!(body["certificate"]["key"], "", "the key never leaves the node");
    let name = body["nodeName"].as_str().unwrap().to_owned();
    (name, (body["certificate"]["cert"].as_str().unwrap().to_owned(), key.serialize_pem()))
}

async fn refused(cloud: &Running, body: String, status: u16, word: &str) {
    let answer = cloud.init("POST", "/v1/active", body).await;
    assert_eq!(answer.status, status, "{}", answer.json());
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    assert!(message.contains(word), "{message}");
}

async fn upload(cloud: &Running, name: &str, bytes: &'static [u8]) -> Value {
    let path = format!("/v2/objects/local/buckets/b/object?object={name}");
    let answer = cloud.admin("PUT", &path, bytes).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    answer.json()
}

/// The module that offers core as a program.
async fn offer_core(cloud: &Running) -> Value {
    let object = upload(cloud, "baetyl.tgz", b"a program").await;
    let module = json!({ "name": "baetyl", "version": "v1", "type": "system", "isLatest": true,
        "programs": { "linux-amd64": object["url"] } });
    cloud.admin_json("POST", "/v1/modules", module).await;
    object
}

async fn desire(
    cloud: &Running,
    pair: &Pair,
    kind: &str,
    name: &str,
    version: &str,
) -> crate::client::Answer {
    let body = json!({ "infos": [{ "kind": kind, "name": name, "version": version }] });
    cloud.node(pair, "POST", "/v1/sync/desire", &[], body.to_string()).await
}

fn web(image: &str) -> Value {
    json!({ "name": "web", "mode": "kube", "type": "container", "selector": "env=test",
        "services": [{ "name": "web", "image": image }] })
}

#[tokio::test]
async fn a_token_makes_a_node_whose_key_the_cloud_never_sees() {
    let cloud = Running::start().await;
    offer_core(&cloud).await;
    batch(&cloud, json!({})).await;
    let (name, pair) = activate(&cloud, "SN_0001").await;
    assert_eq!(name, "sn-0001");
    let node = cloud.admin_json("GET", "/v1/nodes/sn-0001", json!(null)).await;
    assert_eq!(
        node["labels"],
        json!({ "baetyl-batch": "line-1", "baetyl-node-name": "sn-0001", "env": "test" })
    );
    let core = &node["desire"]["sysapps"][0];
    assert!(core["name"].as_str().unwrap().starts_with("baetyl-core-"));
    assert_eq!(node["desire"]["sysapps"].as_array().unwrap().len(), 1, "init is on the device already");

    let app = desire(&cloud, &pair, "app", core["name"].as_str().unwrap(), "").await.json();
    let app = &app["values"][0]["value"];
    assert_eq!(app["services"][0]["args"], json!(["core"]));
    assert_eq!(app["services"][0]["replica"], 1);
    let paths: Vec<&str> = app["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|volume| volume["hostPath"]["path"].as_str())
        .collect();
    assert!(paths.contains(&"{{.BAETYL_HOST_PATH_LIB}}/node"), "{paths:?}");
    assert!(!app.to_string().contains("secret"), "no secret holds the key: {app}");
}

#[tokio::test]
async fn an_activated_node_gets_its_certificate_again_and_others_do_not_get_its_name() {
    let cloud = Running::start().await;
    batch(&cloud, json!({})).await;
    let (first, _) = activate(&cloud, "n.1").await;
    let (again, pair) = activate(&cloud, "n.1").await;
    assert_eq!(first, again);
    let report = cloud.node(&pair, "POST", "/v1/sync/report", &[], r#"{"apps":[],"sysapps":[]}"#).await;
    assert_eq!((report.status, report.json()), (200, json!({})));
    refused(&cloud, request("N.1", &json!({})), 400, "belongs to another node").await;
}

#[tokio::test]
async fn what_is_wrong_with_an_activation_is_told() {
    let cloud = Running::start().await;
    refused(&cloud, request("n1", &json!({})), 404, "line-1").await;
    batch(&cloud, json!({ "enableWhitelist": 1 })).await;
    refused(&cloud, request("n1", &json!({ "securityValue": "x" })), 401, "securityKey").await;
    refused(&cloud, request("", &json!({})), 400, "fingerprint").await;
    refused(&cloud, request("n1", &json!({})), 400, "add a record").await;
    cloud.admin_json("POST", "/v1/register/line-1/record", json!({ "fingerprintValue": "n1" })).await;
    refused(&cloud, request("n1", &json!({ "csr": "x" })), 400, "csr").await;
    let answer = cloud.init("POST", "/v1/active", request("n1", &json!({}))).await.json();
    assert!(
        answer["certificate"]["key"].as_str().unwrap().contains("PRIVATE KEY"),
        "without csr the cloud makes it"
    );
    let change = json!({ "securityType": "Token", "expireTime": "2020-01-01T00:00:00Z" });
    cloud.admin_json("PUT", "/v1/register/line-1", change).await;
    refused(&cloud, request("n1", &json!({})), 400, "expired").await;
    cloud.admin_json("PUT", "/v1/register/line-1", json!({ "quotaNum": 1 })).await;
    refused(&cloud, request("n2", &json!({})), 400, "quotaNum").await;
}

#[tokio::test]
async fn two_nodes_never_see_each_others_desire() {
    let cloud = Running::start().await;
    batch(&cloud, json!({ "labels": {} })).await;
    let (_, one) = activate(&cloud, "one").await;
    let (_, two) = activate(&cloud, "two").await;
    cloud.admin_json("POST", "/v1/secrets", json!({ "name": "sec", "data": { "a": "b" } })).await;
    let mut app = web("i:1");
    app["selector"] = json!("baetyl-node-name=one");
    app["volumes"] = json!([{ "name": "sec", "secret": { "name": "sec" } }]);
    cloud.admin_json("POST", "/v1/apps", app).await;
    for (kind, name) in [("app", "web"), ("secret", "sec")] {
        assert_eq!(desire(&cloud, &one, kind, name, "").await.status, 200, "{kind}");
        let answer = desire(&cloud, &two, kind, name, "").await;
        assert_eq!(
            (answer.status, answer.json()["code"].clone()),
            (404, json!("ErrResourceNotFound")),
            "{kind}"
        );
    }
    let report = cloud.node(&two, "POST", "/v1/sync/report", &[], r#"{"apps":[],"sysapps":[]}"#).await;
    assert_eq!(report.json(), json!({}));
    let foreign = rcgen::generate_simple_self_signed(vec!["x".to_owned()]).unwrap();
    let foreign = (foreign.cert.pem(), foreign.signing_key.serialize_pem());
    let stream = cloud.tls(cloud.addresses.node, Some(&foreign)).await;
    let answer = match stream {
        Ok(stream) => crate::client::try_send(stream, "GET", "/health", &[], "".into()).await.ok(),
        Err(_) => None,
    };
    assert!(answer.is_none(), "a certificate of another authority is refused");
}

#[tokio::test]
async fn a_node_gets_the_version_that_it_asks_for() {
    let cloud = Running::start().await;
    batch(&cloud, json!({})).await;
    let (_, pair) = activate(&cloud, "one").await;
    let first = cloud.admin_json("POST", "/v1/apps", web("i:1")).await["version"].clone();
    let second = cloud.admin_json("PUT", "/v1/apps/web", web("i:2")).await["version"].clone();
    assert!(first.as_str() < second.as_str());
    for (version, image) in [(first, "i:1"), (second, "i:2"), (json!("none"), "i:2")] {
        let answer = desire(&cloud, &pair, "app", "web", version.as_str().unwrap()).await.json();
        assert_eq!(answer["values"][0]["value"]["services"][0]["image"], image);
    }
}

#[tokio::test]
async fn a_missing_replica_runs_once_and_a_zero_runs_none() {
    let cloud = Running::start().await;
    batch(&cloud, json!({})).await;
    let (_, pair) = activate(&cloud, "one").await;
    cloud.admin_json("POST", "/v1/apps", web("i:1")).await;
    let replicas = async || {
        let app = desire(&cloud, &pair, "app", "web", "").await.json()["values"][0]["value"].clone();
        (app["replica"].clone(), app["services"][0]["replica"].clone())
    };
    assert_eq!(replicas().await, (json!(1), json!(1)));
    let mut stopped = web("i:1");
    stopped["replica"] = json!(0);
    cloud.admin_json("PUT", "/v1/apps/web", stopped).await;
    assert_eq!(replicas().await, (json!(0), Value::Null));
}

#[tokio::test]
async fn objects_go_to_nodes_by_digest_in_ranges_and_fail_by_digest_when_deleted() {
    let cloud = Running::start().await;
    batch(&cloud, json!({})).await;
    let (_, pair) = activate(&cloud, "one").await;
    let object = upload(&cloud, "page.tgz", b"0123456789").await;
    let sha256 = object["sha256"].as_str().unwrap();
    assert_eq!(object["size"], 10);
    let path = format!("/v1/objects/{sha256}");
    let whole = cloud.node(&pair, "GET", &path, &[], "").await;
    assert_eq!((whole.status, &whole.bytes[..]), (200, &b"0123456789"[..]));
    assert_eq!(whole.headers["etag"], format!("\"{sha256}\""));
    let rest = cloud.node(&pair, "GET", &path, &[("range", "bytes=4-")], "").await;
    assert_eq!((rest.status, &rest.bytes[..]), (206, &b"456789"[..]));
    assert_eq!(rest.headers["content-range"], "bytes 4-9/10");

    let entry = json!([{ "key": "page.tgz", "value": { "type": "object", "source": "local", "bucket": "b",
        "object": "page.tgz", "unpack": "tgz" } }]);
    cloud.admin_json("POST", "/v1/configs", json!({ "name": "page", "data": entry })).await;
    let mut app = web("i:1");
    app["volumes"] = json!([{ "name": "page", "config": { "name": "page" } }]);
    cloud.admin_json("POST", "/v1/apps", app).await;
    let check = async || {
        let answer = desire(&cloud, &pair, "config", "page", "").await.json();
        let text = answer["values"][0]["value"]["data"]["_object_page.tgz"].as_str().unwrap().to_owned();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["sha256"], sha256);
        assert_eq!(value["md5"], object["md5"]);
        assert_eq!(value["url"], format!("https://127.0.0.1:{}{path}", cloud.addresses.node.port()));
        assert_eq!(value["unpack"], "tgz");
    };
    check().await;
    let signed = cloud.admin("GET", "/v2/objects/local/buckets/b/object?object=page.tgz", "").await.json();
    let query = signed["url"].as_str().unwrap().split_once('?').unwrap().1.to_owned();
    assert_eq!(cloud.init("GET", &format!("{path}?{query}"), "").await.status, 200);
    assert_eq!(cloud.init("GET", &format!("{path}?e=9999999999&s=00"), "").await.status, 401);

    cloud.admin_json("DELETE", "/v2/objects/local/buckets/b/object?object=page.tgz", json!(null)).await;
    check().await;
    let gone = cloud.node(&pair, "GET", &path, &[], "").await;
    assert_eq!(gone.status, 404);
    assert!(gone.json()["message"].as_str().unwrap().contains(sha256));
    let large = vec![0; 2 * 1024 * 1024];
    let answer = cloud.admin("PUT", "/v2/objects/local/buckets/b/object?object=large", large).await;
    assert_eq!((answer.status, answer.json()["code"].clone()), (400, json!("ErrDataTooLarge")));
}

#[tokio::test]
async fn a_held_poll_is_answered_when_the_desire_changes() {
    let cloud = Running::start().await;
    batch(&cloud, json!({})).await;
    let (name, pair) = activate(&cloud, "one").await;
    let report = cloud
        .node(
            &pair,
            "POST",
            "/v1/sync/report",
            &[("x-baetyl-ext", "changes/1")],
            r#"{"apps":[],"sysapps":[]}"#,
        )
        .await;
    let offer = report.headers["x-baetyl-ext"].to_str().unwrap();
    let cursor = offer.strip_prefix("changes/1;cursor=").unwrap().to_owned();
    let plain = cloud.node(&pair, "POST", "/v1/sync/report", &[], r#"{"apps":[],"sysapps":[]}"#).await;
    assert!(!plain.headers.contains_key("x-baetyl-ext"), "nobody is told who did not ask");

    let poll = |cursor: &str, hold: u64| json!({ "cursor": cursor, "hold": hold }).to_string();
    let none = cloud.node(&pair, "POST", "/v1/sync/changes", &[], poll(&cursor, 0)).await;
    assert_eq!(none.status, 204);
    let held = async {
        let answer = cloud.node(&pair, "POST", "/v1/sync/changes", &[], poll(&cursor, 50)).await;
        assert_eq!(answer.status, 200);
        answer.json()["cursor"].as_str().unwrap().to_owned()
    };
    let change = async {
        // The poll is under way: its node counts as seen.
        while cloud.cloud.news().holds(&name) == 0 {
            tokio::task::yield_now().await;
        }
        cloud.admin_json("POST", "/v1/apps", web("i:1")).await;
    };
    let (new, ()) = tokio::join!(held, change);
    assert!(new > cursor);
    let stale = cloud.node(&pair, "POST", "/v1/sync/changes", &[], poll("unknown", 50)).await;
    assert_eq!(stale.json()["cursor"], json!(new), "an unknown cursor counts as news");
}

#[tokio::test]
async fn a_large_answer_is_packed_where_the_client_takes_it() {
    let cloud = Running::start().await;
    let value = "x".repeat(5000);
    let data = json!([{ "key": "a", "value": { "type": "kv", "value": value } }]);
    cloud.admin_json("POST", "/v1/configs", json!({ "name": "large", "data": data })).await;
    let stream = tokio::net::TcpStream::connect(cloud.addresses.admin).await.unwrap();
    let packed = crate::client::try_send(
        stream,
        "GET",
        "/v1/configs/large",
        &[("accept-encoding", "gzip")],
        "".into(),
    )
    .await
    .unwrap();
    assert_eq!(packed.headers["content-encoding"], "gzip");
    assert!(packed.bytes.len() < 500);
    assert!(!cloud.admin("GET", "/v1/configs/large", "").await.headers.contains_key("content-encoding"));
}
