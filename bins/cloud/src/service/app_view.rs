//! How applications are shown (cloud.md 3.3).

use std::collections::BTreeSet;

use baetyl_core_lib::spec::secret::SECRET_TYPE_LABEL;
use baetyl_core_lib::spec::{AppSpec, Secret, VolumeMount};
use serde_json::{Map, Value, json};

use super::Cloud;
use super::app::{MODE_LABEL, PROGRAM_VOLUME};
use crate::error::ServiceError;
use crate::store::Kind;

impl Cloud {
    /// As an application is shown: registries, certificates and programs where a person put them.
    pub(super) async fn app_view(&self, app: AppSpec) -> Result<Value, ServiceError> {
        let mut view = hide(json!(app));
        view["cronStatus"] = json!(app.cron_status);
        let mut registries = Vec::new();
        let mut volumes = Vec::new();
        for volume in &app.volumes {
            if volume.name.starts_with(PROGRAM_VOLUME) {
                continue;
            }
            let mut shown = json!(volume);
            if let Some(reference) = &volume.secret {
                let Some(secret) = self.read::<Secret>(Kind::Secret, &reference.name).await? else {
                    continue;
                };
                let text = |key: &str| {
                    secret.data.get(key).map(|value| String::from_utf8_lossy(&value.0).into_owned())
                };
                match secret.labels.get(SECRET_TYPE_LABEL).map(String::as_str) {
                    Some("registry") => {
                        registries.push(json!({ "name": secret.name, "address": text("address"), "username": text("username") }));
                        continue;
                    }
                    Some("certificate") => shown = json!({ "name": volume.name, "certificate": reference }),
                    _ => {}
                }
            }
            volumes.push(shown);
        }
        for (service, shown) in app.services.iter().zip(view["services"].as_array_mut().into_iter().flatten())
        {
            let program = service.volume_mounts.iter().find(|mount| mount.name.starts_with(PROGRAM_VOLUME));
            let config =
                program.and_then(|mount| app.volumes.iter().find(|volume| volume.name == mount.name));
            if let Some(config) = config.and_then(|volume| volume.config.as_ref()) {
                shown["programConfig"] = json!(config.name);
                let mounts =
                    service.volume_mounts.iter().filter(|mount| !mount.name.starts_with(PROGRAM_VOLUME));
                let mounts: Vec<&VolumeMount> = mounts.collect();
                shown["volumeMounts"] = json!(mounts);
                if let (true, Some(shown)) = (mounts.is_empty(), shown.as_object_mut()) {
                    shown.remove("volumeMounts");
                }
            }
        }
        if let Some(view) = view.as_object_mut() {
            set_list(view, "volumes", volumes);
            set_list(view, "registries", registries);
        }
        Ok(view)
    }
}

const LIST_FIELDS: [&str; 19] = [
    "name",
    "mode",
    "type",
    "labels",
    "version",
    "namespace",
    "createTime",
    "description",
    "system",
    "cronStatus",
    "cronTime",
    "hostNetwork",
    "replica",
    "workload",
    "jobConfig",
    "ota",
    "autoScaleCfg",
    "preserveUpdates",
    "selector",
];

/// An application as lists show it.
pub(super) fn in_list(app: &AppSpec) -> Value {
    let mut item = hide(json!(app));
    keep_only(&mut item, &LIST_FIELDS);
    item["selector"] = json!(app.selector);
    item["nodeSelector"] = json!(app.node_selector);
    if app.replica == 0
        && let Some(item) = item.as_object_mut()
    {
        item.remove("replica");
    }
    item
}

/// The applications of a node, configuration or secret, with basic fields only.
pub(super) fn brief(apps: &[AppSpec]) -> Value {
    let items: Vec<Value> = apps
        .iter()
        .map(|app| {
            let mut item = hide(json!(app));
            let fields =
                ["name", "labels", "version", "namespace", "createTime", "description", "cronTime", "ota"];
            keep_only(&mut item, &fields);
            item["selector"] = json!(app.selector);
            item["nodeSelector"] = json!(app.node_selector);
            item
        })
        .collect();
    json!({ "total": items.len(), "items": items })
}

/// The functions of applications, as `app/function`.
pub(super) fn functions(apps: &[AppSpec]) -> Value {
    let of = |app: &AppSpec| {
        let functions = app.services.first().map(|service| service.functions.clone()).unwrap_or_default();
        functions
            .into_iter()
            .map(|function| format!("{}/{}", app.name, function.name))
            .collect::<BTreeSet<_>>()
    };
    let all: Vec<String> = apps.iter().filter(|app| app.app_type == "function").flat_map(of).collect();
    json!({ "functions": all })
}

/// Without what views never show.
fn hide(mut view: Value) -> Value {
    if let Some(view) = view.as_object_mut() {
        view.remove("updateTime");
        let labels = view.get_mut("labels").and_then(Value::as_object_mut);
        if labels.is_some_and(|labels| {
            labels.remove(MODE_LABEL);
            labels.is_empty()
        }) {
            view.remove("labels");
        }
    }
    view
}

fn keep_only(view: &mut Value, fields: &[&str]) {
    if let Some(view) = view.as_object_mut() {
        view.retain(|key, _| fields.contains(&key.as_str()));
    }
}

fn set_list(view: &mut Map<String, Value>, key: &str, list: Vec<Value>) {
    if list.is_empty() {
        view.remove(key);
    } else {
        view.insert(key.to_owned(), Value::Array(list));
    }
}
