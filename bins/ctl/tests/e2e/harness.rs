//! Starting `baetylctl` in its roles, asking the cloud, looking at processes, and leaving none behind.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

/// How long anything may take on a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// `baetylctl` as it was built.
pub(crate) fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_baetylctl"))
}

/// Runs `baetylctl` to its end.
pub(crate) fn ctl(arguments: &[&str]) -> Output {
    Command::new(program()).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// Runs `baetylctl`, which must succeed, and gives what it printed.
pub(crate) fn ctl_ok(arguments: &[&str]) -> String {
    let output = ctl(arguments);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "baetylctl {arguments:?}: {}\n{out}\n{err}", output.status);
    out
}

/// Bytes as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Asks until there is an answer; `what` is for the message when there is none in time.
pub(crate) async fn until<T, F>(what: &str, ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    until_or(what, ask, String::new).await
}

/// As [`until`]; the message also has what is known by then.
pub(crate) async fn until_or<T, F>(what: &str, mut ask: impl FnMut() -> F, known: impl Fn() -> String) -> T
where
    F: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}: {}", known());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// `baetylctl up` in a folder.
#[derive(Debug)]
pub(crate) struct Up {
    child: Child,
    folder: PathBuf,
    /// `up.json`.
    pub(crate) summary: Value,
}

impl Up {
    /// Starts it on free ports and waits until all is up.
    pub(crate) async fn start(folder: &Path, more: &[&str]) -> Self {
        Self::begin(folder, more).wait().await
    }

    /// Waits until all is up.
    pub(crate) async fn wait(self) -> Self {
        let mut up = self;
        let summary = up.folder.join("up.json");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(bytes) = std::fs::read(&summary) {
                up.summary = serde_json::from_slice(&bytes).expect("up.json is written whole");
                return up;
            }
            if let Some(status) = up.child.try_wait().unwrap() {
                panic!("up ended with {status}:\n{}", up.logs());
            }
            assert!(Instant::now() < deadline, "up is not up after {PATIENCE:?}:\n{}", up.logs());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until it has ended by itself, and gives what it said.
    pub(crate) async fn fails(mut self) -> String {
        let status = self.ended().await;
        assert!(!status.success(), "up should have failed:\n{}", self.logs());
        std::fs::read_to_string(self.folder.join("up.log")).unwrap()
    }

    /// Starts it on free ports.
    pub(crate) fn begin(folder: &Path, more: &[&str]) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let log = std::fs::File::create(folder.join("up.log")).unwrap();
        let child = Command::new(program())
            .args(["up", "--data"])
            .arg(folder)
            .args(["--admin", "127.0.0.1:0", "--node", "127.0.0.1:0", "--init", "127.0.0.1:0"])
            .args(more)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, folder: folder.to_owned(), summary: Value::Null }
    }

    /// A field of `up.json`.
    pub(crate) fn told(&self, pointer: &str) -> String {
        match self.summary.pointer(pointer) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => panic!("up.json has no {pointer}: {}", self.summary),
        }
    }

    /// A process of `up.json`.
    pub(crate) fn pid(&self, role: &str) -> i32 {
        self.told(&format!("/pids/{role}")).parse().unwrap()
    }

    /// The address of the cloud's REST API.
    pub(crate) fn admin(&self) -> String {
        self.told("/admin")
    }

    /// Everything that was logged.
    pub(crate) fn logs(&self) -> String {
        let mut logs = String::new();
        let mut files: Vec<PathBuf> =
            ["up.log", "cloud.log", "init.log"].iter().map(|name| self.folder.join(name)).collect();
        files.extend(walk(&self.folder.join("node/log")));
        for file in files {
            if let Ok(bytes) = std::fs::read(&file) {
                let tail = text(&bytes[bytes.len().saturating_sub(6000)..]);
                logs.push_str(&format!("--- {}\n{tail}\n", file.display()));
            }
        }
        logs
    }

    /// Sends a signal to `up` itself.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.child.id().cast_signed()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Ctrl-C, and waits until it has ended; nothing of it may be left.
    pub(crate) async fn stop(mut self) {
        self.signal(rustix::process::Signal::INT);
        self.ended().await;
        let left = processes(&self.folder);
        assert!(left.is_empty(), "processes are left: {left:?}\n{}", self.logs());
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&mut self) -> std::process::ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "up does not end:\n{}", self.logs());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // A test that failed must leave no process either; `up` first, so that it starts nothing more.
        drop(self.child.kill());
        drop(self.child.wait());
        kill_all(&self.folder);
    }
}

