//! Fakes with state, and builders of spec values: for tests and simulations of ours and of embedders.
//!
//! Each fake keeps the whole contract of its trait, which the conformance suites check; faults are asked
//! for by the test. Nothing here may be needed outside tests.

mod build;
mod clock;
mod disk;
mod engine;
mod link;
mod source;

pub use self::build::{AppBuilder, app};
pub use self::clock::{ManualClock, SeededRandom};
pub use self::disk::{Call, MemoryDisk, Tear};
pub use self::engine::{FakeEngine, Fault};
pub use self::link::MemoryLink;
pub use self::source::{FakeNode, FakeObjects, FixedResources};
