//! A disk in memory that can be cut off at any call and then has only what was synced.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::durable::{Disk, DiskFile, Entry};

mod state;

use self::state::{Node, Pending, State};

/// What a power cut does to that which was written but not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tear {
    /// All of it is lost.
    Lost,
    /// All of it is there, even the call at which the power was cut.
    Kept,
    /// Each name is there or not and each sector of 512 bytes is old or new, by this seed.
    Torn(u32),
}

/// A call that changes the disk or makes a change durable.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Call {
    /// A file was made or emptied.
    Create(PathBuf),
    /// Bytes were written.
    Write {
        /// The file, as it was named when it was opened.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// How many.
        length: u64,
    },
    /// A file was cut or grown.
    Resize {
        /// The file, as it was named when it was opened.
        path: PathBuf,
        /// Its new size.
        size: u64,
    },
    /// A file's content was made durable.
    Sync(PathBuf),
    /// Something was renamed.
    Rename {
        /// Its old name.
        from: PathBuf,
        /// Its new name.
        to: PathBuf,
    },
    /// The names in a folder were made durable.
    SyncFolder(PathBuf),
    /// A folder was made, with those above it that were missing.
    CreateFolder(PathBuf),
    /// A symbolic link was made.
    Link {
        /// What it names.
        target: PathBuf,
        /// Where it lies.
        path: PathBuf,
    },
    /// A file or link was removed.
    RemoveFile(PathBuf),
    /// A folder was removed with all below it.
    RemoveFolder(PathBuf),
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(path) => write!(f, "create {}", path.display()),
            Self::Write { path, offset, length } => write!(f, "write {} {offset}+{length}", path.display()),
            Self::Resize { path, size } => write!(f, "resize {} {size}", path.display()),
            Self::Sync(path) => write!(f, "sync {}", path.display()),
            Self::Rename { from, to } => write!(f, "rename {} {}", from.display(), to.display()),
            Self::SyncFolder(path) => write!(f, "sync-folder {}", path.display()),
            Self::CreateFolder(path) => write!(f, "create-folder {}", path.display()),
            Self::Link { target, path } => write!(f, "link {} {}", target.display(), path.display()),
            Self::RemoveFile(path) => write!(f, "remove-file {}", path.display()),
            Self::RemoveFolder(path) => write!(f, "remove-folder {}", path.display()),
        }
    }
}

/// A disk in memory. Clones are the same disk.
///
/// It is as strict as POSIX allows: content survives a cut only when the file was synced, a name only when
/// its folder was, and so for every folder above it. A rename is never torn in two.
///
/// ```
/// use std::path::Path;
/// use baetyl_core_lib::durable::{self, Disk};
/// use baetyl_core_lib::testing::{MemoryDisk, Tear};
///
/// let file = Path::new("/file");
/// let disk = MemoryDisk::new();
/// durable::replace(&disk, file, b"old", 0o600).unwrap();
/// let calls = disk.calls();
/// durable::replace(&disk, file, b"new", 0o600).unwrap();
/// let trace: Vec<_> = disk.trace()[calls..].iter().map(ToString::to_string).collect();
/// assert_eq!(trace, [
///     "create /file.baetyl-new", "write /file.baetyl-new 0+3", "sync /file.baetyl-new",
///     "rename /file.baetyl-new /file", "sync-folder /",
/// ]);
/// assert_eq!(disk.crash(Tear::Lost).read(file).unwrap(), b"new");
/// ```
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
}

impl MemoryDisk {
    /// An empty disk with as much room as it takes.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty disk that holds this many bytes of file content.
    pub fn with_size(bytes: u64) -> Self {
        let disk = Self::default();
        disk.resize(bytes);
        disk
    }

    /// Makes the disk larger or smaller. What no longer fits stays; nothing more can be written then.
    pub fn resize(&self, bytes: u64) {
        self.lock().size = bytes;
    }

    /// All calls so far that changed the disk or synced, oldest first.
    pub fn trace(&self) -> Vec<Call> {
        self.lock().trace.clone()
    }

