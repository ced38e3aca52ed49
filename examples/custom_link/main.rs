//! A link of your own: messages as frames on a Unix socket, first on the conformance suite, then between an
//! agent and a cloud in memory.
#![expect(clippy::print_stdout, reason = "an example tells what happens")]

mod conformance;
mod link;
mod server;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use baetyl::Agent;
use baetyl::core::application::Scope;
use baetyl::core::error::BoxError;
use baetyl::core::link::Link;
use baetyl::core::task::TaskScope;
use baetyl::sync::cadence::Intervals;
use baetyl::sync::syncer::SyncConfig;
use baetyl_core_lib::testing::{FakeEngine, app};
use baetyl_examples::pocket::PocketCloud;
use baetyl_examples::{outcome, until};
use tokio::net::UnixListener;

use self::link::{Answer, SocketLink};
use self::server::{Reply, serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    conformance::run().await;
    println!("the link keeps its contract; skipped: {}", conformance::SKIPPED.join(", "));
    outcome(node().await)
}

async fn node() -> Result<(), BoxError> {
    let (cloud, folder, tasks) = (PocketCloud::default(), tempfile::tempdir()?, TaskScope::new());
    let socket = folder.path().join("cloud.sock");
    let answers = cloud.clone();
    let decide = move |request| match answers.answer(&request) {
        Ok(answer) => Reply::Answer(Answer::Is(answer)),
        Err(error) => {
            Reply::Answer(Answer::Refused { status: 400, code: String::new(), body: error.to_string() })
        }
    };
    serve(UnixListener::bind(&socket)?, Arc::new(decide), &tasks);

    let link = Arc::new(SocketLink::new(socket, Duration::from_secs(5)));
    let (engine, every) = (FakeEngine::new(), Duration::from_millis(300));
    let agent = Agent::builder(folder.path().join("node"), "factory", "press-17")
        .link(Arc::clone(&link) as Arc<dyn Link>)
        .engine(Arc::new(engine.clone()))
        .sync(SyncConfig { intervals: Intervals { plain: every, push: every }, ..SyncConfig::default() })
        .build()
        .await?;
    let token = tasks.token().clone();
    tasks.spawn("agent", agent.run(token));

    let result = desired(&cloud, &engine).await;
    println!("the line at the end: {:?}", link.state());
    tasks.stop().await;
    result
}

/// Two applications, and then another version of one of them: each time the node comes to rest on it.
async fn desired(cloud: &PocketCloud, engine: &FakeEngine) -> Result<(), BoxError> {
    for (name, version) in [("web", "1"), ("timer", "4"), ("web", "2")] {
        cloud.desire(app(name).version(version).service("main").spec());
        let report = until("the node to come to rest", || cloud.at_rest()).await?;
        let told: Vec<_> = report.apps.value().into_iter().flatten().map(ToString::to_string).collect();
        println!("desired {name}@{version}; the node reports {}", told.join(" and "));
    }
    match engine.running(Scope::User).join(" ").as_str() {
        "timer@4 web@2" => Ok(()),
        other => Err(format!("the engine runs {other}").into()),
    }
}
