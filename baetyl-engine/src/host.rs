//! The machine that the agent runs on: who it is, how it fares, its clock, its randomness (edge.md 7.8).
//!
//! Everything is read below one root folder, so tests bring their own `/proc` and `/sys`. It knows no
//! applications and no engine.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use baetyl_core_lib::node::{Node, NodeError};
use baetyl_core_lib::spec::{NodeInfo, NodeStats};
use baetyl_core_lib::task::{Blocking, blocking};
use tokio::time::Instant;

mod clock;
mod read;

pub use self::clock::{HostClock, OsRandom};
use self::read::{Cpu, Network};

/// Below this share of room the disk counts as nearly full.
const DISK_LOW: f64 = 0.1;
/// Below this share of available memory it counts as nearly used up.
const MEMORY_LOW: f64 = 0.05;

/// What tells this machine from any other, for activation (edge.md 3.3).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// The host name.
    pub hostname: String,
    /// The installation's identity, or an empty text.
    pub machine_id: String,
    /// The board's identity; where there is none, the installation's, else the boot's.
    pub system_uuid: String,
    /// The boot's identity.
    pub boot_id: String,
}

/// This machine as the node's only member.
#[derive(Debug)]
pub struct Host {
    root: PathBuf,
    lib: PathBuf,
    pool: Arc<dyn Blocking>,
    born: Instant,
    /// The look before, for what was used since.
    before: Mutex<Option<Look>>,
}

#[derive(Debug, Clone)]
struct Look {
    at: Duration,
    cpu: Cpu,
    network: Network,
}

impl Host {
    /// This machine. `lib` is the folder whose disk must not become full.
    pub fn new(lib: impl Into<PathBuf>, pool: Arc<dyn Blocking>) -> Self {
        Self::below("/", lib, pool)
    }

    /// A machine whose `/proc`, `/sys` and `/etc` lie below `root`.
    pub fn below(root: impl Into<PathBuf>, lib: impl Into<PathBuf>, pool: Arc<dyn Blocking>) -> Self {
        let (root, lib) = (root.into(), lib.into());
        Self { root, lib, pool, born: Instant::now(), before: Mutex::default() }
    }

    /// What tells this machine from any other.
    ///
    /// # Errors
    /// When the kernel does not say its host name.
    pub fn facts(&self) -> Result<HostFacts, NodeError> {
        facts(&self.root)
    }
}

#[async_trait]
impl Node for Host {
    async fn info(&self) -> Result<BTreeMap<String, NodeInfo>, NodeError> {
        let root = self.root.clone();
        let info = blocking(&*self.pool, move || info(&root))
            .await
            .map_err(|lost| unreadable("its identity", lost))??;
        Ok([(info.hostname.clone(), info)].into())
    }

    async fn stats(&self) -> Result<BTreeMap<String, NodeStats>, NodeError> {
        let (root, lib, at) = (self.root.clone(), self.lib.clone(), self.born.elapsed());
        let before = self.before.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let look = blocking(&*self.pool, move || look(&root, &lib, at, before.as_ref())).await;
        let (hostname, stats, now) = look.map_err(|lost| unreadable("its load", lost))??;
        *self.before.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        Ok([(hostname, stats)].into())
    }
}

fn facts(root: &Path) -> Result<HostFacts, NodeError> {
    let line = |path: &str| fs::read_to_string(root.join(path)).map(|text| text.trim().to_owned());
    let hostname = line("proc/sys/kernel/hostname").map_err(|error| unreadable("its host name", error))?;
    let boot_id = line("proc/sys/kernel/random/boot_id").unwrap_or_default();
    let machine_id = ["etc/machine-id", "var/lib/dbus/machine-id"]
        .into_iter()
        .find_map(|path| line(path).ok().filter(|id| !id.is_empty()))
        .unwrap_or_default();
    // Only root may read the board's; many boards have none.
    let board = line("sys/class/dmi/id/product_uuid").unwrap_or_default().to_ascii_lowercase();
    let system_uuid = [board, read::uuid(&machine_id), boot_id.clone()].into_iter().find(|id| !id.is_empty());
    Ok(HostFacts { hostname, machine_id, system_uuid: system_uuid.unwrap_or_default(), boot_id })
}

