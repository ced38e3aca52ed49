//! `up` is what it says: separate programs, the real protocol, objects from the cloud.

use std::os::unix::fs::MetadataExt as _;

use crate::harness::{Process, Up, ctl_ok, fetch, get, processes, run, until};

#[test]
fn cloud_init_core_and_supervisors_are_separate_programs_and_init_made_core() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let up = Up::start(folder.path(), &[]).await;
        let process = |role: &str| Process::of(up.pid(role)).unwrap_or_else(|| panic!("{role} does not run"));
        let (cloud, init, core) = (process("cloud"), process("init"), process("core"));
        assert_eq!((cloud.role(), init.role(), core.role()), ("cloud", "init", "core"));
        let supervisor = Process::of(core.parent).unwrap();
        assert_eq!(supervisor.role(), "program", "core is looked after by {supervisor:?}");
        assert_eq!(supervisor.parent, init.pid, "core's supervisor was made by {}", supervisor.parent);
        let all = processes(folder.path());
        let page = all.iter().find(|process| process.role() == "page").expect("the page server runs");
        let supervisor = Process::of(page.parent).unwrap();
        assert_eq!(supervisor.role(), "program");
        assert_eq!(supervisor.parent, core.pid, "the page's supervisor was made by {}", supervisor.parent);
        assert_ne!(
            core.command[0], init.command[0],
            "core is the object from the cloud, not init's own file"
        );
        let file = |path: &std::path::Path| std::fs::metadata(path).unwrap();
        let program = |process: &Process| file(format!("/proc/{}/exe", process.pid).as_ref());
        if file(folder.path()).dev() == program(&init).dev() {
            assert_eq!(
                program(&core).ino(),
                program(&init).ino(),
                "one program lies on the disk and in memory once"
            );
        }
        up.stop().await;
    });
}

#[test]
fn the_page_shows_node_version_and_text_and_a_second_up_goes_on() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let up = Up::start(folder.path(), &[]).await;
        let (admin, page, node) = (up.admin(), up.told("/page"), up.told("/nodeName"));
        let version = get(&format!("{admin}/v1/apps/hello")).await["version"].as_str().unwrap().to_owned();
        let html = fetch(&page).await.unwrap();
        for part in [node.as_str(), version.as_str(), "Hello from"] {
            assert!(html.contains(part), "the page lacks {part:?}: {html}");
        }

        let file = folder.path().join("hello-text.yml");
        let changed = std::fs::read_to_string(&file).unwrap().replace("Hello from", "Good evening from");
        std::fs::write(&file, changed).unwrap();
        ctl_ok(&["-s", &admin, "apply", "-f", file.to_str().unwrap()]);
        until("the new text", || async {
            fetch(&page).await.ok().filter(|html| html.contains("Good evening from"))
        })
        .await;
        ctl_ok(&["-s", &admin, "wait", "app", "hello"]);
        assert!(ctl_ok(&["-s", &admin, "get", "node"]).contains("online"));
        let described = ctl_ok(&["-s", &admin, "describe", "node", &node]);
        assert!(described.contains("Running"), "{described}");
        up.stop().await;

        let again = Up::start(folder.path(), &[]).await;
        assert_eq!(again.told("/nodeName"), node);
        assert!(fetch(&page).await.unwrap().contains("Good evening from"));
        let nodes = get(&format!("{}/v1/nodes", again.admin())).await;
        assert_eq!(nodes["total"], 1, "the node was not activated twice: {nodes}");
        again.stop().await;
    });
}
