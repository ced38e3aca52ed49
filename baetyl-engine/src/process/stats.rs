//! What instances use: processor and memory of a program with all its children. Pure over a list of
//! processes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::proc::{Stat, owned};
use super::record::State;

/// What one look saw of one instance.
#[derive(Debug, Clone, Default)]
pub(crate) struct Look {
    at: Duration,
    /// Processor time by process.
    ticks: BTreeMap<(i32, u64), u64>,
    /// Memory, in pages.
    pub(crate) pages: u64,
}

/// Looks at the tree of an instance's program. What an agent looks after is not its own.
pub(crate) fn look(all: &[Stat], state: &State, at: Duration) -> Look {
    let tree = owned(all, state);
    let mut look = Look { at, ..Look::default() };
    for stat in all.iter().filter(|stat| tree.contains(&stat.process.pid)) {
        look.ticks.insert((stat.process.pid, stat.process.start), stat.ticks);
        look.pages = look.pages.saturating_add(stat.pages);
    }
    look
}

/// Cores in use between two looks, for a kernel that counts `per_second` ticks in a second.
pub(crate) fn cores(before: &Look, after: &Look, per_second: u64) -> f64 {
    let seconds = after.at.saturating_sub(before.at).as_secs_f64();
    if seconds <= 0.0 || per_second == 0 {
        return 0.0;
    }
    let used = |(process, ticks): (&(i32, u64), &u64)| {
        ticks.saturating_sub(before.ticks.get(process).copied().unwrap_or(0))
    };
    let ticks: u64 = after.ticks.iter().map(used).sum();
    #[expect(clippy::cast_precision_loss, reason = "a share in cores needs no 53 bits")]
    let cores = ticks as f64 / per_second as f64 / seconds;
    cores
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::record::Process;

    fn stat(pid: i32, parent: i32, ticks: u64, pages: u64) -> Stat {
        let process = Process { pid, start: 1 };
        Stat { process, parent, session: 1, ended: false, ticks, pages }
    }

    #[test]
    fn usage_is_that_of_the_whole_tree_between_two_looks() {
        let state = State { own: Process { pid: 4, start: 1 }, ..crate::process::proc::tests::state() };
        let supervisor = stat(4, 1, 1, 1);
        let before = [supervisor, stat(5, 4, 100, 7), stat(9, 1, 900, 70)];
        let before = look(&before, &state, Duration::from_secs(10));
        let after = [supervisor, stat(5, 4, 150, 8), stat(6, 5, 50, 2), stat(9, 1, 999, 70)];
        let after = look(&after, &state, Duration::from_secs(12));
        assert_eq!(after.pages, 10);
        assert!((cores(&before, &after, 100) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn first_look_uses_nothing() {
        assert!(cores(&Look::default(), &Look::default(), 100).abs() < 1e-9);
    }
}
