//! Plays the original's recorded exchanges against an empty cloud with the original's modules, and compares
//! status and body. What differs stands in `tests/fixtures/differences.txt`, with the reason; a line for
//! something that does not differ any more fails the test, so the list only shrinks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};

use crate::client::{Answer, Running, try_send};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../baetyl-core-lib/tests/fixtures/cloud");
const DIFFERENCES: &str = include_str!("../fixtures/differences.txt");

/// What a certificate is told by.
const CERTIFICATE: [&str; 9] = [
    "ca.pem",
    "client.pem",
    "client.key",
    "certificate",
    "serialNumber",
    "fingerPrint",
    "issuer",
    "effectiveTime",
    "expiredTime",
];

/// Scenario → steps in order, each with its label.
fn scenarios() -> BTreeMap<String, Vec<(String, Value)>> {
    let mut found: BTreeMap<String, Vec<(String, Value)>> = BTreeMap::new();
    let mut paths: Vec<_> = std::fs::read_dir(FIXTURES).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let label = path.file_stem().unwrap().to_string_lossy().into_owned();
        let document: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        if let Some(steps) = document["steps"].as_array() {
            let steps = steps.iter().map(|step| (format!("{label}#{}", step["step"]), step.clone()));
            found.insert(label.clone(), steps.collect());
        } else {
            let scenario = document["scenario"].as_str().unwrap().to_owned();
            found.entry(scenario).or_default().push((label, document));
        }
    }
    found
}

async fn seed(cloud: &Running) {
    let modules = [
        ("baetyl", "v2.4.3", "system", "docker.io/baetyltech/baetyl:v2.4.3"),
        ("baetyl-broker", "v2.1.1", "system", "baetyltech/broker:v2.1.1"),
        ("baetyl-function", "v2.1.2", "opt_system", "docker.io/baetyltech/function:v2.1.2"),
        ("baetyl-rule", "v2.1.2", "opt_system", "docker.io/baetyltech/rule:v2.1.2"),
        ("baetyl-ekuiper", "1.9.0", "opt_system_kube", "docker.io/baetyltech/ekuiper:1.9.0"),
    ];
    for (name, version, kind, image) in modules {
        let programs: Value = ["darwin-amd64", "linux-amd64", "linux-arm-v7", "linux-arm64-v8"]
            .iter()
            .map(|platform| {
                (
                    (*platform).to_owned(),
                    json!(format!(
                        "https://files.test/test/programs/{name}_{}_v2.1.0.zip",
                        platform.replace("64-v8", "64")
                    )),
                )
            })
            .collect::<serde_json::Map<_, _>>()
            .into();
        let module = json!({ "name": name, "version": version, "type": kind, "image": image, "isLatest": true,
            "description": format!("for {name}"), "programs": programs });
        cloud.admin_json("POST", "/v1/modules", module).await;
    }
    for (name, value) in [
        ("sync-server-address", "https://10.203.0.1:9105"),
        ("init-server-address", "https://10.203.0.1:9003"),
    ] {
        cloud.admin_json("PUT", &format!("/v1/properties/{name}"), json!({ "value": value })).await;
    }
}

#[tokio::test]
async fn the_original_is_answered_alike() {
    let mut listed: BTreeMap<&str, &str> = BTreeMap::new();
    for line in DIFFERENCES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (label, why) = line.split_once(": ").expect("label: why");
        listed.insert(label, why);
    }
    let mut differ = BTreeMap::new();
    let mut count = 0;
    for (_, steps) in scenarios() {
        // Lists are sorted by time of creation, and the original made each of them within a second.
        let cloud = Running::in_one_second().await;
        seed(&cloud).await;
        let mut played: BTreeMap<u64, Value> = BTreeMap::new();
        let mut names: BTreeMap<String, String> = BTreeMap::new();
        for (label, mut exchange) in steps {
            count += 1;
            let expected = exchange["response"].clone();
            resolve(&mut exchange, &played, &names);
            adopt(&cloud, &mut exchange).await;
            own_certificate(&cloud, &mut exchange);
            let got = play(&cloud, &exchange).await;
            let (status, body) =
                got.as_ref().map_or((Value::Null, Value::Null), |got| (json!(got.status), got.json()));
            learn(&expected["body"], &body, &mut names);
            if let Some(difference) = compare(&expected, &status, &body) {
                differ.insert(label, difference);
            }
            exchange["response"] = json!({ "status": status, "body": body });
            played.insert(exchange["step"].as_u64().unwrap(), exchange);
        }
    }
    let unlisted: Vec<String> = differ
        .iter()
        .filter(|(label, _)| !listed.contains_key(label.as_str()))
        .map(|(label, text)| format!("{label}: {text}"))
        .collect();
    let gone: BTreeSet<&&str> = listed.keys().filter(|label| !differ.contains_key(**label)).collect();
    println!("{count} exchanges, {} differ as listed", listed.len() - gone.len());
    assert!(unlisted.is_empty(), "{} not as the original:\n{}", unlisted.len(), unlisted.join("\n"));
    assert!(gone.is_empty(), "these are as the original now: take them off the list: {gone:?}");
}

