//! The seam through which supervisors are started.

use std::ffi::OsString;
use std::fmt::Debug;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// Starts supervisors, which outlive whoever started them.
pub trait Spawn: Debug + Send + Sync {
    /// Starts a program with an empty environment, and returns its process number. `stdin` is the lock
    /// of the instance: it becomes the program's standard input.
    ///
    /// # Errors
    /// Those of the operating system, for instance when the program is not there.
    fn spawn(&self, argv: &[OsString], folder: &Path, stdin: OwnedFd) -> io::Result<i32>;

    /// Takes note of programs that have ended, so that none stays in the list of processes.
    fn reap(&self);
}

/// Starts supervisors as children of this process. They leave its session by themselves; when this
/// process ends, they become children of init.
#[derive(Debug, Default)]
pub struct OsSpawn {
    children: Mutex<Vec<Child>>,
}

impl OsSpawn {
    /// Has started nothing yet.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Spawn for OsSpawn {
    fn spawn(&self, argv: &[OsString], folder: &Path, stdin: OwnedFd) -> io::Result<i32> {
        self.reap();
        let Some((program, arguments)) = argv.split_first() else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the command line of the supervisor is empty",
            ));
        };
        let child = Command::new(program)
            .args(arguments)
            .env_clear()
            .current_dir(folder)
            .stdin(Stdio::from(stdin))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let pid = child.id();
        self.children.lock().unwrap_or_else(PoisonError::into_inner).push(child);
        i32::try_from(pid).map_err(io::Error::other)
    }

    fn reap(&self) {
        let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        children.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
    }
}
