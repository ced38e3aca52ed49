//! The store on redb under power cuts, full disks, and files that are not ours.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine as _;

use baetyl_core_lib::clock::Random as _;
use baetyl_core_lib::durable::{self, Disk, OsDisk};
use baetyl_core_lib::store::{Change, Opened, RedbStore, Store, StoreError, Table};
use baetyl_core_lib::task::{Blocking, Inline, Pool};
use baetyl_core_lib::testing::{MemoryDisk, SeededRandom, Tear};

const PATH: &str = "/state/store.redb";

type Values = BTreeMap<(Table, String), Vec<u8>>;

async fn open(disk: &MemoryDisk) -> Result<RedbStore, StoreError> {
    RedbStore::open(Arc::new(disk.clone()), Path::new(PATH), Arc::new(Inline)).await
}

async fn values(store: &dyn Store) -> Values {
    let mut values = Values::new();
    for table in Table::ALL {
        for (key, value) in store.list(table, "").await.unwrap() {
            values.insert((table, key), value);
        }
    }
    values
}

fn put(table: Table, key: &str, value: &[u8]) -> Change {
    Change::Put(table, key.into(), value.to_vec())
}

fn apply(values: &mut Values, changes: &[Change]) {
    for change in changes {
        match change.clone() {
            Change::Put(table, key, value) => drop(values.insert((table, key), value)),
            Change::Remove(table, key) => drop(values.remove(&(table, key))),
        }
    }
}

/// Commits of an agent's first minutes: small ones, one of several pages, replaced and removed values.
fn commits() -> Vec<Vec<Change>> {
    vec![
        vec![put(Table::Node, "desire", b"{}"), put(Table::Node, "clock", b"1")],
        vec![
            put(Table::Resource, "application/web/1", &[7; 9000]),
            put(Table::Update, "user/web", b"preparing"),
        ],
        vec![put(Table::Update, "user/web", b"good"), put(Table::Made, "app/web/1", b"")],
        vec![
            Change::Remove(Table::Resource, "application/web/1".into()),
            put(Table::Node, "desire", &[9; 700]),
        ],
    ]
}

/// What a run got to: the values that were acknowledged, and with the commit under way.
async fn run(disk: &MemoryDisk) -> (Values, Values) {
    let mut acknowledged = Values::new();
    let Ok(store) = open(disk).await else { return (acknowledged.clone(), acknowledged) };
    for changes in commits() {
        let mut next = acknowledged.clone();
        apply(&mut next, &changes);
        if store.commit(changes).await.is_err() {
            return (acknowledged, next);
        }
        acknowledged = next;
    }
    (acknowledged.clone(), acknowledged)
}

#[tokio::test]
async fn every_power_cut_leaves_what_was_acknowledged_and_the_commit_under_way_whole() {
    let whole = MemoryDisk::new();
    run(&whole).await;
    let tears = [Tear::Lost, Tear::Kept, Tear::Torn(1), Tear::Torn(2), Tear::Torn(3), Tear::Torn(4)];
    let mut points = 0;
    for number in 0..=whole.calls() {
        let disk = MemoryDisk::new();
        disk.cut_at(number);
        let (before, after) = run(&disk).await;
        for tear in tears {
            let crashed = disk.crash(tear);
            let store =
                open(&crashed).await.unwrap_or_else(|error| panic!("cut at {number}, {tear:?}: {error:?}"));
            let found = values(&store).await;
            assert!(found == before || found == after, "cut at {number}, {tear:?}");
            store.commit(vec![put(Table::Local, "x", b"goes on")]).await.unwrap();
            points += 1;
        }
    }
    println!("{points} crash points: {} calls, {} tears", whole.calls(), tears.len());
}

/// Every write, fsync and rename of these commits: each is a point at which the power is cut above. A new
/// redb may change it; the test prints the table as it is then.
const POINTS: &str = include_str!("../fixtures/store/crash-points.txt");

