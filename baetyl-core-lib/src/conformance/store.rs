//! What every [`Store`] must do.

use std::sync::Arc;

use async_trait::async_trait;

use super::{begin_and_drop, cases, ok};
use crate::store::{Change, Store, Table};

/// A store to be tried.
#[async_trait]
pub trait StoreFixture: Send + Sync {
    /// Opens the store: empty at first, later what was committed to it. All that were given out before have
    /// been dropped.
    async fn open(&self) -> Arc<dyn Store>;

    /// Something that grows with each write to the disk.
    fn writes(&self) -> usize;
}

/// Runs all cases but those that are `skipped`.
///
/// # Panics
/// When the store does not keep its contract.
pub async fn check<F: StoreFixture>(make: impl Fn() -> F + Send + Sync, skipped: &[&str]) {
    cases!(make, skipped,
        what_was_committed_is_loaded
        what_is_not_there_is_none_and_may_be_removed
        values_survive_reopening
        the_last_change_of_a_key_wins
        tables_are_apart
        list_is_sorted_and_by_prefix
        any_value_comes_back_byte_for_byte
        commits_at_once_all_stand
        commits_one_by_one_are_in_order
        a_dropped_commit_is_whole_or_not_there
        changes_that_change_nothing_write_nothing
    );
}

async fn what_was_committed_is_loaded(fixture: &impl StoreFixture) {
    let store = fixture.open().await;
    commit(&*store, vec![put("a", "1"), put("b", "2")]).await;
    assert_eq!(load(&*store, "a").await.as_deref(), Some("1"));
    assert_eq!(load(&*store, "b").await.as_deref(), Some("2"));
}

async fn what_is_not_there_is_none_and_may_be_removed(fixture: &impl StoreFixture) {
    let store = fixture.open().await;
    assert_eq!(load(&*store, "a").await, None);
    commit(&*store, vec![remove("a")]).await;
    commit(&*store, Vec::new()).await;
    assert_eq!(list(&*store, Table::Node, "").await, Vec::<String>::new());
}

async fn values_survive_reopening(fixture: &impl StoreFixture) {
    let store = fixture.open().await;
    let all = |text: &'static str| move |table| Change::Put(table, "key".into(), text.into());
    commit(&*store, Table::ALL.map(all("1")).into()).await;
    commit(&*store, Table::ALL.map(all("2")).into()).await;
    commit(&*store, vec![remove("key"), put("other", "3")]).await;
    drop(store);
    let store = fixture.open().await;
    assert_eq!(list(&*store, Table::Node, "").await, ["other=3"]);
    for table in Table::ALL.into_iter().filter(|table| *table != Table::Node) {
        assert_eq!(list(&*store, table, "").await, ["key=2"], "{table:?}");
    }
}

async fn the_last_change_of_a_key_wins(fixture: &impl StoreFixture) {
    let store = fixture.open().await;
    commit(&*store, vec![put("a", "1"), remove("a"), put("a", "2"), put("b", "1"), remove("b")]).await;
    assert_eq!(list(&*store, Table::Node, "").await, ["a=2"]);
}

async fn tables_are_apart(fixture: &impl StoreFixture) {
    let store = fixture.open().await;
    for table in Table::ALL {
        commit(&*store, vec![Change::Put(table, "key".into(), table.name().into())]).await;
    }
    for table in Table::ALL {
        assert_eq!(list(&*store, table, "").await, [format!("key={}", table.name())]);
    }
    commit(&*store, vec![remove("key")]).await;
    assert_eq!(list(&*store, Table::Local, "").await, ["key=local"]);
}

