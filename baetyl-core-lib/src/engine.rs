//! Engines: what makes an application run. Kubernetes, Docker and plain processes implement one contract.

use std::fmt::{self, Debug};

use async_trait::async_trait;

use crate::application::{Application, Scope};
use crate::error::BoxError;
use crate::spec::{AppInfo, Status, Timestamp};

/// Which engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum EngineKind {
    /// Programs of the host.
    Process,
    /// Containers of a Docker daemon.
    Docker,
    /// Pods of a Kubernetes cluster.
    Kube,
    /// An engine of somebody else's, by name.
    Custom(&'static str),
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Process => "process",
            Self::Docker => "docker",
            Self::Kube => "kube",
            Self::Custom(name) => name,
        })
    }
}

/// Makes applications run, one version of one application at a time.
///
/// An engine keeps no intent of its own: what runs, with its labels, folders and locks, is all that it
/// knows, so a new engine over the same backend adopts everything by looking. It never decides that an
/// application should go; only `remove` removes.
///
/// Calls for different applications may come at once and must not wait for each other. The caller never
/// makes two calls for the same (scope, application name) at once, except `inventory`, `usage` and `logs`,
/// which may come at any time.
///
/// A dropped future leaves the backend somewhere between before and after; the same call again finishes it.
#[async_trait]
pub trait Engine: Debug + Send + Sync {
    /// Which engine this is.
    fn kind(&self) -> EngineKind;

    /// Does what can be done beforehand: pulls images, checks programs and mounts. Changes nothing that
    /// runs, and a failure changes nothing at all. Idempotent.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] for what the application's author must change, else what failed.
    async fn prepare(&self, scope: Scope, app: &dyn Application) -> Result<(), EngineError>;

    /// Makes this version run; returns before it is ready.
    ///
    /// Idempotent: a version that already runs as described is not restarted; files of its configurations
    /// and secrets that differ (a renewed certificate) are replaced in place. Instances that are missing or
    /// were stopped are started, surplus ones of this version stopped; what an interrupted call left half
    /// made is finished. Another version of the same application is never touched: where both cannot run
    /// at once (a fixed host port), the reconciler calls `stop` for the other one first.
    ///
    /// # Errors
    /// What could not be made so. What was started stays, and the inventory shows it.
    async fn apply(&self, scope: Scope, app: &dyn Application) -> Result<(), EngineError>;

    /// Ends the instances of this version and returns when they have ended. All that was made for it stays
    /// and stays in the inventory, so that `apply` of the version starts just that again. Absent is `Ok`.
    ///
    /// # Errors
    /// What could not be stopped; the rest is stopped all the same.
    async fn stop(&self, scope: Scope, app: &AppInfo) -> Result<(), EngineError>;

    /// Stops and removes this version, and returns when nothing of it runs any more. Other versions of the
    /// application stay untouched. Absent is `Ok`. Logs may stay.
    ///
    /// # Errors
    /// What could not be removed; the rest is removed all the same.
    async fn remove(&self, scope: Scope, app: &AppInfo) -> Result<(), EngineError>;

    /// Everything of ours that the backend has, each version of each application by itself, in order of
    /// name and version. An application that cannot be looked at is in the list with its own error.
    ///
    /// # Errors
    /// Only when the backend cannot be asked at all. A list that is `Ok` is complete: what is not in it is
    /// not there.
    async fn inventory(&self, scope: Scope) -> Result<Vec<AppState>, EngineError>;

    /// What the instances use, where the backend can tell.
    fn usage(&self) -> Option<&dyn UsageSource> {
        None
    }

    /// Logs of instances, where the engine keeps them.
    fn logs(&self) -> Option<&dyn LogSource> {
        None
    }

    /// A signal that something in the backend may have changed, where the engine has one.
    fn events(&self) -> Option<&dyn EventSource> {
        None
    }
}

/// One version of one application, as the backend has it.
#[derive(Debug)]
pub struct AppState {
    /// Name and version.
    pub info: AppInfo,
    /// How many instances there are to be, as `apply` wrote it down; `None` when that is not known. Fewer
    /// instances than that are an `apply` that was interrupted.
    pub wanted: Option<u32>,
    /// Its instances, or why they could not be looked at.
    pub instances: Result<Vec<InstanceState>, EngineError>,
}

