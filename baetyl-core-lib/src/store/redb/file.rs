//! The store's file: layout, opening, and what is done inside one redb transaction. Blocks.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use redb::{
    Builder, Database, Durability, ReadableDatabase as _, ReadableTable as _, TableDefinition, TableError,
};

use super::backend::{Backend, Fault};
use crate::durable::{self, Disk, DiskFile, Entry};
use crate::error::BoxError;
use crate::store::{Change, StoreError, Table};

/// The layout that this version writes. It reads this one and all before it.
const LAYOUT: u64 = 1;
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const LAYOUT_KEY: &str = "layout";
/// redb's default is a gigabyte.
const CACHE: usize = 512 * 1024;

/// The store's file, open or to be opened at the next call.
pub(super) struct File {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    open: RwLock<Option<Open>>,
}

struct Open {
    database: Database,
    fault: Fault,
}

impl File {
    pub(super) fn new(disk: Arc<dyn Disk>, path: &Path) -> Self {
        Self { disk, path: path.to_owned(), open: RwLock::default() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file now, to learn whether it can be.
    pub(super) fn open(&self) -> Result<(), StoreError> {
        self.with("be opened", |_| Ok(()))
    }

    /// Renames the file to the first free `<name>.damaged-<n>`, durably, and tells that name.
    pub(super) fn set_aside(&self) -> Result<PathBuf, StoreError> {
        let operation = "be set aside";
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let mut number = 1;
        loop {
            let to = self.path.with_file_name(format!("{name}.damaged-{number}"));
            if self.disk.entry(&to).map_err(|error| self.failed(operation, error))?.is_none() {
                self.disk
                    .rename(&self.path, &to)
                    .and_then(|()| self.disk.sync_folder(self.folder()))
                    .map_err(|error| self.failed(operation, error))?;
                return Ok(to);
            }
            number += 1;
        }
    }

    pub(super) fn load(&self, table: Table, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.with("read", |database| {
            let read = database.begin_read()?;
            match read.open_table(definition(table)) {
                Ok(table) => Ok(table.get(key)?.map(|value| value.value().to_vec())),
                Err(TableError::TableDoesNotExist(_)) => Ok(None),
                Err(error) => Err(error.into()),
            }
        })
    }

    pub(super) fn list(&self, table: Table, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.with("read", |database| {
            let read = database.begin_read()?;
            let table = match read.open_table(definition(table)) {
                Ok(table) => table,
                Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                Err(error) => return Err(error.into()),
            };
            let mut found = Vec::new();
            for entry in table.range(prefix..)? {
                let (key, value) = entry?;
                if !key.value().starts_with(prefix) {
                    break;
                }
                found.push((key.value().to_owned(), value.value().to_vec()));
            }
            Ok(found)
        })
    }

    /// Makes the changes durable in one transaction, or writes nothing when nothing would differ.
    pub(super) fn commit<'a>(&self, changes: impl Iterator<Item = &'a Change>) -> Result<(), StoreError> {
        let mut wanted = BTreeMap::new();
        for change in changes {
            match change {
                Change::Put(table, key, value) => {
                    wanted.insert((*table, key.as_str()), Some(value.as_slice()))
                }
                Change::Remove(table, key) => wanted.insert((*table, key.as_str()), None),
            };
        }
        self.with("write", |database| {
            let read = database.begin_read()?;
            let mut differing = Vec::new();
            for ((table, key), value) in &wanted {
                let same = match read.open_table(definition(*table)) {
                    Ok(table) => table.get(key)?.as_ref().map(redb::AccessGuard::value) == *value,
                    Err(TableError::TableDoesNotExist(_)) => value.is_none(),
                    Err(error) => return Err(error.into()),
                };
                if !same {
                    differing.push((*table, *key, *value));
                }
            }
            drop(read);
            if differing.is_empty() {
                return Ok(());
            }
            let mut write = database.begin_write()?;
            write.set_durability(Durability::Immediate)?;
            for (table, key, value) in differing {
                let mut table = write.open_table(definition(table))?;
                match value {
                    Some(value) => drop(table.insert(key, value)?),
                    None => drop(table.remove(key)?),
                }
            }
            Ok(write.commit()?)
        })
    }

    /// Wraps an error that has nothing to do with redb.
    pub(super) fn failed(&self, operation: &'static str, source: impl Into<BoxError>) -> StoreError {
        StoreError::Failed { path: self.shown(), operation, source: source.into() }
    }

    /// Does the job with the open file; opens it first where it is not. A job that failed closes it,
    /// because redb goes on only with a file that is opened anew.
    fn with<T>(
        &self,
        operation: &'static str,
        job: impl Fn(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        loop {
            let guard = self.open.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(open) = &*guard {
                let error = match caught(|| Ok(job(&open.database)?)) {
                    Ok(value) => return Ok(value),
                    Err(unfit) => self.explain(operation, unfit, &open.fault),
                };
                drop(guard);
                *self.open.write().unwrap_or_else(PoisonError::into_inner) = None;
                return Err(error);
            }
            drop(guard);
            let mut guard = self.open.write().unwrap_or_else(PoisonError::into_inner);
            if guard.is_none() {
                *guard = Some(if self.vacant()? { self.create()? } else { self.open_existing()? });
            }
        }
    }

    fn vacant(&self) -> Result<bool, StoreError> {
        let entry = self.disk.entry(&self.path).map_err(|error| self.failed("be looked for", error))?;
        Ok(matches!(entry, None | Some(Entry::File(0))))
    }

    /// Makes an empty store beside its place and renames it, so that no half of one is ever there.
    fn create(&self) -> Result<Open, StoreError> {
        let operation = "be made";
        let failed = |error| self.failed(operation, error);
        durable::make_folder(&*self.disk, self.folder(), 0o700).map_err(failed)?;
        let new = durable::beside(&self.path);
        let file = self.locked(&new)?;
        if !self.vacant()? {
            // Another process was faster; it holds the lock of the file that is in place now.
            self.disk.remove_file(&new).map_err(failed)?;
            return self.open_existing();
        }
        let fault = Fault::default();
        let database = caught(|| {
            fault.note(file.set_size(0)).map_err(redb::Error::Io)?;
            let database = build(file, &fault)?;
            begin(&database)?;
            Ok(database)
        })
        .map_err(|unfit| self.explain(operation, unfit, &fault))?;
        self.disk
            .rename(&new, &self.path)
            .and_then(|()| self.disk.sync_folder(self.folder()))
            .map_err(failed)?;
        Ok(Open { database, fault })
    }

    fn open_existing(&self) -> Result<Open, StoreError> {
        let file = self.locked(&self.path)?;
        let fault = Fault::default();
        let database = caught(|| {
            let database = build(file, &fault)?;
            check(&database)?;
            Ok(database)
        });
        match database {
            Ok(database) => Ok(Open { database, fault }),
            // The disk failed, so nothing is known of the file.
            Err(unfit) if fault.kind().is_some() => Err(self.explain("be opened", unfit, &fault)),
            Err(unfit) => Err(StoreError::Foreign { path: self.shown(), reason: unfit.reason() }),
        }
    }

    fn locked(&self, path: &Path) -> Result<Box<dyn DiskFile>, StoreError> {
        let failed = |error| self.failed("be opened", error);
        let file = self.disk.open(path, 0o600).map_err(failed)?;
        if file.lock().map_err(failed)? { Ok(file) } else { Err(StoreError::Busy { path: self.shown() }) }
    }

    fn explain(&self, operation: &'static str, unfit: Unfit, fault: &Fault) -> StoreError {
        let source = match unfit {
            Unfit::Redb(error) => BoxError::from(error),
            other => other.reason().into(),
        };
        match fault.kind() {
            Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                StoreError::Full { path: self.shown(), source }
            }
            _ => self.failed(operation, source),
        }
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    fn shown(&self) -> String {
        self.path.display().to_string()
    }
}

impl Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Why a file cannot be used.
enum Unfit {
    Redb(redb::Error),
    Panicked,
    Layout(Option<u64>),
}

impl Unfit {
    fn reason(&self) -> String {
        let what = match self {
            Self::Redb(redb::Error::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
                "it is no redb file"
            }
            Self::Redb(redb::Error::UpgradeRequired(_)) => "its file format is too old",
            Self::Redb(_) | Self::Panicked => "it is damaged",
            Self::Layout(None) => "it is a redb file of another program",
            Self::Layout(Some(layout)) => {
                return format!(
                    "it has layout {layout}, this version reads up to {LAYOUT}: install the later version again, \
                     or move the file away to begin with an empty store"
                );
            }
        };
        format!("{what}: move it away to begin with an empty store")
    }
}

impl<E: Into<redb::Error>> From<E> for Unfit {
    fn from(error: E) -> Self {
        Self::Redb(error.into())
    }
}

/// Runs a job of redb, which may panic over a damaged file.
fn caught<T>(job: impl FnOnce() -> Result<T, Unfit>) -> Result<T, Unfit> {
    // What the job leaves behind is closed, never used again.
    catch_unwind(AssertUnwindSafe(job)).unwrap_or(Err(Unfit::Panicked))
}

fn build(file: Box<dyn DiskFile>, fault: &Fault) -> Result<Database, redb::Error> {
    let backend = Backend { file, fault: fault.clone() };
    Ok(Builder::new().set_cache_size(CACHE).create_with_backend(backend)?)
}

/// Writes the layout and all tables into an empty file.
fn begin(database: &Database) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    write.open_table(META)?.insert(LAYOUT_KEY, LAYOUT.to_le_bytes().as_slice())?;
    for table in Table::ALL {
        write.open_table(definition(table))?;
    }
    Ok(write.commit()?)
}

/// Looks whether the file has a layout that this version reads, and whether all of it can be read: a
/// damaged page must show now, while the file can be set aside.
fn check(database: &Database) -> Result<(), Unfit> {
    let read = database.begin_read()?;
    let layout = match read.open_table(META) {
        Ok(meta) => {
            meta.get(LAYOUT_KEY)?.and_then(|bytes| bytes.value().try_into().ok().map(u64::from_le_bytes))
        }
        Err(TableError::Storage(error)) => return Err(error.into()),
        Err(_) => None,
    };
    if layout != Some(LAYOUT) {
        return Err(Unfit::Layout(layout));
    }
    for table in Table::ALL {
        match read.open_table(definition(table)) {
            Ok(table) => {
                for entry in table.iter()? {
                    entry?;
                }
            }
            Err(TableError::TableDoesNotExist(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

const fn definition(table: Table) -> TableDefinition<'static, &'static str, &'static [u8]> {
    TableDefinition::new(table.name())
}
