//! Applications, configurations and secrets from the cloud, kept on the node.
//!
//! A version never changes, so what was fetched once is never asked again and is there with no line. Knows
//! the desire request and its answer (edge.md 5.8), nothing of what becomes of a resource.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use baetyl_core_lib::error::{BoxError, Chain};
use baetyl_core_lib::link::{Link, LinkError};
use baetyl_core_lib::resource::{Resource, ResourceError, ResourceSource};
use baetyl_core_lib::spec::{
    AppSpec, Configuration, DesireRequest, DesireResponse, Kind, Message, OBJECT_PREFIX, ResourceInfo,
    ResourceKind, Secret,
};
use baetyl_core_lib::store::{Change, Store, StoreError, Table};
use serde::de::DeserializeOwned;

mod platform;

pub use self::platform::platform;

/// The metadata by which a node in native mode tells its platform.
const PLATFORM: &str = "x-baetyl-platform";

/// Fetches resources over a link and keeps them in a store.
///
/// ```
/// use std::sync::Arc;
///
/// use baetyl_core_lib::resource::{Resource, ResourceSource};
/// use baetyl_core_lib::spec::{Kind, Message, ResourceInfo, ResourceKind};
/// use baetyl_core_lib::store::MemoryStore;
/// use baetyl_core_lib::testing::MemoryLink;
/// use baetyl_sync::resource::{ResourceClient, platform};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let answer = Message::new(Kind::Desire).with_content(&serde_json::json!({"values": [
///     {"kind": "configuration", "name": "colours", "version": "1",
///         "value": {"name": "colours", "version": "1", "data": {"sky": "blue"}}},
/// ]}))?;
/// let link = MemoryLink::new(move |_| Ok(answer.clone()));
/// let client = ResourceClient::new(Arc::new(link.clone()), Arc::new(MemoryStore::new()), platform());
/// let colours = ResourceInfo::new(&ResourceKind::Configuration, "colours", "1");
/// for _ in 0..2 {
///     let found = client.fetch(std::slice::from_ref(&colours)).await.remove(0)?;
///     assert!(matches!(found, Resource::Configuration(config) if config.data["sky"] == "blue"));
/// }
/// assert_eq!(link.requests().len(), 1, "a version never changes");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ResourceClient {
    link: Arc<dyn Link>,
    store: Arc<dyn Store>,
    platform: String,
    tells_platform: bool,
}

/// Documents by what names them, as they came.
type Documents = BTreeMap<ResourceInfo, Result<Vec<u8>, Cause>>;
/// Resources by what names them.
type Resources = BTreeMap<ResourceInfo, Result<Resource, Cause>>;

/// Why a resource is not there. One cause may stand for many of them.
#[derive(Debug, Clone)]
enum Cause {
    Missing,
    OtherVersion(String),
    Invalid(String),
    Unreachable(Arc<LinkError>),
    Store(Arc<StoreError>),
}

impl ResourceClient {
    /// Of program packages only what is for `platform` is kept; see [`platform`].
    pub fn new(link: Arc<dyn Link>, store: Arc<dyn Store>, platform: String) -> Self {
        Self { link, store, platform, tells_platform: false }
    }

    /// The same, telling the cloud the platform with each request, as nodes in native mode do.
    #[must_use]
    pub fn telling_platform(mut self) -> Self {
        self.tells_platform = true;
        self
    }

    /// What the store has of these. What cannot be read any more counts as absent and is fetched anew.
    async fn cached(&self, infos: &[ResourceInfo]) -> Resources {
        let mut found = Resources::new();
        for info in infos {
            match self.store.load(Table::Resource, &key(info)).await {
                Ok(None) => {}
                Ok(Some(bytes)) => match self.decode(info, &bytes) {
                    Ok(resource) => drop(found.insert(info.clone(), Ok(resource))),
                    Err(cause) => {
                        let error = failed(info, &cause);
                        tracing::warn!(error = %Chain(&error), "cached resource is fetched anew");
                    }
                },
                Err(error) => drop(found.insert(info.clone(), Err(Cause::Store(Arc::new(error))))),
            }
        }
        found
    }

