//! The steps on the disk from a downloaded part to a whole folder.
//!
//! Each step is durable before the next begins, and each may be repeated: after a crash at any point the
//! next call goes on from what is there.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use baetyl_core_lib::durable::{self, Disk, Entry};
use baetyl_core_lib::object::ObjectError;

use super::layout::{Item, Layout, Site};
use super::twin;
use super::work::Work;
use crate::unpack::{self, Format, Limits, UnpackError};

/// How far an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It is to be downloaded, or the rest of it.
    Absent,
    /// The archive is here and has the right digest.
    Downloaded,
    /// Its files lie in the tree.
    Placed,
}

/// Whether the version's folder is there, made of what `plan` tells.
pub(super) async fn is_whole(
    work: &Work,
    site: &Site,
    layout: &Layout,
    plan: &[u8],
) -> Result<bool, ObjectError> {
    let (layout, plan) = (layout.clone(), plan.to_vec());
    work.disk(site, move |disk| {
        let whole = holds(disk, &layout.marker(), &plan)?;
        if whole {
            clean_up(disk, &layout);
        }
        Ok(whole)
    })
    .await
}

/// Makes the stage, unless an earlier call left one for the same plan.
pub(super) async fn prepare(
    work: &Work,
    site: &Site,
    layout: &Layout,
    plan: &[u8],
) -> Result<(), ObjectError> {
    let (layout, plan) = (layout.clone(), plan.to_vec());
    work.disk(site, move |disk| {
        if !holds(disk, &layout.plan(), &plan)? {
            discard(disk, &layout)?;
            disk.create_folder(&layout.stage, 0o755)?;
            durable::replace(disk, &layout.plan(), &plan, 0o644)?;
        }
        disk.create_folder(&layout.tree(), 0o755)?;
        sync_up(disk, &layout)
    })
    .await
}

pub(super) async fn state(work: &Work, layout: &Layout, item: &Item) -> Result<State, ObjectError> {
    let (layout, item) = (layout.clone(), item.clone());
    let site = item.site.clone();
    work.disk(&site, move |disk| {
        let (placed, downloaded) = match item.format {
            Some(_) => (layout.unpacked(&item), Some(layout.archive(&item))),
            None => (layout.file(&item), None),
        };
        if disk.entry(&placed)?.is_some() {
            return Ok(State::Placed);
        }
        match downloaded.map(|path| disk.entry(&path)).transpose()?.flatten() {
            Some(_) => Ok(State::Downloaded),
            None => Ok(State::Absent),
        }
    })
    .await
}

/// Takes over a part that is whole, durable and has the right digest.
pub(super) async fn keep(work: &Work, layout: &Layout, item: &Item) -> Result<(), ObjectError> {
    let (layout, item) = (layout.clone(), item.clone());
    let site = item.site.clone();
    work.disk(&site, move |disk| {
        let part = layout.part(&item);
        if item.format.is_some() {
            disk.rename(&part, &layout.archive(&item))?;
            return disk.sync_folder(&layout.stage);
        }
        disk.rename(&part, &layout.file(&item))?;
        disk.sync_folder(&layout.tree())
    })
    .await
}

/// Unpacks an archive into the tree. The archive stays until all is whole.
pub(super) async fn unpack(
    work: &Work,
    layout: &Layout,
    items: &[Item],
    item: &Item,
    format: Format,
    limits: Limits,
) -> Result<(), ObjectError> {
    let files = items.iter().filter(|item| item.format.is_none());
    let taken: BTreeSet<String> = files.map(|item| item.file.clone()).collect();
    let done: Vec<_> = items.iter().map(|item| layout.unpacked(item)).collect();
    let (site, layout, item) = (item.site.clone(), layout.clone(), item.clone());
    let job = move |disk: &dyn Disk| -> Result<(), UnpackError> {
        let path = layout.archive(&item);
        let archive = disk.open(&path, 0o644).map_err(UnpackError::Disk)?;
        let unpacked = unpack::unpack(disk, archive, format, &layout.tree(), limits, &taken);
        if let Err(error) = unpacked {
            // Half a tree must not eat the room that others need. The archives stay for the next try, but
            // for the one that is to blame.
            let cleared = clear_tree(disk, &layout, &done);
            let cleared = match error {
                UnpackError::Bad(_) => cleared.and_then(|()| disk.remove_file(&path)),
                _ => cleared,
            };
            if let Err(error) = cleared {
                tracing::warn!(%error, "what was half unpacked could not be removed");
            }
            return Err(error);
        }
        mark(disk, &layout, &item).map_err(UnpackError::Disk)
    };
    let result = work.run(job).await.map_err(|error| site.disk(error))?;
    result.map_err(|error| match error {
        UnpackError::Bad(reason) => site.invalid(reason),
        UnpackError::Full { needed, room } => site.full(needed, room),
        UnpackError::Disk(error) if error.kind() == io::ErrorKind::StorageFull => site.full(1, 0),
        UnpackError::Disk(error) => site.disk(error),
    })
}

