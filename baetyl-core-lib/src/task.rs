//! Tasks that end in order, and blocking work off the event loop. The only place that spawns.

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;

use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A group of tasks with one stop: a cancellation token and a tracker.
///
/// Dropping the scope does not stop its tasks; [`TaskScope::stop`] does.
#[derive(Debug, Clone, Default)]
pub struct TaskScope {
    token: CancellationToken,
    tracker: TaskTracker,
}

impl TaskScope {
    /// A scope of its own.
    pub fn new() -> Self {
        Self::default()
    }

    /// A scope that also stops when `token` is cancelled.
    pub fn under(token: &CancellationToken) -> Self {
        Self { token: token.child_token(), tracker: TaskTracker::new() }
    }

    /// The token that tells this scope's tasks to end.
    pub const fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Runs a task. A panic in it is logged and ends this task alone.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that spawns")]
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let task = tokio::spawn(self.tracker.track_future(task));
        tokio::spawn(self.tracker.track_future(async move {
            if task.await.is_err_and(|error| error.is_panic()) {
                tracing::error!(task = name, "task panicked");
            }
        }));
    }

    /// Tells all tasks to end and waits until they have.
    pub async fn stop(&self) {
        self.token.cancel();
        self.wait().await;
    }

    /// Waits until all tasks have ended by themselves.
    pub async fn wait(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// Blocking work was lost: it panicked, or the runtime stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("blocking work did not end")]
pub struct Lost;

/// Where blocking work (files, digests, unpacking) is done: a bounded pool, or inline in a simulation.
pub trait Blocking: Debug + Send + Sync {
    /// Has the job done, now or later. Jobs may run at once and in any order.
    fn submit(&self, job: Box<dyn FnOnce() + Send>);
}

/// Runs `job` as blocking work and waits for its result. A dropped future leaves the job running.
///
/// # Errors
/// [`Lost`] when the job panicked.
pub async fn blocking<T, F>(pool: &dyn Blocking, job: F) -> Result<T, Lost>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let (done, result) = oneshot::channel();
    pool.submit(Box::new(move || {
        // The waiter may have gone; the work is done all the same.
        drop(done.send(job()));
    }));
    result.await.map_err(|_| Lost)
}

/// Blocking work on tokio's blocking threads, a few at once.
#[derive(Debug, Clone)]
pub struct Pool {
    room: Arc<Semaphore>,
}

impl Pool {
    /// At most `width` jobs at once; zero counts as one.
    pub fn new(width: usize) -> Self {
        Self { room: Arc::new(Semaphore::new(width.max(1))) }
    }
}

impl Blocking for Pool {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that spawns")]
    fn submit(&self, job: Box<dyn FnOnce() + Send>) {
        if let Ok(place) = Arc::clone(&self.room).try_acquire_owned() {
            tokio::task::spawn_blocking(move || {
                job();
                drop(place);
            });
            return;
        }
        let room = Arc::clone(&self.room);
        tokio::spawn(async move {
            // The semaphore is never closed, so a place always comes.
            let place = room.acquire_owned().await.ok();
            tokio::task::spawn_blocking(move || {
                job();
                drop(place);
            });
        });
    }
}

/// Blocking work done at once, on the caller's thread: for simulations and tests.
#[derive(Debug, Clone, Copy, Default)]
pub struct Inline;

impl Blocking for Inline {
    fn submit(&self, job: Box<dyn FnOnce() + Send>) {
        job();
    }
}
