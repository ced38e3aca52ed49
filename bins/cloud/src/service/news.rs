//! Who waits for news, and who holds a poll. In memory only: a lost wake-up costs time, never correctness.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use baetyl_core_lib::spec::Timestamp;
use tokio::sync::watch;

/// The cursors of the nodes that poll.
#[derive(Debug, Default)]
pub struct News(Mutex<BTreeMap<String, Presence>>);

#[derive(Debug)]
struct Presence {
    cursor: watch::Sender<String>,
    held: usize,
    last: Timestamp,
}

impl Default for Presence {
    fn default() -> Self {
        Self { cursor: watch::Sender::new(String::new()), held: 0, last: Timestamp::ZERO }
    }
}

impl News {
    /// Answers the polls of a node.
    pub(crate) fn tell(&self, node: &str, cursor: &str) {
        self.with(node, |presence| drop(presence.cursor.send_replace(cursor.to_owned())));
    }

    /// Begins a poll. It counts as being online while it lives, and `now` is remembered after it.
    pub(crate) fn poll(&self, node: &str, now: Timestamp) -> Poll<'_> {
        let cursor = self.with(node, |presence| {
            presence.held += 1;
            presence.last = presence.last.max(now);
            presence.cursor.subscribe()
        });
        Poll { news: self, node: node.to_owned(), cursor }
    }

    /// How many polls of a node are under way.
    pub fn holds(&self, node: &str) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(node).map_or(0, |presence| presence.held)
    }

    /// When the node was last seen polling: `now` while it does.
    pub(crate) fn seen(&self, node: &str, now: Timestamp) -> Option<Timestamp> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let presence = all.get(node)?;
        Some(if presence.held > 0 { now } else { presence.last })
    }

    /// Forgets a node, and ends its polls.
    pub(crate) fn forget(&self, node: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(node);
    }

    fn with<T>(&self, node: &str, work: impl FnOnce(&mut Presence) -> T) -> T {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        work(all.entry(node.to_owned()).or_default())
    }
}

/// One poll of one node, under way.
#[derive(Debug)]
pub struct Poll<'a> {
    news: &'a News,
    node: String,
    cursor: watch::Receiver<String>,
}

impl Poll<'_> {
    /// Waits until the node's desire changes. Ends also when the node is deleted.
    pub(crate) async fn changed(&mut self) {
        // An error means that the sender is gone, which is news too.
        drop(self.cursor.changed().await);
    }
}

impl Drop for Poll<'_> {
    fn drop(&mut self) {
        let mut all = self.news.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(presence) = all.get_mut(&self.node) {
            presence.held = presence.held.saturating_sub(1);
        }
    }
}
