//! The host's wall clock with a floor below it, and the host's randomness.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use baetyl_core_lib::clock::{Clock, Random, Trust};
use baetyl_core_lib::error::Chain;
use baetyl_core_lib::spec::Timestamp;
use baetyl_core_lib::store::{Change, Store, StoreError, Table};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Where the floor is stored.
const KEY: &str = "clock-floor";
/// The floor is stored when it rose by this much, so at most so often.
const STEP: Duration = Duration::from_secs(3600);

/// The host's wall clock, never behind a time that is known to have passed.
#[derive(Debug)]
pub struct HostClock {
    built: Timestamp,
    store: Arc<dyn Store>,
    floor: Mutex<Floor>,
    rose: Notify,
    wall: fn() -> Timestamp,
}

#[derive(Debug, Clone, Copy)]
struct Floor {
    known: Timestamp,
    stored: Timestamp,
}

impl HostClock {
    /// Reads the stored floor. `built` is when the agent was built.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn open(store: Arc<dyn Store>, built: Timestamp) -> Result<Self, StoreError> {
        Self::with_wall(store, built, wall).await
    }

    async fn with_wall(
        store: Arc<dyn Store>,
        built: Timestamp,
        wall: fn() -> Timestamp,
    ) -> Result<Self, StoreError> {
        let stored = store.load(Table::Node, KEY).await?;
        let stored = stored.and_then(|value| Timestamp::parse(std::str::from_utf8(&value).ok()?));
        // A floor that cannot be read is as good as none; the next one replaces it.
        let stored = stored.unwrap_or(Timestamp::ZERO);
        let floor = Mutex::new(Floor { known: stored.max(built), stored });
        Ok(Self { built, store, floor, rose: Notify::new(), wall })
    }

    /// Makes the floor durable whenever it rose by an hour, until `shutdown`.
    pub async fn run(&self, shutdown: CancellationToken) {
        loop {
            let floor = self.floor();
            if floor.known > self.built && floor.known >= floor.stored.saturating_add(STEP) {
                let text = floor.known.to_string().into_bytes();
                match self.store.commit(vec![Change::Put(Table::Node, KEY.to_owned(), text)]).await {
                    Ok(()) => self.floor.lock().unwrap_or_else(PoisonError::into_inner).stored = floor.known,
                    Err(error) => tracing::warn!(error = %Chain(&error), "clock floor not stored"),
                }
            }
            tokio::select! {
                biased;
                // Cancel-safe: a token.
                () = shutdown.cancelled() => return,
                // Cancel-safe: the permit stays for the next turn.
                () = self.rose.notified() => {}
            }
        }
    }

    fn floor(&self) -> Floor {
        *self.floor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for HostClock {
    fn now(&self) -> Timestamp {
        (self.wall)().max(self.floor().known)
    }

    fn trust(&self) -> Trust {
        let wall = (self.wall)();
        if wall < self.built {
            Trust::Unset
        } else if wall < self.floor().known {
            Trust::Floor
        } else {
            Trust::Synchronised
        }
    }

    fn raise_floor(&self, floor: Timestamp) {
        let mut now = self.floor.lock().unwrap_or_else(PoisonError::into_inner);
        if floor > now.known {
            now.known = floor;
            drop(now);
            self.rose.notify_one();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the wall clock's own seam")]
fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_nanos(i128::try_from(since.as_nanos()).unwrap_or(0))
}

/// The operating system's randomness, stretched: for names and jitter, never for keys.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsRandom;

impl Random for OsRandom {
    fn next_u32(&self) -> u32 {
        // The keys of every new state are unpredictable, and differ from those before.
        (RandomState::new().hash_one(0_u8) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use baetyl_core_lib::store::MemoryStore;

    use super::*;

    const BUILT: i64 = 1_800_000_000;

    async fn at(store: &Arc<MemoryStore>, wall: fn() -> Timestamp) -> HostClock {
        let store: Arc<dyn Store> = Arc::<MemoryStore>::clone(store);
        HostClock::with_wall(store, Timestamp::from_unix(BUILT), wall).await.unwrap()
    }

    #[tokio::test]
    async fn clock_that_nobody_set_shows_the_build_time() {
        let clock = at(&Arc::default(), || Timestamp::from_unix(5)).await;
        assert_eq!((clock.now(), clock.trust()), (Timestamp::from_unix(BUILT), Trust::Unset));
    }

    #[tokio::test]
    async fn floor_is_never_passed_downwards() {
        let clock = at(&Arc::default(), || Timestamp::from_unix(BUILT + 10)).await;
        assert_eq!(clock.trust(), Trust::Synchronised);
        clock.raise_floor(Timestamp::from_unix(BUILT + 90));
        clock.raise_floor(Timestamp::from_unix(BUILT + 20));
        assert_eq!((clock.now(), clock.trust()), (Timestamp::from_unix(BUILT + 90), Trust::Floor));
    }

    #[tokio::test]
    async fn raised_floor_outlives_the_agent() {
        let store = Arc::<MemoryStore>::default();
        let clock = at(&store, || Timestamp::from_unix(5)).await;
        clock.raise_floor(Timestamp::from_unix(BUILT + 7200));
        let shutdown = CancellationToken::new();
        shutdown.cancel();
        clock.run(shutdown).await;
        let clock = at(&store, || Timestamp::from_unix(5)).await;
        assert_eq!(clock.now(), Timestamp::from_unix(BUILT + 7200));
    }

    #[test]
    fn random_numbers_differ() {
        assert_ne!([OsRandom.next_u32(), OsRandom.next_u32()], [OsRandom.next_u32(), OsRandom.next_u32()]);
    }
}
