//! The life of one run of the agent: where a crash strikes, and that nothing passes after it.
//!
//! A crash is planned by counting passages: the run is cut off before or after any call of a seam. What is
//! left of the agent in memory then waits for ever at the next seam and changes nothing any more.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tokio::sync::Notify;

use crate::trace::Trace;

/// One run of the agent.
#[derive(Debug)]
pub(crate) struct Life {
    trace: Trace,
    dead: AtomicBool,
    /// Passages until the crash; 0 when none is planned.
    fuse: AtomicU32,
    died: Notify,
}

impl Life {
    pub(crate) fn new(trace: Trace) -> Self {
        Self { trace, dead: AtomicBool::new(false), fuse: AtomicU32::new(0), died: Notify::new() }
    }

    /// Has the run end at the passage that is this many away.
    pub(crate) fn light(&self, passages: u32) {
        self.fuse.store(passages, Ordering::Relaxed);
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// Ends the run here.
    pub(crate) fn end(&self, at: &str) {
        if !self.dead.swap(true, Ordering::Relaxed) {
            self.trace.event("died", at);
            self.died.notify_one();
        }
    }

    /// Has the run told to end, in order.
    pub(crate) fn leave(&self) {
        self.died.notify_one();
    }

    /// Waits until the run is cut off, or is told to end.
    pub(crate) async fn died(&self) {
        if !self.is_dead() {
            self.died.notified().await;
        }
    }

    /// Passes through a seam; never returns in a run that is cut off.
    pub(crate) async fn pass(&self, at: &str) {
        let fuse = self.fuse.load(Ordering::Relaxed);
        if fuse > 0 && !self.is_dead() {
            self.fuse.store(fuse - 1, Ordering::Relaxed);
            if fuse == 1 {
                self.end(at);
            }
        }
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
    }
}
