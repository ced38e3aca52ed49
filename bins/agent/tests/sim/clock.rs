//! Wall clocks that go with tokio's paused clock, and jump when they are told to.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use baetyl_core_lib::clock::{Clock, Trust};
use baetyl_core_lib::spec::Timestamp;
use baetyl_core_lib::testing::ManualClock;
use tokio::time::Instant;

/// A wall clock. Clones are the same clock.
#[derive(Debug, Clone)]
pub(crate) struct SimClock {
    wall: ManualClock,
    seen: Arc<Mutex<Instant>>,
}

impl SimClock {
    /// A clock that shows this time now (RFC 3339).
    pub(crate) fn at(time: &str) -> Self {
        Self { wall: ManualClock::at(time), seen: Arc::new(Mutex::new(Instant::now())) }
    }

    /// Sets the clock, forth or back.
    pub(crate) fn set(&self, time: &str) {
        self.tick().set(time);
    }

    fn tick(&self) -> &ManualClock {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let passed: Duration = seen.elapsed();
        *seen += passed;
        self.wall.advance(passed);
        &self.wall
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        self.tick().now()
    }

    fn trust(&self) -> Trust {
        self.tick().trust()
    }

    fn raise_floor(&self, floor: Timestamp) {
        self.tick().raise_floor(floor);
    }
}
