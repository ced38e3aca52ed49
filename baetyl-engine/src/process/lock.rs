//! A folder as a lock: held by an open file, so it is free at once when the holder dies, however it dies.
//! There is no lock file that somebody could remove.

use std::fs::{File, TryLockError};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread;
use std::time::Duration;

use baetyl_core_lib::durable::Disk;

/// A held lock; given to a child process, it is held as long as that lives.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Lock {
    /// Takes the lock of a folder; `None` when somebody has it.
    pub(crate) fn take(folder: &Path) -> io::Result<Option<Self>> {
        let file = File::open(folder)?;
        for _ in 0..5 {
            match file.try_lock() {
                Ok(()) => return Ok(Some(Self(file))),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // A look from elsewhere holds it for a moment only.
            thread::sleep(Duration::from_millis(1));
        }
        Ok(None)
    }

    /// Waits for the lock of a folder. For locks that are held for moments only.
    pub(crate) fn wait(folder: &Path) -> io::Result<Self> {
        let file = File::open(folder)?;
        file.lock()?;
        Ok(Self(file))
    }

    /// Makes a folder where there is none and waits for its lock; the folder that is locked is the one that
    /// is there, even when somebody removed another one meanwhile.
    pub(crate) fn wait_in_place(disk: &dyn Disk, folder: &Path) -> io::Result<Self> {
        loop {
            disk.create_folder(folder, 0o755)?;
            match Self::wait(folder) {
                Ok(lock) if is_same(&lock.0, folder)? => return Ok(lock),
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// Takes the lock through a file that was passed on, when that is this folder.
    pub(crate) fn adopt(passed: OwnedFd, folder: &Path) -> io::Result<Option<Self>> {
        let file = File::from(passed);
        if !is_same(&file, folder)? {
            return Ok(None);
        }
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Whether somebody has the lock of a folder.
    pub(crate) fn is_held(folder: &Path) -> io::Result<bool> {
        let file = match File::open(folder) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// The open file that holds it.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.0.into()
    }
}

fn is_same(file: &File, folder: &Path) -> io::Result<bool> {
    let file = rustix::fs::fstat(file)?;
    match rustix::fs::stat(folder) {
        Ok(there) => Ok((file.st_dev, file.st_ino) == (there.st_dev, there.st_ino)),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_is_held_once_and_free_when_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let lock = Lock::take(folder.path()).unwrap().unwrap();
        assert!(Lock::take(folder.path()).unwrap().is_none());
        assert!(Lock::is_held(folder.path()).unwrap());
        drop(lock);
        assert!(!Lock::is_held(folder.path()).unwrap());
    }

    #[test]
    fn passed_lock_is_the_same_lock() {
        let folder = tempfile::tempdir().unwrap();
        let lock = Lock::take(folder.path()).unwrap().unwrap();
        let passed = Lock::adopt(lock.into_fd(), folder.path()).unwrap().unwrap();
        assert!(Lock::is_held(folder.path()).unwrap());
        drop(passed);
    }
}
