//! The process engine on real programs.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use baetyl_core_lib::application::{Content, Deployment, Scope, VolumeContent};
use baetyl_core_lib::durable::OsDisk;
use baetyl_core_lib::engine::{Engine, EngineError, Exit, InstanceState, Readiness};
use baetyl_core_lib::spec::application::{EnvVar, Service, Volume, VolumeMount};
use baetyl_core_lib::spec::services::Services;
use baetyl_core_lib::spec::{AppInfo, AppSpec, Status};
use baetyl_core_lib::task::Pool;
use baetyl_engine::process::{OsSpawn, ProcessConfig, ProcessEngine};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

mod conformance;

const USER: Scope = Scope::User;

/// A node's folders; whatever still runs in them at the end is killed.
struct Bed {
    folder: tempfile::TempDir,
}

impl Bed {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn lib(&self) -> PathBuf {
        self.folder.path().join("lib")
    }

    fn runtime(&self) -> PathBuf {
        self.folder.path().join("runtime")
    }

    fn config(&self) -> ProcessConfig {
        let own = std::env::current_exe().unwrap();
        let supervisor = own.parent().unwrap().parent().unwrap().join("examples/supervisor");
        assert!(supervisor.exists(), "build the examples first: cargo test builds them");
        let mut config = ProcessConfig::new(self.lib(), self.runtime(), vec![supervisor.into()]);
        config.grace = Duration::from_secs(2);
        config
    }

    fn engine(&self) -> ProcessEngine {
        with(self.config())
    }

    fn instance(&self, version: &str, number: u32) -> PathBuf {
        self.lib().join("run/baetyl-edge/app").join(version).join("web").join(number.to_string())
    }

    fn services(&self) -> Services {
        serde_saphyr::from_str(&fs::read_to_string(self.lib().join("run/services.yml")).unwrap()).unwrap()
    }

    fn ports(&self, service: &str) -> Vec<u16> {
        self.services().0.get(service).map(|entry| entry.ports.clone()).unwrap_or_default()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        // Everything of ours works in a folder of ours, whatever state it wrote down or not.
        let folder = self.folder.path().to_owned();
        for _ in 0..100 {
            let ours: Vec<_> = pids().filter(|pid| works_in(*pid, &folder)).collect();
            if ours.is_empty() {
                return;
            }
            for pid in ours.into_iter().filter_map(Pid::from_raw) {
                kill_process(pid, Signal::KILL).ok();
            }
        }
    }
}

fn pids() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn works_in(pid: i32, folder: &Path) -> bool {
    fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(folder))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.flat_map(|e| if e.path().is_dir() { files(&e.path()) } else { vec![e.path()] }).collect()
}

fn with(config: ProcessConfig) -> ProcessEngine {
    ProcessEngine::new(config, Arc::new(OsDisk), Arc::new(Pool::new(4)), Arc::new(OsSpawn::new()))
}

/// An application whose service `web` runs a shell script from its configuration.
fn app(version: &str, script: &str) -> Deployment {
    let mount = |name: &str, path: &str| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        ..VolumeMount::default()
    };
    let volume = |name: &str| Volume { name: name.to_owned(), ..Volume::default() };
    let service = Service {
        name: "web".to_owned(),
        volume_mounts: vec![mount("code", "/var/lib/baetyl/bin"), mount("key", "etc/key")],
        env: vec![EnvVar { name: "GREETING".to_owned(), value: "hello".to_owned() }],
        ..Service::default()
    };
    let files = |of: &[(&str, &str)], secret| VolumeContent::Files {
        files: of.iter().map(|(name, text)| ((*name).to_owned(), Content((*text).into()))).collect(),
        objects: None,
        secret,
    };
    let script = format!("#!/bin/sh\n{script}\n");
    Deployment {
        spec: AppSpec {
            name: "app".to_owned(),
            version: version.to_owned(),
            services: vec![service],
            volumes: vec![volume("code"), volume("key")],
            replica: 1,
            ..AppSpec::default()
        },
        volumes: BTreeMap::from([
            ("code".to_owned(), files(&[("program.yml", "entry: run.sh\n"), ("run.sh", &script)], false)),
            ("key".to_owned(), files(&[("key.pem", "secret")], true)),
        ]),
    }
}

const LIVES: &str = "exec sleep 1000";

