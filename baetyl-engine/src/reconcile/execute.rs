//! Does what a plan says: each application in a task of its own, so that one that hangs delays nobody.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use baetyl_core_lib::application::Scope;
use baetyl_core_lib::engine::{Engine, EngineError, EngineKind};
use baetyl_core_lib::error::Chain;
use baetyl_core_lib::object::{OnProgress, Progress};
use baetyl_core_lib::spec::AppInfo;
use baetyl_core_lib::task::TaskScope;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::deploy::{DeployError, Deployer, OnObject, Resolved};
use super::update::Facts;

/// An application by scope and name.
pub(super) type Key = (Scope, String);

/// Something to be done to one application.
#[derive(Debug)]
pub(super) enum Job {
    Prepare(AppInfo),
    Apply {
        info: AppInfo,
        resolved: Option<Box<Resolved>>,
        clear: Vec<Place>,
        stop: Vec<Place>,
    },
    Repair(AppInfo),
    /// Applies again when the certificates are others than these.
    Renew(AppInfo, String),
    Revert {
        from: Vec<Place>,
        to: AppInfo,
    },
    Remove(Vec<Place>),
}

/// A version, and the engine that has it.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) engine: EngineKind,
    pub(super) info: AppInfo,
}

/// How a job ended.
#[derive(Debug)]
pub(super) enum Outcome {
    Prepared(Resolved),
    /// The certificates that were put in place, when they are new.
    Renewed(Option<Facts>),
    Done,
    Cancelled,
    Failed {
        reason: String,
        transient: bool,
        learnt: Option<Facts>,
    },
}

/// Jobs under way, at most one for each application.
#[derive(Debug)]
pub(super) struct Executor {
    worker: Arc<Worker>,
    tasks: TaskScope,
    running: BTreeMap<Key, Running>,
    ended: mpsc::UnboundedSender<(Key, Outcome)>,
}

#[derive(Debug)]
struct Running {
    token: CancellationToken,
    progress: watch::Receiver<Option<(String, Progress)>>,
}

#[derive(Debug)]
struct Worker {
    deployer: Deployer,
    engines: Vec<Arc<dyn Engine>>,
    prepares: Semaphore,
}

impl Executor {
    pub(super) fn new(
        deployer: Deployer,
        engines: Vec<Arc<dyn Engine>>,
        prepares: usize,
        ended: mpsc::UnboundedSender<(Key, Outcome)>,
    ) -> Self {
        let worker = Worker { deployer, engines, prepares: Semaphore::new(prepares.max(1)) };
        Self { worker: Arc::new(worker), tasks: TaskScope::new(), running: BTreeMap::new(), ended }
    }

    pub(super) fn start(&mut self, key: Key, job: Job) {
        let (sender, progress) = watch::channel(None);
        let (worker, scope) = (Arc::clone(&self.worker), key.0);
        self.spawn(key, progress, async move { worker.work(scope, job, sender).await });
    }

    /// Runs something that is nobody's own, under a key of its own.
    pub(super) fn start_other(&mut self, key: Key, work: impl Future<Output = ()> + Send + 'static) {
        let (_, progress) = watch::channel(None);
        self.spawn(key, progress, async move {
            work.await;
            Outcome::Done
        });
    }

    fn spawn(
        &mut self,
        key: Key,
        progress: watch::Receiver<Option<(String, Progress)>>,
        work: impl Future<Output = Outcome> + Send + 'static,
    ) {
        let token = self.tasks.token().child_token();
        self.running.insert(key.clone(), Running { token: token.clone(), progress });
        let ended = self.ended.clone();
        self.tasks.spawn("application", async move {
            let mut report = Report {
                ended,
                key,
                outcome: Some(Outcome::Failed {
                    reason: "it panicked; its log has more".to_owned(),
                    transient: true,
                    learnt: None,
                }),
            };
            report.outcome = Some(tokio::select! {
                biased;
                // Cancel-safe: a token stays cancelled.
                () = token.cancelled() => Outcome::Cancelled,
                // Dropped when cancelled; engines and sources say that the same call again goes on from there.
                outcome = work => outcome,
            });
            drop(report);
        });
    }

    /// Tells an application's job to end; its end is told as any other.
    pub(super) fn cancel(&self, key: &Key) {
        if let Some(running) = self.running.get(key) {
            running.token.cancel();
        }
    }

    /// Takes a job that ended off the list.
    pub(super) fn end(&mut self, key: &Key) {
        self.running.remove(key);
    }

    pub(super) fn is_running(&self, key: &Key) -> bool {
        self.running.contains_key(key)
    }

    /// What is being fetched for an application, and how far it is.
    pub(super) fn progress(&self, key: &Key) -> Option<(String, Progress)> {
        self.running.get(key).and_then(|running| running.progress.borrow().clone())
    }

    /// Ends all jobs; what they left half done is finished after the next start.
    pub(super) async fn stop(&self) {
        self.tasks.stop().await;
    }
}

/// Tells how a job ended even when it panicked: else its application would be busy for ever.
#[derive(Debug)]
struct Report {
    ended: mpsc::UnboundedSender<(Key, Outcome)>,
    key: Key,
    outcome: Option<Outcome>,
}

impl Drop for Report {
    fn drop(&mut self) {
        if let Some(outcome) = self.outcome.take() {
            // No bound is needed: each application has one job. A reconciler that has gone needs no telling.
            drop(self.ended.send((self.key.clone(), outcome)));
        }
    }
}

