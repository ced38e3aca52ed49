//! Where states of updates are kept: one value for each application, under `<scope>/<name>`.

use baetyl_core_lib::application::Scope;
use baetyl_core_lib::store::{Change, Store, StoreError, Table};
use serde::{Deserialize, Serialize};

use super::execute::Key;
use super::update::Record;

/// The layout of a value. A later version reads this one for ever.
const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Stored<T> {
    format: u32,
    #[serde(flatten)]
    record: T,
}

/// All records. One that cannot be read is left out: its application is then nobody's, runs on, and is taken
/// over when it is wanted.
pub(super) async fn load(store: &dyn Store) -> Result<Vec<(Key, Record)>, StoreError> {
    let mut records = Vec::new();
    for (key, bytes) in store.list(Table::Update, "").await? {
        match read(&key, &bytes) {
            Some(record) => records.push(record),
            None => {
                tracing::error!(key, "state of an update cannot be read: its application is left as it is")
            }
        }
    }
    Ok(records)
}

fn read(key: &str, bytes: &[u8]) -> Option<(Key, Record)> {
    let (scope, name) = key.split_once('/')?;
    let scope = Scope::ALL.into_iter().find(|known| known.to_string() == scope)?;
    let stored: Stored<Record> = serde_json::from_slice(bytes).ok()?;
    (stored.format == FORMAT).then(|| ((scope, name.to_owned()), stored.record))
}

/// The change that makes a record durable.
pub(super) fn put(key: &Key, record: &Record) -> Change {
    let stored = Stored { format: FORMAT, record };
    // Plain data with text for keys always encodes.
    let bytes = serde_json::to_vec(&stored).unwrap_or_default();
    Change::Put(Table::Update, path(key), bytes)
}

/// The change that forgets a record.
pub(super) fn remove(key: &Key) -> Change {
    Change::Remove(Table::Update, path(key))
}

fn path((scope, name): &Key) -> String {
    format!("{scope}/{name}")
}