    /// How many such calls there were.
    pub fn calls(&self) -> usize {
        self.lock().trace.len()
    }

    /// Cuts the power at call `number`, counted from 0 as in [`MemoryDisk::trace`]: that one and all later
    /// ones fail, reads too. What it wrote counts as written and not synced; what it was to sync is not.
    pub fn cut_at(&self, number: usize) {
        self.lock().cut = Some(number);
    }

    /// Whether the power was cut.
    pub fn is_cut(&self) -> bool {
        self.lock().off
    }

    /// Makes call `number` alone fail with this error and change nothing.
    pub fn fail_at(&self, number: usize, kind: ErrorKind) {
        self.lock().fault = Some((number, kind));
    }

    /// The disk as a power cut at this moment leaves it: another disk, with power, the same size and an
    /// empty trace. Open files stay with the old one.
    #[must_use]
    pub fn crash(&self, tear: Tear) -> Self {
        Self { state: Arc::new(Mutex::new(self.lock().crash(tear))) }
    }

    /// The permission bits that a file or folder was made with.
    pub fn mode(&self, path: &Path) -> Option<u32> {
        let state = self.lock();
        match state.nodes.get(&state.walk(path, true).ok()?)? {
            Node::File { mode, .. } | Node::Folder { mode, .. } => Some(*mode),
            Node::Link(_) => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that failed may have poisoned it; the others go on.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, id: u64, path: &Path) -> Box<dyn DiskFile> {
        let disk = self.clone();
        Box::new(MemoryFile { disk, id, path: path.to_owned(), holds: AtomicBool::new(false) })
    }
}

impl Disk for MemoryDisk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = self.lock();
        state.powered()?;
        let id = state.walk(path, true)?;
        Ok(state.content(id)?.to_vec())
    }

    fn create(&self, path: &Path, mode: u32) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.lock();
        let cut = state.call(Call::Create(path.to_owned()))?;
        let id = match state.walk(path, true) {
            Ok(id) => {
                state.write(id, Pending::Size(0))?;
                id
            }
            Err(error) if error.kind() == ErrorKind::NotFound => state.add(path, Node::file(mode))?,
            Err(error) => return Err(error),
        };
        cut.done(self.file(id, path))
    }

    fn open(&self, path: &Path, mode: u32) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.lock();
        state.powered()?;
        match state.walk(path, true) {
            Ok(id) => {
                state.content(id)?;
                Ok(self.file(id, path))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let cut = state.call(Call::Create(path.to_owned()))?;
                let id = state.add(path, Node::file(mode))?;
                cut.done(self.file(id, path))
            }
            Err(error) => Err(error),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        let cut = state.call(Call::Rename { from: from.to_owned(), to: to.to_owned() })?;
        let id = state.walk(from, false)?;
        match state.walk(to, false).ok().and_then(|old| state.nodes.get(&old)) {
            Some(Node::Folder { names, .. }) if !names.is_empty() => {
                return Err(ErrorKind::DirectoryNotEmpty.into());
            }
            Some(Node::Folder { .. }) if !matches!(state.nodes.get(&id), Some(Node::Folder { .. })) => {
                return Err(ErrorKind::IsADirectory.into());
            }
            _ => {}
        }
        let (old, new) = (state.place(from)?, state.place(to)?);
        if old != new {
            state.name(vec![(old.0, old.1, None), (new.0, new.1, Some(id))])?;
        }
        cut.done(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.lock();
        let cut = state.call(Call::SyncFolder(folder.to_owned()))?;
        let id = state.walk(folder, true)?;
        state.names(id)?;
        if !cut.0 {
            state.sync_names(id);
        }
        cut.done(())
    }

    fn create_folder(&self, folder: &Path, mode: u32) -> io::Result<()> {
        let mut state = self.lock();
        state.powered()?;
        if let Ok(id) = state.walk(folder, true) {
            return state.names(id).map(drop);
        }
        let cut = state.call(Call::CreateFolder(folder.to_owned()))?;
        let mut above: VecDeque<&Path> = folder.ancestors().collect();
        while let Some(path) = above.pop_back() {
            match state.walk(path, true) {
                Ok(id) => drop(state.names(id)?),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    state.add(path, Node::folder(mode))?;
                }
                Err(error) => return Err(error),
            }
        }
        cut.done(())
    }

    fn link(&self, target: &Path, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        let cut = state.call(Call::Link { target: target.to_owned(), path: path.to_owned() })?;
        if state.walk(path, false).is_ok() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        state.add(path, Node::Link(target.to_owned()))?;
        cut.done(())
    }

    fn entry(&self, path: &Path) -> io::Result<Option<Entry>> {
        let state = self.lock();
        state.powered()?;
        match state.walk(path, false) {
            Ok(id) => Ok(state.nodes.get(&id).map(|node| match node {
                Node::File { data, .. } => Entry::File(data.len() as u64),
                Node::Folder { .. } => Entry::Folder,
                Node::Link(_) => Entry::Link,
            })),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let state = self.lock();
        state.powered()?;
        let names = state.names(state.walk(folder, true)?)?;
        Ok(names.keys().map(|name| name.to_string_lossy().into_owned()).collect())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.powered()?;
        match state.walk(path, false) {
            Ok(id) if state.names(id).is_ok() => return Err(ErrorKind::IsADirectory.into()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        }
        let cut = state.call(Call::RemoveFile(path.to_owned()))?;
        let (folder, name) = state.place(path)?;
        state.name(vec![(folder, name, None)])?;
        cut.done(())
    }

    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.powered()?;
        let id = match state.walk(folder, false) {
            Ok(id) => id,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        if !matches!(state.nodes.get(&id), Some(Node::Link(_))) {
            state.names(id)?;
        }
        let cut = state.call(Call::RemoveFolder(folder.to_owned()))?;
        // One by one and from below, as the operating system does it.
        for (folder, name) in state.below(id) {
            state.name(vec![(folder, name, None)])?;
        }
        let (above, name) = state.place(folder)?;
        state.name(vec![(above, name, None)])?;
        cut.done(())
    }

    fn room(&self, _: &Path) -> io::Result<u64> {
        let state = self.lock();
        state.powered()?;
        Ok(state.room())
    }
}

/// An open file of a [`MemoryDisk`].
#[derive(Debug)]
struct MemoryFile {
    disk: MemoryDisk,
    id: u64,
    path: PathBuf,
    holds: AtomicBool,
}

impl DiskFile for MemoryFile {
    fn size(&self) -> io::Result<u64> {
        let state = self.disk.lock();
        state.powered()?;
        Ok(state.content(self.id)?.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.disk.lock();
        state.powered()?;
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = state
            .content(self.id)?
            .get(from..from.saturating_add(buffer.len()))
            .ok_or(ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        let length = bytes.len() as u64;
        let cut = state.call(Call::Write { path: self.path.clone(), offset, length })?;
        state.write(self.id, Pending::Bytes(offset, bytes.to_vec()))?;
        cut.done(())
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        let cut = state.call(Call::Resize { path: self.path.clone(), size })?;
        state.write(self.id, Pending::Size(size))?;
        cut.done(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.lock();
        let cut = state.call(Call::Sync(self.path.clone()))?;
        if !cut.0 {
            state.sync(self.id);
        }
        cut.done(())
    }

    fn lock(&self) -> io::Result<bool> {
        let mut state = self.disk.lock();
        state.powered()?;
        let had = self.holds.load(Ordering::Relaxed) || state.take(self.id);
        self.holds.store(had, Ordering::Relaxed);
        Ok(had)
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        if self.holds.load(Ordering::Relaxed) {
            self.disk.lock().give(self.id);
        }
    }
}

/// A name in a folder.
type Place = (u64, OsString);

#[cfg(test)]
mod tests;
