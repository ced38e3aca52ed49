//! A store in memory, for tests and simulations: what it holds lives as long as one of its clones.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::{Change, Store, StoreError, Table};

/// A store in memory. Clones share what it holds, so a clone kept aside plays the disk over a restart.
///
/// ```
/// # use baetyl_core_lib::store::{Change, MemoryStore, Store, Table};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), baetyl_core_lib::store::StoreError> {
/// let store = MemoryStore::new();
/// store.commit(vec![Change::Put(Table::Node, "desire".into(), b"{}".to_vec())]).await?;
/// assert_eq!(store.load(Table::Node, "desire").await?, Some(b"{}".to_vec()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    values: BTreeMap<(Table, String), Vec<u8>>,
    writes: usize,
    full: bool,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many commits changed something.
    pub fn writes(&self) -> usize {
        self.lock().writes
    }

    /// From now on there is no room: commits that change something fail with [`StoreError::Full`].
    pub fn take_room(&self) {
        self.lock().full = true;
    }

    /// There is room again.
    pub fn give_room(&self) {
        self.lock().full = false;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No code panics while it holds the lock, so a poisoned one is whole all the same.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn load(&self, table: Table, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.lock().values.get(&(table, key.to_owned())).cloned())
    }

    async fn list(&self, table: Table, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let start = (table, prefix.to_owned());
        let inner = self.lock();
        let values = inner.values.range((Bound::Included(start), Bound::Unbounded));
        Ok(values
            .take_while(|((of, key), _)| *of == table && key.starts_with(prefix))
            .map(|((_, key), value)| (key.clone(), value.clone()))
            .collect())
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let mut inner = self.lock();
        let mut values = inner.values.clone();
        for change in changes {
            match change {
                Change::Put(table, key, value) => drop(values.insert((table, key), value)),
                Change::Remove(table, key) => drop(values.remove(&(table, key))),
            }
        }
        if values == inner.values {
            return Ok(());
        }
        if inner.full {
            return Err(StoreError::Full { path: "memory".into(), source: "no room was left".into() });
        }
        inner.values = values;
        inner.writes += 1;
        Ok(())
    }
}
