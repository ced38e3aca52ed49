//! What the kernel says of a process.

use std::fs;
use std::ops::Not as _;
use std::time::Duration;

use crate::clock::until;
use crate::error::BenchError;

/// What a process has used since it started.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Used {
    /// Processor time in seconds.
    pub(crate) seconds: f64,
    /// Times that a thread of it went to sleep by itself: each was woken before.
    pub(crate) wakes: u64,
    /// Bytes that it caused to be written to storage.
    pub(crate) written: u64,
}

impl Used {
    /// What a process has used so far. Threads that have ended no longer count their wake-ups.
    pub(crate) fn of(pid: i32) -> Result<Self, BenchError> {
        let stat = read(pid, "stat")?;
        // The name in parentheses may hold anything; times are fields 14 and 15.
        let fields = stat.rsplit_once(") ").map(|(_, rest)| rest).unwrap_or_default();
        let ticks: u64 =
            fields.split_whitespace().skip(11).take(2).filter_map(|text| text.parse::<u64>().ok()).sum();
        let mut wakes = 0;
        let folder = format!("/proc/{pid}/task");
        for entry in fs::read_dir(&folder).map_err(BenchError::at(folder.as_ref()))?.flatten() {
            // A thread may end meanwhile.
            let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
            wakes += field(&status, "voluntary_ctxt_switches:");
        }
        let written = field(&read(pid, "io")?, "write_bytes:");
        #[expect(clippy::cast_precision_loss, reason = "ticks of a measurement")]
        let seconds = ticks as f64 / 100.0;
        Ok(Self { seconds, wakes, written })
    }

    /// What was used since then.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            seconds: self.seconds - before.seconds,
            wakes: self.wakes.saturating_sub(before.wakes),
            written: self.written.saturating_sub(before.written),
        }
    }
}

/// Memory of a process in KiB: its proportional share, and of it what belongs to no file.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    pub(crate) pss: u64,
    pub(crate) anonymous: u64,
}

impl Memory {
    /// The memory of a process.
    pub(crate) fn of(pid: i32) -> Result<Self, BenchError> {
        let text = read(pid, "smaps_rollup")?;
        Ok(Self { pss: field(&text, "Pss:"), anonymous: field(&text, "Pss_Anon:") })
    }
}

impl std::iter::Sum for Memory {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::default(), |sum, one| Self {
            pss: sum.pss + one.pss,
            anonymous: sum.anonymous + one.anonymous,
        })
    }
}

/// Asks a process to end.
pub(crate) fn terminate(pid: i32) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
        // It may have ended by itself.
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
    }
}

/// Asks a process that is no child of this one to end, and waits until it has.
pub(crate) fn end_and_wait(pid: i32) -> Result<(), BenchError> {
    terminate(pid);
    until("a supervisor to end", Duration::from_secs(60), Duration::from_millis(20), || {
        Ok(fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty()).not().then_some(()))
    })
}

/// The processes whose command line has `program` as its second word and a folder below `root` as its third.
pub(crate) fn supervisors(root: &std::path::Path) -> Vec<i32> {
    let root = root.to_string_lossy();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words: Vec<_> = line.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
        if words.get(1).is_some_and(|word| word == "program")
            && words.get(2).is_some_and(|folder| folder.starts_with(&*root))
        {
            found.push(pid);
        }
    }
    found
}

fn read(pid: i32, file: &str) -> Result<String, BenchError> {
    let path = format!("/proc/{pid}/{file}");
    fs::read_to_string(&path).map_err(BenchError::at(path.as_ref()))
}

/// The number behind a name at the start of a line.
fn field(text: &str, name: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or_default()
}
