//! The node's engine as the simulation sees it: slow, judged at each call, and sometimes silent about what it did.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use baetyl_core_lib::application::{Application, Scope};
use baetyl_core_lib::clock::Random as _;
use baetyl_core_lib::engine::{
    AppState, Engine, EngineError, EngineKind, EventSource, LogSource, UsageSource,
};
use baetyl_core_lib::spec::AppInfo;
use baetyl_core_lib::testing::{FakeEngine, SeededRandom};

use crate::life::Life;
use crate::line::Weather;
use crate::oracle::Oracle;
use crate::trace::Trace;

/// The engine of one run of the agent, over the backend that all runs share.
#[derive(Debug)]
pub(crate) struct SimEngine {
    pub(crate) backend: FakeEngine,
    pub(crate) life: Arc<Life>,
    pub(crate) random: SeededRandom,
    pub(crate) weather: Weather,
    pub(crate) trace: Trace,
    pub(crate) oracle: Oracle,
}

impl SimEngine {
    async fn enter(&self, operation: &'static str, info: &AppInfo) {
        self.trace.event("engine", format_args!("{operation} {info}"));
        self.life.pass("a call of the engine, before it").await;
        let millis = self.random.next_u32() % 200;
        tokio::time::sleep(Duration::from_millis(millis.into())).await;
        self.life.pass("a call of the engine").await;
    }

    async fn leave(
        &self,
        operation: &'static str,
        info: &AppInfo,
        result: Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        self.life.pass("a call of the engine, after it").await;
        let unsaid = result.is_ok() && self.weather.strikes(&self.random, 20);
        let result = if unsaid {
            let source = "it was done, and could not say so".into();
            Err(EngineError::Unreachable { engine: self.kind(), operation, source })
        } else {
            result
        };
        match &result {
            Ok(()) => self.trace.event("engine did", format_args!("{operation} {info}")),
            Err(_) if unsaid => self.trace.event("fault: done unsaid", format_args!("{operation} {info}")),
            Err(error) => self.trace.event("engine failed", format_args!("{operation} {info}: {error}")),
        }
        result
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Engine for SimEngine {
    fn kind(&self) -> EngineKind {
        self.backend.kind()
    }

    async fn prepare(&self, scope: Scope, app: &dyn Application) -> Result<(), EngineError> {
        let info = app.info();
        self.enter("prepare", &info).await;
        self.oracle.begins("prepare", scope, &info);
        let result = self.backend.prepare(scope, app).await;
        self.leave("prepare", &info, result).await
    }

    async fn apply(&self, scope: Scope, app: &dyn Application) -> Result<(), EngineError> {
        let info = app.info();
        self.enter("apply", &info).await;
        self.oracle.begins("apply", scope, &info);
        let result = self.backend.apply(scope, app).await;
        self.leave("apply", &info, result).await
    }

    async fn stop(&self, scope: Scope, info: &AppInfo) -> Result<(), EngineError> {
        self.enter("stop", info).await;
        self.oracle.ends("stop", scope, info);
        let result = self.backend.stop(scope, info).await;
        self.leave("stop", info, result).await
    }

    async fn remove(&self, scope: Scope, info: &AppInfo) -> Result<(), EngineError> {
        self.enter("remove", info).await;
        self.oracle.ends("remove", scope, info);
        let result = self.backend.remove(scope, info).await;
        self.leave("remove", info, result).await
    }

    async fn inventory(&self, scope: Scope) -> Result<Vec<AppState>, EngineError> {
        self.life.pass("an inventory").await;
        self.backend.inventory(scope).await
    }

    fn usage(&self) -> Option<&dyn UsageSource> {
        Engine::usage(&self.backend)
    }

    fn logs(&self) -> Option<&dyn LogSource> {
        self.backend.logs()
    }

    fn events(&self) -> Option<&dyn EventSource> {
        self.backend.events()
    }
}
