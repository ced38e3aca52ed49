//! The suite that every engine must pass, on the controller.

use std::sync::Arc;

use async_trait::async_trait;
use baetyl::core::application::{Deployment, Scope};
use baetyl::core::engine::Engine;
use baetyl::core::spec::AppInfo;
use baetyl_core_lib::conformance::engine::{EngineFixture, check};
use baetyl_core_lib::testing::app;

use crate::plc::{Plc, PlcEngine};

/// What this engine cannot do, for its users to read: programs of the controller listen on no port.
pub(crate) const SKIPPED: [&str; 2] =
    ["a_probed_service_becomes_ready", "two_versions_take_turns_at_one_port"];

/// Runs all cases that apply.
///
/// # Panics
/// At the first sentence of the contract that is not kept.
pub(crate) async fn run() {
    check(Bench::default, &SKIPPED).await;
}

/// A controller on the bench, empty at first.
#[derive(Default)]
struct Bench(Plc);

fn with(name: &str, version: &str, program: &str, text: &str) -> Deployment {
    app(name)
        .version(version)
        .service("program")
        .image(program)
        .secret("files", "/", &[("file", text)])
        .build()
}

#[async_trait]
impl EngineFixture for Bench {
    async fn engine(&self) -> Arc<dyn Engine> {
        Arc::new(PlcEngine::new(self.0.clone()))
    }

    fn runs(&self, name: &str, version: &str, text: &str) -> Deployment {
        with(name, version, "mixer", text)
    }

    fn fails(&self, name: &str, version: &str) -> Deployment {
        with(name, version, "faulty", "")
    }

    fn listens(&self, name: &str, version: &str) -> Deployment {
        with(name, version, "mixer", "")
    }

    fn is_missing(&self, name: &str, version: &str) -> Deployment {
        with(name, version, "nothing", "")
    }

    async fn processes(&self, scope: Scope, info: &AppInfo) -> usize {
        self.0.running(scope, info)
    }

    async fn sees(&self, scope: Scope, info: &AppInfo) -> String {
        self.0.reads(scope, info, "file")
    }

    async fn lose(&self, scope: Scope, info: &AppInfo) {
        self.0.clear(scope, info);
    }
}
