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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_panic_in_a_task_ends_that_task_alone() {
        let scope = TaskScope::new();
        let done = Arc::new(AtomicBool::new(false));
        let (go, gone) = oneshot::channel::<()>();
        scope.spawn("bad", async { panic!("as it should") });
        let flag = Arc::clone(&done);
        scope.spawn("good", async move {
            gone.await.unwrap();
            flag.store(true, Ordering::Relaxed);
        });
        tokio::task::yield_now().await;
        go.send(()).unwrap();
        scope.wait().await;
        assert!(done.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn stop_tells_all_tasks_and_waits_until_they_have_ended() {
        let scope = TaskScope::new();
        let ended = Arc::new(AtomicUsize::new(0));
        for _ in 0..3 {
            let (token, ended) = (scope.token().clone(), Arc::clone(&ended));
            scope.spawn("worker", async move {
                token.cancelled().await;
                // What a task does to end in order is waited for too.
                tokio::task::yield_now().await;
                ended.fetch_add(1, Ordering::Relaxed);
            });
        }
        scope.stop().await;
        assert_eq!(ended.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn a_scope_stops_with_the_token_above_it_and_not_the_other_way_round() {
        let above = CancellationToken::new();
        let (first, second) = (TaskScope::under(&above), TaskScope::under(&above));
        first.stop().await;
        assert!(!above.is_cancelled() && !second.token().is_cancelled());
        above.cancel();
        assert!(second.token().is_cancelled());
    }

    #[tokio::test]
    async fn a_pool_runs_no_more_jobs_at_once_than_it_is_wide() {
        let pool = Pool::new(2);
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (began, begun) = mpsc::channel();
        let (go, wait) = mpsc::channel::<()>();
        let wait = Arc::new(Mutex::new(wait));
        let jobs = TaskScope::new();
        for _ in 0..6 {
            let (pool, running, most) = (pool.clone(), Arc::clone(&running), Arc::clone(&most));
            let (began, wait) = (began.clone(), Arc::clone(&wait));
            jobs.spawn("job", async move {
                let job = move || {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    // Whoever listened may have heard enough.
                    began.send(()).ok();
                    wait.lock().unwrap().recv().unwrap();
                    running.fetch_sub(1, Ordering::SeqCst);
                };
                blocking(&pool, job).await.unwrap();
            });
        }
        tokio::task::yield_now().await;
        let driver = TaskScope::new();
        driver.spawn("driver", async move {
            // Two have begun, and none begins until one of them ends.
            let beside = Pool::new(1);
            let first = blocking(&beside, move || {
                begun.recv().unwrap();
                begun.recv().unwrap();
                begun
            });
            let begun = first.await.unwrap();
            assert!(begun.try_recv().is_err());
            for _ in 0..6 {
                go.send(()).unwrap();
            }
        });
        jobs.wait().await;
        driver.wait().await;
        assert_eq!(most.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_job_that_panics_is_lost_and_its_place_is_not() {
        let pool = Pool::new(1);
        assert_eq!(blocking(&pool, || panic!("as it should")).await, Err::<(), _>(Lost));
        assert_eq!(blocking(&pool, || 7).await, Ok(7));
    }

    #[tokio::test]
    async fn a_job_goes_on_when_nobody_waits_for_it_any_more() {
        let pool = Pool::new(1);
        let (go, wait) = mpsc::channel();
        let (done, finished) = mpsc::channel();
        let waiting = blocking(&pool, move || done.send(wait.recv().unwrap()).unwrap());
        assert!(tokio::time::timeout(std::time::Duration::ZERO, waiting).await.is_err());
        go.send(7).unwrap();
        assert_eq!(blocking(&pool, move || finished.recv().unwrap()).await, Ok(7));
    }
}
