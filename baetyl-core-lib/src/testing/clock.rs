//! Wall time and randomness that a test sets.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Random, Trust};
use crate::spec::Timestamp;

/// A wall clock that a test sets. Clones are the same clock.
///
/// ```
/// use std::time::Duration;
/// use baetyl_core_lib::clock::Clock;
/// use baetyl_core_lib::testing::ManualClock;
///
/// let clock = ManualClock::at("2026-01-01T00:00:00Z");
/// let before = clock.now();
/// clock.advance(Duration::from_secs(60));
/// assert!(clock.now() > before);
/// ```
#[derive(Debug, Clone)]
pub struct ManualClock {
    inner: Arc<Mutex<Times>>,
}

#[derive(Debug)]
struct Times {
    wall: Timestamp,
    floor: Option<Timestamp>,
    set: bool,
}

impl ManualClock {
    /// A clock that stands at this time (RFC 3339), and that somebody has set.
    ///
    /// # Panics
    /// When the text is no time.
    pub fn at(time: &str) -> Self {
        Self { inner: Arc::new(Mutex::new(Times { wall: timestamp(time), floor: None, set: true })) }
    }

    /// A clock that nobody has set: it shows 1970.
    pub fn unset() -> Self {
        let clock = Self::at("1970-01-01T00:00:00Z");
        clock.lock().set = false;
        clock
    }

    /// Sets the clock, forth or back.
    ///
    /// # Panics
    /// When the text is no time.
    pub fn set(&self, time: &str) {
        let mut times = self.lock();
        times.wall = timestamp(time);
        times.set = true;
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        let mut times = self.lock();
        let nanos = i128::try_from(by.as_nanos()).unwrap_or(i128::MAX);
        times.wall = Timestamp::from_unix_nanos(times.wall.as_unix_nanos().saturating_add(nanos));
    }

    fn lock(&self) -> MutexGuard<'_, Times> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        let times = self.lock();
        times.floor.map_or(times.wall, |floor| times.wall.max(floor))
    }

    fn trust(&self) -> Trust {
        let times = self.lock();
        if times.floor.is_some_and(|floor| times.wall < floor) {
            Trust::Floor
        } else if times.set {
            Trust::Synchronised
        } else {
            Trust::Unset
        }
    }

    fn raise_floor(&self, floor: Timestamp) {
        let mut times = self.lock();
        times.floor = times.floor.max(Some(floor));
    }
}

/// Randomness from a seed: the same seed gives the same numbers. Clones draw from the same row.
#[derive(Debug, Clone)]
pub struct SeededRandom {
    state: Arc<AtomicU32>,
}

impl SeededRandom {
    /// Begins the row of this seed.
    pub fn new(seed: u32) -> Self {
        Self { state: Arc::new(AtomicU32::new(seed)) }
    }
}

impl Random for SeededRandom {
    fn next_u32(&self) -> u32 {
        // splitmix32: every seed is good, zero too.
        const STEP: u32 = 0x9e37_79b9;
        let mut z = self.state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 16)).wrapping_mul(0x21f0_aaad);
        z = (z ^ (z >> 15)).wrapping_mul(0x735a_2d97);
        z ^ (z >> 15)
    }
}

#[expect(clippy::expect_used, reason = "the author of a test wrote the text")]
fn timestamp(time: &str) -> Timestamp {
    serde_json::from_value(serde_json::Value::String(time.to_owned())).expect("time as in RFC 3339")
}
