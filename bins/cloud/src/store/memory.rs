//! The store in memory: for tests and simulations. Nothing survives it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use super::{Change, CloudStore, Document, Kind, StoreError};

type Key = (Kind, String, String);

/// Documents in memory.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    documents: BTreeMap<Key, (u64, Document)>,
    past: BTreeMap<Key, Vec<Document>>,
}

impl MemoryStore {
    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl CloudStore for MemoryStore {
    async fn get(&self, kind: Kind, namespace: &str, name: &str) -> Result<Option<Document>, StoreError> {
        let key = (kind, namespace.to_owned(), name.to_owned());
        Ok(self.with(|state| state.documents.get(&key).map(|(_, document)| document.clone())))
    }

    async fn list(&self, kind: Kind, namespace: &str) -> Result<Vec<Document>, StoreError> {
        let mut found = self.with(|state| {
            let of_kind = state.documents.iter().filter(|((k, ns, _), _)| *k == kind && ns == namespace);
            of_kind.map(|(_, entry)| entry.clone()).collect::<Vec<_>>()
        });
        found.sort_by_key(|(place, _)| *place);
        Ok(found.into_iter().map(|(_, document)| document).collect())
    }

    async fn past(&self, kind: Kind, namespace: &str, name: &str) -> Result<Vec<Document>, StoreError> {
        let key = (kind, namespace.to_owned(), name.to_owned());
        Ok(self.with(|state| state.past.get(&key).cloned().unwrap_or_default()))
    }

    async fn commit(&self, namespace: &str, changes: Vec<Change>) -> Result<(), StoreError> {
        self.with(|state| {
            for change in changes {
                match change {
                    Change::Put(kind, document) => {
                        state.next += 1;
                        let place = state.next;
                        let key = (kind, namespace.to_owned(), document.name.clone());
                        let entry = state.documents.entry(key).or_insert_with(|| (place, document.clone()));
                        entry.1 = document;
                    }
                    Change::Delete(kind, name) => {
                        let key = (kind, namespace.to_owned(), name);
                        state.documents.remove(&key);
                        state.past.remove(&key);
                    }
                    Change::Keep(kind, document, most) => {
                        let key = (kind, namespace.to_owned(), document.name.clone());
                        let past = state.past.entry(key).or_default();
                        past.retain(|old| old.version != document.version);
                        past.insert(0, document);
                        past.truncate(most);
                    }
                }
            }
        });
        Ok(())
    }
}
