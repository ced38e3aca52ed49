//! Nodes: create, read, list, update, delete, and what of them a person sets (cloud.md 3.2).

use std::collections::BTreeMap;

use baetyl_core_lib::spec::{AppSpec, Configuration, NodeSpec, Secret, Timestamp};
use baetyl_core_lib::view::{Ready, View};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Cloud, ListOptions, Listed, Tx, check_labels, check_name, view};
use crate::desire::NodeDesire;
use crate::error::ServiceError;
use crate::store::Kind;

/// The label that every node has.
pub(crate) const NODE_NAME_LABEL: &str = "baetyl-node-name";

/// What a person says of a node.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NodeInput {
    /// Its name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Attributes.
    pub attr: BTreeMap<String, Value>,
    /// Its accelerator.
    pub accelerator: String,
    /// `kube`, `native` or `android`; empty means `kube`.
    pub node_mode: String,
    /// Whether it has several members.
    pub cluster: bool,
    /// Optional system applications.
    pub sys_apps: Vec<String>,
    /// For people.
    pub description: String,
    /// Its link.
    pub link: String,
    /// The identity of its core.
    pub core_id: String,
}

/// A node as it is stored.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct NodeRecord {
    pub(crate) spec: NodeSpec,
    /// Whether the key never left the node, so that no secret holds it.
    pub(crate) own_key: bool,
    pub(crate) desired_at: BTreeMap<String, Timestamp>,
    pub(crate) reported_at: BTreeMap<String, Timestamp>,
}

impl NodeRecord {
    pub(crate) fn attr(&self, key: &str) -> Option<&str> {
        self.spec.attr.get(key).and_then(Value::as_str)
    }

    /// Seconds between its reports.
    pub(crate) fn frequency(&self) -> u64 {
        self.attr("BaetylCoreFrequency").and_then(|text| text.parse().ok()).unwrap_or(20)
    }

    pub(crate) fn native(&self) -> bool {
        self.spec.node_mode == "native"
    }

    fn dress(&mut self, labels: BTreeMap<String, String>) {
        self.spec.labels = labels;
        let mut set =
            |key: &str, value: &str| drop(self.spec.labels.insert(key.to_owned(), value.to_owned()));
        set(NODE_NAME_LABEL, &self.spec.name);
        set("baetyl-node-mode", &self.spec.node_mode);
        set("baetyl-cluster", if self.spec.cluster { "true" } else { "false" });
        if !self.spec.accelerator.is_empty() {
            set("baetyl-accelerator", &self.spec.accelerator);
        }
    }
}

/// A node with what a list shows and sorts by.
struct Entry {
    node: NodeRecord,
    report: Map<String, Value>,
    shown: View,
}

impl Listed for Entry {
    fn name(&self) -> &str {
        &self.node.spec.name
    }
    fn labels(&self) -> &BTreeMap<String, String> {
        &self.node.spec.labels
    }
    fn create_time(&self) -> Timestamp {
        self.node.spec.create_time
    }
    fn rank(&self) -> u8 {
        u8::from(self.shown.ready != Ready::Online)
    }
}

impl Cloud {
    /// Makes a node with its system applications and its desire.
    ///
    /// # Errors
    /// `Invalid` and `Body` for what cannot be a node, or a name that is taken.
    pub async fn create_node(&self, input: NodeInput) -> Result<Value, ServiceError> {
        let mut tx = self.begin().await;
        let node = tx.create_node(input, false).await?;
        tx.commit().await?;
        Ok(view::node_view(&node, Ready::Uninstalled))
    }