/// Puts our own values where the request repeats what was answered before.
fn resolve(exchange: &mut Value, played: &BTreeMap<u64, Value>, names: &BTreeMap<String, String>) {
    let references = exchange["refs"].as_object().cloned().unwrap_or_default();
    for (target, source) in references {
        let ours = source["step"].as_u64().and_then(|step| played.get(&step));
        let ours = ours.and_then(|exchange| exchange.pointer(source["pointer"].as_str().unwrap())).cloned();
        if let (Some(place), Some(ours)) = (exchange.pointer_mut(&target), ours) {
            *place = ours;
        }
    }
    if let Some(path) = exchange["request"]["path"].as_str() {
        let path = names.iter().fold(path.to_owned(), |path, (theirs, ours)| path.replace(theirs, ours));
        exchange["request"]["path"] = json!(path);
    }
}

/// Puts in what the request repeats without saying where from: the system applications of node n1.
async fn adopt(cloud: &Running, exchange: &mut Value) {
    let node = cloud.admin("GET", "/v1/nodes/n1", "").await.json();
    let ours = node["desire"]["sysapps"].as_array().cloned().unwrap_or_default();
    let known = |name: &str| {
        ours.iter().find(|app| generated(app["name"].as_str().unwrap()) == generated(name)).cloned()
    };
    for key in ["sysapps", "sysappstats"] {
        let body = exchange["request"]["body"].as_object_mut();
        let list = body.and_then(|body| body.get_mut(key)?.as_array_mut());
        for entry in list.into_iter().flatten() {
            if let Some(app) = entry["name"].as_str().filter(|name| generated(name).is_some()).and_then(known)
            {
                entry["name"] = app["name"].clone();
                entry["version"] = app["version"].clone();
            }
        }
    }
    let path = exchange["request"]["path"].as_str().unwrap().to_owned();
    if let Some((front, name)) = path.rsplit_once('/')
        && let Some(app) = Some(name).filter(|name| generated(name).is_some()).and_then(known)
    {
        exchange["request"]["path"] = json!(format!("{front}/{}", app["name"].as_str().unwrap()));
    }
}

/// Where the recording has no key, a pair of ours; where its key did not fit, one that does not.
fn own_certificate(cloud: &Running, exchange: &mut Value) {
    let fits = exchange["response"]["status"] == 200;
    let body = exchange["request"]["body"].as_object_mut();
    let Some(data) = body.and_then(|body| body.get_mut("data")?.as_object_mut()) else { return };
    if data.get("key").unwrap_or(&Value::Null).as_str().is_some_and(|key| key.contains("PLACEHOLDER")) {
        let (cert, key) = cloud.pair("cloud.test");
        data.insert("certificate".to_owned(), json!(cert));
        data.insert("key".to_owned(), json!(if fits { key } else { cloud.pair("cloud.test").1 }));
    }
}

/// Remembers which generated name of ours stands for theirs.
fn learn(theirs: &Value, ours: &Value, names: &mut BTreeMap<String, String>) {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            for (key, value) in theirs {
                learn(value, ours.get(key).unwrap_or(&Value::Null), names);
            }
        }
        (Value::Array(theirs), Value::Array(ours)) => {
            theirs.iter().zip(ours).for_each(|(a, b)| learn(a, b, names))
        }
        (Value::String(theirs), Value::String(ours))
            if theirs != ours && generated(theirs).is_some() && generated(theirs) == generated(ours) =>
        {
            names.insert(theirs.clone(), ours.clone());
        }
        _ => {}
    }
}

