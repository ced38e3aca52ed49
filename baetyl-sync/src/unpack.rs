//! Unpacks zip, tar and tgz into a folder that nobody uses yet.
//!
//! Owns the guards: nothing is written outside the folder, whatever the archive says, and no more than the
//! limits allow. Knows nothing of downloads and configurations.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use baetyl_core_lib::durable::{Disk, DiskFile, Entry};

mod format;
mod path;
mod reader;
#[cfg(test)]
mod tests;

pub(crate) use self::format::Format;
use self::reader::{Meter, Reader};

/// How much an archive may unpack to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes in all files together.
    pub(crate) bytes: u64,
    /// Files, folders and links.
    pub(crate) entries: u64,
    /// Bytes that stay free on the disk.
    pub(crate) reserve: u64,
}

/// Why an archive was not unpacked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpackError {
    /// The archive is damaged, or asks for something that is not allowed.
    #[error("{0}")]
    Bad(String),
    /// There is no room for one of its files.
    #[error("unpacking needs {needed} bytes, but only {room} are free")]
    Full { needed: u64, room: u64 },
    /// The disk failed.
    #[error(transparent)]
    Disk(io::Error),
}

impl UnpackError {
    fn entry(name: &str, reason: &str) -> Self {
        Self::Bad(format!("archive entry {name:?} {reason}"))
    }
}

/// Unpacks `archive` into `folder`, which must exist, and makes all of it durable but the folder's own name.
///
/// What an earlier, broken off call left in the folder is overwritten. `taken` are names at the top of the
/// folder that the archive may not have.
pub(crate) fn unpack(
    disk: &dyn Disk,
    archive: Box<dyn DiskFile>,
    format: Format,
    folder: &Path,
    limits: Limits,
    taken: &BTreeSet<String>,
) -> Result<(), UnpackError> {
    let size = archive.size().map_err(UnpackError::Disk)?;
    let broken = Rc::new(Cell::new(false));
    let reader = Reader::new(archive, size, Rc::clone(&broken));
    let meter = Meter::default();
    let mut tree = Tree::new(disk, folder, limits, taken, broken);
    match format {
        Format::Zip => format::zip(reader, &meter, &mut tree)?,
        Format::Tar => format::tar(reader, &meter, &mut tree)?,
        Format::Tgz => format::tgz(reader, &meter, &mut tree)?,
    }
    tree.sync()
}

/// The folder being filled.
struct Tree<'a> {
    disk: &'a dyn Disk,
    root: &'a Path,
    limits: Limits,
    taken: &'a BTreeSet<String>,
    entries: u64,
    bytes: u64,
    /// Folders with names in them that are not durable yet, relative to the root.
    dirty: BTreeSet<PathBuf>,
    broken: Rc<Cell<bool>>,
}

impl<'a> Tree<'a> {
    fn new(
        disk: &'a dyn Disk,
        root: &'a Path,
        limits: Limits,
        taken: &'a BTreeSet<String>,
        broken: Rc<Cell<bool>>,
    ) -> Self {
        let dirty = BTreeSet::from([PathBuf::new()]);
        Self { disk, root, limits, taken, entries: 0, bytes: 0, dirty, broken }
    }

    /// What a failed read means: the archive's fault unless the disk failed below it.
    fn read_failed(&self, name: &str, error: io::Error) -> UnpackError {
        if self.broken.get() {
            UnpackError::Disk(error)
        } else {
            UnpackError::entry(name, &format!("cannot be read: {error}: pack the archive again"))
        }
    }

    /// Counts an entry and gives its place below the root.
    fn admit(&mut self, name: &[u8]) -> Result<(String, PathBuf), UnpackError> {
        let shown = String::from_utf8_lossy(name).into_owned();
        self.entries += 1;
        if self.entries > self.limits.entries {
            let most = self.limits.entries;
            return Err(UnpackError::Bad(format!("archive has more than the {most} entries allowed here")));
        }
        let place = path::inside(name).map_err(|reason| UnpackError::entry(&shown, reason))?;
        if place.iter().next().and_then(|top| top.to_str()).is_some_and(|top| self.taken.contains(top)) {
            return Err(UnpackError::entry(&shown, "has the name of another object of this configuration"));
        }
        Ok((shown, place))
    }

    fn folder(&mut self, name: &[u8]) -> Result<(), UnpackError> {
        let (shown, place) = self.admit(name)?;
        self.make_folders(&shown, &place)
    }