#[tokio::test]
async fn the_points_at_which_the_power_is_cut_are_those_of_the_committed_table() {
    let disk = MemoryDisk::new();
    run(&disk).await;
    let table: String = disk.trace().iter().map(|call| format!("{call}\n")).collect();
    println!("{} crash points of the store", disk.calls());
    assert!(table == POINTS, "tests/fixtures/store/crash-points.txt is to be:\n{table}");
}

#[tokio::test]
async fn the_same_commits_make_the_same_calls() {
    let (first, second) = (MemoryDisk::new(), MemoryDisk::new());
    run(&first).await;
    run(&second).await;
    assert_eq!(first.trace(), second.trace());
}

#[tokio::test]
async fn a_second_power_cut_while_the_first_is_mended_loses_nothing_more() {
    let whole = MemoryDisk::new();
    run(&whole).await;
    let mut points = 0;
    for number in (0..=whole.calls()).step_by(3) {
        let disk = MemoryDisk::new();
        disk.cut_at(number);
        let (before, after) = run(&disk).await;
        let crashed = disk.crash(Tear::Torn(5));
        let mended = crashed.crash(Tear::Lost);
        drop(open(&mended).await.unwrap());
        for second in 0..mended.calls() {
            let again = crashed.crash(Tear::Lost);
            again.cut_at(second);
            drop(open(&again).await);
            let store = open(&again.crash(Tear::Torn(6))).await.unwrap();
            let found = values(&store).await;
            assert!(found == before || found == after, "cut at {number}, then at {second}");
            points += 1;
        }
    }
    println!("{points} crash points while mending");
}

#[tokio::test]
async fn power_cuts_while_a_file_is_set_aside_lose_neither_it_nor_the_agent() {
    let prepare = || {
        let disk = MemoryDisk::new();
        durable::make_folder(&disk, Path::new("/state"), 0o700).unwrap();
        durable::replace(&disk, Path::new(PATH), b"not a store at all", 0o600).unwrap();
        disk
    };
    let whole = prepare();
    let first = whole.calls();
    let set_aside = async |disk: &MemoryDisk| {
        RedbStore::open_or_set_aside(Arc::new(disk.clone()), Path::new(PATH), Arc::new(Inline)).await
    };
    set_aside(&whole).await.unwrap();
    for number in first..whole.calls() {
        let disk = prepare();
        disk.cut_at(number);
        // A cut while it is closed shows nowhere.
        drop(set_aside(&disk).await);
        for tear in [Tear::Lost, Tear::Kept, Tear::Torn(1), Tear::Torn(2)] {
            let crashed = disk.crash(tear);
            set_aside(&crashed).await.unwrap();
            let aside = crashed.read(Path::new("/state/store.redb.damaged-1")).unwrap();
            assert_eq!(aside, b"not a store at all", "cut at {number}, {tear:?}");
        }
    }
}

#[tokio::test]
async fn an_unchanged_value_writes_nothing() {
    let disk = MemoryDisk::new();
    let store = open(&disk).await.unwrap();
    let changes = vec![put(Table::Node, "desire", b"{}"), Change::Remove(Table::Local, "none".into())];
    store.commit(changes.clone()).await.unwrap();
    let calls = disk.calls();
    store.commit(changes).await.unwrap();
    // Only where a commit ends up counts.
    store.commit(vec![put(Table::Node, "desire", b"x"), put(Table::Node, "desire", b"{}")]).await.unwrap();
    assert_eq!(disk.calls(), calls);
}