/// Ends whatever runs of a folder.
pub(crate) fn kill_all(folder: &Path) {
    for _ in 0..100 {
        let left = processes(folder);
        if left.is_empty() {
            return;
        }
        left.iter().for_each(|process| kill(process.pid));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Ends a process at once. It may have ended by itself.
pub(crate) fn kill(pid: i32) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
    }
}

/// A process of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    /// When it was started, in clock ticks since boot: with the pid, its identity.
    pub(crate) started: u64,
    pub(crate) command: Vec<String>,
}

impl Process {
    /// The process with this number.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        // A zombie has ended; its parent has not looked yet.
        if fields[0] == "Z" {
            return None;
        }
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let command = command.split(|byte| *byte == 0).filter(|part| !part.is_empty()).map(text).collect();
        Some(Self { pid, parent: fields[1].parse().ok()?, started: fields[19].parse().ok()?, command })
    }

    /// The role that a `baetylctl` runs in: its first argument.
    pub(crate) fn role(&self) -> &str {
        self.command.get(1).map_or("", String::as_str)
    }
}

/// All processes that have a folder in their command line or work below it, `up` itself apart.
pub(crate) fn processes(folder: &Path) -> Vec<Process> {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let Some(process) = Process::of(pid) else { continue };
        let works_there =
            std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(&folder));
        let names_it = process.command.iter().any(|part| part.contains(&*folder.to_string_lossy()));
        if (works_there || names_it) && process.role() != "up" {
            found.push(process);
        }
    }
    found
}

/// GET of the cloud.
pub(crate) async fn get(url: &str) -> Value {
    let answer = fetch(url).await.unwrap_or_else(|error| panic!("GET {url}: {error}"));
    serde_json::from_str(&answer).unwrap_or_else(|error| panic!("GET {url}: {error}: {answer}"))
}

/// GET as text, over a connection of its own. An answer that is not 200 is an error.
pub(crate) async fn fetch(url: &str) -> Result<String, String> {
    request("GET", url, "").await
}

/// A request with a JSON body, over a connection of its own. An answer that is not 200 is an error.
pub(crate) async fn request(method: &str, url: &str, body: &str) -> Result<String, String> {
    exchange(method, url, body.as_bytes()).await
}

/// PUT of bytes. An answer that is not 200 is an error.
pub(crate) async fn put(url: &str, body: &[u8]) -> Result<String, String> {
    exchange("PUT", url, body).await
}

async fn exchange(method: &str, url: &str, body: &[u8]) -> Result<String, String> {
    let rest = url.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let ask = async {
        let mut stream = tokio::net::TcpStream::connect(host).await?;
        let head = format!(
            "{method} /{path} HTTP/1.0\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(text(&answer))
    };
    let answer = tokio::time::timeout(Duration::from_secs(10), ask).await;
    let answer = answer.map_err(|_| "no answer".to_owned())?.map_err(|error| error.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no head")?;
    if head.split(' ').nth(1) == Some("200") { Ok(body.to_owned()) } else { Err(answer.clone()) }
}

/// The address in an URL.
pub(crate) fn address(url: &str) -> SocketAddr {
    url.split("://").nth(1).unwrap().trim_end_matches('/').parse().unwrap()
}

/// Runs a test on one thread.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files
}