    fn file(
        &mut self,
        name: &[u8],
        mode: u32,
        size: u64,
        contents: &mut dyn Read,
    ) -> Result<(), UnpackError> {
        let (shown, place) = self.admit(name)?;
        self.check_room(size)?;
        let file = self.make_file(&shown, &place, mode)?;
        let mut buffer = vec![0; 64 * 1024];
        let mut offset = 0;
        loop {
            let read = match contents.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.read_failed(&shown, error)),
            };
            self.count(read as u64)?;
            file.write_at(buffer.get(..read).unwrap_or_default(), offset).map_err(UnpackError::Disk)?;
            offset += read as u64;
        }
        if offset != size {
            return Err(UnpackError::entry(
                &shown,
                "does not have the size it tells: pack the archive again",
            ));
        }
        file.sync().map_err(UnpackError::Disk)
    }

    fn link(&mut self, name: &[u8], target: &[u8]) -> Result<(), UnpackError> {
        let (shown, place) = self.admit(name)?;
        let target = path::target(&place, target).map_err(|reason| UnpackError::entry(&shown, reason))?;
        let path = self.clear(&shown, &place)?;
        self.disk.link(&target, &path).map_err(UnpackError::Disk)
    }

    /// A second name for a file is a second file here: a hard link would be changed with its twin.
    fn copy(&mut self, name: &[u8], mode: u32, of: &[u8]) -> Result<(), UnpackError> {
        let (shown, place) = self.admit(name)?;
        let source = path::inside(of).map_err(|reason| UnpackError::entry(&shown, reason))?;
        self.check_parents(&shown, &source)?;
        let source = self.root.join(source);
        let Some(Entry::File(size)) = self.disk.entry(&source).map_err(UnpackError::Disk)? else {
            return Err(UnpackError::entry(&shown, "is a second name of a file that is not in the archive"));
        };
        if source == self.root.join(&place) {
            return Ok(());
        }
        self.check_room(size)?;
        self.count(size)?;
        let from = self.disk.open(&source, 0o600).map_err(UnpackError::Disk)?;
        let to = self.make_file(&shown, &place, mode)?;
        let mut buffer = vec![0; 64 * 1024];
        let mut offset = 0;
        while offset < size {
            let piece = usize::try_from(size - offset).map_or(buffer.len(), |left| left.min(buffer.len()));
            let Some(piece) = buffer.get_mut(..piece) else { break };
            from.read_at(piece, offset).map_err(UnpackError::Disk)?;
            to.write_at(piece, offset).map_err(UnpackError::Disk)?;
            offset += piece.len() as u64;
        }
        to.sync().map_err(UnpackError::Disk)
    }

    /// Makes folders and files durable, the deepest first.
    fn sync(self) -> Result<(), UnpackError> {
        for folder in self.dirty.iter().rev() {
            self.disk.sync_folder(&self.root.join(folder)).map_err(UnpackError::Disk)?;
        }
        Ok(())
    }

    fn check_room(&self, size: u64) -> Result<(), UnpackError> {
        if self.bytes.saturating_add(size) > self.limits.bytes {
            return Err(self.too_large());
        }
        let room = self.disk.room(self.root).map_err(UnpackError::Disk)?;
        let room = room.saturating_sub(self.limits.reserve);
        if size > room { Err(UnpackError::Full { needed: size, room }) } else { Ok(()) }
    }

    fn count(&mut self, bytes: u64) -> Result<(), UnpackError> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.limits.bytes { Err(self.too_large()) } else { Ok(()) }
    }

    fn too_large(&self) -> UnpackError {
        let most = self.limits.bytes;
        UnpackError::Bad(format!("archive unpacks to more than the {most} bytes allowed here"))
    }

    fn make_file(&mut self, shown: &str, place: &Path, mode: u32) -> Result<Box<dyn DiskFile>, UnpackError> {
        let path = self.clear(shown, place)?;
        self.disk.create(&path, (mode & 0o755) | 0o600).map_err(UnpackError::Disk)
    }

    /// Makes way for a file or link at `place`, and gives its path.
    fn clear(&mut self, shown: &str, place: &Path) -> Result<PathBuf, UnpackError> {
        let Some(parent) = place.parent() else {
            return Err(UnpackError::entry(shown, "has no name"));
        };
        self.make_folders(shown, parent)?;
        let path = self.root.join(place);
        match self.disk.entry(&path).map_err(UnpackError::Disk)? {
            None => {}
            Some(Entry::Folder) => return Err(UnpackError::entry(shown, "has the name of a folder")),
            // Never written through: it may be a link.
            Some(_) => self.disk.remove_file(&path).map_err(UnpackError::Disk)?,
        }
        Ok(path)
    }

    fn make_folders(&mut self, shown: &str, place: &Path) -> Result<(), UnpackError> {
        self.check_parents(shown, &place.join("_"))?;
        let path = self.root.join(place);
        if self.disk.entry(&path).map_err(UnpackError::Disk)?.is_none() {
            self.disk.create_folder(&path, 0o755).map_err(UnpackError::Disk)?;
        }
        self.dirty.extend(place.ancestors().map(Path::to_owned));
        Ok(())
    }

    /// Whether all folders on the way to `place` are folders, or not there yet. A link among them could
    /// lead outside.
    fn check_parents(&self, shown: &str, place: &Path) -> Result<(), UnpackError> {
        for above in place.ancestors().skip(1) {
            match self.disk.entry(&self.root.join(above)).map_err(UnpackError::Disk)? {
                None | Some(Entry::Folder) => {}
                Some(Entry::Link) => return Err(UnpackError::entry(shown, "lies behind a link")),
                Some(_) => return Err(UnpackError::entry(shown, "lies below a file")),
            }
        }
        Ok(())
    }
}
