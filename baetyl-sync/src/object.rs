//! Files of configurations' objects: downloaded, checked, unpacked, and there whole or not at all
//! (edge.md 5.9).
//!
//! Owns the folder of objects. Everything outside comes through seams: bytes through [`Source`], files
//! through `Disk` and `Blocking`, what was made through `Store`. Knows no engine and no link.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use baetyl_core_lib::clock::Random;
use baetyl_core_lib::durable::Disk;
use baetyl_core_lib::object::{ObjectError, ObjectSource, OnProgress};
use baetyl_core_lib::spec::Configuration;
use baetyl_core_lib::spec::application::ResourceRef;
use baetyl_core_lib::store::{Change, Store, Table};
use baetyl_core_lib::task::Blocking;
use tokio::sync::Mutex as Lock;
use tokio::time::timeout;

#[cfg(test)]
mod crash;
mod fetch;
mod http;
mod layout;
mod pace;
mod part;
mod source;
mod stage;
#[cfg(test)]
mod tests;
mod twin;
mod work;

pub use self::http::{HttpConfig, HttpSource, SourceError};
pub use self::source::{Answer, Ask, Body, Source};

use self::fetch::Fetch;
use self::layout::{Item, Layout, Site};
use self::pace::Pace;
use self::work::Work;
use crate::unpack::Limits;

/// The prefix of the keys under which the store holds what was made here.
const MADE: &str = "object/";

/// Where objects go, and how much is allowed.
#[derive(Debug, Clone)]
pub struct ObjectConfig {
    /// The folder of objects: absolute, `<lib>/object` as applications see it. The folder above it exists.
    pub folder: PathBuf,
    /// What addresses that do not start with `http` are relative to.
    pub address: Option<String>,
    /// Which objects of a program are for this node: those with this in their key, as `linux-amd64`.
    pub platform: Option<String>,
    /// Bytes that one object may have.
    pub max_size: u64,
    /// Bytes that one archive may unpack to.
    pub max_unpacked: u64,
    /// Files, folders and links that one archive may have.
    pub max_entries: u64,
    /// Bytes a second that all downloads together may take; `None` for as fast as it goes.
    pub bandwidth: Option<u64>,
    /// How long one call may download one object. What came is used by the next call.
    pub timeout: Duration,
    /// Bytes of the disk that are left free for others.
    pub reserve: u64,
    /// The program that runs already: a file that turns out to be the very same becomes a second name of it,
    /// so that it lies on the disk and in memory once.
    pub twin: Option<PathBuf>,
}

impl ObjectConfig {
    /// Objects in `folder`, with the usual limits: 4 GiB for an object, 8 GiB and 100 000 entries for what
    /// it unpacks to, 30 minutes, and 16 MiB left free.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        const GIB: u64 = 1024 * 1024 * 1024;
        Self {
            folder: folder.into(),
            address: None,
            platform: None,
            max_size: 4 * GIB,
            max_unpacked: 8 * GIB,
            max_entries: 100_000,
            bandwidth: None,
            timeout: Duration::from_secs(30 * 60),
            reserve: 16 * 1024 * 1024,
            twin: None,
        }
    }
}

/// The locks of the folders in use, by name and version.
type Locks = BTreeMap<(String, String), Weak<Lock<()>>>;

/// The objects of configurations, in a folder.
///
/// ```no_run
/// use std::sync::Arc;
///
/// use baetyl_core_lib::clock::{Clock, Random};
/// use baetyl_core_lib::durable::OsDisk;
/// use baetyl_core_lib::identity::Identity;
/// use baetyl_core_lib::object::{ObjectError, ObjectSource};
/// use baetyl_core_lib::spec::Configuration;
/// use baetyl_core_lib::store::Store;
/// use baetyl_core_lib::task::Pool;
/// use baetyl_sync::object::{HttpConfig, HttpSource, ObjectConfig, Objects};
///
/// # async fn fetch(
/// #     identity: Arc<dyn Identity>, clock: Arc<dyn Clock>, store: Arc<dyn Store>, random: Arc<dyn Random>,
/// #     config: &Configuration,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// let own = vec!["https://cloud:9005".to_owned()];
/// let source = HttpSource::try_new(&HttpConfig { own, ..HttpConfig::default() }, Some(identity), clock)?;
/// let limits = ObjectConfig { bandwidth: Some(500_000), ..ObjectConfig::new("/var/lib/baetyl/object") };
/// let (disk, pool) = (Arc::new(OsDisk), Arc::new(Pool::new(2)));
/// let objects = Objects::new(limits, Arc::new(source), disk, pool, store, random);
/// let folder = objects.ensure(config, Arc::new(|progress| drop(progress.done))).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Objects {
    config: ObjectConfig,
    source: Arc<dyn Source>,
    disk: Arc<dyn Disk>,
    pool: Arc<dyn Blocking>,
    store: Arc<dyn Store>,
    random: Arc<dyn Random>,
    pace: Pace,
    locks: Mutex<Locks>,
}

