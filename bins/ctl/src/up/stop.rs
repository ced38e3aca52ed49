//! When `up` is to end: Ctrl-C, a request to end, or a terminal that is gone.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::CtlError;

/// SIGINT, SIGTERM, and SIGHUP: the terminal has gone.
#[derive(Debug)]
pub(super) struct Stop {
    interrupt: Signal,
    terminate: Signal,
    hangup: Option<Signal>,
    pub(super) was_told: bool,
}

impl Stop {
    pub(super) fn new() -> Result<Self, CtlError> {
        let watch = |kind| {
            signal(kind).map_err(|error| CtlError::Failed(format!("signals cannot be watched: {error}")))
        };
        Ok(Self {
            interrupt: watch(SignalKind::interrupt())?,
            terminate: watch(SignalKind::terminate())?,
            hangup: if ignores_hangup() { None } else { Some(watch(SignalKind::hangup())?) },
            was_told: false,
        })
    }

    pub(super) async fn told(&mut self) {
        tokio::select! {
            biased;
            // Cancel-safe: a signal stays pending.
            _ = self.interrupt.recv() => {}
            // Cancel-safe, as above.
            _ = self.terminate.recv() => {}
            // Cancel-safe, as above.
            () = async {
                match &mut self.hangup {
                    Some(hangup) => drop(hangup.recv().await),
                    None => std::future::pending().await,
                }
            } => {}
        }
        self.was_told = true;
    }
}

/// Whether whoever started this wants it to outlive the terminal, as `nohup` does: it ignores signal 1.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}
