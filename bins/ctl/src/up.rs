//! `up`: a cloud, a node and a first application on this machine, each as it would be in the field.
//!
//! The cloud is a process of its own; init activates the node with a batch's token over the real protocol,
//! fetches core as an object of the cloud and brings it up; core runs the first application. This module
//! only starts the two and talks to the cloud's REST API, as a person would.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use crate::client::Client;
use crate::error::CtlError;
use crate::output;
use crate::resource::text;

mod child;
mod folder;
mod hello;
mod package;
mod page;
mod port;
pub(crate) mod roles;
mod stop;
mod tell;

use self::child::{Role, Start};
use self::folder::Folder;
use self::port::Port;
use self::stop::Stop;

/// The batch that the node activates with.
const BATCH: &str = "up";
/// How long each step may take.
const LIMIT: Duration = Duration::from_secs(180);
/// How long an application may be reported as failed before it counts as such: one that starts again may mend.
const FAILED: Duration = Duration::from_secs(8);
/// How long a process may take to end.
const GRACE: Duration = Duration::from_secs(30);

/// What `up` can be told.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The folder that keeps everything of this cloud and node.
    #[arg(long, default_value = "baetyl-data")]
    data: PathBuf,
    /// Where the cloud's REST API listens.
    #[arg(long, default_value = "127.0.0.1:9004")]
    admin: SocketAddr,
    /// Where the cloud listens for nodes.
    #[arg(long, default_value = "127.0.0.1:9005")]
    node: SocketAddr,
    /// Where the cloud listens for activation.
    #[arg(long, default_value = "127.0.0.1:9003")]
    init: SocketAddr,
    /// The address at which nodes find the cloud, where it is not the one it listens on.
    #[arg(long, value_name = "URL")]
    node_url: Option<String>,
}

/// Brings everything up, waits for Ctrl-C, and brings everything down.
pub(crate) async fn run(options: Options) -> Result<(), CtlError> {
    let folder = Folder::open(&options.data)?;
    let mut stop = Stop::new()?;
    let mut running = Running::default();
    let result = tokio::select! {
        biased;
        // Cancel-safe: a signal is only ever received here.
        () = stop.told() => Ok(()),
        // Cancel-safe: what was started is in `running` and is stopped below.
        result = bring_up(&options, &folder, &mut running) => result,
    };
    let result = match result {
        Ok(()) if stop.was_told => Ok(()),
        Ok(()) => tokio::select! {
            biased;
            // Cancel-safe, as above.
            () = stop.told() => Ok(()),
            // Cancel-safe: an ended process stays ended.
            error = running.any_end() => Err(error),
        },
        Err(error) => Err(error),
    };
    bring_down(&folder, running).await;
    result
}

/// What this `up` started, and holds while it runs.
#[derive(Debug, Default)]
struct Running {
    port: Option<Port>,
    cloud: Option<Role>,
    init: Option<Role>,
}

impl Running {
    /// Why one of them has ended; `None` while all run.
    fn ended(&mut self) -> Option<CtlError> {
        [&mut self.cloud, &mut self.init].into_iter().flatten().find_map(Role::ended)
    }

    /// Waits until one of them ends.
    async fn any_end(&mut self) -> CtlError {
        match (&mut self.cloud, &mut self.init) {
            (Some(cloud), Some(init)) => tokio::select! {
                biased;
                // Cancel-safe: an ended process stays ended.
                error = cloud.end() => error,
                // Cancel-safe, as above.
                error = init.end() => error,
            },
            (Some(one), None) | (None, Some(one)) => one.end().await,
            (None, None) => std::future::pending().await,
        }
    }
}

async fn bring_up(options: &Options, folder: &Folder, running: &mut Running) -> Result<(), CtlError> {
    let addresses = start_cloud(options, folder, running).await?;
    let client = Client::new(&format!("http://{}", addresses.admin))?;
    output::done(&format!("cloud on http://{}", addresses.admin));
    let (state, port) = settle(folder, &addresses)?;
    let page_port = port.number;
    running.port = Some(port);
    output::progress("packing the agent");
    package::offer(&client).await?;
    output::done("the agent is offered to nodes as an object");
    batch(&client, &state).await?;
    let node = text(&state, "/node");
    let link = options.node_url.clone().unwrap_or_else(|| format!("https://{}", addresses.node));
    start_init(folder, &addresses, &link, &state, running)?;
    let core = wait_for_core(&client, folder, &node, running).await?;
    output::done(&format!("node {node} is online"));
    let page = hello::deploy(&client, folder, &node, page_port).await?;
    wait_for_page(&client, &node, &page, running).await?;
    output::done("application hello runs");
    tell::summary(folder, &addresses, running, &core, &page)?;
    tell::farewell(options, folder, &addresses, &node, &page);
    Ok(())
}

