//! What nodes ask: report, resources, news (cloud.md 4.3).

use std::collections::BTreeSet;
use std::time::Duration;

use baetyl_core_lib::spec::{AppSpec, Configuration, DesireRequest, ResourceInfo, ResourceKind, Secret};
use serde_json::{Map, Value, json};

use super::node::NodeRecord;
use super::{Cloud, view};
use crate::desire::{NodeDesire, Source, delta, take_report};
use crate::error::ServiceError;
use crate::store::Kind;

/// What comes with a report beside its body.
#[derive(Debug, Clone, Copy)]
pub struct ReportContext<'a> {
    /// The `source` header.
    pub source: &'a str,
    /// The address that the report came from.
    pub client_ip: &'a str,
}

impl Cloud {
    /// Takes a node's report: the delta to answer, and the cursor of the desire that it was made from.
    ///
    /// # Errors
    /// `Body`, `NotFound` for an unknown node, `NodeNotReady`.
    pub async fn report(
        &self,
        node: &str,
        context: ReportContext<'_>,
        body: &[u8],
    ) -> Result<(Value, String), ServiceError> {
        let sent: Map<String, Value> = view::parse(body)?;
        let mut tx = self.begin().await;
        let mut record = tx.node(node).await?;
        let stored: Map<String, Value> = tx.read(Kind::Report, node).await?.unwrap_or_default();
        let source = Source::from_header(context.source);
        let now = self.now();
        let report = take_report(&stored, sent, source, context.client_ip, now);
        if source != Source::Init && stored.get("nodeprops") != report.get("nodeprops") {
            let props = report.get("nodeprops").and_then(Value::as_object).cloned().unwrap_or_default();
            let since = |key: &String| {
                let same = stored.get("nodeprops").is_some_and(|old| old.get(key) == props.get(key));
                record.reported_at.get(key).filter(|_| same).copied().unwrap_or(now)
            };
            let times = props.keys().map(|key| (key.clone(), since(key))).collect();
            record.reported_at = times;
            tx.put(Kind::Node, node, &record.spec.version, &record)?;
        }
        tx.put(Kind::Report, node, "", &report)?;
        let desire: NodeDesire = tx.read(Kind::Desire, node).await?.unwrap_or_default();
        tx.commit().await?;
        // Without system applications a Kubernetes node would take away what keeps it alive.
        if desire.version.is_empty() || (desire.sysapps.is_empty() && !record.native()) {
            return Err(ServiceError::NodeNotReady { name: node.to_owned() });
        }
        let answer = if record.spec.mode == "local" { Value::Null } else { delta(&desire, &report) };
        Ok((answer, desire.version))
    }

    /// Answers a request for resources: only what the node should run, and what that mounts.
    ///
    /// # Errors
    /// `NotFound` when one of them is not there or not for this node, `Invalid` for an unknown kind.
    pub async fn desire_request(&self, node: &str, body: &[u8]) -> Result<Value, ServiceError> {
        let request: DesireRequest = view::parse(body)?;
        if request.infos.is_empty() {
            return Ok(json!({ "values": null }));
        }
        let desire: NodeDesire =
            self.read(Kind::Desire, node).await?.ok_or_else(|| ServiceError::not_found("node", node))?;
        let mut mounts = None;
        let mut values = Vec::with_capacity(request.infos.len());
        for info in &request.infos {
            let value = match info.resource_kind() {
                ResourceKind::Application => {
                    let mut wanted = desire.apps.iter().chain(&desire.sysapps);
                    if !wanted.any(|app| app.name == info.name) {
                        return Err(ServiceError::not_found("app", &info.name));
                    }
                    let app = self.version_of::<AppSpec>(Kind::App, info, |app| &app.version, "app").await?;
                    json!(self.for_node(app).await?)
                }
                kind @ (ResourceKind::Configuration | ResourceKind::Secret) => {
                    if mounts.is_none() {
                        mounts = Some(self.mounts(&desire).await?);
                    }
                    let is_config = kind == ResourceKind::Configuration;
                    let word = if is_config { "config" } else { "secret" };
                    if !mounts.as_ref().is_some_and(|mounts| mounts.contains(&(is_config, info.name.clone())))
                    {
                        return Err(ServiceError::not_found(word, &info.name));
                    }
                    if is_config {
                        let config = self.version_of::<Configuration>(
                            Kind::Config,
                            info,
                            |config| &config.version,
                            word,
                        );
                        json!(self.with_urls(config.await?))
                    } else {
                        json!(
                            self.version_of::<Secret>(Kind::Secret, info, |secret| &secret.version, word)
                                .await?
                        )
                    }
                }
                _ => {
                    return Err(ServiceError::invalid(format!(
                        "kind {:?} is not known: use app, config or secret",
                        info.kind
                    )));
                }
            };
            values.push(
                json!({ "kind": info.kind, "name": info.name, "version": info.version, "value": value }),
            );
        }
        Ok(json!({ "values": values }))
    }

    /// Waits until the node's desire is another than at `cursor`: the new cursor, or `None` when `hold` ends.
    ///
    /// # Errors
    /// `NotFound` for an unknown node.
    pub async fn changes(
        &self,
        node: &str,
        cursor: &str,
        hold: Duration,
    ) -> Result<Option<String>, ServiceError> {
        let mut poll = self.news.poll(node, self.now());
        let end = tokio::time::sleep(hold);
        tokio::pin!(end);
        loop {
            // Read after subscribing: a change in between is seen here or wakes the poll.
            let desire: Option<NodeDesire> = self.read(Kind::Desire, node).await?;
            let version = desire.ok_or_else(|| ServiceError::not_found("node", node))?.version;
            if version != cursor {
                return Ok(Some(version));
            }
            tokio::select! {
                biased;
                // Cancel-safe: a watch keeps its mark.
                () = poll.changed() => {}
                // Cancel-safe: a timer.
                () = &mut end => return Ok(None),
            }
        }
    }

    /// Whether a node of this name is there.
    ///
    /// # Errors
    /// When the store failed.
    pub async fn knows(&self, node: &str) -> Result<bool, ServiceError> {
        Ok(self.read::<NodeRecord>(Kind::Node, node).await?.is_some())
    }

    /// The version that is asked for where it is still kept, else the newest.
    async fn version_of<T: serde::de::DeserializeOwned>(
        &self,
        kind: Kind,
        info: &ResourceInfo,
        version: impl Fn(&T) -> &String,
        word: &'static str,
    ) -> Result<T, ServiceError> {
        let newest: T =
            self.read(kind, &info.name).await?.ok_or_else(|| ServiceError::not_found(word, &info.name))?;
        if info.version.is_empty() || *version(&newest) == info.version {
            return Ok(newest);
        }
        let past = self.past::<T>(kind, &info.name).await?;
        Ok(past.into_iter().find(|old| *version(old) == info.version).unwrap_or(newest))
    }

    /// The configurations (true) and secrets (false) that the node's applications mount, in any version
    /// that is kept.
    async fn mounts(&self, desire: &NodeDesire) -> Result<BTreeSet<(bool, String)>, ServiceError> {
        let mut mounts = BTreeSet::new();
        for info in desire.apps.iter().chain(&desire.sysapps) {
            let newest = self.read::<AppSpec>(Kind::App, &info.name).await?;
            for app in newest.into_iter().chain(self.past::<AppSpec>(Kind::App, &info.name).await?) {
                for volume in app.volumes {
                    mounts.extend(volume.config.map(|config| (true, config.name)));
                    mounts.extend(volume.secret.map(|secret| (false, secret.name)));
                }
            }
        }
        Ok(mounts)
    }
}
