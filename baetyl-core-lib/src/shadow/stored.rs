//! The stock shadow over a store.
/// The stock shadow.
#[derive(Debug)]
pub struct StoredShadow;