impl Worker {
    async fn work(
        &self,
        scope: Scope,
        job: Job,
        sender: watch::Sender<Option<(String, Progress)>>,
    ) -> Outcome {
        let on_object = on_object(sender);
        let done = match job {
            Job::Prepare(info) => return self.prepare(scope, &info, &on_object).await,
            Job::Renew(info, certs) => {
                self.renew(scope, &info, &certs, &on_object).await.map(Outcome::Renewed)
            }
            Job::Apply { info, resolved, clear, stop } => self
                .apply(scope, &info, resolved.map(|resolved| *resolved), &clear, &stop, &on_object)
                .await
                .map(|()| Outcome::Done),
            Job::Repair(info) => self.make(scope, &info, None, &on_object).await.map(|()| Outcome::Done),
            Job::Revert { from, to } => {
                self.revert(scope, &from, &to, &on_object).await.map(|()| Outcome::Done)
            }
            Job::Remove(places) => self.remove(scope, &places).await.map(|()| Outcome::Done),
        };
        done.unwrap_or_else(|error| error.into_outcome(None))
    }

    async fn prepare(&self, scope: Scope, info: &AppInfo, on_object: &OnObject) -> Outcome {
        // The semaphore is never closed.
        let _place = self.prepares.acquire().await.ok();
        let described = match self.deployer.describe(scope, info).await {
            Ok(described) => described,
            Err(error) => return JobError::from(error).into_outcome(None),
        };
        let learnt = described.facts.clone();
        let prepared = async {
            let resolved = self.deployer.complete(described, on_object).await?;
            self.engine(resolved.engine)?.prepare(scope, &*resolved.deployment).await?;
            Ok::<_, JobError>(resolved)
        };
        match prepared.await {
            Ok(resolved) => Outcome::Prepared(resolved),
            Err(error) => error.into_outcome(Some(learnt)),
        }
    }

    async fn apply(
        &self,
        scope: Scope,
        info: &AppInfo,
        resolved: Option<Resolved>,
        clear: &[Place],
        stop: &[Place],
        on_object: &OnObject,
    ) -> Result<(), JobError> {
        self.remove(scope, clear).await?;
        for place in stop {
            self.engine(place.engine)?.stop(scope, &place.info).await?;
        }
        self.make(scope, info, resolved, on_object).await
    }

    async fn make(
        &self,
        scope: Scope,
        info: &AppInfo,
        resolved: Option<Resolved>,
        on_object: &OnObject,
    ) -> Result<(), JobError> {
        let resolved = match resolved {
            Some(resolved) => resolved,
            None => self.resolve(scope, info, on_object).await?,
        };
        Ok(self.engine(resolved.engine)?.apply(scope, &*resolved.deployment).await?)
    }

    async fn renew(
        &self,
        scope: Scope,
        info: &AppInfo,
        certs: &str,
        on_object: &OnObject,
    ) -> Result<Option<Facts>, JobError> {
        let resolved = self.resolve(scope, info, on_object).await?;
        if resolved.facts.certs == certs {
            return Ok(None);
        }
        let facts = resolved.facts.clone();
        self.make(scope, info, Some(resolved), on_object).await?;
        Ok(Some(facts))
    }

    async fn revert(
        &self,
        scope: Scope,
        from: &[Place],
        to: &AppInfo,
        on_object: &OnObject,
    ) -> Result<(), JobError> {
        // The good version comes back even when the failed one cannot be removed.
        let removed = self.remove(scope, from).await;
        self.make(scope, to, None, on_object).await?;
        removed
    }

    async fn remove(&self, scope: Scope, places: &[Place]) -> Result<(), JobError> {
        let mut removed = Ok(());
        for place in places {
            let done = match self.engine(place.engine) {
                Ok(engine) => engine.remove(scope, &place.info).await.map_err(JobError::from),
                Err(error) => Err(error),
            };
            removed = removed.and(done);
        }
        removed
    }

    async fn resolve(
        &self,
        scope: Scope,
        info: &AppInfo,
        on_object: &OnObject,
    ) -> Result<Resolved, JobError> {
        let described = self.deployer.describe(scope, info).await?;
        Ok(self.deployer.complete(described, on_object).await?)
    }

    fn engine(&self, kind: EngineKind) -> Result<&dyn Engine, JobError> {
        let engine = self.engines.iter().find(|engine| engine.kind() == kind);
        engine.map(|engine| &**engine).ok_or(JobError::NoEngine(kind))
    }
}

/// Why a job failed.
#[derive(Debug, thiserror::Error)]
enum JobError {
    #[error(transparent)]
    Deploy(#[from] DeployError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("this node has no engine {0}")]
    NoEngine(EngineKind),
}

impl JobError {
    fn into_outcome(self, learnt: Option<Facts>) -> Outcome {
        let transient = match &self {
            Self::Deploy(error) => error.is_transient(),
            Self::Engine(error) => error.is_transient(),
            Self::NoEngine(_) => false,
        };
        Outcome::Failed { reason: Chain(&self).to_string(), transient, learnt }
    }
}

fn on_object(sender: watch::Sender<Option<(String, Progress)>>) -> OnObject {
    let sender = Arc::new(sender);
    Arc::new(move |config: &str| -> OnProgress {
        let (sender, config) = (Arc::clone(&sender), config.to_owned());
        Arc::new(move |progress| drop(sender.send_replace(Some((config.clone(), progress)))))
    })
}