#[tokio::test]
async fn commits_that_come_at_once_are_joined() {
    let disk = MemoryDisk::new();
    let pool = Arc::new(Held::default());
    let path = Path::new(PATH);
    let opening = RedbStore::open(Arc::new(disk.clone()), path, Arc::clone(&pool) as Arc<dyn Blocking>);
    let (store, ()) = tokio::join!(opening, pool.release());
    let store = store.unwrap();
    let one = disk.calls();
    let commit = |number: u32| store.commit(vec![put(Table::Made, &number.to_string(), b"")]);
    let (result, ()) = tokio::join!(commit(0), pool.release());
    result.unwrap();
    let cost = disk.calls() - one;
    let (a, b, c, d, ()) = tokio::join!(commit(1), commit(2), commit(3), commit(4), pool.release());
    assert!([a, b, c, d].iter().all(Result::is_ok));
    assert!(disk.calls() - one - cost < cost * 2, "four commits at once cost less than two by themselves");
    let (found, ()) = tokio::join!(store.list(Table::Made, ""), pool.release());
    assert_eq!(found.unwrap().len(), 5);
}

/// Blocking work that waits until it is released.
#[derive(Debug, Default)]
struct Held(Mutex<Vec<Job>>);

struct Job(Box<dyn FnOnce() + Send>);

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Job")
    }
}

impl Blocking for Held {
    fn submit(&self, job: Box<dyn FnOnce() + Send>) {
        self.0.lock().unwrap().push(Job(job));
    }
}

impl Held {
    async fn release(&self) {
        let jobs = std::mem::take(&mut *self.0.lock().unwrap());
        for job in jobs {
            (job.0)();
        }
    }
}

#[tokio::test]
async fn a_full_disk_changes_nothing_and_reads_and_removals_go_on() {
    let disk = MemoryDisk::with_size(8 << 20);
    let store = open(&disk).await.unwrap();
    store.commit(vec![put(Table::Node, "desire", b"{}")]).await.unwrap();
    let mut number = 0;
    let error = loop {
        let key = format!("configuration/c/{number}");
        match store.commit(vec![put(Table::Resource, &key, &[1; 100_000])]).await {
            Ok(()) => number += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert_eq!(store.load(Table::Node, "desire").await.unwrap(), Some(b"{}".to_vec()));
    assert_eq!(store.list(Table::Resource, "").await.unwrap().len(), number);
    drop(store);
    let store = open(&disk).await.expect("an agent starts on a full disk");
    for number in 0..number {
        store
            .commit(vec![Change::Remove(Table::Resource, format!("configuration/c/{number}"))])
            .await
            .unwrap();
    }
    store.commit(vec![put(Table::Resource, "configuration/c/last", &[1; 100_000])]).await.unwrap();
}

#[tokio::test]
async fn one_failure_of_the_disk_fails_one_commit() {
    let disk = MemoryDisk::new();
    let store = open(&disk).await.unwrap();
    store.commit(vec![put(Table::Node, "a", b"1")]).await.unwrap();
    disk.fail_at(disk.calls() + 1, ErrorKind::Other);
    let error = store.commit(vec![put(Table::Node, "a", b"2")]).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Failed { operation: "write", .. }) && error.is_transient(),
        "{error:?}"
    );
    store.commit(vec![put(Table::Node, "a", b"3")]).await.unwrap();
    assert_eq!(store.load(Table::Node, "a").await.unwrap(), Some(b"3".to_vec()));
}

#[tokio::test]
async fn a_file_that_is_not_ours_is_left_as_it_is_until_it_is_to_be_set_aside() {
    let foreign: [&[u8]; 3] = [b"x", b"SQLite format 3\0", &[0; 8192]];
    for bytes in foreign {
        let disk = MemoryDisk::new();
        let path = Path::new(PATH);
        durable::make_folder(&disk, Path::new("/state"), 0o700).unwrap();
        durable::replace(&disk, path, bytes, 0o600).unwrap();
        let error = open(&disk).await.unwrap_err();
        assert!(matches!(error, StoreError::Foreign { .. }) && !error.is_transient(), "{error:?}");
        assert_eq!(disk.read(path).unwrap(), bytes);
        let (store, opened) =
            RedbStore::open_or_set_aside(Arc::new(disk.clone()), path, Arc::new(Inline)).await.unwrap();
        let Opened::SetAside { to, .. } = opened else { panic!("{opened:?}") };
        assert_eq!(disk.read(&to).unwrap(), bytes);
        assert!(values(&store).await.is_empty());
    }
}

