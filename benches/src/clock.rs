//! The time since boot, which child processes share with this one.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::error::BenchError;

/// The time since boot.
pub(crate) fn now() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Asks every `gap` until there is an answer.
pub(crate) fn until<T>(
    what: &str,
    limit: Duration,
    gap: Duration,
    mut ask: impl FnMut() -> Result<Option<T>, BenchError>,
) -> Result<T, BenchError> {
    let end = now() + limit;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if now() > end {
            return Err(BenchError::Failed(format!("waited {limit:?} for {what}")));
        }
        std::thread::sleep(gap);
    }
}

/// A quantile of some times: `share` 0.5 is the median.
pub(crate) fn quantile(times: &[Duration], share: f64) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rank among a few hundred"
    )]
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or_default()
}
