//! The one way a file is made durable: write beside it, fsync, rename, fsync the folder.
//!
//! [`Disk`] is the seam through which everything that must survive a power cut is written: activation,
//! objects, unpacking, the store (redb's pages too), and the supervisor's files. Its calls block; run
//! them as blocking work ([`crate::task::blocking`]).

use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};

mod os;

pub use self::os::OsDisk;

/// What lies at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// A file of this many bytes.
    File(u64),
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// Something else: a socket, a device.
    Other,
}

/// An open file.
pub trait DiskFile: Debug + Send + Sync {
    /// Its length in bytes.
    ///
    /// # Errors
    /// Those of the operating system; so for all methods.
    fn size(&self) -> io::Result<u64>;
    /// Reads exactly `buffer.len()` bytes from `offset`.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`, growing the file where needed.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Cuts or grows the file; what is new is zero. Takes the room for it where the file system can.
    fn set_size(&self, size: u64) -> io::Result<()>;
    /// Makes what was written survive a power cut. The name survives only with [`Disk::sync_folder`].
    fn sync(&self) -> io::Result<()>;
    /// Takes the file for this handle alone, until it is dropped or the process ends. Returns whether it
    /// could be had: `false` when another handle, of this process or another, has it. Disks that only one
    /// program ever sees may always say `true`.
    fn lock(&self) -> io::Result<bool> {
        Ok(true)
    }
}

/// Files and folders, as a seam: the operating system, or a disk in memory that can be cut off at any
/// call and then has only what was synced.
pub trait Disk: Debug + Send + Sync {
    /// Reads a whole file.
    ///
    /// # Errors
    /// Those of the operating system, `NotFound` when it is not there; so for all methods.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Makes a new empty file, or empties the one that is there, with these permission bits.
    fn create(&self, path: &Path, mode: u32) -> io::Result<Box<dyn DiskFile>>;
    /// Opens a file for reading and writing; makes it with these permission bits when it is not there.
    fn open(&self, path: &Path, mode: u32) -> io::Result<Box<dyn DiskFile>>;
    /// Opens a file for reading alone: a program that runs can be opened in no other way.
    fn open_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.open(path, 0o600)
    }
    /// Renames, replacing what is there. Durable only after [`Disk::sync_folder`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes the names in a folder survive a power cut.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Makes a folder and all above it; being there already is fine.
    fn create_folder(&self, folder: &Path, mode: u32) -> io::Result<()>;
    /// Makes a symbolic link.
    fn link(&self, target: &Path, path: &Path) -> io::Result<()>;
    /// Gives a file a second name on the same disk. Disks that cannot say `Unsupported`.
    fn share(&self, file: &Path, path: &Path) -> io::Result<()> {
        let (_, _) = (file, path);
        Err(io::ErrorKind::Unsupported.into())
    }
    /// What lies at a path, without following links; `None` when nothing does.
    fn entry(&self, path: &Path) -> io::Result<Option<Entry>>;
    /// The names in a folder, sorted.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;
    /// Removes a file or link; being gone already is fine.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a folder with all below it, without following links; being gone already is fine.
    fn remove_folder(&self, folder: &Path) -> io::Result<()>;
    /// Bytes that may still be written below this path.
    fn room(&self, path: &Path) -> io::Result<u64>;
}

/// Makes a folder and all above it, so that the names of those that were missing survive a power cut.
///
/// # Errors
/// Those of the disk. Some of the folders may then be there.
pub fn make_folder(disk: &dyn Disk, folder: &Path, mode: u32) -> io::Result<()> {
    if folder.as_os_str().is_empty() || disk.entry(folder)?.is_some() {
        return Ok(());
    }
    let above = folder.parent().unwrap_or(Path::new("/"));
    make_folder(disk, above, mode)?;
    disk.create_folder(folder, mode)?;
    disk.sync_folder(above)
}

/// The name of the file that [`replace`] writes beside `path`.
pub fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".baetyl-new");
    path.with_file_name(name)
}

/// Puts `bytes` at `path` so that a power cut at any point leaves the old file or the new one, whole.
///
/// # Errors
/// Those of the disk. The old file is then still there.
pub fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let new = beside(path);
    let file = disk.create(&new, mode)?;
    let written = file.write_at(bytes, 0).and_then(|()| file.sync());
    drop(file);
    if let Err(error) = written {
        // What could not be written must not eat the room that the next try needs.
        drop(disk.remove_file(&new));
        return Err(error);
    }
    disk.rename(&new, path)?;
    disk.sync_folder(path.parent().unwrap_or(Path::new(".")))
}

/// As [`replace`], unless the file already holds `bytes`. Returns whether it wrote.
///
/// # Errors
/// Those of the disk. The old file is then still there.
pub fn replace_if_changed(disk: &dyn Disk, path: &Path, bytes: &[u8], mode: u32) -> io::Result<bool> {
    match disk.read(path) {
        Ok(old) if old == bytes => return Ok(false),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    replace(disk, path, bytes, mode)?;
    Ok(true)
}
