//! The real cloud, in this process and in a folder that goes with it.

use std::path::PathBuf;
use std::sync::Arc;

use baetyl::core::error::BoxError;
use baetyl::core::task::TaskScope;
use baetyl::sync::activate::BatchConfig;
use baetyl_cloud::server::NAMESPACE;
use baetyl_cloud::service;
use baetyl_cloud::system::{SystemClock, SystemRandom};
use baetyl_cloud::{Options, Server};
use serde_json::json;
use tempfile::TempDir;

/// A cloud with one batch of nodes.
#[derive(Debug)]
pub struct Cloud {
    /// Where nodes reach it once they have a certificate.
    pub node_url: String,
    /// Where devices without a certificate reach it.
    pub init_url: String,
    /// Its authority in PEM, which a device is delivered with.
    pub ca_pem: Vec<u8>,
    token: String,
    logic: Arc<service::Cloud>,
    folder: TempDir,
    tasks: TaskScope,
}

impl Cloud {
    /// Starts it on free ports of this machine, and makes a batch.
    ///
    /// # Errors
    /// When it cannot start.
    pub async fn start() -> Result<Self, BoxError> {
        let folder = tempfile::tempdir()?;
        let free = || ([127, 0, 0, 1], 0).into();
        let mut options = Options::new(folder.path().join("cloud"));
        (options.admin, options.node, options.init) = (free(), free(), free());
        let server = Server::start(options, Arc::new(SystemClock), Arc::new(SystemRandom::default())).await?;
        let (addresses, ca_pem, logic) = (server.addresses(), server.ca_pem().into_bytes(), server.cloud());
        let batch = json!({"name": "presses", "securityType": "Token", "quotaNum": 10, "nodeMode": "native"});
        let batch = logic.create_batch(batch.to_string().as_bytes()).await?;
        let token = batch["securityKey"].as_str().unwrap_or_default().to_owned();
        let tasks = TaskScope::new();
        tasks.spawn("cloud", server.run(tasks.token().clone()));
        Ok(Self {
            node_url: format!("https://{}", addresses.node),
            init_url: format!("https://{}", addresses.init),
            ca_pem,
            token,
            logic,
            folder,
            tasks,
        })
    }

    /// A folder for a node.
    pub fn node_folder(&self) -> PathBuf {
        self.folder.path().join("node")
    }

    /// The batch, with its token.
    pub fn batch(&self) -> BatchConfig {
        BatchConfig {
            name: "presses".to_owned(),
            namespace: NAMESPACE.to_owned(),
            security_type: "Token".to_owned(),
            security_key: self.token.clone(),
            mode: "native".to_owned(),
        }
    }

    /// Has nodes of this name run a script of the shell, as the application `hello`.
    ///
    /// # Errors
    /// When the cloud refuses.
    pub async fn deploy(&self, node: &str, script: &str) -> Result<(), BoxError> {
        let program = json!({"name": "shell", "data": [
            {"key": "program.yml", "value": {"type": "kv", "value": "entry: /bin/sh\n"}},
        ]});
        let app = json!({"name": "hello", "mode": "native", "type": "container", "replica": 1,
            "selector": format!("baetyl-node-name={node}"),
            "services": [{"name": "greeter", "programConfig": "shell", "args": ["-c", script]}],
        });
        self.logic.create_config(program.to_string().as_bytes()).await?;
        self.logic.create_app(None, app.to_string().as_bytes()).await?;
        Ok(())
    }

    /// Ends it and removes its folder.
    pub async fn stop(self) {
        self.tasks.stop().await;
    }
}
