//! A cloud and a node as in the field: the cloud a child process, init the shipped program, core what init
//! fetched from the cloud, and a counting relay between the two.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::admin::{Admin, ask_agent};
use crate::clock::until;
use crate::error::BenchError;
use crate::proc::terminate;
use crate::relay::Relay;
use crate::table::progress;

/// The node's name.
pub(crate) const NODE: &str = "bench-node";
/// The batch that it activates with.
const BATCH: &str = "bench";
const TOKEN: &str = "bench-token-1234";
/// How long any step may take on a slow machine.
const STEP: Duration = Duration::from_secs(120);
const GAP: Duration = Duration::from_millis(100);

/// A cloud and a node that run.
#[derive(Debug)]
pub(crate) struct Bed {
    folder: PathBuf,
    cloud: Child,
    init: Child,
    /// The cloud's REST API.
    pub(crate) admin: Admin,
    /// What is between node and cloud.
    pub(crate) relay: Relay,
}

impl Bed {
    /// Starts a cloud and a node of this program in a folder of their own below `data`.
    pub(crate) fn start(data: &Path, name: &str, baetyl: &Path) -> Result<Self, BenchError> {
        progress(&format!("{name}: a cloud and a node"));
        let folder = data.join(name);
        let relay = Relay::start()?;
        let (cloud, told) = start_cloud(&folder, &relay)?;
        let mut cloud = Guard(Some(cloud));
        let address = |key: &str| {
            told.pointer(key)
                .and_then(Value::as_str)
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| BenchError::Failed(format!("the cloud told no address for {key}")))
        };
        let admin = Admin(address("/admin")?);
        relay.relay_to(address("/node")?);
        offer(admin, baetyl)?;
        let batch = json!({"name": BATCH, "securityType": "Token", "securityKey": TOKEN, "enableWhitelist": 0,
            "quotaNum": 200, "nodeMode": "native"});
        admin.ask("POST", "/v1/register", &batch)?;
        // A file of its own: pages that this node shares with others would not be counted as its own.
        let installed = folder.join("baetyl");
        fs::copy(baetyl, &installed).map_err(BenchError::at(&installed))?;
        let init = start_init(&folder, &installed, &relay, &told)?;
        let cloud = cloud.0.take().ok_or_else(|| BenchError::Failed("the cloud is gone".to_owned()))?;
        let bed = Self { folder, cloud, init, admin, relay };
        until("core to run", STEP, GAP, || Ok(bed.core().ok()))?;
        Ok(bed)
    }

    /// What a core says of itself.
    pub(crate) fn core(&self) -> Result<Value, BenchError> {
        ask_agent(&self.socket("core"), "GET", "/status")
    }

    /// The process of core.
    pub(crate) fn core_pid(&self) -> Result<i32, BenchError> {
        let pid = self.core()?.get("pid").and_then(Value::as_i64).and_then(|pid| i32::try_from(pid).ok());
        pid.ok_or_else(|| BenchError::Failed("core told no process".to_owned()))
    }

    /// The process of init.
    pub(crate) fn init_pid(&self) -> i32 {
        self.init.id().cast_signed()
    }

    /// Where the node's things are.
    pub(crate) fn node(&self) -> PathBuf {
        self.folder.join("node")
    }

    fn socket(&self, role: &str) -> PathBuf {
        self.node().join("runtime").join(format!("{role}.sock"))
    }

    /// Deploys so many applications that sleep, and waits until they run.
    pub(crate) fn deploy_sleepers(&self, count: usize) -> Result<(), BenchError> {
        progress(&format!("{count} applications"));
        self.program("sleeper", Path::new("/bin/sleep"))?;
        for index in 0..count {
            let name = format!("sleeper-{index}");
            self.admin.ask("POST", "/v1/apps", &application(&name, "sleeper", &["1000000"]))?;
        }
        until("the applications to run", STEP, GAP, || Ok((self.running()? >= count).then_some(())))
    }

    /// Makes a configuration that names a program.
    pub(crate) fn program(&self, name: &str, path: &Path) -> Result<(), BenchError> {
        let entry = format!("entry: {}\n", path.display());
        let config =
            json!({"name": name, "data": [{"key": "program.yml", "value": {"type": "kv", "value": entry}}]});
        self.admin.ask("POST", "/v1/configs", &config).map(drop)
    }

    /// How many applications run.
    fn running(&self) -> Result<usize, BenchError> {
        let status = self.core()?;
        let apps = status.get("apps").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let runs = |app: &&Value| app.get("status").is_some_and(|status| status == "Running");
        // Core itself is init's.
        Ok(apps.iter().filter(runs).filter(|app| !is_system(app)).count())
    }

    /// Has core or init end all that it runs.
    pub(crate) fn drain(&self, role: &str) -> Result<(), BenchError> {
        ask_agent(&self.socket(role), "POST", "/drain").map(drop)
    }

    /// Ends init alone: core and the applications go on.
    pub(crate) fn end_init(&mut self) -> Result<(), BenchError> {
        end(&mut self.init)
    }

    /// Ends everything in order.
    pub(crate) fn stop(mut self) -> Result<(), BenchError> {
        progress("ending all of it");
        for role in ["core", "init"] {
            // One that is not there has nothing to drain.
            self.drain(role).ok();
        }
        end(&mut self.init)?;
        end(&mut self.cloud)
    }
}

