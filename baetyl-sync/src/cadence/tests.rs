use proptest::prelude::*;

use super::*;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A cadence whose first report went out at 10 s and was answered at once.
fn running(push: bool) -> Cadence {
    let mut cadence = Cadence::new(Intervals::default());
    cadence.on(ms(10_000), 0, Event::Sent);
    cadence.on(ms(10_000), 0, Event::Answered { push });
    cadence
}

#[test]
fn the_first_report_is_due_at_once() {
    assert_eq!(Cadence::new(Intervals::default()).due(), Some(Duration::ZERO));
}

#[test]
fn without_cause_a_report_goes_each_interval_from_report_to_report() {
    assert_eq!(running(false).due(), Some(ms(30_000)));
    assert_eq!(running(true).due(), Some(ms(310_000)));
    let mut slow = running(false);
    slow.on(ms(30_000), 0, Event::Sent);
    assert_eq!(slow.due(), None);
    slow.on(ms(45_000), 99, Event::Answered { push: false });
    assert_eq!(slow.due(), Some(ms(50_099)));
}

#[test]
fn a_first_change_goes_at_once_and_what_follows_is_gathered() {
    for (at, expected) in [(15_000, 15_000), (11_000, 11_000), (10_950, 11_050), (10_100, 11_000)] {
        let mut cadence = running(true);
        cadence.on(ms(at), 0, Event::Changed);
        assert_eq!(cadence.due(), Some(ms(expected)), "changed at {at}");
        cadence.on(ms(at + 20), 0, Event::Changed);
        assert_eq!(cadence.due(), Some(ms(expected)), "a second change does not put it off");
    }
}

#[test]
fn a_change_while_a_report_is_under_way_makes_another() {
    let mut cadence = running(false);
    cadence.on(ms(20_000), 0, Event::Sent);
    cadence.on(ms(20_500), 0, Event::Changed);
    cadence.on(ms(23_000), 0, Event::Answered { push: false });
    assert_eq!(cadence.due(), Some(ms(21_000)));
    assert!(cadence.owes());
}

#[test]
fn on_a_line_that_fails_changes_wait_for_the_next_try() {
    let mut cadence = running(false);
    cadence.on(ms(20_000), 0, Event::Sent);
    cadence.on(ms(20_000), 0, Event::Failed { retry_after: None });
    cadence.on(ms(20_001), 0, Event::Changed);
    assert_eq!(cadence.due(), Some(ms(21_000)));
    assert!(!cadence.owes());
}

#[test]
fn the_cloud_may_ask_for_patience_but_not_for_more_than_a_minute() {
    for (asked, expected) in [(5, 15_000), (3600, 70_000)] {
        let mut cadence = running(true);
        cadence.on(ms(10_000), 0, Event::Failed { retry_after: Some(Duration::from_secs(asked)) });
        assert_eq!(cadence.due(), Some(ms(expected)));
    }
}

#[test]
fn when_push_is_lost_the_plain_interval_counts() {
    let mut cadence = running(true);
    cadence.on(ms(12_000), 0, Event::PushLost);
    assert_eq!(cadence.due(), Some(ms(30_000)));
    let mut late = running(true);
    late.on(ms(100_000), 0, Event::PushLost);
    assert_eq!(late.due(), Some(ms(100_000)));
    let mut one_of_many = running(true);
    one_of_many.on(ms(100_000), u32::MAX, Event::PushLost);
    assert_eq!(one_of_many.due(), Some(ms(105_000)));
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Changed),
        Just(Event::News),
        any::<bool>().prop_map(|push| Event::Answered { push }),
        proptest::option::of(0_u64..500)
            .prop_map(|seconds| Event::Failed { retry_after: seconds.map(Duration::from_secs) }),
        Just(Event::PushLost),
    ]
}

proptest! {
    /// Plays events against a cadence whose reports are sent when they are due, and checks at each step.
    #[test]
    fn never_two_at_a_time_never_too_many_and_never_too_late(
        steps in proptest::collection::vec((0_u64..3_000, any::<u32>(), event()), 1..120),
    ) {
        let mut cadence = Cadence::new(Intervals::default());
        let (mut now, mut under_way, mut failing) = (Duration::ZERO, false, false);
        let mut sent: Option<Duration> = None;
        for (pause, random, event) in steps {
            now += ms(pause);
            if cadence.due().is_some_and(|due| due <= now) {
                prop_assert!(!under_way);
                cadence.on(now, random, Event::Sent);
                (under_way, sent) = (true, Some(now));
            }
            match event {
                Event::Answered { .. } | Event::Failed { .. } if !under_way => continue,
                Event::Answered { .. } => (under_way, failing) = (false, false),
                Event::Failed { .. } => (under_way, failing) = (false, true),
                _ => {}
            }
            cadence.on(now, random, event);
            let Some(due) = cadence.due() else {
                prop_assert!(under_way);
                continue;
            };
            prop_assert!(!under_way);
            match event {
                Event::News => {
                    let soonest = sent.map_or(now, |sent| now.max(sent + GATHER));
                    prop_assert!(due <= soonest, "news are not put off");
                }
                Event::Changed if !failing => {
                    prop_assert!(due <= now.max(sent.unwrap_or_default() + SPACING) + GATHER);
                }
                Event::Failed { .. } => {
                    prop_assert!(due <= now + LONGEST_BACKOFF);
                }
                _ => {}
            }
            let push = Intervals::default().push;
            prop_assert!(due <= now + push + ms(100), "it never stops reporting");
        }
    }

    #[test]
    fn changes_alone_make_at_most_one_report_a_second(pauses in proptest::collection::vec(0_u64..400, 1..200)) {
        let mut cadence = Cadence::new(Intervals::default());
        let (mut now, mut last) = (Duration::ZERO, None::<Duration>);
        for pause in pauses {
            now += ms(pause);
            cadence.on(now, 0, Event::Changed);
            if cadence.due().is_some_and(|due| due <= now) {
                prop_assert!(last.is_none_or(|last| now >= last + SPACING));
                cadence.on(now, 0, Event::Sent);
                cadence.on(now, 0, Event::Answered { push: true });
                last = Some(now);
            }
        }
    }
}
