//! What state an instance is in, and whether its program is started again. Pure.

use std::time::Duration;

use baetyl_core_lib::backoff::Backoff;
use baetyl_core_lib::engine::{Exit, InstanceState, Readiness};
use baetyl_core_lib::spec::{Status, Timestamp};

use super::record::{Ended, Phase, Restart, State};

/// A program that lived so long begins anew with the shortest delay.
const LIVED_LONG: Duration = Duration::from_secs(60);

/// The first restart is quick, for a program that broke once; a broken one costs little.
const DELAYS: Backoff = Backoff { min: Duration::from_millis(100), max: Duration::from_secs(60), factor: 2 };

/// What was seen of an instance's supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It holds the lock, and the state is its own.
    Alive(State),
    /// Something holds the lock, but has not yet said who it is.
    Starting,
    /// Nobody holds the lock.
    Dead,
}

/// What a supervisor does when its program has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Starts it again after this delay.
    Again {
        delay: Duration,
        /// How often in a row it ended early.
        failures: u32,
    },
    /// Leaves it so.
    Leave,
}

/// Decides what follows when a program that lived for `lived` has ended.
pub(crate) fn next(rule: Restart, ended: Ended, lived: Duration, failures: u32) -> Next {
    let again = match rule {
        Restart::Always => true,
        Restart::OnFailure => ended != Ended::Code(0),
        Restart::Never => false,
    };
    if !again {
        return Next::Leave;
    }
    let failures = if lived >= LIVED_LONG { 1 } else { failures.saturating_add(1) };
    // Nothing is shared between the instances of one node, so nothing needs jitter.
    Next::Again { delay: DELAYS.delay(failures, u32::MAX), failures }
}

/// Fills in the status of an instance from what was seen of it.
pub(crate) fn describe(mut instance: InstanceState, seen: &Seen) -> InstanceState {
    instance.status = Status::Pending;
    let state = match seen {
        Seen::Alive(state) => state,
        Seen::Starting => {
            instance.reason = Some("it is being started".to_owned());
            return instance;
        }
        Seen::Dead => {
            instance.reason = Some("it is not running".to_owned());
            return instance;
        }
    };
    instance.parent = Some(state.own.pid);
    instance.restarts = state.restarts;
    instance.last_exit = state.last_exit.map(Exit::from);
    instance.started =
        (state.started_ms > 0).then(|| Timestamp::from_unix_nanos(i128::from(state.started_ms) * 1_000_000));
    if let (Some(child), Phase::Running) = (state.child, state.phase) {
        instance.status = Status::Running;
        instance.readiness = Readiness::Unprobed;
        instance.pid = Some(child.pid);
        instance.run = Some(format!("{}:{}", child.pid, child.start));
        return instance;
    }
    let how = match (&state.reason, instance.last_exit) {
        (Some(reason), _) => reason.clone(),
        (None, Some(Exit::Code(code))) => format!("the program ended with exit code {code}"),
        (None, Some(Exit::Signal(signal))) => format!("the program was ended by signal {signal}"),
        (None, Some(Exit::NotStarted) | None) => "the program has not been started yet".to_owned(),
    };
    let how = state.said.as_ref().map_or(how.clone(), |said| format!("{how}, saying {said:?}"));
    instance.reason = Some(match state.phase {
        Phase::Running | Phase::Waiting => format!("{how}; it was started again {} times", state.restarts),
        Phase::Finished => how,
        Phase::Stopped => "it was stopped".to_owned(),
    });
    if state.phase == Phase::Finished {
        let well = state.last_exit == Some(Ended::Code(0));
        instance.status = if well { Status::Succeeded } else { Status::Failed };
    }
    instance
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::record::{FORMAT, Process};

    fn state(phase: Phase, child: Option<Process>, last_exit: Option<Ended>) -> State {
        State {
            format: FORMAT,
            boot: String::new(),
            own: Process { pid: 10, start: 1 },
            agent: false,
            phase,
            child,
            started_ms: 0,
            restarts: 4,
            last_exit,
            reason: None,
            said: Some("no room".to_owned()),
        }
    }

    fn check(
        phase: Phase,
        child: Option<Process>,
        last_exit: Option<Ended>,
        status: &Status,
        run: Option<&str>,
    ) {
        let seen = Seen::Alive(state(phase, child, last_exit));
        let instance = describe(InstanceState::new("i", "s"), &seen);
        assert_eq!((&instance.status, instance.run.as_deref()), (status, run));
        assert_eq!(instance.restarts, 4);
    }

    #[test]
    fn status_follows_the_phase() {
        let child = Some(Process { pid: 11, start: 2 });
        check(Phase::Running, child, None, &Status::Running, Some("11:2"));
        check(Phase::Waiting, None, Some(Ended::Code(3)), &Status::Pending, None);
        check(Phase::Finished, None, Some(Ended::Code(0)), &Status::Succeeded, None);
        check(Phase::Finished, None, Some(Ended::Signal(9)), &Status::Failed, None);
    }

    #[test]
    fn broken_program_says_how_it_ended() {
        let seen = Seen::Alive(state(Phase::Waiting, None, Some(Ended::Code(3))));
        let reason = describe(InstanceState::new("i", "s"), &seen).reason.unwrap();
        assert_eq!(
            reason,
            "the program ended with exit code 3, saying \"no room\"; it was started again 4 times"
        );
    }

    #[test]
    fn delays_grow_and_fall_back_after_a_long_life() {
        let short = Duration::from_secs(1);
        let mut failures = 0;
        let mut delays = Vec::new();
        for _ in 0..12 {
            let Next::Again { delay, failures: now } = next(Restart::Always, Ended::Code(1), short, failures)
            else {
                panic!("a program is always started again");
            };
            failures = now;
            delays.push(delay);
        }
        assert!(delays.is_sorted());
        assert!(delays[0] >= Duration::from_millis(100) && delays[0] < Duration::from_millis(200));
        assert!(delays[11] > Duration::from_secs(59));
        assert!(matches!(
            next(Restart::Always, Ended::Code(1), LIVED_LONG, failures),
            Next::Again { failures: 1, .. }
        ));
    }

    #[test]
    fn job_that_ended_well_is_left() {
        assert_eq!(next(Restart::OnFailure, Ended::Code(0), Duration::ZERO, 0), Next::Leave);
        assert!(matches!(next(Restart::OnFailure, Ended::Code(1), Duration::ZERO, 0), Next::Again { .. }));
        assert_eq!(next(Restart::Never, Ended::Code(1), Duration::ZERO, 0), Next::Leave);
    }
}
