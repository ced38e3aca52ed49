//! Being told to stop: SIGTERM and SIGINT cancel a token. A second one does not hurry: the deadline does.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit::Fatal;

/// Waits for the first SIGTERM or SIGINT, then cancels the token.
///
/// # Errors
/// When signals cannot be watched.
pub async fn cancel_on_signal(token: CancellationToken) -> Result<(), Fatal> {
    let watch =
        |kind| signal(kind).map_err(|error| Fatal::TryAgain(format!("signals cannot be watched: {error}")));
    let mut terminate = watch(SignalKind::terminate())?;
    let mut interrupt = watch(SignalKind::interrupt())?;
    tokio::select! {
        biased;
        // Cancel-safe: a signal that is not received here is not received anywhere else either.
        _ = terminate.recv() => {}
        // Cancel-safe, as above.
        _ = interrupt.recv() => {}
        // Cancel-safe: a token stays cancelled.
        () = token.cancelled() => {}
    }
    token.cancel();
    Ok(())
}
