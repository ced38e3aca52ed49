//! A store in memory, for tests and simulations.
/// A store in memory.
#[derive(Debug, Default)]
pub struct MemoryStore;
