//! A program of yours as a node: from a batch's token to a running application, with a real cloud.
#![expect(clippy::print_stdout, reason = "an example tells what happens")]

use std::path::Path;
use std::process::ExitCode;

use baetyl::core::error::BoxError;
use baetyl::engine::cert::PkiConfig;
use baetyl::engine::process::program;
use baetyl::sync::activate::{ActivateConfig, Field, Proof};
use baetyl::{Agent, Credentials};
use baetyl_examples::{clear, cloud::Cloud, first_line, outcome, until};
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    // Applications outlive the agent: each has a supervisor, which is this program, called `program <folder>`.
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    match &arguments[..] {
        [word, folder] if word == "program" => program::run(Path::new(folder)),
        _ => outcome(node()),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn node() -> Result<(), BoxError> {
    let cloud = Cloud::start().await?; // in this process, so that the example needs nothing else
    let (folder, shutdown) = (cloud.node_folder(), CancellationToken::new());

    // The token becomes a certificate, once: the next start finds it in the folder.
    let mut config = ActivateConfig::new(cloud.batch(), &cloud.init_url, Credentials::files(&folder));
    config.ca = Some(cloud.ca_pem.clone());
    config.fingerprints = vec![Proof::parse("input", "serial")?];
    config.attributes = vec![Field { name: "serial".into(), value: "press-17".into(), ..Field::default() }];
    let credentials = Credentials::obtain(config, shutdown.clone()).await?;
    println!("activated as {}.{}", credentials.namespace, credentials.node_name);

    let agent = Agent::builder(&folder, &credentials.namespace, &credentials.node_name)
        .http(credentials.link(&cloud.node_url), credentials.identity)
        .process(vec![std::env::current_exe()?.into()])
        .pki(PkiConfig::default())
        .build()
        .await?;

    // Somebody at the cloud wants an application on this node; nobody tells the agent but the cloud.
    let greeting = folder.join("greeting");
    let script = format!("echo Hello from $BAETYL_NODE_NAME > {}; exec sleep 600", greeting.display());
    cloud.deploy(&credentials.node_name, &script).await?;
    let engine = agent.engines().remove(0);
    let listen = async {
        let said = until("the application's greeting", || first_line(&greeting)).await;
        shutdown.cancel();
        said
    };
    let (said, ()) = tokio::join!(listen, agent.run(shutdown.clone()));
    clear(&*engine).await?;
    println!("the application said: {}", said?);
    cloud.stop().await;
    Ok(())
}