/// Where the cloud listens, as it says itself.
#[derive(Debug)]
struct Addresses {
    admin: SocketAddr,
    node: SocketAddr,
    init: SocketAddr,
}

async fn start_cloud(
    options: &Options,
    folder: &Folder,
    running: &mut Running,
) -> Result<Addresses, CtlError> {
    let told = folder.cloud().join("addresses.json");
    drop(std::fs::remove_file(&told));
    let mut arguments = vec!["cloud".to_owned(), "--data".to_owned(), folder.cloud().display().to_string()];
    let before = folder.remembered();
    for (role, address) in [("admin", options.admin), ("node", options.node), ("init", options.init)] {
        // A node finds the cloud where it was: a port that was chosen once stays.
        let kept = text(&before, &format!("/addresses/{role}")).parse::<SocketAddr>();
        let kept = kept.ok().filter(|kept| address.port() == 0 && kept.ip() == address.ip());
        arguments.extend([format!("--{role}"), kept.unwrap_or(address).to_string()]);
    }
    arguments.extend(["--core-api".to_owned(), "127.0.0.1:0".to_owned()]);
    if let Some(url) = &options.node_url {
        arguments.extend(["--node-url".to_owned(), url.clone()]);
    }
    running.cloud = Some(Role::start(Start {
        name: "cloud",
        arguments,
        folder: &folder.cloud(),
        environment: Vec::new(),
        log: folder.log("cloud"),
    })?);
    let told = poll("the cloud to start", running, || async {
        let value: Option<Value> =
            std::fs::read(&told).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ok(value.map_or_else(|| Step::Going("cloud is starting".to_owned()), Step::Done))
    })
    .await?;
    let address = |key: &str| {
        text(&told, key).parse().map_err(|_| CtlError::Failed(format!("the cloud told no address for {key}")))
    };
    Ok(Addresses { admin: address("/admin")?, node: address("/node")?, init: address("/init")? })
}

