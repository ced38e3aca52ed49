//! The wire: every recorded body of the original is decoded to its type and encoded to the same JSON.

use std::collections::BTreeMap;
use std::path::Path;

use baetyl_core_lib::spec::activation::{Batch, BatchRecord};
use baetyl_core_lib::spec::admin::{
    AppItem, AppView, CertificateView, ConfigView, CoreConfigs, CoreVersions, ErrorBody, FunctionSources,
    InitCommand, List, Module, Namespace, NewPassword, NodeFunctions, NodeMode, NodeNames, NodeProperties,
    ObjectSources, Property, RegistryView, SecretView, Success, SysConfig, SysConfigs,
};
use baetyl_core_lib::spec::node::NodeView;
use baetyl_core_lib::spec::{
    ActiveRequest, ActiveResponse, AppSpec, Configuration, ConfigurationObject, Delta, DesireRequest,
    DesireResponse, Message, NodeSpec, Report, Secret, StsRequest, StsResponse,
};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

type Retype = fn(&str) -> serde_json::Result<Value>;

/// Text to type to JSON.
fn retype<T: DeserializeOwned + Serialize>(text: &str) -> serde_json::Result<Value> {
    serde_json::to_value(serde_json::from_str::<T>(text)?)
}

/// The answer to a desire request, each value decoded to what its kind says.
fn retype_resources(text: &str) -> serde_json::Result<Value> {
    let answer: DesireResponse = serde_json::from_str(text)?;
    let mut encoded = serde_json::to_value(&answer)?;
    for (index, resource) in answer.values.iter().flatten().enumerate() {
        let value = resource.value.get();
        encoded["values"][index]["value"] = match resource.kind.as_str() {
            "app" | "application" => retype::<AppSpec>(value)?,
            "config" | "configuration" => retype::<Configuration>(value)?,
            _ => retype::<Secret>(value)?,
        };
    }
    Ok(encoded)
}

