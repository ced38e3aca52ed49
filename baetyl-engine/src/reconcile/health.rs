//! Whether a version is ready: pure, over what an engine shows and for how long it has shown it.

use std::collections::BTreeMap;
use std::time::Duration;

use baetyl_core_lib::engine::{InstanceState, Readiness};
use baetyl_core_lib::spec::Status;

/// How many starts by itself make a version one that will not come up.
pub const CRASH_STARTS: u32 = 3;
/// A run as long as this makes up for the starts before it.
const CALM: Duration = Duration::from_secs(60);

/// How a version fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Every instance is there and ready, or has lived for the settle time.
    Ready,
    /// Every instance runs; ready at this time if nothing happens.
    Settling(Duration),
    /// Not ready, and why.
    NotReady(String),
    /// It ends again and again, and why.
    Crashing(String),
}

/// What a version's instances did while they were watched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watch {
    instances: BTreeMap<String, Watched>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Watched {
    run: Option<String>,
    up: bool,
    since: Duration,
    restarts: u32,
    starts: u32,
}

impl Watch {
    /// Takes in one look, at `now`, and judges. `restarts` count from the first look at an instance on.
    pub fn look(
        &mut self,
        wanted: Option<u32>,
        instances: &[InstanceState],
        settle: Duration,
        now: Duration,
    ) -> Health {
        self.instances.retain(|name, _| instances.iter().any(|instance| instance.name == *name));
        for instance in instances {
            match self.instances.get_mut(&instance.name) {
                Some(known) => known.take(instance, now),
                None => {
                    self.instances.insert(instance.name.clone(), Watched::first(instance, now));
                }
            }
        }
        if let Some(crashing) = instances.iter().find(|instance| self.starts(instance) >= CRASH_STARTS) {
            return Health::Crashing(format!(
                "instance {} ends again and again{}",
                crashing.name,
                why(crashing)
            ));
        }
        if let Some(wanted) = wanted.filter(|wanted| (instances.len() as u64) < u64::from(*wanted)) {
            return Health::NotReady(format!("{} of {wanted} instances are there", instances.len()));
        }
        if wanted.is_none() && instances.is_empty() {
            return Health::NotReady("no instance is there".to_owned());
        }
        let mut settled_at = now;
        for instance in instances {
            match instance.readiness {
                _ if instance.status == Status::Succeeded => {}
                Readiness::Ready => {}
                Readiness::Unprobed if instance.run.is_some() => {
                    let since = self.instances.get(&instance.name).map_or(now, |known| known.since);
                    settled_at = settled_at.max(since + settle);
                }
                Readiness::Unprobed | Readiness::NotReady => {
                    return Health::NotReady(format!(
                        "instance {} is not ready{}",
                        instance.name,
                        why(instance)
                    ));
                }
            }
        }
        if settled_at > now { Health::Settling(settled_at) } else { Health::Ready }
    }

    fn starts(&self, instance: &InstanceState) -> u32 {
        self.instances.get(&instance.name).map_or(0, |known| known.starts)
    }
}

impl Watched {
    fn first(instance: &InstanceState, now: Duration) -> Self {
        Self {
            run: instance.run.clone(),
            up: instance.run.is_some(),
            since: now,
            restarts: instance.restarts,
            starts: 0,
        }
    }

    fn take(&mut self, instance: &InstanceState, now: Duration) {
        if self.up && instance.run == self.run && now.saturating_sub(self.since) >= CALM {
            self.starts = 0;
        }
        let another = instance.run.is_some() && self.run.is_some() && instance.run != self.run;
        let counted = instance.restarts.saturating_sub(self.restarts);
        self.starts = self.starts.saturating_add(counted.max(u32::from(another)));
        if another || counted > 0 || !self.up || instance.run.is_none() {
            self.since = now;
        }
        self.up = instance.run.is_some();
        // Between two starts there is no run: the last one is kept, so that the next is seen as another.
        if self.up {
            self.run.clone_from(&instance.run);
        }
        self.restarts = instance.restarts;
    }
}