/// One instance, as the backend has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceState {
    /// Its name, unique in the scope.
    pub name: String,
    /// Its service.
    pub service: String,
    /// Its status.
    pub status: Status,
    /// Whether it may be called.
    pub readiness: Readiness,
    /// What tells this run from any other: another text as soon as another process runs, `None` while none
    /// does. One unchanged run for the settle time counts as alive.
    pub run: Option<String>,
    /// How often it was started again after it ended by itself; may fall to zero when it is stopped.
    pub restarts: u32,
    /// How it ended last, if it ever did.
    pub last_exit: Option<Exit>,
    /// Why it is not running or not ready, in words; for people.
    pub reason: Option<String>,
    /// Its main process, where there is one to name.
    pub pid: Option<i32>,
    /// The process that looks after it, where there is one to name.
    pub parent: Option<i32>,
    /// When it was last started, by the wall clock.
    pub started: Option<Timestamp>,
    /// Its address.
    pub ip: Option<String>,
    /// The member of the node that it runs on.
    pub member: Option<String>,
}

impl InstanceState {
    /// An instance of which nothing but name and service is known.
    pub fn new(name: impl Into<String>, service: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            service: service.into(),
            status: Status::Unknown,
            readiness: Readiness::NotReady,
            run: None,
            restarts: 0,
            last_exit: None,
            reason: None,
            pid: None,
            parent: None,
            started: None,
            ip: None,
            member: None,
        }
    }
}

/// Whether an instance may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Its readiness probe, else its startup probe, passed.
    Ready,
    /// It runs and has neither probe: ready once it has lived for the settle time, which the reconciler
    /// measures.
    Unprobed,
    /// Not, or not yet.
    NotReady,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It could not be started at all.
    NotStarted,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::NotStarted => f.write_str("could not be started"),
        }
    }
}

/// What the instances of one version use.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AppUsage {
    /// Name and version.
    pub info: AppInfo,
    /// Its instances by name.
    pub instances: Vec<InstanceUsage>,
}

/// What one instance uses.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct InstanceUsage {
    /// Its name.
    pub name: String,
    /// Processor, in cores, over the time since it was last asked.
    pub cpu: f64,
    /// Memory, in bytes.
    pub memory: u64,
}

/// What instances use. Costly: asked for once each report.
#[async_trait]
pub trait UsageSource: Send + Sync {
    /// What the instances of a scope use. Instances that have gone meanwhile are left out.
    ///
    /// # Errors
    /// When the backend cannot be asked.
    async fn usage(&self, scope: Scope) -> Result<Vec<AppUsage>, EngineError>;
}

/// Logs of instances.
#[async_trait]
pub trait LogSource: Send + Sync {
    /// The last `lines` lines that an instance wrote, oldest first, no more than a few megabytes.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] when there is no such instance.
    async fn tail(&self, scope: Scope, instance: &str, lines: usize) -> Result<Vec<u8>, EngineError>;
}

/// A signal that something in the backend may have changed.
#[async_trait]
pub trait EventSource: Send + Sync {
    /// Waits for the next change. Cancel-safe; several changes may give one return, a change may be lost:
    /// callers look by themselves at times.
    async fn changed(&self);
}

/// Why an engine could not do as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// There is no such application or instance.
    #[error("{engine} has no {what}")]
    NotFound {
        /// The engine.
        engine: EngineKind,
        /// What is not there.
        what: String,
    },
    /// The application asks for something that cannot be: its author must change it.
    #[error("{reason}")]
    Invalid {
        /// What is wrong, and what to change.
        reason: String,
    },
    /// Something else has what the application needs: a port, a name.
    #[error("{reason}")]
    Conflict {
        /// What clashes with what, and what to change.
        reason: String,
    },
    /// The backend cannot be reached.
    #[error("{engine} cannot be reached to {operation}")]
    Unreachable {
        /// The engine.
        engine: EngineKind,
        /// What was tried.
        operation: &'static str,
        /// What went wrong.
        #[source]
        source: BoxError,
    },
    /// The disk is full.
    #[error("no room on the disk to {operation}")]
    Full {
        /// What was tried.
        operation: String,
        /// What the disk said.
        #[source]
        source: BoxError,
    },
    /// It took too long.
    #[error("{engine} did not {operation} in time")]
    Timeout {
        /// The engine.
        engine: EngineKind,
        /// What was tried.
        operation: &'static str,
    },
    /// Anything else that went wrong.
    #[error("{engine} failed to {operation}")]
    Failed {
        /// The engine.
        engine: EngineKind,
        /// What was tried, on what.
        operation: String,
        /// What went wrong.
        #[source]
        source: BoxError,
    },
}

impl EngineError {
    /// Whether trying again, with nothing changed by anybody, may help.
    pub const fn is_transient(&self) -> bool {
        !matches!(self, Self::Invalid { .. } | Self::NotFound { .. })
    }
}