/// What the bodies of a route's request and answer are; `None` where there is no JSON.
fn route(method: &str, path: &str) -> (Option<Retype>, Option<Retype>) {
    let path = path.split('?').next().unwrap_or(path).trim_end_matches('/');
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let success: Option<Retype> = Some(retype::<Success>);
    match (method, parts.as_slice()) {
        ("POST", ["v1", "sync", "report"]) => (Some(retype::<Report>), Some(retype::<Option<Delta>>)),
        ("POST", ["v1", "sync", "desire"]) => (Some(retype::<DesireRequest>), Some(retype_resources)),
        ("POST", ["v1", "active"]) => (Some(retype::<ActiveRequest>), None),
        ("DELETE", _) | (_, ["health"] | ["v1", "nodes", _, "deploys"]) => (None, success),
        ("PUT", ["v1", "nodes"]) => (Some(retype::<NodeNames>), Some(retype::<List<NodeView>>)),
        ("GET", ["v1", "nodes"]) => (None, Some(retype::<List<NodeView>>)),
        (_, ["v1", "nodes"] | ["v1", "nodes", _] | ["v1", "nodes", _, "stats"]) => {
            (Some(retype::<NodeSpec>), Some(retype::<NodeView>))
        }
        (_, ["v1", "nodes", _, "mode"]) => (Some(retype::<NodeMode>), success),
        (_, ["v1", "nodes", _, "properties"]) => {
            (Some(retype::<NodeProperties>), Some(retype::<NodeProperties>))
        }
        ("PUT", ["v1", "nodes", _, "core", "configs"]) => {
            (Some(retype::<CoreConfigs>), Some(retype::<AppView>))
        }
        (_, ["v1", "nodes", _, "core", "configs"]) => (None, Some(retype::<CoreConfigs>)),
        (_, ["v1", "nodes", _, "core", "versions"]) => (None, Some(retype::<CoreVersions>)),
        (_, ["v1", "nodes", _, "functions"]) => (None, Some(retype::<NodeFunctions>)),
        (_, ["v1", "nodes", _, "init"]) => (None, Some(retype::<InitCommand>)),
        (_, ["v1", _, _, "apps"]) | ("GET", ["v1", "apps"]) => (None, Some(retype::<List<AppItem>>)),
        (_, ["v1", "apps", ..]) => (Some(retype::<AppView>), Some(retype::<AppView>)),
        ("GET", ["v1", "configs"]) => (None, Some(retype::<List<Configuration>>)),
        (_, ["v1", "configs", ..]) => (Some(retype::<ConfigView>), Some(retype::<ConfigView>)),
        ("GET", ["v1", "secrets"]) => (None, Some(retype::<List<SecretView>>)),
        (_, ["v1", "secrets", ..]) => (Some(retype::<SecretView>), Some(retype::<SecretView>)),
        ("GET", ["v1", "registries"]) => (None, Some(retype::<List<RegistryView>>)),
        (_, ["v1", "registries", _, "refresh"]) => {
            (Some(retype::<NewPassword>), Some(retype::<RegistryView>))
        }
        (_, ["v1", "registries", ..]) => (Some(retype::<RegistryView>), Some(retype::<RegistryView>)),
        ("GET", ["v1", "certificates"]) => (None, Some(retype::<List<CertificateView>>)),
        (_, ["v1", "certificates", ..]) => (Some(retype::<CertificateView>), Some(retype::<CertificateView>)),
        ("GET", ["v1", "modules"] | ["v1", "modules", _]) => (None, Some(retype::<List<Module>>)),
        (_, ["v1", "modules", ..]) => (Some(retype::<Module>), Some(retype::<Module>)),
        (_, ["v1", "namespace"]) => (Some(retype::<Namespace>), Some(retype::<Namespace>)),
        (_, ["v1", "properties", _]) => (None, Some(retype::<Property>)),
        (_, ["v1", "sysconfig", _]) => (None, Some(retype::<SysConfigs>)),
        (_, ["v1", "sysconfig", _, _]) => (None, Some(retype::<SysConfig>)),
        (_, ["v1", "functions"]) => (None, Some(retype::<FunctionSources>)),
        (_, [_, "objects"]) => (None, Some(retype::<ObjectSources>)),
        (_, ["v1", "quotas"]) => (None, Some(retype::<BTreeMap<String, i64>>)),
        // Scripts and manifests.
        (_, ["v1", "init" | "active", _]) => (None, None),
        _ => panic!("{method} {path} has no type"),
    }
}

/// Whether `encoded` says all that a request `sent`. It may say more (what always goes into answers) and
/// leave out zero values, which the request need not have had.
fn covers(sent: &Value, encoded: Option<&Value>) -> bool {
    match (sent, encoded) {
        (Value::Object(sent), None) => sent.is_empty(),
        (Value::Object(sent), Some(encoded)) => {
            sent.iter().all(|(key, value)| covers(value, encoded.get(key)))
        }
        (Value::Array(sent), Some(Value::Array(encoded))) => {
            sent.len() == encoded.len() && sent.iter().zip(encoded).all(|(s, e)| covers(s, Some(e)))
        }
        (sent, Some(encoded)) => sent == encoded,
        (sent, None) => [Value::Null, "".into(), 0.into(), false.into(), Value::Array(vec![])].contains(sent),
    }
}

/// One exchange: where it stands, method, path, status, and both bodies.
struct Exchange {
    place: String,
    method: String,
    path: String,
    status: Option<u64>,
    request: Value,
    answer: Value,
}

/// All recorded exchanges, the short form of the timelines included.
fn exchanges() -> Vec<Exchange> {
    let mut found = Vec::new();
    for folder in ["cloud", "edge"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder);
        let mut files: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for file in files {
            let mut document: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
            let steps = match document["steps"].take() {
                Value::Array(steps) => steps,
                _ => vec![document],
            };
            for (index, step) in steps.into_iter().enumerate() {
                let place = format!("{} step {index}", file.file_name().unwrap().display());
                if let Some(kind) = step["kind"].as_str() {
                    found.push(Exchange {
                        place,
                        method: "POST".to_owned(),
                        path: format!("/v1/sync/{kind}"),
                        status: step.get("status").map_or(Some(200), Value::as_u64),
                        request: step["request"].clone(),
                        answer: step["answer"].clone(),
                    });
                } else if step["request"].is_object() {
                    found.push(Exchange {
                        place,
                        method: step["request"]["method"].as_str().unwrap().to_owned(),
                        path: step["request"]["path"].as_str().unwrap().to_owned(),
                        status: step["response"]["status"].as_u64(),
                        request: step["request"]["body"].clone(),
                        answer: step["response"]["body"].clone(),
                    });
                }
            }
        }
    }
    found
}