/// Whether something is missing that only `apply` brings back: instances that are not there, or that do not
/// run and that nothing looks after.
pub fn is_incomplete(wanted: Option<u32>, instances: &[InstanceState]) -> bool {
    wanted.is_some_and(|wanted| (instances.len() as u64) < u64::from(wanted))
        || instances.iter().any(|instance| {
            instance.run.is_none()
                && instance.parent.is_none()
                && !matches!(instance.status, Status::Succeeded | Status::Running)
        })
}

fn why(instance: &InstanceState) -> String {
    match (&instance.reason, instance.last_exit) {
        (Some(reason), _) => format!(": {reason}"),
        (None, Some(exit)) => format!(": {exit}"),
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_secs(3);

    fn running(run: &str, restarts: u32) -> InstanceState {
        InstanceState {
            status: Status::Running,
            readiness: Readiness::Unprobed,
            run: Some(run.to_owned()),
            restarts,
            ..InstanceState::new("web-1", "web")
        }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn one_run_for_the_settle_time_is_ready() {
        let mut watch = Watch::default();
        assert_eq!(watch.look(Some(1), &[running("a", 0)], SETTLE, at(1)), Health::Settling(at(4)));
        assert_eq!(watch.look(Some(1), &[running("b", 0)], SETTLE, at(2)), Health::Settling(at(5)));
        assert_eq!(watch.look(Some(1), &[running("b", 0)], SETTLE, at(5)), Health::Ready);
    }

    #[test]
    fn a_pause_between_two_runs_begins_the_settle_time_anew() {
        let mut watch = Watch::default();
        watch.look(Some(1), &[running("a", 0)], SETTLE, at(0));
        let ended = InstanceState { run: None, ..running("a", 0) };
        assert!(matches!(watch.look(Some(1), &[ended], SETTLE, at(2)), Health::NotReady(_)));
        assert_eq!(watch.look(Some(1), &[running("a", 0)], SETTLE, at(3)), Health::Settling(at(6)));
    }

    #[test]
    fn three_starts_by_itself_are_crashing_even_when_the_engine_forgets_its_count() {
        let mut watch = Watch::default();
        watch.look(Some(1), &[running("a", 7)], SETTLE, at(0));
        watch.look(Some(1), &[running("b", 0)], SETTLE, at(1));
        watch.look(Some(1), &[running("c", 1)], SETTLE, at(2));
        assert!(matches!(watch.look(Some(1), &[running("d", 0)], SETTLE, at(3)), Health::Crashing(_)));
    }

    #[test]
    fn a_long_run_makes_up_for_the_starts_before_it() {
        let mut watch = Watch::default();
        watch.look(Some(1), &[running("a", 0)], SETTLE, at(0));
        assert!(matches!(watch.look(Some(1), &[running("b", 3)], SETTLE, at(1)), Health::Crashing(_)));
        assert_eq!(watch.look(Some(1), &[running("b", 3)], SETTLE, at(61)), Health::Ready);
    }

    #[test]
    fn restarts_from_before_the_watch_do_not_count() {
        let mut watch = Watch::default();
        assert_eq!(watch.look(Some(1), &[running("a", 9)], SETTLE, at(0)), Health::Settling(at(3)));
        assert_eq!(watch.look(Some(1), &[running("a", 9)], SETTLE, at(3)), Health::Ready);
    }

    #[test]
    fn what_a_supervisor_will_start_again_is_left_to_it() {
        let stopped = InstanceState { run: None, status: Status::Pending, ..running("a", 1) };
        assert!(is_incomplete(Some(1), std::slice::from_ref(&stopped)));
        assert!(!is_incomplete(Some(1), &[InstanceState { parent: Some(7), ..stopped }]));
    }

    #[test]
    fn a_missing_instance_is_not_ready_and_none_wanted_is() {
        let mut watch = Watch::default();
        assert!(matches!(watch.look(Some(2), &[running("a", 0)], SETTLE, at(9)), Health::NotReady(_)));
        assert_eq!(Watch::default().look(Some(0), &[], SETTLE, at(9)), Health::Ready);
    }
}
