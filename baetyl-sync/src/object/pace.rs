//! Keeps all downloads together below a number of bytes a second.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

#[derive(Debug)]
pub(super) struct Pace {
    bytes_a_second: Option<u64>,
    /// When the bytes taken so far are paid for.
    paid: Mutex<Option<Instant>>,
}

impl Pace {
    pub(super) fn new(bytes_a_second: Option<u64>) -> Self {
        Self { bytes_a_second: bytes_a_second.filter(|rate| *rate > 0), paid: Mutex::new(None) }
    }

    /// Waits until `bytes` more are paid for.
    pub(super) async fn take(&self, bytes: u64) {
        let Some(rate) = self.bytes_a_second else { return };
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate);
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let until = {
            let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let start = paid.map_or(now, |paid| paid.max(now));
            let until = start.checked_add(cost).unwrap_or(start);
            *paid = Some(until);
            until
        };
        sleep_until(until).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn downloads_share_one_rate() {
        let pace = Pace::new(Some(1000));
        let start = Instant::now();
        tokio::join!(pace.take(500), pace.take(1500));
        assert_eq!(start.elapsed(), Duration::from_secs(2));
        Pace::new(None).take(u64::MAX).await;
        assert_eq!(start.elapsed(), Duration::from_secs(2));
    }
}