/// Puts the tree in its place.
pub(super) async fn finish(
    work: &Work,
    site: &Site,
    layout: &Layout,
    plan: Vec<u8>,
    twin: Option<PathBuf>,
) -> Result<(), ObjectError> {
    let layout = layout.clone();
    work.disk(site, move |disk| {
        if let Some(twin) = twin
            && let Err(error) = twin::share(disk, &twin, &layout.tree())
        {
            // It only saves room: another disk, or one that knows no second names.
            tracing::debug!(%error, "the running program is not shared");
        }
        durable::replace(disk, &layout.tree_marker(), &plan, 0o644)?;
        if disk.entry(&layout.whole)?.is_some() {
            // Of another plan, or of the original agent, which leaves no marker.
            disk.remove_folder(&layout.old)?;
            disk.rename(&layout.whole, &layout.old)?;
        }
        disk.rename(&layout.tree(), &layout.whole)?;
        disk.sync_folder(&layout.config)?;
        clean_up(disk, &layout);
        Ok(())
    })
    .await
}

/// Removes the version's folder and all that was made for it.
pub(super) async fn remove(work: &Work, site: &Site, layout: &Layout) -> Result<(), ObjectError> {
    let layout = layout.clone();
    work.disk(site, move |disk| {
        discard(disk, &layout)?;
        if disk.entry(&layout.whole)?.is_some() {
            // At once: a folder that is half removed must not look whole.
            disk.rename(&layout.whole, &layout.old)?;
            disk.sync_folder(&layout.config)?;
        }
        disk.remove_folder(&layout.old)
    })
    .await
}

/// Removes what building left behind. What is whole may be used even where this fails; the next call tries
/// again.
fn clean_up(disk: &dyn Disk, layout: &Layout) {
    if let Err(error) = discard(disk, layout) {
        tracing::warn!(folder = %layout.stage.display(), %error, "what building objects left behind stays");
    }
}

/// Removes the stage, and a folder that was in the way. The plan goes first: without it nothing in a stage
/// counts.
fn discard(disk: &dyn Disk, layout: &Layout) -> io::Result<()> {
    if disk.entry(&layout.stage)?.is_some() {
        disk.remove_file(&layout.plan())?;
        disk.sync_folder(&layout.stage)?;
        disk.remove_folder(&layout.stage)?;
    }
    disk.remove_folder(&layout.old)
}

/// Tells that an archive lies in the tree.
fn mark(disk: &dyn Disk, layout: &Layout, item: &Item) -> io::Result<()> {
    drop(disk.create(&layout.unpacked(item), 0o644)?);
    disk.sync_folder(&layout.stage)
}

/// Empties the tree; first of all nothing counts as placed in it.
fn clear_tree(disk: &dyn Disk, layout: &Layout, done: &[PathBuf]) -> io::Result<()> {
    for path in done {
        disk.remove_file(path)?;
    }
    disk.sync_folder(&layout.stage)?;
    disk.remove_folder(&layout.tree())?;
    disk.create_folder(&layout.tree(), 0o755)
}

/// Makes the names of the folders above the tree durable: they may all be new.
fn sync_up(disk: &dyn Disk, layout: &Layout) -> io::Result<()> {
    disk.sync_folder(&layout.stage)?;
    for above in layout.stage.ancestors().skip(1).take(3) {
        if !above.as_os_str().is_empty() {
            disk.sync_folder(above)?;
        }
    }
    Ok(())
}

fn holds(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<bool> {
    match disk.entry(path)? {
        Some(Entry::File(_)) => Ok(disk.read(path)? == bytes),
        _ => Ok(false),
    }
}
