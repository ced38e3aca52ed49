//! The machine's own clock and randomness, for the program and for `baetylctl up`.

use baetyl_core_lib::clock::{Clock, Random, Trust};
use baetyl_core_lib::spec::Timestamp;
use ring::rand::SecureRandom as _;

/// The machine's clock. A cloud trusts it: its machine keeps time.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_unix_nanos(i128::try_from(since.as_nanos()).unwrap_or(0))
    }

    fn trust(&self) -> Trust {
        Trust::Synchronised
    }

    fn raise_floor(&self, _: Timestamp) {}
}

/// The machine's randomness.
#[derive(Debug)]
pub struct SystemRandom(ring::rand::SystemRandom);

impl Default for SystemRandom {
    fn default() -> Self {
        Self(ring::rand::SystemRandom::new())
    }
}

impl Random for SystemRandom {
    fn next_u32(&self) -> u32 {
        let mut bytes = [0; 4];
        // The kernel's generator fails only before it is seeded, at boot; names may then repeat and are refused.
        match self.0.fill(&mut bytes) {
            Ok(()) | Err(ring::error::Unspecified) => u32::from_ne_bytes(bytes),
        }
    }
}
