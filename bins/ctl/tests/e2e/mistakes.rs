//! Mistakes that a person makes on the first evening: each gets one clear sentence that says what to change.

use std::net::TcpListener;

use crate::harness::{Up, ctl, run, text};

/// Runs a command that must fail, and gives what it said.
fn refused(arguments: &[&str]) -> String {
    let output = ctl(arguments);
    assert!(!output.status.success(), "baetylctl {arguments:?} should fail");
    let said = text(&output.stderr);
    assert_eq!(said.lines().filter(|line| line.starts_with("error")).count(), 1, "one error: {said}");
    said
}

#[test]
fn a_missing_cloud_a_bad_file_and_a_bad_kind_each_get_one_clear_sentence() {
    let said = refused(&["-s", "http://127.0.0.1:1", "get", "nodes"]);
    assert!(said.contains("127.0.0.1:1") && said.contains("baetylctl up"), "{said}");

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "kind: app\nname: [broken\n").unwrap();
    let said = refused(&["apply", "-f", file.path().to_str().unwrap()]);
    assert!(said.contains("line"), "{said}");
    let said = refused(&["apply", "-f", "/nowhere.yml"]);
    assert!(said.contains("/nowhere.yml"), "{said}");
    let said = refused(&["get", "things"]);
    assert!(said.contains("things"), "{said}");
}

#[test]
fn a_busy_port_is_named_with_the_flag_that_changes_it() {
    run(async {
        let busy = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = busy.local_addr().unwrap().to_string();
        let folder = tempfile::tempdir().unwrap();
        let output = ctl(&[
            "up",
            "--data",
            folder.path().to_str().unwrap(),
            "--admin",
            &address,
            "--node",
            "127.0.0.1:0",
            "--init",
            "127.0.0.1:0",
        ]);
        assert!(!output.status.success());
        let said = text(&output.stderr);
        assert!(said.contains(&address) && said.contains("--admin"), "{said}");
    });
}

#[test]
fn a_second_up_on_the_same_folder_is_refused() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let up = Up::start(folder.path(), &[]).await;
        let said = refused(&["up", "--data", folder.path().to_str().unwrap()]);
        assert!(said.contains("another") && said.contains("--data"), "{said}");
        up.stop().await;
    });
}
