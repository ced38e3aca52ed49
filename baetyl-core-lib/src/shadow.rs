//! The shadow: what the cloud wants and what the device says, and the only place where both meet.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::spec::{Desire, Report};
use crate::store::StoreError;

pub mod diff;
pub mod merge;
pub mod rebuild;
mod stored;

pub use self::stored::StoredShadow;

/// What the cloud wants and what the device says.
///
/// One writer per half: the Syncer writes the desire, the device side writes the report.
#[async_trait]
pub trait Shadow: Debug + Send + Sync {
    /// The whole desire; sections that the cloud has not spoken of are `None`. Copy out before working.
    fn desire(&self) -> watch::Receiver<Arc<Desire>>;

    /// The report, merged of all that the device side said.
    fn report(&self) -> watch::Receiver<Arc<Report>>;

    /// Replaces the desire. It is durable before anybody sees it. Writes nothing when nothing changed.
    ///
    /// A dropped future leaves the old desire or the new one, whole.
    ///
    /// # Errors
    /// When it cannot be made durable; the old desire stays.
    async fn apply_desire(&self, desire: Desire) -> Result<(), StoreError>;

    /// Merges a part into the report: sections that are absent stay as they are, `node` and `nodestats`
    /// are replaced whole, other maps are merged, lists replaced (edge.md 2.3). A node property that is
    /// `null` is dropped. Node properties are durable before anybody sees them; the rest is measured anew
    /// after a restart. A part that changes nothing wakes nobody.
    ///
    /// # Errors
    /// When node properties cannot be made durable; nothing is merged then.
    async fn merge_report(&self, part: Report) -> Result<(), StoreError>;
}