fn info(root: &Path) -> Result<NodeInfo, NodeError> {
    let text = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let facts = facts(root)?;
    let arch = read::go_arch(std::env::consts::ARCH);
    Ok(NodeInfo {
        hostname: facts.hostname,
        address: read::addresses(&text("proc/net/fib_trie")).join(","),
        arch: arch.to_owned(),
        kernel_ver: text("proc/sys/kernel/osrelease").trim().to_owned(),
        os: std::env::consts::OS.to_owned(),
        boot_id: facts.boot_id,
        system_uuid: facts.system_uuid,
        os_image: read::os_image(&text("etc/os-release")),
        variant: read::variant(arch, &text("proc/cpuinfo")),
        role: "master".to_owned(),
        // A machine identity would make clouds take this for a Kubernetes node (edge.md 1.4, step 7).
        machine_id: String::new(),
        ..NodeInfo::default()
    })
}

fn look(
    root: &Path,
    lib: &Path,
    at: Duration,
    before: Option<&Look>,
) -> Result<(String, NodeStats, Look), NodeError> {
    let text = |path: &str| fs::read_to_string(root.join(path));
    let hostname = text("proc/sys/kernel/hostname").map_err(|error| unreadable("its host name", error))?;
    let cpu = text("proc/stat").map_err(|error| unreadable("/proc/stat", error))?;
    let memory = text("proc/meminfo").map_err(|error| unreadable("/proc/meminfo", error))?;
    let (cpu, memory) = (Cpu::parse(&cpu), read::Memory::parse(&memory));
    let network = Network::parse(&text("proc/net/dev").unwrap_or_default());
    let mut stats = NodeStats { ready: true, ..NodeStats::default() };

    let cores = f64::from(cpu.cores);
    let used = cpu.share_since(before.map(|look| &look.cpu)) * cores;
    put(&mut stats, "cpu", &cpu.cores.to_string(), &format!("{used:.3}"), used, cores);
    let in_use = memory.used();
    put(
        &mut stats,
        "memory",
        &memory.total.to_string(),
        &in_use.to_string(),
        float(in_use),
        float(memory.total),
    );
    stats.memory_pressure = memory.total > 0 && float(memory.available) < MEMORY_LOW * float(memory.total);

    let mounts = read::disks(&text("proc/self/mounts").unwrap_or_default());
    let partitions = mounts.into_iter().map(|mount| (format!("disk_{mount}"), mount));
    for (key, mount) in [("disk".to_owned(), "/".to_owned())].into_iter().chain(partitions) {
        // One disk that cannot be read must not hide the others.
        let Ok((total, used)) = room(&root.join(mount.trim_start_matches('/'))) else { continue };
        put(&mut stats, &key, &total.to_string(), &used.to_string(), float(used), float(total));
    }
    if let Ok((total, used)) = room(lib) {
        stats.disk_pressure = total > 0 && float(total.saturating_sub(used)) < DISK_LOW * float(total);
    }

    let seconds = before.map_or(0.0, |look| at.saturating_sub(look.at).as_secs_f64());
    stats.netio = network.rates_since(before.map(|look| &look.network), seconds);
    Ok((hostname.trim().to_owned(), stats, Look { at, cpu, network }))
}

fn put(stats: &mut NodeStats, key: &str, capacity: &str, usage: &str, used: f64, total: f64) {
    let share = if total > 0.0 { (used / total).clamp(0.0, 1.0) } else { 0.0 };
    stats.capacity.insert(key.to_owned(), capacity.to_owned());
    stats.usage.insert(key.to_owned(), usage.to_owned());
    stats.percent.insert(key.to_owned(), share.to_string());
}

/// Bytes in all, and bytes in use, of the disk that holds `path`.
fn room(path: &Path) -> io::Result<(u64, u64)> {
    let disk = rustix::fs::statvfs(path)?;
    let total = disk.f_blocks.saturating_mul(disk.f_frsize);
    Ok((total, total.saturating_sub(disk.f_bavail.saturating_mul(disk.f_frsize))))
}

#[expect(clippy::cast_precision_loss, reason = "shares need no 53 bits")]
const fn float(number: u64) -> f64 {
    number as f64
}

fn unreadable(what: &str, source: impl Into<baetyl_core_lib::error::BoxError>) -> NodeError {
    NodeError { what: what.to_owned(), source: source.into() }
}