    /// A node with its desire.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn node(&self, name: &str) -> Result<Value, ServiceError> {
        let entry = self.entry(name).await?;
        let desire: NodeDesire = self.read(Kind::Desire, name).await?.unwrap_or_default();
        Ok(view::full_view(&entry.node, &entry.shown, Some(&desire)))
    }

    /// A node without its desire.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn node_stats(&self, name: &str) -> Result<Value, ServiceError> {
        let entry = self.entry(name).await?;
        Ok(view::full_view(&entry.node, &entry.shown, None))
    }

    /// Nodes without their desire.
    ///
    /// # Errors
    /// `Invalid` for an unknown filter.
    pub async fn nodes(&self, options: &ListOptions) -> Result<Value, ServiceError> {
        let wanted = match options.ready.as_str() {
            "" => None,
            "online" => Some(Ready::Online),
            "offline" => Some(Ready::Offline),
            "uninstall" => Some(Ready::Uninstalled),
            other => {
                return Err(ServiceError::invalid(format!(
                    "ready={other:?}: use online, offline or uninstall"
                )));
            }
        };
        let cluster = match options.cluster.as_str() {
            "" => None,
            "single" => Some(false),
            "cluster" => Some(true),
            other => return Err(ServiceError::invalid(format!("cluster={other:?}: use single or cluster"))),
        };
        if !["", "asc", "desc"].contains(&options.create_sort.as_str()) {
            return Err(ServiceError::invalid("createSort: use asc or desc"));
        }
        let mut entries = Vec::new();
        for node in self.all::<NodeRecord>(Kind::Node).await? {
            let entry = self.entry_of(node).await?;
            if wanted.is_none_or(|ready| ready == entry.shown.ready)
                && cluster.is_none_or(|cluster| cluster == entry.node.spec.cluster)
            {
                entries.push(entry);
            }
        }
        Ok(options.answer(entries, |entry| view::full_view(&entry.node, &entry.shown, None)))
    }

    /// Several nodes by name; unknown names are left out.
    ///
    /// # Errors
    /// `Invalid` for more than 20.
    pub async fn nodes_by_name(&self, names: &[String]) -> Result<Value, ServiceError> {
        if names.len() > 20 {
            return Err(ServiceError::invalid("at most 20 names at once"));
        }
        let mut items = Vec::new();
        for name in names {
            match self.node_stats(name).await {
                Ok(view) => items.push(view),
                Err(ServiceError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(json!({ "total": items.len(), "items": items }))
    }

    /// Changes labels, annotations, description and what goes with them; matches all applications anew.
    ///
    /// # Errors
    /// `NotFound`, `Body`.
    pub async fn update_node(&self, name: &str, input: NodeInput) -> Result<Value, ServiceError> {
        check_labels(&input.labels)?;
        let mut tx = self.begin().await;
        let mut node = tx.node(name).await?;
        node.spec.annotations = input.annotations;
        node.spec.description = input.description;
        node.spec.accelerator = input.accelerator;
        node.dress(input.labels);
        node.spec.version = tx.version();
        tx.put(Kind::Node, name, &node.spec.version, &node)?;
        tx.rematch(&node).await?;
        tx.commit().await?;
        let entry = self.entry(name).await?;
        Ok(view::node_view(&entry.node, entry.shown.ready))
    }

    /// Removes a node with its desire, report and system applications. Being gone already is fine.
    ///
    /// # Errors
    /// When the store failed.
    pub async fn delete_node(&self, name: &str) -> Result<(), ServiceError> {
        let mut tx = self.begin().await;
        let Some(node) = tx.read::<NodeRecord>(Kind::Node, name).await? else { return Ok(()) };
        let selector = format!("{NODE_NAME_LABEL}={name}");
        for app in tx.all::<AppSpec>(Kind::App).await? {
            if app.system && app.selector == selector {
                tx.delete(Kind::App, &app.name);
            }
        }
        let mine =
            |labels: &BTreeMap<String, String>| labels.get(NODE_NAME_LABEL).is_some_and(|node| node == name);
        for config in tx.all::<Configuration>(Kind::Config).await? {
            if config.system && mine(&config.labels) {
                tx.delete(Kind::Config, &config.name);
            }
        }
        for secret in tx.all::<Secret>(Kind::Secret).await? {
            if secret.system && mine(&secret.labels) {
                tx.delete(Kind::Secret, &secret.name);
            }
        }
        for kind in [Kind::Node, Kind::Desire, Kind::Report] {
            tx.delete(kind, name);
        }
        tx.release_record(&node).await?;
        tx.commit().await?;
        self.news.forget(name);
        Ok(())
    }

    /// Sets the node's mode: in `local` mode reports are answered with `null`.
    ///
    /// # Errors
    /// `NotFound`, `Invalid`.
    pub async fn set_mode(&self, name: &str, mode: &str) -> Result<(), ServiceError> {
        if !["cloud", "local"].contains(&mode) {
            return Err(ServiceError::invalid(format!("mode {mode:?}: use cloud or local")));
        }
        let mut tx = self.begin().await;
        let mut node = tx.node(name).await?;
        mode.clone_into(&mut node.spec.mode);
        node.spec.version = tx.version();
        tx.put(Kind::Node, name, &node.spec.version, &node)?;
        // What was said in local mode was nothing: the node must ask again.
        let mut desire: NodeDesire = tx.read(Kind::Desire, name).await?.unwrap_or_default();
        desire.version = tx.version();
        tx.put(Kind::Desire, name, &desire.version, &desire)?;
        tx.tell(name, &desire.version);
        tx.commit().await
    }

    /// The node's properties, reported and desired.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn node_properties(&self, name: &str) -> Result<Value, ServiceError> {
        let entry = self.entry(name).await?;
        let desire: NodeDesire = self.read(Kind::Desire, name).await?.unwrap_or_default();
        let mut state = Map::new();
        let mut metadata = Map::new();
        if let Some(props) = entry.report.get("nodeprops").filter(|props| !props.is_null()) {
            state.insert("report".to_owned(), props.clone());
            if !entry.node.reported_at.is_empty() {
                metadata.insert("report".to_owned(), json!(entry.node.reported_at));
            }
        }
        if let Some(props) = desire.nodeprops.filter(|props| !props.is_empty()) {
            state.insert("desire".to_owned(), json!(props));
            metadata.insert("desire".to_owned(), json!(entry.node.desired_at));
        }
        Ok(json!({ "state": state, "metadata": metadata }))
    }

    /// Replaces the desired properties.
    ///
    /// # Errors
    /// `NotFound`, `Body` for a value that is no text.
    pub async fn set_node_properties(&self, name: &str, body: &[u8]) -> Result<Value, ServiceError> {
        #[derive(Deserialize)]
        struct Input {
            state: State,
        }
        #[derive(Deserialize)]
        struct State {
            #[serde(default)]
            desire: BTreeMap<String, String>,
        }
        let input: Input = view::parse(body)?;
        let props = input.state.desire;
        let mut tx = self.begin().await;
        let mut node = tx.node(name).await?;
        let mut desire: NodeDesire = tx.read(Kind::Desire, name).await?.unwrap_or_default();
        let old = desire.nodeprops.take().unwrap_or_default();
        let now = self.now();
        let times = std::mem::take(&mut node.desired_at);
        let since =
            |key: &String| times.get(key).filter(|_| old.get(key) == props.get(key)).copied().unwrap_or(now);
        node.desired_at = props.keys().map(|key| (key.clone(), since(key))).collect();
        desire.nodeprops = Some(props);
        node.spec.version = tx.version();
        desire.version = tx.version();
        tx.put(Kind::Node, name, &node.spec.version, &node)?;
        tx.put(Kind::Desire, name, &desire.version, &desire)?;
        tx.tell(name, &desire.version);
        tx.commit().await?;
        self.node_properties(name).await
    }

    /// The applications that a node should run, by name.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn node_apps(&self, name: &str) -> Result<Vec<AppSpec>, ServiceError> {
        self.entry(name).await?;
        let desire: NodeDesire = self.read(Kind::Desire, name).await?.unwrap_or_default();
        let mut apps = Vec::new();
        for info in desire.sysapps.iter().chain(&desire.apps) {
            apps.extend(self.read::<AppSpec>(Kind::App, &info.name).await?);
        }
        apps.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(apps)
    }

    async fn entry(&self, name: &str) -> Result<Entry, ServiceError> {
        let node: Option<NodeRecord> = self.read(Kind::Node, name).await?;
        self.entry_of(node.ok_or_else(|| ServiceError::not_found("node", name))?).await
    }

    async fn entry_of(&self, node: NodeRecord) -> Result<Entry, ServiceError> {
        let report: Map<String, Value> = self.read(Kind::Report, &node.spec.name).await?.unwrap_or_default();
        let now = self.now();
        let shown = view::view(&node, &report, self.news.seen(&node.spec.name, now), now);
        Ok(Entry { node, report, shown })
    }
}

