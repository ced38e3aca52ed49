//! The folder of one `up`: everything of it lies below, and one `up` at a time uses it.

use std::fs::File;
use std::path::{Path, PathBuf};

use baetyl_core_lib::durable::{OsDisk, replace};
use serde_json::Value;

use crate::error::CtlError;

/// The folder of one `up`.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Opens the folder, makes it when it is not there, and keeps others out.
    pub(crate) fn open(path: &Path) -> Result<Self, CtlError> {
        let failed = |error: std::io::Error| {
            CtlError::Failed(format!(
                "{} cannot be used: {error}; name another folder with --data",
                path.display()
            ))
        };
        std::fs::create_dir_all(path).map_err(failed)?;
        let path = path.canonicalize().map_err(failed)?;
        let lock = File::create(path.join("up.lock")).map_err(failed)?;
        if rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(CtlError::Failed(format!(
                "another `baetylctl up` uses {}: stop it, or name another folder with --data",
                path.display()
            )));
        }
        let folder = Self { path, _lock: lock };
        // What stands there is of a run that is over.
        drop(std::fs::remove_file(folder.summary()));
        Ok(folder)
    }

    /// The cloud's data.
    pub(crate) fn cloud(&self) -> PathBuf {
        self.path.join("cloud")
    }

    /// The node's folder: what `BAETYL_HOST_PATH_LIB` is in an installation.
    pub(crate) fn node(&self) -> PathBuf {
        self.path.join("node")
    }

    /// The working directory of init.
    pub(crate) fn init(&self) -> PathBuf {
        self.node().join("init")
    }

    /// Where the logs of cloud and init go.
    pub(crate) fn log(&self, role: &str) -> PathBuf {
        self.path.join(format!("{role}.log"))
    }

    /// The file that scripts read.
    pub(crate) fn summary(&self) -> PathBuf {
        self.path.join("up.json")
    }

    /// The file with the text of the page, to change and apply.
    pub(crate) fn text(&self) -> PathBuf {
        self.path.join("hello-text.yml")
    }

    /// Writes a file whole.
    pub(crate) fn write(&self, path: &Path, bytes: &[u8], mode: u32) -> Result<(), CtlError> {
        let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        made.and_then(|()| replace(&OsDisk, path, bytes, mode))
            .map_err(|error| CtlError::Failed(format!("{} cannot be written: {error}", path.display())))
    }

    /// What this `up` decided once and keeps: the batch's key, the page's port.
    pub(crate) fn remembered(&self) -> Value {
        std::fs::read(self.path.join("state.json"))
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or(Value::Null)
    }

    /// Remembers.
    pub(crate) fn remember(&self, value: &Value) -> Result<(), CtlError> {
        self.write(&self.path.join("state.json"), value.to_string().as_bytes(), 0o600)
    }
}