/// A name without its random end.
fn generated(text: &str) -> Option<&str> {
    let (front, tail) = text.rsplit_once('-')?;
    let random =
        tail.len() == 9 && tail.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    random.then_some(front)
}

async fn play(cloud: &Running, exchange: &Value) -> Option<Answer> {
    let request = &exchange["request"];
    let (method, path) = (request["method"].as_str().unwrap(), request["path"].as_str().unwrap());
    let body = match &request["body"] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        body => body.to_string(),
    };
    let headers: Vec<(&str, &str)> = request["headers"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| {
            !["content-length", "host", "connection", "accept-encoding"].contains(&name.as_str())
        })
        .filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
        .collect();
    match exchange["server"].as_str().unwrap() {
        "admin" => {
            let stream = tokio::net::TcpStream::connect(cloud.addresses.admin).await.unwrap();
            try_send(stream, method, path, &headers, body.into()).await.ok()
        }
        "init" => {
            let stream = cloud.tls(cloud.addresses.init, None).await.ok()?;
            try_send(stream, method, path, &headers, body.into()).await.ok()
        }
        _ => {
            let noted = exchange["note"].as_str().and_then(|note| note.strip_prefix("CN="));
            let pair = exchange["identity"]["clientCertCN"].as_str().or(noted).map(|name| cloud.pair(name));
            let stream = cloud.tls(cloud.addresses.node, pair.as_ref()).await.ok()?;
            try_send(stream, method, path, &headers, body.into()).await.ok()
        }
    }
}

fn compare(expected: &Value, status: &Value, body: &Value) -> Option<String> {
    if expected["status"] != *status {
        return Some(format!("status {} instead of {}: {body}", status, expected["status"]));
    }
    let mut theirs = expected["body"].clone();
    let mut ours = body.clone();
    plain(&mut theirs, "");
    plain(&mut ours, "");
    difference(&theirs, &ours, "")
}

/// Replaces what varies by what it is.
fn plain(value: &mut Value, key: &str) {
    match value {
        Value::Object(map) => {
            if map.contains_key("code") && map.contains_key("message") {
                map.remove("message");
            }
            // Which comes first depends on the second in which the original made them.
            for list in ["sysapps"] {
                if let Some(Value::Array(list)) = map.get_mut(list) {
                    list.sort_by_key(|entry| entry["name"].as_str().unwrap_or_default().to_owned());
                }
            }
            for (key, value) in map {
                plain(value, key);
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| plain(value, key)),
        Value::String(text) => {
            let version = text.len() == 16 && text.starts_with(|letter: char| letter.is_ascii_digit());
            let time = text.len() >= 20
                && text.ends_with('Z')
                && text.as_bytes()[4] == b'-'
                && text.as_bytes()[10] == b'T';
            if let Some(front) = generated(text) {
                *text = format!("{front}-*");
            } else if version {
                "<version>".clone_into(text);
            } else if time && !text.starts_with("0001") && !text.starts_with("20350101") {
                "<time>".clone_into(text);
            } else if CERTIFICATE.contains(&key) {
                "<pem>".clone_into(text);
            } else if key.starts_with("_object_") || text.starts_with("{\"") {
                *value = serde_json::from_str(text).unwrap_or(Value::Null);
            }
        }
        _ => {}
    }
}

fn difference(theirs: &Value, ours: &Value, at: &str) -> Option<String> {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            let keys: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
            keys.into_iter().find_map(|key| match (theirs.get(key), ours.get(key)) {
                (Some(theirs), Some(ours)) => difference(theirs, ours, &format!("{at}/{key}")),
                (theirs, ours) => Some(format!("{at}/{key}: {ours:?} instead of {theirs:?}")),
            })
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().find_map(|(index, (a, b))| difference(a, b, &format!("{at}/{index}")))
        }
        (theirs, ours) => (theirs != ours).then(|| format!("{at}: {ours} instead of {theirs}")),
    }
}

#[test]
fn the_recorded_exchanges_are_there() {
    assert!(Path::new(FIXTURES).is_dir());
    let count: usize = scenarios().values().map(Vec::len).sum();
    assert_eq!(count, 332);
}
