//! A store on redb.
/// A store on redb.
#[derive(Debug)]
pub struct RedbStore;
