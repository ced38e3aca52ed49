//! The stock shadow: the halves in `watch` channels, what must survive a power cut in a store.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{Mutex, watch};

use super::Shadow;
use super::merge::{merge_report, patch_properties};
use crate::spec::{Desire, Report, Section};
use crate::store::{Change, Store, StoreError, Table};

const DESIRE: &str = "desire";
const PROPERTIES: &str = "nodeprops";

/// The layout of the stored values. A later version reads this one forever.
const FORMAT: u32 = 1;

/// The stock shadow, over a store.
///
/// ```
/// use std::sync::Arc;
///
/// use baetyl_core_lib::shadow::{Shadow, StoredShadow};
/// use baetyl_core_lib::spec::{AppInfo, Desire};
/// use baetyl_core_lib::store::MemoryStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), baetyl_core_lib::store::StoreError> {
/// let store = MemoryStore::new();
/// let shadow = StoredShadow::open(Arc::new(store.clone())).await?;
/// let desire = Desire { apps: Some(vec![AppInfo::new("web", "1")]), ..Desire::default() };
/// shadow.apply_desire(desire.clone()).await?;
///
/// let after_a_restart = StoredShadow::open(Arc::new(store)).await?;
/// assert_eq!(**after_a_restart.desire().borrow(), desire);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct StoredShadow {
    store: Arc<dyn Store>,
    desire: watch::Sender<Arc<Desire>>,
    report: watch::Sender<Arc<Report>>,
    /// Orders the writers of the store. Writers of measurements never wait for it.
    durable: Mutex<Durable>,
}

/// Whether the store is known to hold what the channels show. It is not after a commit that failed or was
/// given up: the next write must then not be left out, even when it changes nothing that is seen.
#[derive(Debug)]
struct Durable {
    desire: bool,
    properties: bool,
}

/// A value as it is stored.
#[derive(Serialize, Deserialize)]
struct Stored<T> {
    format: u32,
    value: T,
}

impl StoredShadow {
    /// Reads what was stored; nothing stored is an empty desire.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] names the value that cannot be read. Removing that value from
    /// [`Table::Node`] lets it start: without a desire nothing is applied or removed until the cloud has
    /// answered again.
    pub async fn open(store: Arc<dyn Store>) -> Result<Self, StoreError> {
        let desire: Desire = load(&*store, DESIRE).await?.unwrap_or_default();
        let properties: Option<BTreeMap<String, Value>> = load(&*store, PROPERTIES).await?;
        let report = Report { nodeprops: Section::from(properties), ..Report::default() };
        Ok(Self {
            store,
            desire: watch::Sender::new(Arc::new(desire)),
            report: watch::Sender::new(Arc::new(report)),
            durable: Mutex::new(Durable { desire: true, properties: true }),
        })
    }

    fn merge_seen(&self, part: Report) {
        self.report.send_if_modified(|report| {
            let mut merged = (**report).clone();
            merge_report(&mut merged, part);
            let changed = merged != **report;
            if changed {
                *report = Arc::new(merged);
            }
            changed
        });
    }
}

#[async_trait]
impl Shadow for StoredShadow {
    fn desire(&self) -> watch::Receiver<Arc<Desire>> {
        self.desire.subscribe()
    }

    fn report(&self) -> watch::Receiver<Arc<Report>> {
        self.report.subscribe()
    }

    async fn apply_desire(&self, desire: Desire) -> Result<(), StoreError> {
        let mut durable = self.durable.lock().await;
        if durable.desire && **self.desire.borrow() == desire {
            return Ok(());
        }
        let change = Change::Put(Table::Node, DESIRE.to_owned(), encode(DESIRE, &desire)?);
        durable.desire = false;
        self.store.commit(vec![change]).await?;
        durable.desire = true;
        self.desire.send_if_modified(|seen| {
            let changed = **seen != desire;
            if changed {
                *seen = Arc::new(desire);
            }
            changed
        });
        Ok(())
    }

    async fn merge_report(&self, part: Report) -> Result<(), StoreError> {
        if part.nodeprops.is_absent() {
            self.merge_seen(part);
            return Ok(());
        }
        let mut durable = self.durable.lock().await;
        let before = self.report.borrow().nodeprops.clone();
        let mut after = before.clone();
        patch_properties(&mut after, part.nodeprops.clone());
        if !durable.properties || after != before {
            let key = PROPERTIES.to_owned();
            let change = match after.value() {
                Some(properties) => Change::Put(Table::Node, key, encode(PROPERTIES, properties)?),
                None => Change::Remove(Table::Node, key),
            };
            durable.properties = false;
            self.store.commit(vec![change]).await?;
            durable.properties = true;
        }
        self.merge_seen(part);
        Ok(())
    }
}

async fn load<T: DeserializeOwned>(store: &dyn Store, key: &str) -> Result<Option<T>, StoreError> {
    let Some(bytes) = store.load(Table::Node, key).await? else {
        return Ok(None);
    };
    // The format first: what a later version wrote need not have a value that can be read.
    let stored: Stored<Value> = serde_json::from_slice(&bytes).map_err(|source| damaged(key, source))?;
    if stored.format != FORMAT {
        let reason = format!("format {} is not {FORMAT}, which this version reads", stored.format);
        return Err(damaged(key, reason));
    }
    T::deserialize(stored.value).map(Some).map_err(|source| damaged(key, source))
}

fn encode<T: Serialize>(key: &str, value: &T) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(&Stored { format: FORMAT, value }).map_err(|source| damaged(key, source))
}

fn damaged(key: &str, source: impl Into<crate::error::BoxError>) -> StoreError {
    StoreError::Damaged { table: Table::Node.name(), key: key.to_owned(), source: source.into() }
}
