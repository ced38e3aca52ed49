use proptest::prelude::*;

use super::*;
use crate::reconcile::update::{Facts, Failure};

const NOW: Duration = Duration::from_secs(1000);
const LOOK: Duration = Duration::from_secs(5);

/// One application with everything that decides about it.
#[derive(Debug, Clone)]
struct One {
    want: Option<Option<String>>,
    record: Record,
    live: Live,
    seen: Option<BTreeMap<String, Seen>>,
}

impl One {
    fn given(&self) -> Given<'_> {
        let want = match &self.want {
            None => Want::Unsaid,
            Some(None) => Want::Gone,
            Some(Some(version)) => Want::Version(version),
        };
        let seen = self.seen.as_ref();
        Given { scope: Scope::User, name: "web", want, record: &self.record, live: &self.live, seen }
    }

    fn plan(&self) -> Plan {
        plan(&[self.given()], NOW, LOOK)
    }
}

fn facts(version: &str) -> Facts {
    Facts { version: version.to_owned(), ..Facts::default() }
}

fn version() -> impl Strategy<Value = String> {
    prop_oneof![Just("1"), Just("2"), Just("3")].prop_map(str::to_owned)
}

fn health() -> impl Strategy<Value = Health> {
    prop_oneof![
        Just(Health::Ready),
        Just(Health::Settling(NOW + LOOK)),
        Just(Health::NotReady("no".to_owned())),
        Just(Health::Crashing("no".to_owned())),
    ]
}

fn record() -> impl Strategy<Value = Record> {
    let phase =
        prop_oneof![Just(Phase::Applying), Just(Phase::Good), Just(Phase::Waiting), Just(Phase::Reverting)];
    let failed = proptest::option::of(version());
    (phase, proptest::option::of(version()), proptest::option::of(version()), failed).prop_map(
        |(phase, good, target, failed)| Record {
            phase: if good.is_none() && target.is_none() { Phase::Preparing } else { phase },
            good: good.as_deref().map(facts),
            target: target.as_deref().map(facts),
            failed: failed.map(|version| Failure { facts: facts(&version), ..Failure::default() }),
        },
    )
}

fn one() -> impl Strategy<Value = One> {
    let want = proptest::option::of(proptest::option::of(version()));
    let seen = proptest::collection::btree_map(
        version(),
        (health(), any::<bool>()).prop_map(|(health, incomplete)| Seen { health, incomplete }),
        0..3,
    );
    let live = (any::<bool>(), any::<bool>(), proptest::option::of(900_u64..1100), any::<bool>());
    (want, record(), live, proptest::option::of(seen)).prop_map(|(want, record, live, seen)| {
        let (prepared, applied, retry, fatal) = live;
        let mut one = One { want, record, live: Live::default(), seen };
        let version = one.given().want.version(&one.record).unwrap_or_default().to_owned();
        one.live = Live {
            prepared: prepared.then(|| facts(&version)),
            applied,
            retry_at: retry.map(Duration::from_secs),
            deadline: retry.map(Duration::from_secs),
            fatal: fatal.then(|| "no".to_owned()),
            version,
            ..Live::default()
        };
        one
    })
}

proptest! {
    #[test]
    fn nothing_is_removed_but_what_is_there_and_ours(one in one()) {
        let plan = one.plan();
        for item in &plan.remove {
            prop_assert!(!one.record.is_empty());
            prop_assert!(one.seen.as_ref().is_some_and(|seen| seen.contains_key(&item.info.version)));
        }
    }

    #[test]
    fn without_a_word_from_the_cloud_the_version_that_runs_stays(mut one in one()) {
        one.want = None;
        let good = one.record.good.clone();
        for item in one.plan().remove {
            prop_assert!(good.as_ref().is_some_and(|good| good.version != item.info.version));
        }
    }

    #[test]
    fn the_good_version_goes_only_when_another_is_good_or_nothing_is_wanted(one in one()) {
        let plan = one.plan();
        let good = one.record.good.as_ref().map(|good| good.version.clone());
        let gone = one.given().want == Want::Gone;
        let removed = plan.remove.iter().map(|item| &item.info.version);
        let cleared = plan.apply.iter().flat_map(|apply| &apply.clear);
        for version in removed.chain(cleared) {
            prop_assert!(gone || Some(version) != good.as_ref());
        }
    }

    #[test]
    fn one_application_has_one_thing_to_do(one in one()) {
        let plan = one.plan();
        let starts = plan.prepare.len() + plan.apply.len() + plan.repair.len() + plan.revert.len();
        let ends = plan.commit.len() + plan.stick.len() + plan.forget.len();
        prop_assert!(starts + ends + usize::from(!plan.remove.is_empty()) <= 1, "{plan:?}");
    }

    #[test]
    fn what_is_under_way_is_left_alone_or_cancelled(one in one(), work in 0..6) {
        let work = [Work::Prepare, Work::Apply, Work::Repair, Work::Renew, Work::Revert, Work::Remove][work as usize];
        let mut one = one;
        let busy = Busy { work, version: one.live.version.clone(), until: None, cancelled: false };
        one.live.busy = Some(busy);
        let plan = one.plan();
        prop_assert_eq!(Plan { cancel: Vec::new(), wake_at: None, ..plan }, Plan::default());
    }

    #[test]
    fn there_is_always_something_to_do_or_to_wait_for_until_it_is_settled(one in one()) {
        let given = one.given();
        let wanted = matches!(given.want, Want::Version(_));
        let settled = given.want.version(given.record).is_some_and(|version| one.record.is_good(version));
        let plan = one.plan();
        if wanted && !settled && one.seen.is_some() {
            prop_assert!(!plan.is_empty() || plan.wake_at.is_some(), "{one:?}");
        }
    }

    #[test]
    fn a_time_to_wake_is_never_past(one in one()) {
        prop_assert!(one.plan().wake_at.is_none_or(|at| at > NOW));
    }
}

#[test]
fn a_settled_state_has_an_empty_plan() {
    let seen = Seen { health: Health::Ready, incomplete: false };
    let one = One {
        want: Some(Some("1".to_owned())),
        record: Record { phase: Phase::Good, good: Some(facts("1")), ..Record::default() },
        live: Live { version: "1".to_owned(), ..Live::default() },
        seen: Some([("1".to_owned(), seen)].into()),
    };
    assert_eq!(one.plan(), Plan::default());
}

#[test]
fn an_engine_that_is_silent_lets_no_version_fail() {
    let one = One {
        want: Some(Some("2".to_owned())),
        record: Record {
            phase: Phase::Applying,
            good: Some(facts("1")),
            target: Some(facts("2")),
            failed: None,
        },
        live: Live { version: "2".to_owned(), deadline: Some(Duration::ZERO), ..Live::default() },
        seen: None,
    };
    let plan = one.plan();
    assert!(plan.is_empty());
    assert_eq!(plan.wake_at, Some(NOW + LOOK));
}