fn is_system(app: &Value) -> bool {
    app.get("name").and_then(Value::as_str).is_some_and(|name| name.starts_with("baetyl-"))
}

/// An application with one service.
pub(crate) fn application(name: &str, program: &str, arguments: &[&str]) -> Value {
    json!({"name": name, "mode": "native", "type": "container", "selector": format!("baetyl-node-name={NODE}"),
        "replica": 1,
        "services": [{"name": "main", "programConfig": program, "args": arguments}], "volumes": []})
}

/// Kills a process that nobody took over.
#[derive(Debug)]
struct Guard(Option<Child>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        for child in [&mut self.init, &mut self.cloud] {
            // Both have ended already when the measurement went well.
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// Tells a process to end and waits.
pub(crate) fn end(child: &mut Child) -> Result<(), BenchError> {
    if let Ok(Some(_)) = child.try_wait() {
        return Ok(());
    }
    terminate(child.id().cast_signed());
    child.wait().map(drop).map_err(BenchError::when("waiting for a process"))
}

fn start_cloud(folder: &Path, relay: &Relay) -> Result<(Child, Value), BenchError> {
    let data = folder.join("cloud");
    fs::create_dir_all(&data).map_err(BenchError::at(&data))?;
    let log = File::create(folder.join("cloud.log")).map_err(BenchError::at(folder))?;
    let program = std::env::current_exe().map_err(BenchError::when("this program"))?;
    let any = "127.0.0.1:0";
    let child = Command::new(program)
        .arg("cloud")
        .arg("--data")
        .arg(&data)
        .args(["--admin", any, "--node", any, "--init", any, "--core-api", any])
        .args(["--node-url", &format!("https://{}", relay.address)])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(BenchError::when("the cloud"))?;
    let mut guard = Guard(Some(child));
    let told = data.join("addresses.json");
    let told = until("the cloud to start", STEP, GAP, || {
        Ok(fs::read(&told).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    })?;
    guard
        .0
        .take()
        .map(|child| (child, told))
        .ok_or_else(|| BenchError::Failed("the cloud is gone".to_owned()))
}

/// Offers the program as core.
fn offer(admin: Admin, baetyl: &Path) -> Result<(), BenchError> {
    let program = fs::read(baetyl).map_err(BenchError::at(baetyl))?;
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(gzip);
    let mut add = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o755);
        tar.append_data(&mut header, name, bytes)
    };
    let packed = add("baetyl", &program)
        .and_then(|()| add("program.yml", b"entry: baetyl\n"))
        .and_then(|()| tar.into_inner()?.finish())
        .map_err(BenchError::when("packing the program"))?;
    let platform = format!(
        "linux-{}",
        match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64-v8",
            other => other,
        }
    );
    let object = admin.upload("baetyl.tgz", &packed)?;
    let module = json!({"name": "baetyl", "version": "bench", "type": "system", "isLatest": true,
        "programs": {platform: object.get("url")}});
    admin.ask("POST", "/v1/modules", &module).map(drop)
}

fn start_init(folder: &Path, baetyl: &Path, relay: &Relay, told: &Value) -> Result<Child, BenchError> {
    let node = folder.join("node");
    let certs = node.join("node");
    let init_address = told.get("init").and_then(Value::as_str).unwrap_or_default();
    let conf = json!({
        "node": {"ca": certs.join("ca.pem"), "key": certs.join("client.key"), "cert": certs.join("client.pem")},
        "store": {"path": node.join("init/store/core.db")},
        "init": {
            "batch": {"name": BATCH, "namespace": "baetyl-cloud", "securityType": "Token",
                "securityKey": TOKEN, "mode": "native"},
            "active": {
                "address": format!("https://{init_address}"),
                "ca": folder.join("cloud/ca.pem"),
                "interval": "5s",
                "collector": {
                    "fingerprints": [{"proof": "input", "value": "node"}],
                    "attributes": [{"name": "node", "value": NODE}],
                },
            },
        },
        "httplink": {"address": format!("https://{}", relay.address)},
    });
    let home = folder.join("init");
    let file = home.join("etc/baetyl/conf.yml");
    fs::create_dir_all(home.join("etc/baetyl")).map_err(BenchError::at(&file))?;
    // JSON is YAML too.
    fs::write(&file, conf.to_string()).map_err(BenchError::at(&file))?;
    let log = File::create(folder.join("init.log")).map_err(BenchError::at(folder))?;
    Command::new(baetyl)
        .arg("init")
        .current_dir(&home)
        .env("BAETYL_RUN_MODE", "native")
        .env("BAETYL_SERVICE_NAME", "baetyl-init")
        .env("BAETYL_HOST_PATH_LIB", &node)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(BenchError::at(baetyl))
}
