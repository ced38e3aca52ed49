//! Configurations: create, read, list, update with propagation, delete (cloud.md 3.4).

use std::collections::BTreeMap;

use baetyl_core_lib::spec::{AppSpec, Configuration, OBJECT_PREFIX};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Cloud, ListOptions, Tx, check_labels, check_name, check_not_reserved, view};
use crate::error::ServiceError;
use crate::store::Kind;

/// The most that a configuration may hold.
const MOST: usize = 4 * 1024 * 1024 - 1;

#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[derive(Default)]
struct Input {
    name: String,
    labels: BTreeMap<String, String>,
    data: Vec<Entry>,
    description: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    key: String,
    value: Map<String, Value>,
}

impl Cloud {
    /// Makes a configuration.
    ///
    /// # Errors
    /// `Body`, `Invalid`, `Reserved`.
    pub async fn create_config(&self, body: &[u8]) -> Result<Value, ServiceError> {
        let input: Input = view::parse(body)?;
        check_name(&input.name)?;
        check_not_reserved(&input.name)?;
        check_labels(&input.labels)?;
        let mut tx = self.begin().await;
        if tx.read::<Configuration>(Kind::Config, &input.name).await?.is_some() {
            return Err(ServiceError::invalid(format!("the config name {:?} is already in use", input.name)));
        }
        let data = tx.config_data(input.data).await?;
        let now = self.now_whole();
        let config = Configuration {
            name: input.name,
            namespace: self.namespace().to_owned(),
            labels: input.labels,
            data,
            create_time: now,
            update_time: now,
            description: input.description,
            version: tx.version(),
            system: false,
        };
        tx.put(Kind::Config, &config.name, &config.version, &config)?;
        tx.commit().await?;
        Ok(config_view(&config))
    }

    /// A configuration.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn config(&self, name: &str) -> Result<Value, ServiceError> {
        let config: Option<Configuration> = self.read(Kind::Config, name).await?;
        config.as_ref().map(config_view).ok_or_else(|| ServiceError::not_found("config", name))
    }

    /// Configurations, in the form in which they are stored.
    ///
    /// # Errors
    /// When the store failed.
    pub async fn configs(&self, options: ListOptions) -> Result<Value, ServiceError> {
        let options = options.require("baetyl-cloud-system", "!baetyl-cloud-system");
        Ok(options.answer(self.all::<Configuration>(Kind::Config).await?, |config| json!(config)))
    }

    /// Changes a configuration; equal content keeps its version, else all that mount it follow.
    ///
    /// # Errors
    /// `NotFound`, `Body`, `Invalid`.
    pub async fn update_config(&self, name: &str, body: &[u8]) -> Result<Value, ServiceError> {
        let input: Input = view::parse(body)?;
        check_labels(&input.labels)?;
        let mut tx = self.begin().await;
        let old: Option<Configuration> = tx.read(Kind::Config, name).await?;
        let old = old.ok_or_else(|| ServiceError::not_found("config", name))?;
        let data = tx.config_data(input.data).await?;
        if old.labels == input.labels && old.data == data && old.description == input.description {
            return Ok(config_view(&old));
        }
        let config = Configuration {
            labels: input.labels,
            data,
            description: input.description,
            version: tx.version(),
            update_time: self.now(),
            ..old.clone()
        };
        tx.replace_config(&old, &config).await?;
        tx.commit().await?;
        Ok(config_view(&config))
    }

    /// Removes a configuration. Being gone already is fine.
    ///
    /// # Errors
    /// `InUse` while an application mounts it, `Reserved`.
    pub async fn delete_config(&self, name: &str) -> Result<(), ServiceError> {
        check_not_reserved(name)?;
        let mut tx = self.begin().await;
        if !tx.users(true, name).await?.is_empty() {
            return Err(ServiceError::InUse { kind: "config", name: name.to_owned() });
        }
        tx.delete(Kind::Config, name);
        tx.commit().await
    }

    /// The applications that mount a configuration (`true`) or secret.
    ///
    /// # Errors
    /// `NotFound` for a resource that is not there.
    pub async fn users(&self, config: bool, name: &str) -> Result<Vec<AppSpec>, ServiceError> {
        let tx = self.begin().await;
        let (kind, word) = if config { (Kind::Config, "config") } else { (Kind::Secret, "secret") };
        if tx.read::<Value>(kind, name).await?.is_none() {
            return Err(ServiceError::not_found(word, name));
        }
        tx.users(config, name).await
    }
}