    /// Asks the cloud, first for all in one request. The original refuses the whole request when one is
    /// missing, and all together may be more than the link or the line takes; then each is asked for alone.
    async fn ask(&self, infos: &[ResourceInfo]) -> Documents {
        match self.request(infos.to_vec()).await {
            Ok(documents) => documents,
            Err(error) if infos.len() > 1 && may_help_alone(&error) => {
                let mut documents = Documents::new();
                for (index, info) in infos.iter().enumerate() {
                    match self.request(vec![info.clone()]).await {
                        Ok(document) => documents.extend(document),
                        Err(error) if is_missing(&error) => {
                            documents.insert(info.clone(), Err(Cause::Missing));
                        }
                        Err(error) => {
                            documents.extend(all_failed(&infos[index..], error));
                            break;
                        }
                    }
                }
                documents
            }
            Err(error) if is_missing(&error) => {
                infos.iter().map(|info| (info.clone(), Err(Cause::Missing))).collect()
            }
            Err(error) => all_failed(infos, error),
        }
    }

    async fn request(&self, infos: Vec<ResourceInfo>) -> Result<Documents, LinkError> {
        let asked = DesireRequest { infos };
        let mut message = Message::new(Kind::Desire)
            .with_content(&asked)
            .map_err(|error| LinkError::Invalid { reason: error.to_string() })?;
        if self.tells_platform {
            message = message.with_meta(PLATFORM, self.platform.as_str());
        }
        let answer = self.link.request(message).await?;
        let answer: Option<DesireResponse> = answer.decode().map_err(|error| LinkError::BadAnswer {
            address: "the cloud".to_owned(),
            reason: format!("it holds no resources, {error}"),
        })?;
        let values = answer.and_then(|answer| answer.values).unwrap_or_default();
        let documents = asked.infos.into_iter().map(|info| {
            let value = values.iter().find(|value| {
                let kind = ResourceKind::from(value.kind.as_str());
                kind == info.resource_kind() && value.name == info.name && value.version == info.version
            });
            let text = value.map(|value| value.value.get()).filter(|text| *text != "null");
            (info, text.map(|text| text.as_bytes().to_vec()).ok_or(Cause::Missing))
        });
        Ok(documents.collect())
    }

    /// Fetches what the cache lacks; what came is durable before it is returned.
    async fn fetched(&self, infos: &[ResourceInfo]) -> Resources {
        let mut fetched = Resources::new();
        let mut changes = Vec::new();
        for (info, document) in self.ask(infos).await {
            let resource = document.and_then(|bytes| {
                let resource = self.decode(&info, &bytes)?;
                changes.push(Change::Put(Table::Resource, key(&info), bytes));
                Ok(resource)
            });
            fetched.insert(info, resource);
        }
        if changes.is_empty() {
            return fetched;
        }
        if let Err(error) = self.store.commit(changes).await {
            let error = Arc::new(error);
            for resource in fetched.values_mut().filter(|resource| resource.is_ok()) {
                *resource = Err(Cause::Store(Arc::clone(&error)));
            }
        }
        fetched
    }

    fn decode(&self, info: &ResourceInfo, bytes: &[u8]) -> Result<Resource, Cause> {
        let (resource, version) = match info.resource_kind() {
            ResourceKind::Application => {
                let app: Box<AppSpec> = parse(bytes)?;
                let version = app.version.clone();
                (Resource::Application(app), version)
            }
            ResourceKind::Configuration => {
                let mut config: Box<Configuration> = parse(bytes)?;
                self.filter(&mut config);
                let version = config.version.clone();
                (Resource::Configuration(config), version)
            }
            ResourceKind::Secret => {
                let secret: Box<Secret> = serde_json::from_slice(bytes).map_err(|error| {
                    // The decoder's words would show what it found.
                    Cause::Invalid(format!(
                        "it is no secret, line {} column {}",
                        error.line(),
                        error.column()
                    ))
                })?;
                let version = secret.version.clone();
                (Resource::Secret(secret), version)
            }
            _ => return Err(invalid("nodes know applications, configurations and secrets")),
        };
        if version == info.version { Ok(resource) } else { Err(Cause::OtherVersion(version)) }
    }

