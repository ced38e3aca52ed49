//! A store on redb. Its pages go through the durable files seam; nothing of redb shows outside.
//!
//! The file is either not there or whole: a new one is made beside its place and renamed. After any
//! failure the file is opened anew before the next call, because redb refuses to go on; what it then
//! finds is the last commit that was acknowledged, or the one under way, whole.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::{Change, Store, StoreError, Table};
use crate::durable::Disk;
use crate::task::{Blocking, Lost, blocking};

mod backend;
mod file;

use self::file::File;

/// A store on redb. Clones share the open file.
#[derive(Clone)]
pub struct RedbStore {
    file: Arc<File>,
    queue: Arc<Mutex<Queue>>,
    pool: Arc<dyn Blocking>,
}

/// What [`RedbStore::open_or_set_aside`] found.
#[derive(Debug)]
pub enum Opened {
    /// A store of ours, or none yet.
    AsItWas,
    /// Something that could not be read. It lies aside now, and the store is empty.
    SetAside {
        /// Where it lies now.
        to: PathBuf,
        /// Why it could not be read.
        reason: StoreError,
    },
}

/// Commits that wait for the next write.
#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Waiting>,
    writing: bool,
}

#[derive(Debug)]
struct Waiting {
    changes: Vec<Change>,
    done: oneshot::Sender<Result<(), StoreError>>,
}

impl RedbStore {
    /// Opens the store at `path`, or makes an empty one when nothing is there yet.
    ///
    /// # Errors
    /// [`StoreError::Foreign`] when the file is not a store of ours, damaged or of a later version: it is
    /// left as it is. [`StoreError::Busy`] when another process has it open. Else what the disk says.
    pub async fn open(disk: Arc<dyn Disk>, path: &Path, pool: Arc<dyn Blocking>) -> Result<Self, StoreError> {
        let file = Arc::new(File::new(disk, path));
        let opening = Arc::clone(&file);
        run(&*pool, &file, "be opened", move || opening.open()).await?;
        Ok(Self { file, queue: Arc::default(), pool })
    }

    /// As [`RedbStore::open`], but a file that cannot be read is renamed to `<name>.damaged-<n>` first,
    /// durably, and an empty store takes its place: so that no agent fails for ever at its start. Everything
    /// in the store can be had again from the cloud or is told by what runs.
    ///
    /// # Errors
    /// [`StoreError::Busy`], or what the disk says. A disk that fails never has a file set aside.
    pub async fn open_or_set_aside(
        disk: Arc<dyn Disk>,
        path: &Path,
        pool: Arc<dyn Blocking>,
    ) -> Result<(Self, Opened), StoreError> {
        match Self::open(Arc::clone(&disk), path, Arc::clone(&pool)).await {
            Ok(store) => Ok((store, Opened::AsItWas)),
            Err(reason @ StoreError::Foreign { .. }) => {
                let file = Arc::new(File::new(Arc::clone(&disk), path));
                let moving = Arc::clone(&file);
                let to = run(&*pool, &file, "be set aside", move || moving.set_aside()).await?;
                let store = Self::open(disk, path, pool).await?;
                Ok((store, Opened::SetAside { to, reason }))
            }
            Err(error) => Err(error),
        }
    }

    /// Writes what waits, joined, until nothing waits any more.
    fn write_all(file: Arc<File>, queue: &Mutex<Queue>) {
        let mut batch = std::mem::take(&mut lock(queue).waiting);
        loop {
            let answers = write(&file, batch);
            let next = {
                let mut queue = lock(queue);
                queue.writing = !queue.waiting.is_empty();
                std::mem::take(&mut queue.waiting)
            };
            if next.is_empty() {
                // Whoever hears that all is written may open the file again.
                drop(file);
                return answer(answers);
            }
            answer(answers);
            batch = next;
        }
    }
}

type Answer = (oneshot::Sender<Result<(), StoreError>>, Result<(), StoreError>);

fn write(file: &File, batch: Vec<Waiting>) -> Vec<Answer> {
    let joined = file.commit(batch.iter().flat_map(|waiting| &waiting.changes));
    if batch.len() > 1 && joined.is_err() {
        // One that cannot be must not fail the others: each by itself, with its own error.
        return batch
            .into_iter()
            .map(|waiting| (waiting.done, file.commit(waiting.changes.iter())))
            .collect();
    }
    let mut joined = Some(joined);
    batch.into_iter().map(|waiting| (waiting.done, joined.take().unwrap_or(Ok(())))).collect()
}

fn answer(answers: Vec<Answer>) {
    for (done, result) in answers {
        // The waiter may have gone; its commit stands all the same.
        drop(done.send(result));
    }
}

impl fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbStore").field("path", &self.file.path()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for RedbStore {
    async fn load(&self, table: Table, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let (file, key) = (Arc::clone(&self.file), key.to_owned());
        run(&*self.pool, &self.file, "read", move || file.load(table, &key)).await
    }

    async fn list(&self, table: Table, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let (file, prefix) = (Arc::clone(&self.file), prefix.to_owned());
        run(&*self.pool, &self.file, "read", move || file.list(table, &prefix)).await
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let (done, result) = oneshot::channel();
        let begin = {
            let mut queue = lock(&self.queue);
            queue.waiting.push(Waiting { changes, done });
            !std::mem::replace(&mut queue.writing, true)
        };
        if begin {
            let (file, queue) = (Arc::clone(&self.file), Arc::clone(&self.queue));
            self.pool.submit(Box::new(move || Self::write_all(file, &queue)));
        }
        result.await.unwrap_or_else(|_| Err(self.file.failed("write", Lost)))
    }
}

async fn run<T, F>(pool: &dyn Blocking, file: &File, operation: &'static str, job: F) -> Result<T, StoreError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, StoreError> + Send + 'static,
{
    blocking(pool, job).await.unwrap_or_else(|lost| Err(file.failed(operation, lost)))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code panics while it holds a lock of this module.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