impl Tx<'_> {
    /// Applications that mount a configuration (`true`) or secret.
    pub(super) async fn users(&self, config: bool, name: &str) -> Result<Vec<AppSpec>, ServiceError> {
        let mut apps: Vec<AppSpec> = self.all(Kind::App).await?;
        apps.retain(|app| {
            app.volumes.iter().any(|volume| {
                let reference = if config { &volume.config } else { &volume.secret };
                reference.as_ref().is_some_and(|reference| reference.name == name)
            })
        });
        Ok(apps)
    }

    /// Stores a new version of a configuration and has all that mount it follow.
    pub(super) async fn replace_config(
        &mut self,
        old: &Configuration,
        new: &Configuration,
    ) -> Result<(), ServiceError> {
        self.keep(Kind::Config, &old.name, &old.version, old)?;
        self.put(Kind::Config, &new.name, &new.version, new)?;
        self.propagate(true, &new.name, &new.version).await
    }

    /// Has every application that mounts a resource name its new version, and every node know.
    pub(super) async fn propagate(
        &mut self,
        config: bool,
        name: &str,
        version: &str,
    ) -> Result<(), ServiceError> {
        for old in self.users(config, name).await? {
            let mut app = old.clone();
            for volume in &mut app.volumes {
                let reference = if config { &mut volume.config } else { &mut volume.secret };
                if let Some(reference) = reference.as_mut().filter(|reference| reference.name == name) {
                    version.clone_into(&mut reference.version);
                }
            }
            self.replace_app(&old, app).await?;
        }
        Ok(())
    }

    /// The stored form of a configuration's entries.
    async fn config_data(&self, entries: Vec<Entry>) -> Result<BTreeMap<String, String>, ServiceError> {
        let mut data = BTreeMap::new();
        for Entry { key, mut value } in entries {
            if key.is_empty()
                || !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
            {
                return Err(ServiceError::Body {
                    reason: format!("key {key:?}: use letters, digits, '-', '.' and '_'"),
                });
            }
            match value.get("type").and_then(Value::as_str) {
                Some("kv") => {
                    if key.starts_with(OBJECT_PREFIX) {
                        return Err(ServiceError::invalid(format!(
                            "key {key:?} may not start with {OBJECT_PREFIX}"
                        )));
                    }
                    data.insert(
                        key,
                        value.get("value").and_then(Value::as_str).unwrap_or_default().to_owned(),
                    );
                }
                Some("object") => {
                    let source = text(&value, "source");
                    if source.is_empty() || (source == "http" && text(&value, "url").is_empty()) {
                        return Err(ServiceError::invalid(format!(
                            "object {key:?} needs a source, and a url for http"
                        )));
                    }
                    if source == "local" {
                        self.pin(&mut value).await?;
                    }
                    value.insert("userID".to_owned(), Value::from(""));
                    let mut stored = Map::new();
                    for field in ["md5", "sha256", "url", "token", "unpack"] {
                        if !text(&value, field).is_empty() {
                            stored.insert(field.to_owned(), value[field].clone());
                        }
                    }
                    stored.insert("metadata".to_owned(), Value::Object(value));
                    data.insert(format!("{OBJECT_PREFIX}{key}"), Value::Object(stored).to_string());
                }
                Some("function") => {
                    value.insert("userID".to_owned(), Value::from(""));
                    let stored = json!({ "metadata": value });
                    data.insert(format!("{OBJECT_PREFIX}{key}"), stored.to_string());
                }
                other => {
                    let kind = other.unwrap_or_default();
                    return Err(ServiceError::invalid(format!(
                        "key {key:?}: type {kind:?} is not kv, object or function"
                    )));
                }
            }
        }
        if data.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() > MOST {
            return Err(ServiceError::TooLarge { limit: MOST });
        }
        Ok(data)
    }
}

fn text<'a>(map: &'a Map<String, Value>, key: &str) -> &'a str {
    map.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn config_view(config: &Configuration) -> Value {
    let entries = config.data.iter().map(|(key, stored)| match key.strip_prefix(OBJECT_PREFIX) {
        None => json!({ "key": key, "value": { "type": "kv", "value": stored } }),
        Some(name) => {
            let object: Value = serde_json::from_str(stored).unwrap_or_default();
            let mut value = object["metadata"].as_object().cloned().unwrap_or_default();
            if value.is_empty() {
                value = object.as_object().cloned().unwrap_or_default();
                value.insert("type".to_owned(), Value::from("object"));
            }
            value.remove("userID");
            json!({ "key": name, "value": value })
        }
    });
    // Plain entries and objects in the order of their visible keys.
    let mut entries: Vec<Value> = entries.collect();
    entries.sort_by(|a, b| a["key"].as_str().cmp(&b["key"].as_str()));
    let mut view = json!(config);
    view["data"] = Value::Array(entries);
    view
}
