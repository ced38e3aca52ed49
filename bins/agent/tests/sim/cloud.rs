//! The cloud of a simulation: its real logic over a store in memory, without servers and without keys.

use std::sync::Arc;

use async_trait::async_trait;
use baetyl_cloud::error::ServiceError;
use baetyl_cloud::service::{Authority, Cloud, NodeInput, Settings};
use baetyl_cloud::store::{Change, CloudStore, Document, Kind, MemoryStore, StoreError};
use baetyl_core_lib::clock::Clock;
use baetyl_core_lib::testing::SeededRandom;

use crate::oracle::Oracle;
use crate::trace::Trace;

/// The cloud's store, which tells the oracle of each desire.
#[derive(Debug)]
struct SimCloudStore {
    store: MemoryStore,
    trace: Trace,
    oracle: Oracle,
}

/// Issues nothing that is worth anything: there is no TLS here.
#[derive(Debug)]
struct NoAuthority;

/// A cloud with one node of this name.
pub(crate) async fn start(
    node: &str,
    clock: Arc<dyn Clock>,
    random: SeededRandom,
    trace: Trace,
    oracle: Oracle,
) -> Result<Arc<Cloud>, ServiceError> {
    let store = SimCloudStore { store: MemoryStore::default(), trace, oracle };
    let settings = Settings {
        namespace: "sim".to_owned(),
        node_url: "https://cloud:9005".to_owned(),
        init_url: "https://cloud:9003".to_owned(),
        core_api: "127.0.0.1:8443".to_owned(),
    };
    let cloud =
        Cloud::open(Arc::new(store), clock, Arc::new(random), Arc::new(NoAuthority), settings).await?;
    let input = NodeInput { name: node.to_owned(), node_mode: "native".to_owned(), ..NodeInput::default() };
    cloud.create_node(input).await?;
    Ok(Arc::new(cloud))
}

#[async_trait]
impl CloudStore for SimCloudStore {
    async fn get(&self, kind: Kind, namespace: &str, name: &str) -> Result<Option<Document>, StoreError> {
        self.store.get(kind, namespace, name).await
    }

    async fn list(&self, kind: Kind, namespace: &str) -> Result<Vec<Document>, StoreError> {
        self.store.list(kind, namespace).await
    }

    async fn past(&self, kind: Kind, namespace: &str, name: &str) -> Result<Vec<Document>, StoreError> {
        self.store.past(kind, namespace, name).await
    }

    async fn commit(&self, namespace: &str, changes: Vec<Change>) -> Result<(), StoreError> {
        for change in &changes {
            if let Change::Put(Kind::Desire, document) = change {
                self.trace.event("cloud wants", &document.body);
                self.oracle.cloud_wants(&serde_json::from_str(&document.body).unwrap_or_default());
            }
        }
        self.store.commit(namespace, changes).await
    }
}

impl Authority for NoAuthority {
    fn ca_pem(&self) -> String {
        String::new()
    }

    fn issue(&self, _: &str) -> Result<(String, String), ServiceError> {
        Ok((String::new(), String::new()))
    }

    fn sign(&self, _: &str, _: &str) -> Result<String, ServiceError> {
        Ok(String::new())
    }
}
