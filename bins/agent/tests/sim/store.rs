//! The node's store as the simulation sees it: the real one on redb, over a disk that can be cut off.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use baetyl_core_lib::durable::Disk as _;
use baetyl_core_lib::store::{Change, RedbStore, Store, StoreError, Table};
use baetyl_core_lib::task::Inline;
use baetyl_core_lib::testing::MemoryDisk;

use crate::life::Life;
use crate::oracle::Oracle;
use crate::trace::Trace;

/// A store whose commits are traced and judged.
#[derive(Debug)]
pub(crate) struct SimStore {
    store: RedbStore,
    disk: MemoryDisk,
    life: Arc<Life>,
    trace: Trace,
    oracle: Oracle,
}

impl SimStore {
    /// Opens the store of a node, and has what it holds judged.
    pub(crate) async fn open(
        disk: MemoryDisk,
        folder: &Path,
        life: Arc<Life>,
        trace: Trace,
        oracle: Oracle,
    ) -> Result<Self, StoreError> {
        let path = folder.join("store.redb");
        // A folder that a cut disk cannot make is told by the store.
        disk.create_folder(folder, 0o700).and_then(|()| disk.sync_folder(Path::new("/"))).ok();
        let store = RedbStore::open(Arc::new(disk.clone()), &path, Arc::new(Inline)).await?;
        let mut found = BTreeMap::new();
        for table in Table::ALL {
            for (key, value) in store.list(table, "").await? {
                found.insert((table, key), value);
            }
        }
        trace.event(
            "store opened",
            format_args!("{} values, {} calls of the disk", found.len(), disk.calls()),
        );
        oracle.opened(found);
        Ok(Self { store, disk, life, trace, oracle })
    }

    /// A run whose disk was cut off is at its end.
    async fn check_power(&self) {
        if self.disk.is_cut() {
            self.life.end("a call of the disk");
        }
        self.life.pass("the store").await;
    }
}

#[async_trait]
impl Store for SimStore {
    async fn load(&self, table: Table, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.life.pass("a load").await;
        let loaded = self.store.load(table, key).await;
        self.check_power().await;
        loaded
    }

    async fn list(&self, table: Table, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.life.pass("a list").await;
        let listed = self.store.list(table, prefix).await;
        self.check_power().await;
        listed
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        self.life.pass("a commit, before it").await;
        self.oracle.commits(&changes);
        let result = self.store.commit(changes.clone()).await;
        let calls = self.disk.calls();
        for change in &changes {
            match change {
                Change::Put(table, key, value) => {
                    let text = String::from_utf8_lossy(value);
                    self.trace.event("commit", format_args!("{}/{key} = {text}", table.name()));
                }
                Change::Remove(table, key) => {
                    self.trace.event("commit", format_args!("{}/{key} goes", table.name()));
                }
            }
        }
        match &result {
            Ok(()) => self.oracle.committed(&changes),
            Err(error) => {
                self.oracle.excused();
                self.trace.event("commit failed", error);
            }
        }
        self.trace.event("disk", calls);
        self.check_power().await;
        result
    }
}