#[tokio::test]
async fn an_agent_starts_over_any_damage() {
    let disk = MemoryDisk::new();
    run(&disk).await;
    let whole = disk.read(Path::new(PATH)).unwrap();
    let random = SeededRandom::new(1);
    let mut set_aside = 0;
    for _ in 0..60 {
        let disk = MemoryDisk::new();
        let mut bytes = whole.clone();
        for _ in 0..8 {
            let at = random.next_u32() as usize % 64 * 512;
            bytes[at..at + 512].fill_with(|| random.next_u32().to_le_bytes()[0]);
        }
        durable::make_folder(&disk, Path::new("/state"), 0o700).unwrap();
        durable::replace(&disk, Path::new(PATH), &bytes, 0o600).unwrap();
        let (store, opened) =
            RedbStore::open_or_set_aside(Arc::new(disk), Path::new(PATH), Arc::new(Inline)).await.unwrap();
        set_aside += usize::from(matches!(opened, Opened::SetAside { .. }));
        store.commit(vec![put(Table::Node, "new", b"1")]).await.unwrap();
        assert_eq!(store.load(Table::Node, "new").await.unwrap(), Some(b"1".to_vec()));
    }
    assert!(set_aside > 0);
}

#[tokio::test]
async fn a_file_that_is_open_elsewhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/store.redb");
    let open = || RedbStore::open(Arc::new(OsDisk), &path, Arc::new(Pool::new(1)));
    let store = open().await.unwrap();
    assert!(matches!(open().await.unwrap_err(), StoreError::Busy { .. }));
    let mut names = OsDisk.list(path.parent().unwrap()).unwrap();
    assert_eq!(names.pop().as_deref(), Some("store.redb"));
    assert!(names.is_empty(), "{names:?}");
    drop(store);
    open().await.unwrap();
}

/// `layout-1.txt` holds the file as the first release wrote it: its size, then each sector of 512 bytes
/// that is not empty, by offset. It must be read for ever.
#[tokio::test]
async fn layout_1_is_read() {
    let mut lines = include_str!("../fixtures/store/layout-1.txt").lines();
    let mut file = vec![0; lines.next().unwrap().parse().unwrap()];
    for line in lines {
        let (offset, sector) = line.split_once(' ').unwrap();
        let offset: usize = offset.parse().unwrap();
        let sector = base64::engine::general_purpose::STANDARD.decode(sector).unwrap();
        file[offset..offset + sector.len()].copy_from_slice(&sector);
    }
    let disk = MemoryDisk::new();
    durable::make_folder(&disk, Path::new("/state"), 0o700).unwrap();
    durable::replace(&disk, Path::new(PATH), &file, 0o600).unwrap();
    let store = open(&disk).await.unwrap();
    let mut expected = Values::new();
    for changes in commits() {
        apply(&mut expected, &changes);
    }
    assert_eq!(values(&store).await, expected);
}

#[tokio::test]
async fn a_later_layout_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let open = || RedbStore::open(Arc::new(OsDisk), &path, Arc::new(Inline));
    drop(open().await.unwrap());
    let database = redb::Database::open(&path).unwrap();
    let write = database.begin_write().unwrap();
    let meta = redb::TableDefinition::<&str, &[u8]>::new("meta");
    write.open_table(meta).unwrap().insert("layout", 2_u64.to_le_bytes().as_slice()).unwrap();
    write.commit().unwrap();
    drop(database);
    let error = open().await.unwrap_err().to_string();
    assert!(error.contains("layout 2") && error.contains("install the later version"), "{error}");
}