async fn list_is_sorted_and_by_prefix(fixture: &impl StoreFixture) {
    let store = fixture.open().await;
    let keys = ["b", "a/2", "a", "a/10", "a0", "", "ä/1", "a/\u{10ffff}"];
    commit(&*store, keys.map(|key| put(key, "")).into()).await;
    let mut sorted = keys;
    sorted.sort_unstable();
    assert_eq!(list(&*store, Table::Node, "").await, sorted.map(|key| format!("{key}=")));
    assert_eq!(list(&*store, Table::Node, "a/").await, ["a/10=", "a/2=", "a/\u{10ffff}="]);
    assert_eq!(list(&*store, Table::Node, "c").await, Vec::<String>::new());
}

async fn any_value_comes_back_byte_for_byte(fixture: &impl StoreFixture) {
    let store = fixture.open().await;
    let values = [Vec::new(), vec![0; 100], (0..=255).collect(), vec![7; 300_000]];
    for (number, value) in values.iter().enumerate() {
        commit(&*store, vec![Change::Put(Table::Resource, number.to_string(), value.clone())]).await;
    }
    drop(store);
    let store = fixture.open().await;
    for (number, value) in values.iter().enumerate() {
        let found = ok(store.load(Table::Resource, &number.to_string()).await, "load");
        assert!(found.as_ref() == Some(value), "value {number}");
    }
}

async fn commits_at_once_all_stand(fixture: &impl StoreFixture) {
    let store = fixture.open().await;
    let one = |number: u32| {
        let store = Arc::clone(&store);
        async move { commit(&*store, vec![put(&format!("{number:02}"), "")]).await }
    };
    for round in 0..8 {
        let number = round * 4;
        tokio::join!(one(number), one(number + 1), one(number + 2), one(number + 3));
    }
    drop(store);
    assert_eq!(list(&*fixture.open().await, Table::Node, "").await.len(), 32);
}

async fn commits_one_by_one_are_in_order(fixture: &impl StoreFixture) {
    let store = fixture.open().await;
    for number in 0..20 {
        commit(&*store, vec![put("a", &number.to_string())]).await;
        assert_eq!(load(&*store, "a").await, Some(number.to_string()));
    }
    drop(store);
    assert_eq!(load(&*fixture.open().await, "a").await.as_deref(), Some("19"));
}

async fn a_dropped_commit_is_whole_or_not_there(fixture: &impl StoreFixture) {
    let store = fixture.open().await;
    for number in 0..10 {
        let value = number.to_string();
        let changes = vec![put("a", &value), Change::Put(Table::Update, "b".into(), value.into())];
        drop(begin_and_drop(store.commit(changes)).await);
        // A later commit comes after it, so whatever became of it is settled now.
        commit(&*store, vec![Change::Put(Table::Made, "c".into(), vec![number])]).await;
        let a = ok(store.load(Table::Node, "a").await, "load");
        assert_eq!(a, ok(store.load(Table::Update, "b").await, "load"));
    }
}

async fn changes_that_change_nothing_write_nothing(fixture: &impl StoreFixture) {
    let store = fixture.open().await;
    commit(&*store, vec![put("a", "1")]).await;
    let writes = fixture.writes();
    commit(&*store, vec![put("a", "1"), remove("b")]).await;
    assert_eq!(fixture.writes(), writes);
    commit(&*store, vec![put("a", "2")]).await;
    assert!(fixture.writes() > writes, "writes are counted");
}

fn put(key: &str, value: &str) -> Change {
    Change::Put(Table::Node, key.into(), value.into())
}

fn remove(key: &str) -> Change {
    Change::Remove(Table::Node, key.into())
}

async fn commit(store: &dyn Store, changes: Vec<Change>) {
    ok(store.commit(changes).await, "commit");
}

async fn load(store: &dyn Store, key: &str) -> Option<String> {
    let value = ok(store.load(Table::Node, key).await, "load")?;
    Some(String::from_utf8_lossy(&value).into_owned())
}

async fn list(store: &dyn Store, table: Table, prefix: &str) -> Vec<String> {
    let values = ok(store.list(table, prefix).await, "list");
    values.iter().map(|(key, value)| format!("{key}={}", String::from_utf8_lossy(value))).collect()
}
