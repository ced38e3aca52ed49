//! A process of this `up`: this executable in another role, in a process group of its own, so that Ctrl-C
//! reaches `up` alone and everything ends in order.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use crate::error::CtlError;

/// A process of this `up`.
#[derive(Debug)]
pub(crate) struct Role {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

/// What a role is started with.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    pub(crate) name: &'static str,
    pub(crate) arguments: Vec<String>,
    pub(crate) folder: &'a Path,
    pub(crate) environment: Vec<(&'static str, String)>,
    pub(crate) log: PathBuf,
}

impl Role {
    /// Starts this executable in a role.
    pub(crate) fn start(start: Start<'_>) -> Result<Self, CtlError> {
        let failed =
            |error: std::io::Error| CtlError::Failed(format!("{} cannot be started: {error}", start.name));
        std::fs::create_dir_all(start.folder).map_err(failed)?;
        let log = OpenOptions::new().create(true).append(true).open(&start.log).map_err(failed)?;
        let program = std::env::current_exe().map_err(failed)?;
        let child = Command::new(program)
            .args(&start.arguments)
            .current_dir(start.folder)
            .envs(start.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::from(log.try_clone().map_err(failed)?))
            .stderr(Stdio::from(log))
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        Ok(Self { name: start.name, child, log: start.log })
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Why it has ended, with the last lines of its log; `None` while it runs.
    pub(crate) fn ended(&mut self) -> Option<CtlError> {
        let status = self.child.try_wait().ok().flatten()?;
        Some(self.farewell(&status.to_string()))
    }

    /// Waits until it ends by itself. Cancel-safe.
    pub(crate) async fn end(&mut self) -> CtlError {
        let status =
            self.child.wait().await.map_or_else(|error| error.to_string(), |status| status.to_string());
        self.farewell(&status)
    }

    fn farewell(&self, status: &str) -> CtlError {
        let last = last_error(&self.log).unwrap_or_default();
        CtlError::Failed(if last.is_empty() {
            format!("{} ended with {status}; its log is {}", self.name, self.log.display())
        } else {
            format!("{}: {last}", self.name)
        })
    }

    /// Tells it to end and waits; what does not end in time is killed.
    pub(crate) async fn stop(mut self, grace: Duration) {
        if let Some(pid) = self.child.id().and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed())) {
            // It may have ended already.
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
            if tokio::time::timeout(grace, self.child.wait()).await.is_err() {
                rustix::process::kill_process_group(pid, rustix::process::Signal::KILL).ok();
                drop(self.child.wait().await);
            }
        }
    }
}

/// The last line of a log that starts with `error: `.
fn last_error(log: &Path) -> Option<String> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let mut file = File::open(log).ok()?;
    let size = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(16 * 1024))).ok()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    text.lines().rev().find_map(|line| line.strip_prefix("error: ")).map(str::to_owned)
}
