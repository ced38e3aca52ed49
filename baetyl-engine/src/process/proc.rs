//! The kernel's list of processes, read from `/proc` (or a copy of it in tests). Knows no instances.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::record::{Process, State};

/// Where the kernel lists processes.
#[derive(Debug, Clone)]
pub(crate) struct Proc {
    root: PathBuf,
    boot: OnceLock<String>,
}

/// One process, as `/proc/<pid>/stat` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) process: Process,
    pub(crate) parent: i32,
    pub(crate) session: i32,
    /// Whether it has ended and only waits to be reaped.
    pub(crate) ended: bool,
    /// Processor time, in clock ticks.
    pub(crate) ticks: u64,
    /// Memory, in pages.
    pub(crate) pages: u64,
}

impl Proc {
    /// The kernel's own.
    pub(crate) fn system() -> Self {
        Self { root: PathBuf::from("/proc"), boot: OnceLock::new() }
    }

    /// One process; `None` when there is none.
    pub(crate) fn stat(&self, pid: i32) -> Option<Stat> {
        parse(&fs::read_to_string(self.root.join(pid.to_string()).join("stat")).ok()?)
    }

    /// All processes, in order of their numbers.
    pub(crate) fn scan(&self) -> Vec<Stat> {
        let Ok(entries) = fs::read_dir(&self.root) else { return Vec::new() };
        let mut pids: Vec<i32> =
            entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        pids.sort_unstable();
        pids.into_iter().filter_map(|pid| self.stat(pid)).collect()
    }

    /// Whether exactly this process still runs.
    pub(crate) fn runs(&self, process: Process) -> bool {
        self.stat(process.pid).is_some_and(|stat| stat.process == process && !stat.ended)
    }

    /// What tells this boot from any other.
    pub(crate) fn boot(&self) -> &str {
        self.boot.get_or_init(|| {
            let text = fs::read_to_string(self.root.join("sys/kernel/random/boot_id"));
            text.map(|text| text.trim().to_owned()).unwrap_or_default()
        })
    }

    /// The processes whose command line ends with these words.
    pub(crate) fn commanded(&self, words: &[&OsStr]) -> BTreeSet<i32> {
        let mut tail = Vec::new();
        for word in words {
            tail.push(0);
            tail.extend_from_slice(word.as_bytes());
        }
        tail.push(0);
        let ends = |stat: &Stat| {
            let path = self.root.join(stat.process.pid.to_string()).join("cmdline");
            fs::read(path).is_ok_and(|line| line.ends_with(&tail))
        };
        self.scan().iter().filter(|stat| !stat.ended && ends(stat)).map(|stat| stat.process.pid).collect()
    }

    /// Kills everything that `choose` names, until it names nothing more; gives up after some seconds.
    pub(crate) fn kill_until_gone(&self, choose: impl Fn(&[Stat]) -> BTreeSet<i32>) -> bool {
        for _ in 0..1000 {
            let doomed = choose(&self.scan());
            if doomed.is_empty() {
                return true;
            }
            for pid in doomed {
                signal(pid, Signal::KILL);
            }
            // The kernel needs a moment; what waits for a broken disk may need for ever.
            thread::sleep(Duration::from_millis(5));
        }
        false
    }

    /// Ends what a supervisor that is gone left running.
    pub(crate) fn kill_leftovers(&self, state: &State) -> bool {
        state.boot != self.boot() || self.kill_until_gone(|all| leftovers(all, state))
    }
}

/// Sends a signal; a process that has gone meanwhile is fine.
pub(crate) fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid).filter(|pid| !pid.is_init()) {
        kill_process(pid, signal).ok();
    }
}

/// The living processes below `roots`, without the roots.
pub(crate) fn descendants(all: &[Stat], roots: &BTreeSet<i32>) -> BTreeSet<i32> {
    let mut known = roots.clone();
    loop {
        let before = known.len();
        known.extend(
            all.iter()
                .filter(|stat| known.contains(&stat.parent))
                .map(|stat| stat.process.pid)
                .collect::<Vec<_>>(),
        );
        if known.len() == before {
            break;
        }
    }
    let living = all.iter().filter(|stat| !stat.ended).map(|stat| stat.process.pid);
    living.filter(|pid| known.contains(pid) && !roots.contains(pid)).collect()
}

/// What ends with an instance: all below its supervisor.
pub(crate) fn owned(all: &[Stat], state: &State) -> BTreeSet<i32> {
    without_wards(all, descendants(all, &BTreeSet::from([state.own.pid])), state)
}