async fn instances(engine: &dyn Engine, version: &str) -> Vec<InstanceState> {
    let states = engine.inventory(USER).await.unwrap();
    let state = states.into_iter().find(|state| state.info == AppInfo::new("app", version));
    state.map(|state| state.instances.unwrap()).unwrap_or_default()
}

/// Looks again and again, for a while: real programs take their time.
async fn see<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..1500 {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not come")
}

/// Looks until what is looked for is there.
async fn until<T>(
    what: &str,
    engine: &dyn Engine,
    version: &str,
    found: impl Fn(&[InstanceState]) -> Option<T>,
) -> T {
    let mut last = Vec::new();
    for _ in 0..1500 {
        last = instances(engine, version).await;
        if let Some(found) = found(&last) {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not happen: {last:#?}");
}

async fn running(engine: &dyn Engine, version: &str, count: usize) -> Vec<InstanceState> {
    until("running", engine, version, |all| {
        (all.len() == count && all.iter().all(|one| one.run.is_some())).then(|| all.to_vec())
    })
    .await
}

fn lives(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let zombie = stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'));
    test_kill_process(Pid::from_raw(pid).unwrap()).is_ok() && !zombie
}

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

#[tokio::test]
async fn applied_program_runs_with_its_files_environment_and_port() {
    let bed = Bed::new();
    let engine = bed.engine();
    engine.apply(USER, &app("1", "env > env.txt; mv env.txt done.txt; exec sleep 1000")).await.unwrap();
    let one = running(&engine, "1", 1).await.remove(0);
    assert_eq!((one.status, one.readiness, one.restarts), (Status::Running, Readiness::Unprobed, 0));
    assert_eq!(one.name, "baetyl-edge.app.1.web.1");
    assert!(one.started.is_some() && one.parent.is_some());
    let folder = bed.instance("1", 1);
    let env = see("done.txt", async || fs::read_to_string(folder.join("done.txt")).ok()).await;
    let port = bed.ports("web")[0];
    assert!(
        env.contains("GREETING=hello\n") && env.contains(&format!("BAETYL_SERVICE_DYNAMIC_PORT={port}\n"))
    );
    assert!(env.contains(&format!("BAETYL_HOST_PATH_LIB={}\n", bed.lib().display())));
    let mode = |path: &str| fs::metadata(folder.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("etc/key"), mode("etc/key/key.pem")), (0o700, 0o600));
    assert_eq!((mode("var/lib/baetyl/bin/program.yml"), mode("var/lib/baetyl/bin/run.sh")), (0o644, 0o755));
    engine.remove(USER, &AppInfo::new("app", "1")).await.unwrap();
}

#[tokio::test]
async fn new_engine_adopts_what_runs() {
    let bed = Bed::new();
    let before = {
        let engine = bed.engine();
        engine.apply(USER, &app("1", LIVES)).await.unwrap();
        running(&engine, "1", 1).await
    };
    let engine = bed.engine();
    assert_eq!(instances(&engine, "1").await, before);
    let ports = bed.ports("web");
    engine.apply(USER, &app("1", LIVES)).await.unwrap();
    assert_eq!(instances(&engine, "1").await, before);
    assert_eq!(bed.ports("web"), ports);
    engine.remove(USER, &AppInfo::new("app", "1")).await.unwrap();
}

#[tokio::test]
async fn changed_files_are_replaced_without_a_restart() {
    let bed = Bed::new();
    let engine = bed.engine();
    engine.apply(USER, &app("1", LIVES)).await.unwrap();
    let before = running(&engine, "1", 1).await;
    let mut renewed = app("1", LIVES);
    let files = BTreeMap::from([("crt.pem".to_owned(), Content(b"new".to_vec()))]);
    renewed.volumes.insert("key".to_owned(), VolumeContent::Files { files, objects: None, secret: true });
    engine.apply(USER, &renewed).await.unwrap();
    assert_eq!(instances(&engine, "1").await, before);
    let folder = bed.instance("1", 1).join("etc/key");
    assert_eq!(fs::read(folder.join("crt.pem")).unwrap(), b"new");
    assert!(!folder.join("key.pem").exists());
    engine.remove(USER, &AppInfo::new("app", "1")).await.unwrap();
}

#[tokio::test]
async fn killed_program_is_started_again_by_its_supervisor() {
    let bed = Bed::new();
    let engine = bed.engine();
    engine.apply(USER, &app("1", LIVES)).await.unwrap();
    let before = running(&engine, "1", 1).await.remove(0);
    kill(before.pid.unwrap());
    let after = until("restart", &engine, "1", |all| {
        (all[0].restarts == 1 && all[0].run.is_some()).then(|| all[0].clone())
    })
    .await;
    assert_eq!(after.last_exit, Some(Exit::Signal(9)));
    assert_eq!(after.parent, before.parent);
    assert_ne!(after.run, before.run);
    engine.remove(USER, &AppInfo::new("app", "1")).await.unwrap();
}

#[tokio::test]
async fn killed_supervisor_is_replaced_and_no_second_copy_runs() {
    let bed = Bed::new();
    let engine = bed.engine();
    engine.apply(USER, &app("1", LIVES)).await.unwrap();
    let before = running(&engine, "1", 1).await.remove(0);
    kill(before.parent.unwrap());
    until("death", &engine, "1", |all| all[0].run.is_none().then_some(())).await;
    engine.apply(USER, &app("1", LIVES)).await.unwrap();
    let after = running(&engine, "1", 1).await.remove(0);
    assert!(!lives(before.pid.unwrap()));
    assert_eq!(after.restarts, 1);
    engine.remove(USER, &AppInfo::new("app", "1")).await.unwrap();
    assert!(!lives(after.pid.unwrap()));
}

#[tokio::test]
async fn stop_ends_what_a_killed_supervisor_left() {
    let bed = Bed::new();
    let engine = bed.engine();
    engine.apply(USER, &app("1", LIVES)).await.unwrap();
    let before = running(&engine, "1", 1).await.remove(0);
    kill(before.parent.unwrap());
    engine.stop(USER, &AppInfo::new("app", "1")).await.unwrap();
    assert!(!lives(before.pid.unwrap()));
}

#[tokio::test]
async fn broken_program_tells_its_restarts_and_exit_code() {
    let bed = Bed::new();
    let engine = bed.engine();
    engine.apply(USER, &app("1", "echo broken; exit 3")).await.unwrap();
    let one = until("restarts", &engine, "1", |all| {
        all.first().filter(|one| one.restarts >= 2 && one.run.is_none()).cloned()
    })
    .await;
    assert_eq!(one.last_exit, Some(Exit::Code(3)));
    assert!(one.reason.unwrap().contains("exit code 3, saying \"broken\""));
    let log = engine.logs().unwrap().tail(USER, &one.name, 100).await.unwrap();
    assert!(String::from_utf8(log).unwrap().contains("broken\n"));
    engine.remove(USER, &AppInfo::new("app", "1")).await.unwrap();
}

#[tokio::test]
async fn program_that_cannot_be_started_says_why() {
    let bed = Bed::new();
    let engine = bed.engine();
    let mut broken = app("1", "");
    let files = [("program.yml", "entry: run.sh"), ("run.sh", "#!/no/such/shell\n")];
    let files = files.map(|(name, text)| (name.to_owned(), Content(text.into()))).into();
    broken.volumes.insert("code".to_owned(), VolumeContent::Files { files, objects: None, secret: false });
    engine.apply(USER, &broken).await.unwrap();
    let one = until("failure", &engine, "1", |all| all.first().filter(|one| one.restarts > 0).cloned()).await;
    assert_eq!(one.last_exit, Some(Exit::NotStarted));
    assert!(one.reason.unwrap().contains("run.sh could not be started"));
    engine.remove(USER, &AppInfo::new("app", "1")).await.unwrap();
}

#[tokio::test]
async fn remove_kills_descendants_that_ignore_every_request() {
    let bed = Bed::new();
    let engine = bed.engine();
    let script = "trap '' TERM HUP; (trap '' TERM; setsid sleep 1000 & echo $! > pid; wait) & while :; do sleep 1000; done";
    engine.apply(USER, &app("1", script)).await.unwrap();
    let one = running(&engine, "1", 1).await.remove(0);
    let stray: i32 = see("the stray's number", async || {
        let text = fs::read_to_string(bed.instance("1", 1).join("pid")).ok()?;
        text.strip_suffix('\n')?.parse().ok()
    })
    .await;
    assert!(lives(stray));
    engine.remove(USER, &AppInfo::new("app", "1")).await.unwrap();
    assert!(!lives(stray) && !lives(one.pid.unwrap()) && !lives(one.parent.unwrap()));
    assert!(!bed.lib().join("run/baetyl-edge/app").exists());
    assert_eq!(bed.services(), Services::default());
    assert!(engine.inventory(USER).await.unwrap().is_empty());
    engine.remove(USER, &AppInfo::new("app", "1")).await.unwrap();
}

#[tokio::test]
async fn replicas_have_folders_and_ports_of_their_own_and_surplus_ones_go() {
    let bed = Bed::new();
    let engine = bed.engine();
    let mut three = app("1", LIVES);
    three.spec.replica = 3;
    engine.apply(USER, &three).await.unwrap();
    let before = running(&engine, "1", 3).await;
    let ports = bed.ports("web");
    assert_eq!(ports.len(), 3);
    engine.apply(USER, &app("1", LIVES)).await.unwrap();
    assert_eq!(instances(&engine, "1").await, before[..1]);
    assert_eq!(bed.ports("web"), ports[..1]);
    assert!(!lives(before[2].pid.unwrap()));
    engine.remove(USER, &AppInfo::new("app", "1")).await.unwrap();
}

#[tokio::test]
async fn application_without_instances_is_in_the_inventory() {
    let bed = Bed::new();
    let engine = bed.engine();
    let mut none = app("1", LIVES);
    none.spec.replica = 0;
    engine.apply(USER, &none).await.unwrap();
    let state = engine.inventory(USER).await.unwrap().remove(0);
    assert_eq!((state.info, state.wanted), (AppInfo::new("app", "1"), Some(0)));
    assert!(state.instances.unwrap().is_empty());
    engine.remove(USER, &AppInfo::new("app", "1")).await.unwrap();
    assert!(engine.inventory(USER).await.unwrap().is_empty());
}

#[tokio::test]
async fn stopped_version_keeps_its_port_and_starts_again() {
    let bed = Bed::new();
    let engine = bed.engine();
    let info = AppInfo::new("app", "1");
    engine.apply(USER, &app("1", LIVES)).await.unwrap();
    let before = running(&engine, "1", 1).await.remove(0);
    let ports = bed.ports("web");
    engine.stop(USER, &info).await.unwrap();
    assert!(!lives(before.pid.unwrap()) && bed.ports("web").is_empty());
    let stopped = instances(&engine, "1").await.remove(0);
    assert_eq!((stopped.run, stopped.restarts), (None, 0));
    engine.apply(USER, &app("1", LIVES)).await.unwrap();
    assert_eq!(running(&engine, "1", 1).await[0].restarts, 0);
    assert_eq!(bed.ports("web"), ports);
    engine.remove(USER, &info).await.unwrap();
}

#[tokio::test]
async fn instance_has_one_supervisor_only() {
    let bed = Bed::new();
    let engine = bed.engine();
    engine.apply(USER, &app("1", LIVES)).await.unwrap();
    let before = running(&engine, "1", 1).await;
    let mut second = std::process::Command::new(&bed.config().supervisor[0]);
    let ended =
        second.arg("program").arg(bed.instance("1", 1)).stdin(std::process::Stdio::null()).status().unwrap();
    assert_eq!(ended.code(), Some(75));
    assert_eq!(instances(&engine, "1").await, before);
    engine.remove(USER, &AppInfo::new("app", "1")).await.unwrap();
}

#[tokio::test]
async fn state_of_another_boot_is_nobodys() {
    let bed = Bed::new();
    let engine = bed.engine();
    let info = AppInfo::new("app", "1");
    engine.apply(USER, &app("1", LIVES)).await.unwrap();
    running(&engine, "1", 1).await;
    engine.stop(USER, &info).await.unwrap();
    // As a reboot leaves it where the runtime folder is on a disk: numbers that now are others'.
    let path = bed.runtime().join("baetyl-edge/app/1/web-1.json");
    let mut innocent = std::process::Command::new("/bin/sleep").arg("1000").spawn().unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let mut state: serde_json::Value = serde_json::from_str(&text).unwrap();
    state["boot"] = "another".into();
    state["phase"] = "running".into();
    let stat = fs::read_to_string(format!("/proc/{}/stat", innocent.id())).unwrap();
    let start: u64 = stat.rsplit(") ").next().unwrap().split(' ').nth(19).unwrap().parse().unwrap();
    state["child"] = serde_json::json!({"pid": innocent.id(), "start": start});
    fs::write(&path, state.to_string()).unwrap();
    engine.stop(USER, &info).await.unwrap();
    engine.apply(USER, &app("1", LIVES)).await.unwrap();
    assert_eq!(running(&engine, "1", 1).await[0].restarts, 0);
    assert!(innocent.try_wait().unwrap().is_none());
    innocent.kill().unwrap();
    innocent.wait().unwrap();
    engine.remove(USER, &info).await.unwrap();
}

#[tokio::test]
async fn changed_settings_of_the_engine_restart_nothing() {
    let bed = Bed::new();
    let engine = bed.engine();
    engine.apply(USER, &app("1", LIVES)).await.unwrap();
    let before = running(&engine, "1", 1).await;
    let mut config = bed.config();
    config.path_env = "/opt/bin:/bin:/usr/bin".to_owned();
    let engine = with(config);
    engine.apply(USER, &app("1", LIVES)).await.unwrap();
    assert_eq!(instances(&engine, "1").await, before);
    kill(before[0].pid.unwrap());
    let after =
        until("restart", &engine, "1", |all| (all[0].restarts == 1).then(|| all[0].pid).flatten()).await;
    let env = loop {
        // Empty while the shell is replaced by what it runs.
        let env = fs::read(format!("/proc/{after}/environ")).unwrap();
        if !env.is_empty() {
            break String::from_utf8(env).unwrap();
        }
    };
    assert!(env.contains("PATH=/opt/bin:/bin:/usr/bin"), "{env:?}");
    engine.remove(USER, &AppInfo::new("app", "1")).await.unwrap();
}

#[tokio::test]
async fn program_may_end_by_itself_when_it_is_stopped() {
    let bed = Bed::new();
    let engine = bed.engine();
    engine
        .apply(USER, &app("1", "trap 'echo bye; exit 0' TERM; touch ready; while :; do sleep 0.05; done"))
        .await
        .unwrap();
    let one = running(&engine, "1", 1).await.remove(0);
    see("the trap", async || bed.instance("1", 1).join("ready").exists().then_some(())).await;
    engine.stop(USER, &AppInfo::new("app", "1")).await.unwrap();
    let log = engine.logs().unwrap().tail(USER, &one.name, 1).await.unwrap();
    assert_eq!(String::from_utf8(log).unwrap(), "bye\n");
    engine.remove(USER, &AppInfo::new("app", "1")).await.unwrap();
}

#[tokio::test]
async fn host_path_is_a_link_and_outlives_the_instance() {
    let bed = Bed::new();
    let engine = bed.engine();
    let store = bed.lib().join("core/store");
    let mut with_store = app("1", "echo kept > data/store/file; exec sleep 1000");
    with_store.volumes.insert("key".to_owned(), VolumeContent::HostPath(store.clone()));
    with_store.spec.services[0].volume_mounts[1].mount_path = "/data/store".to_owned();
    engine.apply(USER, &with_store).await.unwrap();
    running(&engine, "1", 1).await;
    assert_eq!(fs::read_link(bed.instance("1", 1).join("data/store")).unwrap(), store);
    see("the file", async || store.join("file").exists().then_some(())).await;
    engine.remove(USER, &AppInfo::new("app", "1")).await.unwrap();
    assert!(store.join("file").exists());
}

#[tokio::test]
async fn what_a_dropped_call_still_does_disturbs_no_later_one() {
    let bed = Bed::new();
    let info = AppInfo::new("app", "1");
    let at_once = Duration::ZERO;
    for _ in 0..20 {
        let deployment = app("1", LIVES);
        drop(tokio::time::timeout(at_once, bed.engine().apply(USER, &deployment)).await);
        let engine = bed.engine();
        engine.apply(USER, &deployment).await.unwrap();
        running(&engine, "1", 1).await;
        engine.remove(USER, &info).await.unwrap();
        assert!(engine.inventory(USER).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn port_that_something_else_took_meanwhile_is_replaced() {
    let bed = Bed::new();
    let engine = bed.engine();
    let info = AppInfo::new("app", "1");
    engine.apply(USER, &app("1", LIVES)).await.unwrap();
    running(&engine, "1", 1).await;
    let before = bed.ports("web");
    engine.stop(USER, &info).await.unwrap();
    let taken = std::net::TcpListener::bind(("127.0.0.1", before[0])).unwrap();
    engine.apply(USER, &app("1", LIVES)).await.unwrap();
    running(&engine, "1", 1).await;
    assert_ne!(bed.ports("web"), before);
    drop(taken);
    engine.remove(USER, &info).await.unwrap();
}

#[tokio::test]
async fn new_version_gets_the_name_when_the_old_one_goes() {
    let bed = Bed::new();
    let engine = bed.engine();
    engine.apply(USER, &app("1", LIVES)).await.unwrap();
    let old = running(&engine, "1", 1).await;
    let of_old = bed.ports("web");
    engine.apply(USER, &app("2", LIVES)).await.unwrap();
    let new = running(&engine, "2", 1).await;
    assert_eq!(bed.ports("web"), of_old);
    assert_eq!(instances(&engine, "1").await, old);
    engine.remove(USER, &AppInfo::new("app", "1")).await.unwrap();
    assert_ne!(bed.ports("web"), of_old);
    assert_eq!(bed.ports("web").len(), 1);
    assert_eq!(instances(&engine, "2").await, new);
    engine.remove(USER, &AppInfo::new("app", "2")).await.unwrap();
}

#[tokio::test]
async fn two_engines_share_ports_and_names() {
    let bed = Bed::new();
    let (init, core) = (bed.engine(), bed.engine());
    let mut other = app("1", LIVES);
    other.spec.services[0].name = "system-web".to_owned();
    let mine = app("1", LIVES);
    let (one, two) = tokio::join!(init.apply(Scope::System, &other), core.apply(USER, &mine));
    one.unwrap();
    two.unwrap();
    running(&core, "1", 1).await;
    assert_ne!(bed.ports("web"), bed.ports("system-web"));
    assert_eq!((bed.ports("web").len(), bed.ports("system-web").len()), (1, 1));
    init.remove(Scope::System, &AppInfo::new("app", "1")).await.unwrap();
    assert!(bed.ports("system-web").is_empty() && bed.ports("web").len() == 1);
    core.remove(USER, &AppInfo::new("app", "1")).await.unwrap();
}

#[tokio::test]
async fn log_is_rotated() {
    let bed = Bed::new();
    let mut config = bed.config();
    config.log_bytes = 64 << 10;
    config.log_backups = 1;
    let engine = with(config);
    let script =
        "i=0; while [ $i -lt 20000 ]; do echo line $i of a long log; i=$((i+1)); done; exec sleep 1000";
    engine.apply(USER, &app("1", script)).await.unwrap();
    let name = running(&engine, "1", 1).await.remove(0).name;
    let log = bed.lib().join("log/baetyl-edge/app/1/web-1.log");
    see("the last line", async || {
        let tail = engine.logs().unwrap().tail(USER, &name, 1).await.unwrap();
        (tail == b"line 19999 of a long log\n").then_some(())
    })
    .await;
    let size = |path: &Path| fs::metadata(path).unwrap().len();
    assert!(size(&log) <= 64 << 10 && size(&log.with_extension("log.1")) <= 64 << 10);
    assert!(!log.with_extension("log.2").exists());
    engine.remove(USER, &AppInfo::new("app", "1")).await.unwrap();
}

#[tokio::test]
async fn changes_are_told_to_the_agent() {
    let bed = Bed::new();
    let mut config = bed.config();
    config.agent_socket = Some(bed.folder.path().join("agent.sock"));
    let engine = with(config);
    let deployment = app("1", LIVES);
    let events = engine.events().unwrap();
    let (_, applied) = tokio::join!(events.changed(), engine.apply(USER, &deployment));
    applied.unwrap();
    running(&engine, "1", 1).await;
    engine.remove(USER, &AppInfo::new("app", "1")).await.unwrap();
}

#[tokio::test]
async fn usage_is_measured() {
    let bed = Bed::new();
    let engine = bed.engine();
    engine.apply(USER, &app("1", "while :; do :; done")).await.unwrap();
    running(&engine, "1", 1).await;
    let usage = || async { engine.usage().unwrap().usage(USER).await.unwrap().remove(0).instances.remove(0) };
    assert!(usage().await.memory > 100_000);
    see("a busy processor", async || (usage().await.cpu >= 0.05).then_some(())).await;
    engine.remove(USER, &AppInfo::new("app", "1")).await.unwrap();
}

#[tokio::test]
async fn damaged_record_is_an_error_of_that_application_only() {
    let bed = Bed::new();
    let engine = bed.engine();
    engine.apply(USER, &app("1", LIVES)).await.unwrap();
    running(&engine, "1", 1).await;
    let broken = bed.lib().join("run/baetyl-edge/broken/7");
    fs::create_dir_all(&broken).unwrap();
    fs::write(broken.join("app.json"), "{").unwrap();
    let states = engine.inventory(USER).await.unwrap();
    assert_eq!(states.len(), 2);
    assert!(states[0].instances.is_ok());
    assert!(matches!(states[1].instances, Err(EngineError::Failed { .. })));
    engine.remove(USER, &AppInfo::new("broken", "7")).await.unwrap();
    assert_eq!(engine.inventory(USER).await.unwrap().len(), 1);
    engine.remove(USER, &AppInfo::new("app", "1")).await.unwrap();
}

async fn refused(change: impl FnOnce(&mut Deployment), expected: &str) {
    let bed = Bed::new();
    let engine = bed.engine();
    let mut bad = app("1", LIVES);
    change(&mut bad);
    let error = engine.prepare(USER, &bad).await.unwrap_err();
    assert!(matches!(error, EngineError::Invalid { .. }), "{error:?}");
    assert!(error.to_string().contains(expected), "{error}");
    assert!(engine.apply(USER, &bad).await.is_err());
    assert!(engine.inventory(USER).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_cannot_be_is_refused_before_anything_is_made() {
    refused(|bad| bad.spec.services[0].volume_mounts[0].name = "lost".to_owned(), "mounts volume \"lost\"")
        .await;
    refused(|bad| bad.spec.services[0].volume_mounts[1].mount_path = "../../x".to_owned(), "without '..'")
        .await;
    refused(|bad| bad.spec.services[0].volume_mounts.truncate(0), "has no program").await;
    refused(|bad| bad.spec.services[0].name = "../up".to_owned(), "cannot name a folder").await;
    refused(|bad| bad.spec.version = String::new(), "cannot name a folder").await;
    let entry = |text: &'static str| {
        move |bad: &mut Deployment| {
            let files = [("program.yml".to_owned(), Content(text.into()))].into();
            let content = VolumeContent::Files { files, objects: None, secret: false };
            bad.volumes.insert("code".to_owned(), content);
        }
    };
    refused(entry("entry: nothing.sh"), "\"nothing.sh\", which is not there").await;
    refused(entry("entry: ../../bin/sh"), "outside its folder").await;
    refused(entry("name: x"), "has no key entry").await;
    refused(entry("entry: [\n"), "line").await;
}

#[tokio::test]
async fn objects_and_files_of_one_configuration_lie_in_one_folder() {
    let bed = Bed::new();
    let engine = bed.engine();
    let objects = bed.folder.path().join("object/code/1");
    fs::create_dir_all(&objects).unwrap();
    fs::write(objects.join("run.sh"), "#!/bin/sh\nexec sleep 1000\n").unwrap();
    fs::set_permissions(objects.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut both = app("1", "");
    let files = [("program.yml".to_owned(), Content(b"entry: run.sh".to_vec()))].into();
    let content = VolumeContent::Files { files, objects: Some(objects.clone()), secret: false };
    both.volumes.insert("code".to_owned(), content);
    engine.apply(USER, &both).await.unwrap();
    running(&engine, "1", 1).await;
    let bin = bed.instance("1", 1).join("var/lib/baetyl/bin");
    assert_eq!(fs::read_link(bin.join("run.sh")).unwrap(), objects.join("run.sh"));
    engine.remove(USER, &AppInfo::new("app", "1")).await.unwrap();

    fs::write(objects.join("program.yml"), "entry: run.sh").unwrap();
    let alone =
        VolumeContent::Files { files: BTreeMap::new(), objects: Some(objects.clone()), secret: false };
    both.volumes.insert("code".to_owned(), alone);
    engine.apply(USER, &both).await.unwrap();
    running(&engine, "1", 1).await;
    assert_eq!(fs::read_link(&bin).unwrap(), objects);
    engine.remove(USER, &AppInfo::new("app", "1")).await.unwrap();
    assert!(objects.join("run.sh").exists());
}
