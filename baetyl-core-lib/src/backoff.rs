//! Bounded, jittered delays between tries. Pure: the random number is an argument.

use std::time::Duration;

/// Delays that grow by a factor from `min` to `max`, each shortened by up to half at random.
///
/// ```
/// use std::time::Duration;
///
/// use baetyl_core_lib::backoff::Backoff;
///
/// let backoff = Backoff { min: Duration::from_secs(1), max: Duration::from_secs(60), factor: 2 };
/// assert_eq!(backoff.delay(1, 0), Duration::from_secs(1));
/// assert!((30..60).contains(&backoff.delay(10, 12345).as_secs()));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// The shortest delay; also the shortest that jitter may give.
    pub min: Duration,
    /// The longest delay.
    pub max: Duration,
    /// By how much a delay grows from try to try; below 1 counts as 1.
    pub factor: u32,
}

impl Backoff {
    /// The delay after the `failures`-th failure in a row (1 is the first), for `random` drawn evenly
    /// from all of `u32`. Always between `min` and `max`, whatever the arguments.
    pub fn delay(&self, failures: u32, random: u32) -> Duration {
        let max = self.max.max(self.min);
        let steps = failures.saturating_sub(1).min(64);
        let mut full = self.min.max(Duration::from_millis(1));
        for _ in 0..steps {
            full = full.saturating_mul(self.factor.max(1));
            if full >= max {
                break;
            }
        }
        let full = full.min(max);
        let half = full / 2;
        let part = f64::from(random) / (f64::from(u32::MAX) + 1.0);
        (half + half.mul_f64(part)).clamp(self.min, max)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_backoff() -> impl Strategy<Value = Backoff> {
        let any_duration = || {
            prop_oneof![
                Just(Duration::ZERO),
                Just(Duration::MAX),
                any::<(u64, u32)>()
                    .prop_map(|(seconds, nanos)| Duration::new(seconds, nanos % 1_000_000_000)),
                (0u64..100_000).prop_map(Duration::from_millis),
            ]
        };
        (any_duration(), any_duration(), prop_oneof![0u32..5, any::<u32>()])
            .prop_map(|(min, max, factor)| Backoff { min, max, factor })
    }

    proptest! {
        #[test]
        fn a_delay_is_never_below_min_nor_above_max(
            backoff in any_backoff(),
            failures in prop_oneof![0u32..70, any::<u32>()],
            random in prop_oneof![Just(0), Just(u32::MAX), any::<u32>()],
        ) {
            let delay = backoff.delay(failures, random);
            prop_assert!(backoff.min <= delay && delay <= backoff.max.max(backoff.min));
        }

        #[test]
        fn more_failures_or_a_larger_random_number_never_shorten_a_delay(
            backoff in any_backoff(), failures in 0u32..70, random in 0..u32::MAX,
        ) {
            let delay = backoff.delay(failures, random);
            prop_assert!(delay <= backoff.delay(failures + 1, random));
            prop_assert!(delay <= backoff.delay(failures, random + 1));
        }
    }

    #[test]
    fn delays_double_up_to_the_longest_and_jitter_takes_at_most_half() {
        let backoff = Backoff { min: Duration::from_secs(1), max: Duration::from_secs(60), factor: 2 };
        for (failures, longest) in [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (u32::MAX, 60)] {
            let longest = Duration::from_secs(longest);
            let missing = longest.saturating_sub(backoff.delay(failures, u32::MAX));
            assert!(missing < Duration::from_millis(1), "{failures}: {missing:?}");
            assert_eq!(backoff.delay(failures, 0), (longest / 2).max(backoff.min));
        }
    }
}
