//! An engine of your own: applications as programs of a controller, first on the conformance suite, then in
//! an agent that a cloud tells what to run.
#![expect(clippy::print_stdout, reason = "an example tells what happens")]

mod conformance;
mod plc;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use baetyl::Agent;
use baetyl::core::application::Scope;
use baetyl::core::error::BoxError;
use baetyl::core::spec::AppSpec;
use baetyl::sync::cadence::Intervals;
use baetyl::sync::syncer::SyncConfig;
use baetyl_core_lib::testing::app;
use baetyl_examples::pocket::{PocketCloud, PocketLink};
use baetyl_examples::{outcome, until};
use tokio_util::sync::CancellationToken;

use self::plc::{Plc, PlcEngine};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    conformance::run().await;
    println!("the engine keeps its contract; skipped: {}", conformance::SKIPPED.join(", "));
    outcome(node().await)
}

async fn node() -> Result<(), BoxError> {
    let (cloud, plc, folder) = (PocketCloud::default(), Plc::default(), tempfile::tempdir()?);
    let every = Duration::from_millis(300);
    let agent = Agent::builder(folder.path(), "factory", "press-17")
        .link(Arc::new(PocketLink(cloud.clone())))
        .engine(Arc::new(PlcEngine::new(plc.clone())))
        .sync(SyncConfig { intervals: Intervals { plain: every, push: every }, ..SyncConfig::default() })
        .build()
        .await?;
    let shutdown = CancellationToken::new();
    let (result, ()) = tokio::join!(
        async {
            let result = updates(&cloud, &plc).await;
            shutdown.cancel();
            result
        },
        agent.run(shutdown.clone()),
    );
    result
}

/// A first version, a second one in its place, and a third that the controller has no program for.
async fn updates(cloud: &PocketCloud, plc: &Plc) -> Result<(), BoxError> {
    let first = mixer("1", "mixer");
    cloud.desire(first.clone());
    until("the first version", || cloud.at_rest().filter(|_| plc.running(Scope::User, &first.info()) == 2))
        .await?;
    println!("the controller runs {} in 2 slots", first.info());

    let second = mixer("2", "mixer");
    cloud.desire(second.clone());
    until("the second version", || cloud.at_rest()).await?;
    let left = (plc.running(Scope::User, &first.info()), plc.running(Scope::User, &second.info()));
    if left != (0, 2) {
        return Err(format!("{left:?} slots run of the first and the second version").into());
    }
    println!("the controller runs {}, once that was ready the first version went", second.info());

    cloud.desire(mixer("3", "drill"));
    let drill = |cause: &String| cause.contains("drill");
    let cause = until("the reason against it", || cloud.cause("mixer").filter(drill)).await?;
    if plc.running(Scope::User, &second.info()) != 2 {
        return Err("a version that cannot run has stopped the one that does".into());
    }
    println!("the controller still runs {}, the cloud was told: {cause}", second.info());
    Ok(())
}

fn mixer(version: &str, program: &str) -> AppSpec {
    app("mixer").version(version).replica(2).service("stirrer").image(program).spec()
}
