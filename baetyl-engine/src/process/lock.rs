//! A folder as a lock: held by an open file, so it is free at once when the holder dies, however it dies.
//! There is no lock file that somebody could remove.

use std::fs::{File, TryLockError};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread;
use std::time::Duration;

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

    /// Takes the lock through a file that was passed on, when that is this folder.
    pub(crate) fn adopt(passed: OwnedFd, folder: &Path) -> io::Result<Option<Self>> {
        let file = File::from(passed);
        let (passed, folder) = (rustix::fs::fstat(&file)?, rustix::fs::stat(folder)?);
        if (passed.st_dev, passed.st_ino) != (folder.st_dev, folder.st_ino) {
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