/// Long bodies of the timelines are their length alone.
fn is_cut(body: &Value) -> bool {
    body.as_object().is_some_and(|body| body.len() == 1 && body.contains_key("bytes"))
}

/// What is no `Report`, on purpose: unknown keys of an entry, sections of another JSON type, the form of old
/// nodes without a map. The cloud reads those as any JSON, see `view` and `Reported::read`.
fn is_beside_the_model(place: &str) -> bool {
    ["shadow-07-types", "14-stats-08-report-old-form"].iter().any(|name| place.starts_with(name))
}

#[test]
fn recorded_bodies_survive_decoding_and_encoding() {
    let (mut checked, mut wrong) = (0, Vec::new());
    for exchange in exchanges() {
        let Exchange { place, method, path, status, request, answer } = exchange;
        let (request_type, answer_type) = match status {
            Some(200) => route(&method, &path),
            Some(400..) => (None, Some(retype::<ErrorBody> as Retype)),
            _ => continue,
        };
        let is_report = path == "/v1/sync/report";
        for (body, retype, exact) in [(request, request_type, is_report), (answer, answer_type, true)] {
            let no_body = body.is_null() && !(exact && is_report);
            let (Some(retype), false, false) = (retype, is_cut(&body), no_body || body.is_string()) else {
                continue;
            };
            match retype(&body.to_string()) {
                Ok(encoded) if encoded == body || (!exact && covers(&body, Some(&encoded))) => checked += 1,
                _ if is_beside_the_model(&place) => {}
                other => wrong.push(format!("{place}: {method} {path}\n  {body}\n  {other:?}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{} bodies changed:\n{}", wrong.len(), wrong.join("\n"));
    println!("{checked} recorded bodies keep their meaning");
    assert!(checked >= 587, "only {checked} recorded bodies were checked");
}

#[test]
fn recorded_bodies_that_are_not_valid_are_errors() {
    let mut checked = 0;
    for exchange in exchanges() {
        let unreadable = exchange.request.is_string() && exchange.status >= Some(400);
        // Recorded in shortened form, and too large rather than unreadable.
        let shortened = exchange.request.as_str().is_some_and(|body| body.ends_with('…'));
        if !(unreadable || exchange.place.contains("type-error")) || shortened {
            continue;
        }
        let (Some(retype), _) = route(&exchange.method, &exchange.path) else { continue };
        let body = exchange.request.as_str().map_or_else(|| exchange.request.to_string(), str::to_owned);
        assert!(retype(&body).is_err(), "{}: {body}", exchange.place);
        checked += 1;
    }
    assert!(checked >= 7, "only {checked} bodies that are not valid were checked");
}

/// A sample with every field set: its name, what it is, and how it prints.
struct Golden {
    name: &'static str,
    retype: Retype,
    debug: fn(&str) -> String,
}

fn golden<T: DeserializeOwned + Serialize + std::fmt::Debug>(name: &'static str) -> Golden {
    Golden {
        name,
        retype: retype::<T>,
        debug: |text| format!("{:#?}", serde_json::from_str::<T>(text).unwrap()),
    }
}

fn goldens() -> Vec<Golden> {
    vec![
        golden::<Report>("report"),
        golden::<Delta>("report-answer"),
        golden::<DesireRequest>("desire-request"),
        golden::<DesireResponse>("desire-answer"),
        golden::<AppSpec>("application"),
        golden::<Configuration>("configuration"),
        golden::<ConfigurationObject>("configuration-object"),
        golden::<Secret>("secret"),
        golden::<NodeSpec>("node"),
        golden::<NodeView>("node-view"),
        golden::<ActiveRequest>("active-request"),
        golden::<ActiveResponse>("active-answer"),
        golden::<Batch>("batch"),
        golden::<BatchRecord>("batch-record"),
        golden::<Message>("message"),
        golden::<StsRequest>("sts-request"),
        golden::<StsResponse>("sts-answer"),
        golden::<AppView>("admin-app"),
        golden::<List<AppItem>>("admin-app-list"),
        golden::<ConfigView>("admin-config"),
        golden::<SecretView>("admin-secret"),
        golden::<RegistryView>("admin-registry"),
        golden::<CertificateView>("admin-certificate"),
        golden::<Module>("admin-module"),
        golden::<CoreConfigs>("admin-core-configs"),
        golden::<NodeProperties>("admin-properties"),
        golden::<InitCommand>("admin-init"),
        golden::<ErrorBody>("admin-error"),
    ]
}

fn sample(name: &str) -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name).with_extension("json");
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

/// The pointers of all keys of a document.
fn keys(value: &Value, at: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                found.push((at.to_owned(), key.clone()));
                keys(value, &format!("{at}/{key}"), found);
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                keys(value, &format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
}

#[test]
fn a_sample_with_every_field_set_survives() {
    for Golden { name, retype, .. } in goldens() {
        let sample = sample(name);
        assert_eq!(retype(&sample.to_string()).unwrap(), sample, "{name}");
    }
}

#[test]
fn no_field_of_a_sample_is_left_unset() {
    let zero = ["\"\"", "None", "[]", "{}", "0", "false", "Absent", "Null", "Empty", "0001-01-01T00:00:00Z"];
    for Golden { name, debug, .. } in goldens() {
        for line in debug(&sample(name).to_string()).lines() {
            let value = line.split_once(": ").map(|(_, value)| value.trim_end_matches(','));
            assert!(!value.is_some_and(|value| zero.contains(&value)), "{name} leaves a field unset: {line}");
        }
    }
}

#[test]
fn renaming_or_removing_any_key_of_a_sample_is_seen() {
    let mut checked = 0;
    for Golden { name, retype, .. } in goldens() {
        let sample = sample(name);
        let mut found = Vec::new();
        keys(&sample, "", &mut found);
        for (at, key) in found {
            let mut removed = sample.clone();
            let value = removed.pointer_mut(&at).unwrap().as_object_mut().unwrap().remove(&key).unwrap();
            let mut renamed = removed.clone();
            renamed.pointer_mut(&at).unwrap()[format!("{key}X")] = value;
            for changed in [removed, renamed] {
                let encoded = retype(&changed.to_string());
                assert!(encoded.is_err() || encoded.unwrap() != sample, "{name}{at}/{key} is not seen");
            }
            checked += 1;
        }
    }
    assert!(checked >= 1158, "only {checked} keys were checked");
}

/// Any JSON, shallow: what may stand where something else was meant.
fn intruder() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i32>().prop_map(|quarters| Value::from(f64::from(quarters) / 4.0)),
        "\\PC{0,8}".prop_map(Value::from),
        Just("0000-01-01T00:00:00+23:59".into()),
        Just("9999-12-31T23:59:59.999999999-23:59".into()),
        Just(Value::Array(vec![])),
        Just(serde_json::json!([null])),
        Just(serde_json::json!({})),
        Just(serde_json::json!({"name": null, "x": [1, "y"]})),
    ]
}

proptest! {
    /// Whatever stands in a document: it is an error, or it is read and from then on keeps its meaning.
    #[test]
    fn a_hostile_document_is_refused_or_keeps_its_meaning(pick in any::<prop::sample::Index>(), value in intruder()) {
        for Golden { name, retype, .. } in goldens() {
            let mut document = sample(name);
            let mut found = Vec::new();
            keys(&document, "", &mut found);
            let (at, key) = pick.get(&found).clone();
            document.pointer_mut(&at).unwrap()[&key] = value.clone();
            if let Ok(once) = retype(&document.to_string()) {
                let twice = retype(&once.to_string());
                prop_assert_eq!(twice.ok(), Some(once), "{} {}/{}", name, at, key);
            }
        }
    }
}
