//! The agent is killed: at rest, and at each commit of an update.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use baetyl_core_lib::application::Role;
use baetyl_core_lib::engine::Engine;
use baetyl_core_lib::store::{Change, MemoryStore, Store, StoreError, Table};
use baetyl_core_lib::testing::Fault;
use baetyl_engine::reconcile::drain;
use tokio_util::sync::CancellationToken;

use super::bed::{Bed, web};

/// A store whose power is cut after, or before, some commit.
#[derive(Debug)]
struct Cut {
    inner: Arc<MemoryStore>,
    left: AtomicUsize,
    keeps_last: bool,
    cut: CancellationToken,
}

#[async_trait]
impl Store for Cut {
    async fn load(&self, table: Table, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.load(table, key).await
    }

    async fn list(&self, table: Table, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.inner.list(table, prefix).await
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let left = self.left.fetch_sub(1, Ordering::SeqCst);
        if left > 1 || self.keeps_last {
            self.inner.commit(changes).await?;
        }
        if left == 1 {
            self.cut.cancel();
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_start_restarts_nothing() {
    let mut bed = Bed::new().await;
    bed.start().await;
    bed.desire(&[web("1")]).await;
    bed.pass(4.0).await;
    let before = bed.stats("web").instances;
    bed.stop().await;
    bed.engine.clear_calls();
    bed.start().await;
    bed.pass(60.0).await;
    assert!(bed.engine.calls().is_empty(), "{:?}", bed.engine.calls());
    assert_eq!(bed.stats("web").instances, before);
}

#[tokio::test(start_paused = true)]
async fn a_power_cut_at_any_commit_ends_in_the_old_version_or_the_new() {
    let mut cuts = 0;
    for broken in [false, true] {
        for keeps_last in [false, true] {
            for number in 1.. {
                if !cut_update(number, keeps_last, broken).await {
                    break;
                }
                cuts += 1;
            }
        }
    }
    assert!(cuts >= 10, "only {cuts} cuts");
}

/// Cuts the update of `web` from 1 to 2 at its commit of this number; returns whether there was one.
async fn cut_update(number: usize, keeps_last: bool, broken: bool) -> bool {
    let inner = Arc::new(MemoryStore::new());
    let mut bed = Bed::over(inner.clone()).await;
    bed.start().await;
    bed.desire(&[web("1")]).await;
    bed.pass(4.0).await;
    bed.stop().await;

    let cut = CancellationToken::new();
    bed.store = Arc::new(Cut { inner: inner.clone(), left: number.into(), keeps_last, cut: cut.clone() });
    if broken {
        bed.engine.fault("web", "2", Fault::CrashLoop(1));
    }
    bed.start().await;
    bed.desire(&[web("2")]).await;
    bed.pass(30.0).await;
    bed.stop().await;
    assert!(!bed.running().is_empty(), "something runs at any time");

    bed.store = inner;
    bed.start().await;
    bed.pass(30.0).await;
    let expected = if broken { "web@1" } else { "web@2" };
    assert_eq!(bed.running(), [expected], "cut at {number}, kept {keeps_last}, broken {broken}");
    assert_eq!(bed.reported(), [expected]);
    cut.is_cancelled()
}

#[tokio::test(start_paused = true)]
async fn with_its_states_lost_a_node_takes_over_what_runs_and_is_wanted() {
    let mut bed = Bed::new().await;
    bed.start().await;
    bed.desire(&[web("1")]).await;
    bed.pass(4.0).await;
    let before = bed.stats("web").instances;
    bed.stop().await;
    bed.store = Arc::new(MemoryStore::new());
    bed.start().await;
    bed.pass(4.0).await;
    assert_eq!(bed.stats("web").instances, before);
    assert_eq!(bed.stats("web").cause, "");
    bed.want(Vec::new()).await;
    bed.pass(1.0).await;
    assert!(bed.running().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_stops_nothing_and_the_update_goes_on_when_there_is_room() {
    let store = Arc::new(MemoryStore::new());
    let mut bed = Bed::over(store.clone()).await;
    bed.start().await;
    bed.desire(&[web("1")]).await;
    bed.pass(4.0).await;
    store.take_room();
    bed.desire(&[web("2")]).await;
    bed.pass(60.0).await;
    assert_eq!(bed.running(), ["web@1"]);
    assert!(bed.stats("web").cause.contains("no room on the disk"), "{}", bed.stats("web").cause);
    store.give_room();
    bed.pass(120.0).await;
    assert_eq!(bed.running(), ["web@2"]);
    assert_eq!(bed.stats("web").cause, "");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_drained_runs_the_same_again() {
    let mut bed = Bed::new().await;
    bed.start().await;
    bed.desire(&[web("1")]).await;
    bed.pass(4.0).await;
    bed.stop().await;
    let engine: Arc<dyn Engine> = Arc::new(bed.engine.clone());
    drain(&[engine], Role::Core).await.unwrap();
    assert!(bed.running().is_empty());
    bed.start().await;
    assert_eq!(bed.running(), ["web@1"]);
}