impl Tx<'_> {
    pub(super) async fn node(&self, name: &str) -> Result<NodeRecord, ServiceError> {
        self.read(Kind::Node, name).await?.ok_or_else(|| ServiceError::not_found("node", name))
    }

    /// Makes a node; with `own_key` its key is on the device and no secret is made for it.
    pub(super) async fn create_node(
        &mut self,
        input: NodeInput,
        own_key: bool,
    ) -> Result<NodeRecord, ServiceError> {
        check_name(&input.name)?;
        check_labels(&input.labels)?;
        let node_mode = if input.node_mode.is_empty() { "kube".to_owned() } else { input.node_mode };
        if !["kube", "native", "android"].contains(&node_mode.as_str()) {
            return Err(ServiceError::invalid(format!(
                "nodeMode {node_mode:?}: use kube, native or android"
            )));
        }
        if input.cluster && node_mode == "native" {
            return Err(ServiceError::invalid("a native node cannot be a cluster: leave cluster out"));
        }
        for name in &input.sys_apps {
            let module = self.latest_module(name).await?;
            if !module.is_some_and(|module| module.module_type.starts_with("opt_system")) {
                return Err(ServiceError::invalid(format!(
                    "sysApps: {name:?} is no optional module for this node"
                )));
            }
        }
        if self.read::<NodeRecord>(Kind::Node, &input.name).await?.is_some() {
            return Err(ServiceError::invalid(format!("the node name {:?} is already in use", input.name)));
        }
        let spec = NodeSpec {
            namespace: self.cloud.namespace().to_owned(),
            name: input.name,
            version: self.version(),
            create_time: self.cloud.now_whole(),
            accelerator: input.accelerator,
            mode: "cloud".to_owned(),
            node_mode,
            cluster: input.cluster,
            annotations: input.annotations,
            attr: input.attr,
            sys_apps: input.sys_apps,
            description: input.description,
            link: input.link,
            core_id: input.core_id,
            ..NodeSpec::default()
        };
        let mut node = NodeRecord { spec, own_key, ..NodeRecord::default() };
        node.dress(input.labels);
        let name = node.spec.name.clone();
        self.put(Kind::Node, &name, &node.spec.version, &node)?;
        self.put(Kind::Report, &name, "", &json!({ "apps": [], "sysapps": [] }))?;
        self.create_system_apps(&node).await?;
        self.rematch(&node).await?;
        Ok(node)
    }
}
