//! What goes over the wire: activation, desire and objects are really asked for, of the right cloud, and each
//! node gets what is its own.

use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{Up, ctl_ok, get, kill_all, program, request, run, until, until_or};
use crate::life::{apply, cause, shell, stat, with};
use crate::node::Node;
use crate::relay::Relay;

/// How often a route of a server was answered with 200.
async fn asked(up: &Up, server: &str, route: &str) -> u64 {
    let health = get(&format!("{}/health?verbose", up.admin())).await;
    health["requests"][server][route]["200"].as_u64().unwrap_or_default()
}

#[test]
fn activation_desire_and_objects_go_over_the_wire_and_an_object_that_is_gone_fails_a_fresh_up_by_digest() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let up = Up::start(folder.path(), &[]).await;
        assert_eq!(asked(&up, "init", "POST /v1/active").await, 1);
        assert!(asked(&up, "node", "POST /v1/sync/desire").await >= 2, "init's and core's");
        assert_eq!(asked(&up, "node", "GET /v1/objects/{sha256}").await, 2, "the agent and the page");

        let bucket = format!("{}/v2/objects/local/buckets/up", up.admin());
        let objects = get(&format!("{bucket}/objects")).await;
        let name = |part: &str| {
            let names =
                objects["objects"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap());
            names.into_iter().find(|name| name.contains(part)).unwrap().to_owned()
        };
        for part in ["hello-page", "baetyl-0"] {
            let object = format!("{bucket}/object?object={}", name(part));
            let digest = get(&object).await["sha256"].as_str().unwrap().to_owned();
            request("DELETE", &object, "").await.unwrap();
            std::fs::write(folder.path().join(part), digest).unwrap();
        }
        up.stop().await;

        // The cloud is the old one, the node is new, and what it needs is gone.
        std::fs::remove_dir_all(folder.path().join("node")).unwrap();
        let began = tokio::time::Instant::now();
        let said = Up::begin(folder.path(), &[]).fails().await;
        let digest = std::fs::read_to_string(folder.path().join("baetyl-0")).unwrap();
        let error = said.lines().find(|line| line.starts_with("error: ")).unwrap();
        assert!(error.contains(&digest) && error.contains("404"), "{said}");
        assert!(began.elapsed().as_secs() < 60, "it took {:?}", began.elapsed());
    });
}

#[test]
fn two_nodes_of_one_cloud_run_only_what_is_theirs() {
    run(async {
        let (folder, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let up = Up::start(folder.path(), &[]).await;
        let first = up.told("/nodeName");
        let node = Node::start(&up, folder.path(), second.path(), |conf| {
            conf["init"]["active"]["collector"]["attributes"][0]["value"] = json!("second");
        });
        ctl_ok(&["-s", &up.admin(), "wait", "app", "hello"]);
        until("the second node", || async {
            let nodes = get(&format!("{}/v1/nodes", up.admin())).await;
            nodes["items"]
                .as_array()?
                .iter()
                .find(|one| one["name"] == "second" && one["ready"] == 1)
                .cloned()
        })
        .await;
        for (name, of, line) in
            [("one", first.as_str(), "exec sleep 3001"), ("two", "second", "exec sleep 3002")]
        {
            let mut documents = shell(name, line);
            documents[1]["selector"] = json!(format!("baetyl-node-name={of}"));
            apply(&up, &documents);
        }
        until("one on the first", || async { with(folder.path(), "3001") }).await;
        until("two on the second", || async { with(second.path(), "3002") }).await;
        ctl_ok(&["-s", &up.admin(), "wait", "app", "one"]);
        ctl_ok(&["-s", &up.admin(), "wait", "app", "two"]);
        assert!(with(folder.path(), "3002").is_none() && with(second.path(), "3001").is_none());
        for (of, own, other) in [(first.as_str(), "one", "two"), ("second", "two", "one")] {
            let view = get(&format!("{}/v1/nodes/{of}", up.admin())).await;
            for half in ["/desire", "/report"] {
                let half = view.pointer(half).unwrap().to_string();
                assert!(half.contains(&format!("\"{own}\"")), "{of} lacks {own}: {half}");
                assert!(!half.contains(&format!("\"{other}\"")), "{of} knows {other}: {half}");
            }
        }
        drop(node);
        up.stop().await;
    });
}

/// A cloud without a node.
struct Cloud(Child);

impl Drop for Cloud {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_cloud_of_another_authority_is_refused_with_a_reason_and_applications_go_on() {
    run(async {
        let (folder, strange) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let relay = Relay::start().await;
        let up = Up::begin(folder.path(), &["--node-url", &format!("https://{}", relay.address)]);
        let own = until("the cloud's addresses", || async { addresses(&folder.path().join("cloud")) }).await;
        relay.relay_to(own["node"].as_str().unwrap().parse().unwrap());
        let up = up.wait().await;
        apply(&up, &shell("worker", "exec sleep 4001"));
        let worker = until("the worker", || async { with(folder.path(), "4001") }).await;

        let any = "127.0.0.1:0";
        let other = Command::new(program())
            .args(["cloud", "--data"])
            .arg(strange.path())
            .args(["--admin", any, "--node", any, "--init", any])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let other = Cloud(other);
        let theirs = until("the other cloud's addresses", || async { addresses(strange.path()) }).await;
        relay.relay_to(theirs["node"].as_str().unwrap().parse().unwrap());
        relay.reset();
        let link = until("the reason", || async {
            let status = status(folder.path()).await?;
            let link = status["link"].as_str()?.to_owned();
            link.contains("offline").then_some(link)
        })
        .await;
        assert!(link.contains("certificate") || link.contains("issuer"), "{link}");
        assert_eq!(with(folder.path(), "4001"), Some(worker.clone()), "the worker goes on");

        relay.relay_to(own["node"].as_str().unwrap().parse().unwrap());
        relay.reset();
        apply(&up, &shell("later", "exec sleep 4002"));
        until("what was applied meanwhile", || async { with(folder.path(), "4002") }).await;
        assert_eq!(with(folder.path(), "4001"), Some(worker), "the worker was not touched");
        let known = std::cell::RefCell::new(String::new());
        let settled = || async {
            let own = status(folder.path()).await?;
            let told = stat(&up, "worker").await?;
            known.replace(format!("core: {own}\ncloud: {told}"));
            cause(&told).trim().is_empty().then_some(())
        };
        until_or("the worker's report", settled, || known.borrow().clone()).await;
        drop(other);
        kill_all(strange.path());
        up.stop().await;
    });
}

fn addresses(cloud: &std::path::Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(cloud.join("addresses.json")).ok()?).ok()
}

/// What core says of itself on its socket.
async fn status(folder: &std::path::Path) -> Option<Value> {
    let path = folder.join("node/runtime/core.sock");
    baetyl_edge::cli::client::get(&path, "/status").await.ok()
}