/// What is decided at the first `up` of a folder and kept.
fn settle(folder: &Folder, addresses: &Addresses) -> Result<(Value, Port), CtlError> {
    let old = folder.remembered();
    let earlier = old.get("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
    let port = Port::claim(earlier)?;
    let or = |pointer: &str, new: Value| old.pointer(pointer).cloned().unwrap_or(new);
    let state = json!({
        "token": or("/token", json!(random_word()?)),
        "node": or("/node", json!(node_name())),
        "port": port.number,
        "addresses": {
            "admin": addresses.admin.to_string(),
            "node": addresses.node.to_string(),
            "init": addresses.init.to_string(),
        },
    });
    if state != old {
        folder.remember(&state)?;
    }
    Ok((state, port))
}

fn random_word() -> Result<String, CtlError> {
    let mut bytes = [0_u8; 16];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes)
        .map_err(|_| CtlError::Failed("the operating system gives no random numbers".to_owned()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The host's name, made a valid node name.
fn node_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(40).collect();
    let name = name.trim_matches('-');
    if name.len() < 2 { "node-1".to_owned() } else { name.to_owned() }
}

async fn batch(client: &Client, state: &Value) -> Result<(), CtlError> {
    if client.find(&format!("/v1/register/{BATCH}")).await?.is_none() {
        let batch = json!({
            "name": BATCH,
            "description": "nodes of baetylctl up",
            "securityType": "Token",
            "securityKey": text(state, "/token"),
            "enableWhitelist": 0,
            "quotaNum": 200,
            "nodeMode": "native",
        });
        client.post("/v1/register", &batch).await?;
        output::done(&format!("batch {BATCH}"));
    }
    Ok(())
}

fn start_init(
    folder: &Folder,
    addresses: &Addresses,
    link: &str,
    state: &Value,
    running: &mut Running,
) -> Result<(), CtlError> {
    let node = folder.node();
    let certs = node.join("node");
    let conf = json!({
        "node": {
            "ca": certs.join("ca.pem"),
            "key": certs.join("client.key"),
            "cert": certs.join("client.pem"),
        },
        "store": {"path": node.join("init/store/core.db")},
        "init": {
            "batch": {
                "name": BATCH,
                "namespace": "baetyl-cloud",
                "securityType": "Token",
                "securityKey": text(state, "/token"),
                "mode": "native",
            },
            "active": {
                "address": format!("https://{}", addresses.init),
                "ca": folder.cloud().join("ca.pem"),
                "interval": "5s",
                "collector": {
                    "fingerprints": [{"proof": "input", "value": "node"}],
                    "attributes": [{"name": "node", "value": text(state, "/node")}],
                },
            },
        },
        "httplink": {"address": link},
        "logger": {"level": "info"},
    });
    let init = folder.init();
    let conf = serde_json::to_vec_pretty(&conf).map_err(|error| CtlError::Failed(error.to_string()))?;
    // JSON is YAML too.
    folder.write(&init.join("etc/baetyl/conf.yml"), &conf, 0o600)?;
    running.init = Some(Role::start(Start {
        name: "init",
        arguments: vec!["init".to_owned()],
        folder: &init,
        environment: vec![
            ("BAETYL_RUN_MODE", "native".to_owned()),
            ("BAETYL_SERVICE_NAME", "baetyl-init".to_owned()),
            ("BAETYL_HOST_PATH_LIB", node.display().to_string()),
        ],
        log: folder.log("init"),
    })?);
    Ok(())
}

/// Waits until core answers on its socket and the cloud says that the node is online; gives core's words
/// about itself.
async fn wait_for_core(
    client: &Client,
    folder: &Folder,
    node: &str,
    running: &mut Running,
) -> Result<Value, CtlError> {
    let sockets = folder.node().join("runtime");
    let told = poll("the node to come online", running, || async {
        let Some(view) = client.find(&format!("/v1/nodes/{node}")).await? else {
            return Ok(Step::Going("node is being activated".to_owned()));
        };
        let Ok(core) =
            baetyl_edge::cli::client::get(&baetyl_edge::env::socket(&sockets, "core"), "/status").await
        else {
            return Ok(core_progress(&sockets).await);
        };
        if crate::resource::state(&view) == "online" {
            return Ok(Step::Done(core));
        }
        Ok(Step::Going("core runs and reports for the first time".to_owned()))
    })
    .await?;
    Ok(told)
}

/// How far init is with core, in words.
async fn core_progress(sockets: &std::path::Path) -> Step<Value> {
    let Ok(init) = baetyl_edge::cli::client::get(&baetyl_edge::env::socket(sockets, "init"), "/status").await
    else {
        return Step::Going("init is starting".to_owned());
    };
    let apps = init.pointer("/apps").and_then(Value::as_array).cloned().unwrap_or_default();
    let Some(app) = apps.iter().find(|app| !crate::resource::cause(app).is_empty()) else {
        return Step::Going("init brings core up".to_owned());
    };
    let words = format!("init brings core up: {}", crate::resource::cause(app));
    if text(app, "/status") == "Failed" { Step::Failing(words) } else { Step::Going(words) }
}

async fn wait_for_page(
    client: &Client,
    node: &str,
    page: &str,
    running: &mut Running,
) -> Result<(), CtlError> {
    poll("the first application to run", running, || async {
        Ok(match crate::wait::app_missing(client, hello::APP, Some(node)).await? {
            Some(missing) if missing.failed => Step::Failing(missing.words),
            Some(missing) => Step::Going(missing.words),
            None => match hello::answers(page).await {
                Ok(()) => Step::Done(()),
                Err(words) => Step::Going(words),
            },
        })
    })
    .await
}

/// How far a step is.
#[derive(Debug)]
enum Step<T> {
    Done(T),
    /// In words.
    Going(String),
    /// As long as nobody changes anything, in words.
    Failing(String),
}

/// Asks again and again until there is an answer, showing how far it is; gives up when a process has ended,
/// what is waited for has failed, or the step takes too long.
async fn poll<T, F, W>(what: &str, running: &mut Running, mut ask: W) -> Result<T, CtlError>
where
    W: FnMut() -> F,
    F: Future<Output = Result<Step<T>, CtlError>>,
{
    let deadline = tokio::time::Instant::now() + LIMIT;
    let mut last = String::new();
    let mut failing = None;
    loop {
        if let Some(error) = running.ended() {
            return Err(error);
        }
        let now = tokio::time::Instant::now();
        let words = match ask().await? {
            Step::Done(value) => return Ok(value),
            Step::Going(words) => {
                failing = None;
                words
            }
            Step::Failing(words) => {
                if now >= *failing.get_or_insert(now) + FAILED {
                    return Err(CtlError::Failed(words));
                }
                words
            }
        };
        if words != last {
            output::progress(&words);
            last = words;
        }
        if now >= deadline {
            return Err(CtlError::Timeout(format!("waited {}s for {what}: {last}", LIMIT.as_secs())));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Stops everything in order: core drains its applications, init stops core, then init and the cloud end.
async fn bring_down(folder: &Folder, running: Running) {
    drop(std::fs::remove_file(folder.summary()));
    let sockets = folder.node().join("runtime");
    if running.init.is_some() {
        output::progress("stopping applications");
        for role in ["core", "init"] {
            let socket = baetyl_edge::env::socket(&sockets, role);
            if let Err(error) = baetyl_edge::cli::client::post(&socket, "/drain").await {
                tracing::debug!(role, %error, "not drained");
            }
        }
    }
    if let Some(init) = running.init {
        init.stop(GRACE).await;
    }
    if let Some(cloud) = running.cloud {
        cloud.stop(GRACE).await;
    }
    output::done("all is stopped; the next `up` goes on from here");
}
