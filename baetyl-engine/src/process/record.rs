//! What is written down beside an instance and read again by another process, maybe of another version:
//! its spec, the supervisor's state, and the record of an application. Plain data; knows no engine.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use baetyl_core_lib::durable::{self, Disk};
use baetyl_core_lib::engine::Exit;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The format that this version writes. Another number means another layout of the file.
pub(crate) const FORMAT: u32 = 1;

/// What the supervisor of an instance needs to know: `service.json` in the instance's folder.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct InstanceSpec {
    pub(crate) format: u32,
    pub(crate) name: String,
    /// For the lines that the supervisor writes into the log.
    pub(crate) display: String,
    pub(crate) exec: PathBuf,
    pub(crate) args: Vec<String>,
    /// In order; later entries win.
    pub(crate) env: Vec<(String, String)>,
    /// Where the supervisor keeps its state.
    pub(crate) state: PathBuf,
    pub(crate) log: LogRule,
    pub(crate) grace_ms: u64,
    pub(crate) restart: Restart,
    /// Whether its program is an agent: what that started in sessions of its own outlives it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) agent: bool,
    /// The agent's socket.
    pub(crate) notify: Option<PathBuf>,
    /// The dynamic port, for the instance's whole life.
    pub(crate) port: u16,
    /// The links that were made for mounts, by path inside the folder.
    pub(crate) links: BTreeMap<PathBuf, PathBuf>,
}

impl fmt::Debug for InstanceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The environment may hold secrets.
        f.debug_struct("InstanceSpec")
            .field("name", &self.name)
            .field("exec", &self.exec)
            .finish_non_exhaustive()
    }
}

/// How a log is kept small.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRule {
    /// The file; older ones lie beside it as `.1`, `.2` and so on.
    pub file: PathBuf,
    /// At most so many bytes in a file, roughly.
    pub max_bytes: u64,
    /// How many older files are kept.
    pub backups: u32,
}

/// When a program that ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Restart {
    Always,
    OnFailure,
    Never,
}

/// What a supervisor says of itself and its program; of this boot only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) format: u32,
    pub(crate) boot: String,
    /// The supervisor.
    #[serde(flatten)]
    pub(crate) own: Process,
    /// As in the spec: what ends the instance may have no spec any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) agent: bool,
    pub(crate) phase: Phase,
    /// The program, while it runs.
    pub(crate) child: Option<Process>,
    /// When the program was last started, in milliseconds since 1970.
    pub(crate) started_ms: i64,
    pub(crate) restarts: u32,
    pub(crate) last_exit: Option<Ended>,
    /// Why the program could not be started, in words.
    pub(crate) reason: Option<String>,
    /// The last line that the program wrote before it ended.
    pub(crate) said: Option<String>,
}

/// A process that no other can be mistaken for during one boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    /// Its start time in clock ticks since boot.
    pub(crate) start: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Phase {
    /// The program runs.
    Running,
    /// It ended and is started again after a while.
    Waiting,
    /// It ended and stays so.
    Finished,
    /// The supervisor was told to stop, and did.
    Stopped,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ended {
    Code(i32),
    Signal(i32),
    NotStarted,
}

impl From<Ended> for Exit {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Code(code) => Self::Code(code),
            Ended::Signal(signal) => Self::Signal(signal),
            Ended::NotStarted => Self::NotStarted,
        }
    }
}

/// What `apply` was asked to make: `app.json` in the version's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AppRecord {
    pub(crate) format: u32,
    /// Higher for a version that was applied later.
    pub(crate) sequence: u32,
    pub(crate) services: Vec<ServiceRecord>,
}

impl AppRecord {
    /// How many instances there are to be.
    pub(crate) fn wanted(&self) -> u32 {
        self.services.iter().fold(0, |sum, service| sum.saturating_add(service.replicas))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServiceRecord {
    pub(crate) name: String,
    /// Its key in `services.yml`.
    pub(crate) key: String,
    pub(crate) replicas: u32,
}

/// Reads a record; `None` when there is no file, an error when it is damaged or of another format.
pub(crate) fn read<T: DeserializeOwned>(disk: &dyn Disk, path: &Path) -> io::Result<Option<T>> {
    match disk.read(path) {
        Ok(bytes) => decode(&bytes).map(Some),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Reads a record from bytes.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    #[derive(Deserialize)]
    struct Header {
        format: u32,
    }
    let header: Header = serde_json::from_slice(bytes).map_err(io::Error::other)?;
    if header.format != FORMAT {
        let text = format!("format {} is not the format {FORMAT} that this version reads", header.format);
        return Err(io::Error::other(text));
    }
    serde_json::from_slice(bytes).map_err(io::Error::other)
}

/// Writes a record; returns whether it differed from what was there.
pub(crate) fn write<T: Serialize>(disk: &dyn Disk, path: &Path, record: &T) -> io::Result<bool> {
    put(disk, path, &serde_json::to_vec(record)?, 0o600)
}

/// Puts a file whole, unless it already holds `bytes`; returns whether it wrote.
///
/// Not synced: a power cut ends every instance, and the `apply` after it compares and writes again what
/// was lost. So no start of an application waits for the flash.
pub(crate) fn put(disk: &dyn Disk, path: &Path, bytes: &[u8], mode: u32) -> io::Result<bool> {
    match disk.read(path) {
        Ok(old) if old == bytes => return Ok(false),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let new = durable::beside(path);
    let file = disk.create(&new, mode)?;
    let written = file.write_at(bytes, 0);
    drop(file);
    if let Err(error) = written.and_then(|()| disk.rename(&new, path)) {
        // What could not be written must not eat the room that the next try needs.
        drop(disk.remove_file(&new));
        return Err(error);
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_of_another_format_is_refused_in_words() {
        let error = decode::<AppRecord>(br#"{"format":9,"sequence":1,"services":[]}"#).unwrap_err();
        assert!(error.to_string().contains("format 9"), "{error}");
    }

    #[test]
    fn state_file_keeps_its_shape() {
        let state = State {
            format: FORMAT,
            boot: "b".to_owned(),
            own: Process { pid: 7, start: 9 },
            agent: false,
            phase: Phase::Waiting,
            child: None,
            started_ms: 5,
            restarts: 3,
            last_exit: Some(Ended::Code(2)),
            reason: None,
            said: None,
        };
        let text = r#"{"format":1,"boot":"b","pid":7,"start":9,"phase":"waiting","child":null,"started_ms":5,"restarts":3,"last_exit":{"code":2},"reason":null,"said":null}"#;
        assert_eq!(serde_json::to_string(&state).unwrap(), text);
        assert_eq!(decode::<State>(text.as_bytes()).unwrap(), state);
    }
}
