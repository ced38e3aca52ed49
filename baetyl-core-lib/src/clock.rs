//! Wall time, and how far it can be trusted. Elapsed time is tokio's clock, never this one.

use std::fmt::Debug;

use crate::spec::Timestamp;

/// How far the wall clock can be trusted (design.md 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trust {
    /// The clock shows a time before the agent was built: nobody has set it.
    Unset,
    /// The clock is behind a time that is known to have passed; that time is given instead.
    Floor,
    /// The clock is not behind anything that is known.
    Synchronised,
}

/// The wall clock.
pub trait Clock: Debug + Send + Sync {
    /// The time now: the wall clock, or the floor where the clock is behind it.
    fn now(&self) -> Timestamp;

    /// How far [`Clock::now`] can be trusted.
    fn trust(&self) -> Trust;

    /// Tells a time that is known to have passed, for instance that of a verified answer. Never goes
    /// back. Implementations make it durable at most hourly.
    fn raise_floor(&self, floor: Timestamp);
}

/// Randomness, as a seam: names, jitter, keys of requests. Not for cryptographic keys.
pub trait Random: Debug + Send + Sync {
    /// Four random bytes.
    fn next_u32(&self) -> u32;

    /// Lower-case letters and digits, as the cloud puts them behind names.
    fn word(&self, length: usize) -> String {
        const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        (0..length).map(|_| char::from(LETTERS[(self.next_u32() % 36) as usize])).collect()
    }
}