/// Leaves out what an agent looks after: its supervisors leave its session before they start anything.
fn without_wards(all: &[Stat], mut doomed: BTreeSet<i32>, state: &State) -> BTreeSet<i32> {
    if state.agent {
        let in_session = |stat: &&Stat| stat.session == state.own.pid || Some(stat.process) == state.child;
        let session: BTreeSet<i32> = all.iter().filter(in_session).map(|stat| stat.process.pid).collect();
        doomed.retain(|pid| session.contains(pid));
    }
    doomed
}

/// What is left of a supervisor that is gone: its program, whatever still is in its session, and all that
/// these started.
fn leftovers(all: &[Stat], state: &State) -> BTreeSet<i32> {
    let leader = all.iter().find(|stat| stat.process.pid == state.own.pid);
    // While anything is in the session its number is given to no other process, so a leader that started
    // at another time means another session.
    let session_is_ours = leader.is_none_or(|leader| leader.process == state.own);
    let roots: BTreeSet<i32> = all
        .iter()
        .filter(|stat| {
            Some(stat.process) == state.child
                || (session_is_ours && stat.session == state.own.pid && stat.process.start >= state.own.start)
        })
        .filter(|stat| stat.process != state.own)
        .map(|stat| stat.process.pid)
        .collect();
    let mut doomed = descendants(all, &roots);
    doomed.extend(
        all.iter()
            .filter(|stat| !stat.ended && roots.contains(&stat.process.pid))
            .map(|stat| stat.process.pid),
    );
    without_wards(all, doomed, state)
}

fn parse(text: &str) -> Option<Stat> {
    // The name in parentheses may itself hold spaces and parentheses.
    let (head, tail) = text.rsplit_once(')')?;
    let pid = head.split(' ').next()?.parse().ok()?;
    let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
    // Fields are numbered from 1 in proc(5); the third is the first here.
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let signed = |field: usize| fields.get(field - 3)?.parse::<i32>().ok();
    Some(Stat {
        process: Process { pid, start: number(22)? },
        parent: signed(4)?,
        session: signed(6)?,
        ended: matches!(*fields.first()?, "Z" | "X" | "x"),
        ticks: number(14)?.saturating_add(number(15)?),
        pages: number(24)?,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::process::record::{FORMAT, Phase};

    fn stat(pid: i32, parent: i32, session: i32, start: u64) -> Stat {
        Stat { process: Process { pid, start }, parent, session, ended: false, ticks: 0, pages: 0 }
    }

    pub(crate) fn state() -> State {
        State {
            format: FORMAT,
            boot: String::new(),
            own: Process { pid: 10, start: 100 },
            agent: false,
            phase: Phase::Running,
            child: Some(Process { pid: 11, start: 101 }),
            started_ms: 0,
            restarts: 0,
            last_exit: None,
            reason: None,
            said: None,
        }
    }

    #[test]
    fn name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let line = "42 (a) b (c) S 7 42 40 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 999 1000 33 0 0";
        let expected = Stat {
            process: Process { pid: 42, start: 999 },
            parent: 7,
            session: 40,
            ended: false,
            ticks: 11,
            pages: 33,
        };
        assert_eq!(parse(line), Some(expected));
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_the_reader(text in "[0-9()SZ \\-]{0,80}|.{0,80}") {
            if let Some(stat) = parse(&text) {
                assert!(text.contains(')') && text.starts_with(&stat.process.pid.to_string()));
            }
        }
    }

    #[test]
    fn garbage_is_no_process() {
        assert_eq!(parse(""), None);
        assert_eq!(parse("1 (x) S"), None);
    }

    #[test]
    fn leftovers_are_the_program_its_session_and_what_they_started() {
        let all = [stat(11, 1, 10, 101), stat(12, 1, 10, 105), stat(13, 12, 13, 106), stat(20, 1, 20, 50)];
        assert_eq!(leftovers(&all, &state()), BTreeSet::from([11, 12, 13]));
    }

    #[test]
    fn what_an_agent_looks_after_outlives_it() {
        // The agent 11 started the supervisor 20 of the program 21, and a helper 12 of its own.
        let all = [
            stat(10, 1, 10, 100),
            stat(11, 10, 10, 101),
            stat(12, 11, 10, 102),
            stat(20, 11, 20, 103),
            stat(21, 20, 20, 104),
        ];
        let agent = State { agent: true, ..state() };
        assert_eq!(owned(&all, &agent), BTreeSet::from([11, 12]));
        assert_eq!(leftovers(&all[1..], &agent), BTreeSet::from([11, 12]));
        assert_eq!(owned(&all, &state()), BTreeSet::from([11, 12, 20, 21]));
    }

    #[test]
    fn reused_numbers_are_left_alone() {
        let all = [stat(10, 1, 10, 500), stat(11, 10, 10, 501)];
        assert_eq!(leftovers(&all, &state()), BTreeSet::new());
    }
}
