//! Fakes with state, and builders of spec values: for tests and simulations of ours and of embedders.
//!
//! Each fake keeps the whole contract of its trait, which the conformance suites check; faults are asked
//! for by the test. Nothing here may be needed outside tests.

pub mod clock;
pub mod disk;

pub use self::clock::{ManualClock, SeededRandom};
pub use self::disk::{Call, MemoryDisk, Tear};