impl Objects {
    /// Objects from `source`. `store` remembers what was made, and so may be removed again.
    pub fn new(
        config: ObjectConfig,
        source: Arc<dyn Source>,
        disk: Arc<dyn Disk>,
        pool: Arc<dyn Blocking>,
        store: Arc<dyn Store>,
        random: Arc<dyn Random>,
    ) -> Self {
        let pace = Pace::new(config.bandwidth);
        Self { config, source, disk, pool, store, random, pace, locks: Mutex::default() }
    }

    /// The lock of one version's folder.
    fn lock(&self, name: &str, version: &str) -> Arc<Lock<()>> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.retain(|_, lock| lock.strong_count() > 0);
        let slot = locks.entry((name.to_owned(), version.to_owned())).or_default();
        slot.upgrade().unwrap_or_else(|| {
            let lock = Arc::default();
            *slot = Arc::downgrade(&lock);
            lock
        })
    }

    fn work(&self, held: tokio::sync::OwnedMutexGuard<()>) -> Work {
        Work { disk: Arc::clone(&self.disk), pool: Arc::clone(&self.pool), held: Arc::new(held) }
    }

    const fn limits(&self) -> Limits {
        Limits {
            bytes: self.config.max_unpacked,
            entries: self.config.max_entries,
            reserve: self.config.reserve,
        }
    }

    async fn commit(&self, site: &Site, change: Change) -> Result<(), ObjectError> {
        self.store.commit(vec![change]).await.map_err(|error| site.disk(error))
    }

    /// Brings one object into the tree, unless it is there.
    async fn place(
        &self,
        work: &Work,
        layout: &Layout,
        items: &[Item],
        item: &Item,
        progress: &OnProgress,
    ) -> Result<(), ObjectError> {
        let state = stage::state(work, layout, item).await?;
        if state == stage::State::Placed {
            return Ok(());
        }
        if state == stage::State::Absent {
            let fetch = Fetch {
                source: &*self.source,
                random: &*self.random,
                pace: &self.pace,
                work,
                item,
                part: layout.part(item),
                max_size: self.config.max_size,
                reserve: self.config.reserve,
                progress,
            };
            let limit = self.config.timeout;
            timeout(limit, Box::pin(fetch.run())).await.map_err(|_| {
                item.site.unreachable(format!("it took longer than {} s", limit.as_secs()).into())
            })??;
            stage::keep(work, layout, item).await?;
        }
        match item.format {
            Some(format) => stage::unpack(work, layout, items, item, format, self.limits()).await,
            None => Ok(()),
        }
    }

    async fn remove(&self, name: &str, version: &str) -> Result<(), ObjectError> {
        let Ok(held) = self.lock(name, version).try_lock_owned() else {
            // Somebody works on it; it is still recorded, and the next call comes by.
            return Ok(());
        };
        let (site, layout) = (Site::new(name, ""), Layout::new(&self.config.folder, name, version)?);
        stage::remove(&self.work(held), &site, &layout).await?;
        self.commit(&site, Change::Remove(Table::Made, made(name, version))).await
    }
}

#[async_trait]
impl ObjectSource for Objects {
    async fn ensure(&self, config: &Configuration, progress: OnProgress) -> Result<PathBuf, ObjectError> {
        let site = Site::new(&config.name, "");
        let layout = Layout::new(&self.config.folder, &config.name, &config.version)?;
        let items = layout::items(config, self.config.address.as_deref(), self.config.platform.as_deref())?;
        let plan = layout::plan(&items);
        let work = self.work(self.lock(&config.name, &config.version).lock_owned().await);
        if stage::is_whole(&work, &site, &layout, &plan).await? {
            return Ok(layout.whole);
        }
        // Before the first file: whoever deletes, deletes only what is recorded.
        self.commit(&site, Change::Put(Table::Made, made(&config.name, &config.version), Vec::new())).await?;
        stage::prepare(&work, &site, &layout, &plan).await?;
        for item in &items {
            self.place(&work, &layout, &items, item, &progress).await?;
        }
        stage::finish(&work, &site, &layout, plan, self.config.twin.clone()).await?;
        Ok(layout.whole)
    }

    async fn retain(&self, keep: &BTreeSet<ResourceRef>) -> Result<(), ObjectError> {
        let made = self.store.list(Table::Made, MADE).await.map_err(|error| Site::new("", "").disk(error))?;
        let keep: BTreeSet<_> = keep.iter().map(|kept| (kept.name.as_str(), kept.version.as_str())).collect();
        let mut result = Ok(());
        for (key, _) in &made {
            let named = key.strip_prefix(MADE).and_then(|rest| rest.split_once('/'));
            let Some((name, version)) = named else { continue };
            if !keep.contains(&(name, version)) {
                result = result.and(self.remove(name, version).await);
            }
        }
        result
    }
}

fn made(name: &str, version: &str) -> String {
    format!("{MADE}{name}/{version}")
}
