//! The line is cut: dead, not refused. What runs goes on, what dies comes back, and nothing is lost.

use std::path::Path;

use crate::harness::{Process, Up, address, kill, processes, run, until};
use crate::life::{apply, shell, with};
use crate::relay::Relay;

#[test]
fn with_the_line_cut_a_killed_agent_restarts_nothing_and_a_killed_program_comes_back() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let relay = Relay::start().await;
        let url = format!("https://{}", relay.address);
        let up = Up::begin(folder.path(), &["--node-url", &url]);
        // The cloud tells where it listens before any node can ask.
        let told = folder.path().join("cloud/addresses.json");
        let addresses = until("the cloud's addresses", || async {
            serde_json::from_slice::<serde_json::Value>(&std::fs::read(&told).ok()?).ok()
        })
        .await;
        relay.relay_to(addresses["node"].as_str().unwrap().parse().unwrap());
        let up = up.wait().await;
        apply(&up, &shell("worker", "exec sleep 2001"));
        let worker = until("the worker", || async { with(folder.path(), "2001") }).await;
        assert!(
            relay.connections() > 0,
            "the node goes through the relay, not to {}",
            address(&up.told("/node"))
        );

        relay.cut();
        let core = Process::of(up.pid("core")).unwrap();
        let page = find(folder.path(), "page");
        kill(core.pid);
        let page = page.unwrap_or_else(|| panic!("the page server runs:\n{}", up.logs()));
        let supervisor = Process::of(until_core(folder.path(), core.pid).await.parent).unwrap();
        assert_eq!(supervisor.role(), "program");
        assert_eq!(Process::of(page.pid).as_ref(), Some(&page), "the page server was not touched");
        let init = folder.path().join("node/runtime/init.sock");
        until("init to be content with core", || async {
            let status = baetyl_edge::cli::client::get(&init, "/status").await.ok()?;
            let app = status.pointer("/apps/0")?;
            (app["status"] == "Running" && app.get("cause").is_none()).then_some(())
        })
        .await;
        kill(supervisor.pid);
        until("a supervisor of core to come back", || async {
            let core = find(folder.path(), "core")?;
            (core.parent != supervisor.pid && Process::of(core.parent)?.role() == "program").then_some(())
        })
        .await;
        assert_eq!(Process::of(page.pid).as_ref(), Some(&page), "the page server was not touched");
        kill(page.pid);
        let again = until("the page server to come back", || async {
            find(folder.path(), "page").filter(|process| process.pid != page.pid)
        })
        .await;
        assert_ne!(again, page);
        assert_eq!(with(folder.path(), "2001"), Some(worker.clone()), "the worker was not touched");

        apply(&up, &shell("later", "exec sleep 2002"));
        relay.heal();
        until("what was applied meanwhile", || async { with(folder.path(), "2002") }).await;
        assert_eq!(with(folder.path(), "2001"), Some(worker), "the worker was not touched");
        up.stop().await;
    });
}

/// The process of a folder in a role.
fn find(folder: &Path, role: &str) -> Option<Process> {
    processes(folder).into_iter().find(|process| process.role() == role)
}

/// A core that is another process than the one before.
async fn until_core(folder: &Path, before: i32) -> Process {
    until("core to come back", || async { find(folder, "core").filter(|core| core.pid != before) }).await
}
