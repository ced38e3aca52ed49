//! Bounded, jittered delays between tries. Pure: the random number is an argument.

use std::time::Duration;

/// Delays that grow by a factor from `min` to `max`, each shortened by up to half at random.
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
