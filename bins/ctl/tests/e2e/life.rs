//! The life of an application: deployed, updated, removed; and a broken update that goes back.

use serde_json::{Value, json};

use crate::harness::{Process, Up, ctl_ok, get, processes, request, run, until};

/// A native application that runs a shell line.
pub(crate) fn shell(name: &str, line: &str) -> Vec<Value> {
    vec![
        json!({"kind": "config", "name": format!("{name}-program"), "data": {"program.yml": "entry: /bin/sh\n"}}),
        json!({"kind": "app", "name": name, "mode": "native", "type": "container",
            "selector": "baetyl-batch=up", "replica": 1,
            "services": [{"name": "main", "programConfig": format!("{name}-program"), "args": ["-c", line]}]}),
    ]
}

/// Applies documents.
pub(crate) fn apply(up: &Up, documents: &[Value]) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text: Vec<String> = documents.iter().map(Value::to_string).collect();
    std::fs::write(file.path(), text.join("\n---\n")).unwrap();
    ctl_ok(&["-s", &up.admin(), "apply", "-f", file.path().to_str().unwrap()]);
}

/// The process of a folder that has this in its command line.
pub(crate) fn with(folder: &std::path::Path, mark: &str) -> Option<Process> {
    processes(folder).into_iter().find(|process| process.command.iter().any(|part| part.contains(mark)))
}

/// What the node says of an application.
pub(crate) async fn stat(up: &Up, name: &str) -> Option<Value> {
    let view = get(&format!("{}/v1/nodes/{}", up.admin(), up.told("/nodeName"))).await;
    let stats = view.pointer("/report/appstats")?.as_array()?;
    stats.iter().find(|stat| stat["name"] == name).cloned()
}

#[test]
fn an_application_is_deployed_updated_and_removed_and_a_broken_update_goes_back() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let up = Up::start(folder.path(), &[]).await;

        apply(&up, &shell("worker", "exec sleep 1001"));
        until("the first version", || async { with(folder.path(), "1001") }).await;
        ctl_ok(&["-s", &up.admin(), "wait", "app", "worker"]);

        apply(&up, &shell("worker", "exec sleep 1002"));
        until("the second version", || async { with(folder.path(), "1002") }).await;
        until("the end of the first", || async { with(folder.path(), "1001").is_none().then_some(()) }).await;
        ctl_ok(&["-s", &up.admin(), "wait", "app", "worker"]);
        let good = with(folder.path(), "1002").unwrap();

        apply(&up, &shell("worker", "echo no luck >&2; exit 3"));
        let cause = until("the reason of the failure", || async {
            let stat = stat(&up, "worker").await?;
            Some(cause(&stat)).filter(|cause| cause.contains("no luck") || cause.contains("exit code 3"))
        })
        .await;
        assert_eq!(with(folder.path(), "1002"), Some(good), "the good version went on: {cause}");

        request("DELETE", &format!("{}/v1/apps/worker", up.admin()), "").await.unwrap();
        until("the end of all", || async { with(folder.path(), "1002").is_none().then_some(()) }).await;
        up.stop().await;
    });
}

/// All causes of an application, joined.
pub(crate) fn cause(stat: &Value) -> String {
    let own = stat["cause"].as_str().unwrap_or_default().to_owned();
    let instances = stat["instances"].as_object();
    let more = instances.into_iter().flatten().filter_map(|(_, one)| one["cause"].as_str());
    more.fold(own, |all, one| format!("{all} {one}"))
}