    /// A program package has an object for each platform; the others are not for this node.
    fn filter(&self, config: &mut Configuration) {
        if config.is_program() {
            config.data.retain(|key, _| !key.starts_with(OBJECT_PREFIX) || key.contains(&self.platform));
        }
    }
}

#[async_trait]
impl ResourceSource for ResourceClient {
    async fn fetch(&self, infos: &[ResourceInfo]) -> Vec<Result<Resource, ResourceError>> {
        let mut seen = BTreeSet::new();
        let asked: Vec<ResourceInfo> =
            infos.iter().filter(|info| is_sound(info) && seen.insert(*info)).cloned().collect();
        let mut found = self.cached(&asked).await;
        let missing: Vec<ResourceInfo> = asked.into_iter().filter(|info| !found.contains_key(info)).collect();
        if !missing.is_empty() {
            found.extend(self.fetched(&missing).await);
        }
        let unsound = Err(invalid("its name and version must be there and hold no slash"));
        infos
            .iter()
            .map(|info| found.get(info).unwrap_or(&unsound).clone().map_err(|cause| failed(info, &cause)))
            .collect()
    }

    async fn retain(&self, keep: &BTreeSet<ResourceInfo>) -> Result<(), ResourceError> {
        let failed = |source: BoxError| ResourceError::Store { source };
        let keep: BTreeSet<String> = keep.iter().map(key).collect();
        let stored = self.store.list(Table::Resource, "").await.map_err(|error| failed(error.into()))?;
        let gone = stored.into_iter().map(|(key, _)| key).filter(|key| !keep.contains(key));
        let changes: Vec<Change> = gone.map(|key| Change::Remove(Table::Resource, key)).collect();
        if changes.is_empty() {
            return Ok(());
        }
        self.store.commit(changes).await.map_err(|error| failed(error.into()))
    }
}

/// Where a resource is kept. Part of the layout on disk.
fn key(info: &ResourceInfo) -> String {
    format!("{}/{}/{}", info.resource_kind(), info.name, info.version)
}

/// Whether name and version can be part of a key.
fn is_sound(info: &ResourceInfo) -> bool {
    [&info.name, &info.version].into_iter().all(|text| !text.is_empty() && !text.contains('/'))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Cause> {
    serde_json::from_slice(bytes).map_err(|error| Cause::Invalid(error.to_string()))
}

fn invalid(reason: &str) -> Cause {
    Cause::Invalid(reason.to_owned())
}

fn failed(info: &ResourceInfo, cause: &Cause) -> ResourceError {
    let (kind, name, version) = (info.kind.clone(), info.name.clone(), info.version.clone());
    match cause.clone() {
        Cause::Missing => ResourceError::NotFound { kind, name, version },
        Cause::OtherVersion(answered) => ResourceError::OtherVersion { kind, name, version, answered },
        Cause::Invalid(reason) => ResourceError::Invalid { kind, name, version, source: reason.into() },
        Cause::Unreachable(error) => ResourceError::Unreachable { kind, name, version, source: error.into() },
        Cause::Store(error) => ResourceError::Store { source: error.into() },
    }
}

fn all_failed(infos: &[ResourceInfo], error: LinkError) -> Documents {
    let error = Arc::new(error);
    infos.iter().map(|info| (info.clone(), Err(Cause::Unreachable(Arc::clone(&error))))).collect()
}

/// Whether less in one request may be answered.
fn may_help_alone(error: &LinkError) -> bool {
    is_missing(error) || matches!(error, LinkError::BadAnswer { .. } | LinkError::Timeout { .. })
}

/// Whether the cloud knows the node but not the resource.
fn is_missing(error: &LinkError) -> bool {
    matches!(error, LinkError::Rejected { status: 404, code, body }
        if code == "ErrResourceNotFound" && !body.contains("(node) resource"))
}
