//! Resources over a link with state and a store in memory.

use std::collections::BTreeSet;
use std::sync::Arc;

use baetyl_core_lib::error::Chain;
use baetyl_core_lib::resource::{Resource, ResourceError, ResourceSource};
use baetyl_core_lib::spec::{ResourceInfo, ResourceKind};
use baetyl_core_lib::store::{Change, MemoryStore, Store, Table};
use baetyl_sync::resource::ResourceClient;
use serde_json::{Value, json};

use crate::fake::{FakeLink, Reply};

const GONE: Reply = Reply::Refused(404, "ErrResourceNotFound", "The (config) resource (b) is not found.");

#[derive(Default)]
struct Node {
    link: Arc<FakeLink>,
    store: Arc<MemoryStore>,
}

impl Node {
    fn client(&self) -> ResourceClient {
        ResourceClient::new(
            Arc::clone(&self.link) as _,
            Arc::clone(&self.store) as _,
            "linux-amd64".to_owned(),
        )
    }

    fn answer(&self, values: &[Value]) {
        self.link.reply(Reply::Json(json!({ "values": values })));
    }
}

fn info(name: &str) -> ResourceInfo {
    ResourceInfo::new(&ResourceKind::Configuration, name, "1")
}

fn value(name: &str, version: &str) -> Value {
    json!({"kind": "configuration", "name": name, "version": "1",
        "value": {"name": name, "version": version, "data": {"file": "text"}}})
}

#[tokio::test]
async fn what_was_fetched_once_is_never_asked_again() {
    let node = Node::default();
    node.answer(&[value("b", "1"), value("a", "1")]);
    let first = node.client().fetch(&[info("b"), info("a"), info("b")]).await;
    assert!(first.iter().all(Result::is_ok), "{first:?}");
    assert_eq!(
        node.link.asked()[0].content,
        json!({"infos": [
            {"kind": "configuration", "name": "b", "version": "1"},
            {"kind": "configuration", "name": "a", "version": "1"},
        ]}),
        "one request, in the order in which it was asked, nothing twice"
    );
    node.link.reply(Reply::Unreachable);
    let second = node.client().fetch(&[info("a"), info("c"), info("b")]).await;
    assert!(matches!(&second[0], Ok(Resource::Configuration(config)) if config.name == "a"));
    assert!(matches!(&second[1], Err(ResourceError::Unreachable { name, .. }) if name == "c"));
    assert!(second[2].is_ok());
}

#[tokio::test]
async fn one_that_is_missing_does_not_hide_the_others() {
    let node = Node::default();
    node.link.reply(GONE);
    node.answer(&[value("a", "1")]);
    node.link.reply(GONE);
    node.answer(&[value("c", "1")]);
    let found = node.client().fetch(&[info("a"), info("b"), info("c")]).await;
    assert!(found[0].is_ok() && found[2].is_ok());
    assert!(matches!(&found[1], Err(ResourceError::NotFound { name, .. }) if name == "b"));
    assert_eq!(node.link.asked().len(), 4);
}

#[tokio::test]
async fn what_is_too_much_at_once_is_asked_for_piece_by_piece() {
    let node = Node::default();
    node.link.reply(Reply::BadAnswer);
    node.answer(&[value("a", "1")]);
    node.link.reply(Reply::BadAnswer);
    let found = node.client().fetch(&[info("a"), info("b"), info("c")]).await;
    assert!(found[0].is_ok());
    assert!(found[1..].iter().all(|result| matches!(result, Err(ResourceError::Unreachable { .. }))));
    assert_eq!(node.link.asked().len(), 3, "a line that is dead is not tried for each");
}

#[tokio::test]
async fn what_is_wrong_with_a_secret_is_said_without_showing_it() {
    let node = Node::default();
    node.answer(&[json!({"kind": "secret", "name": "s", "version": "1", "value": {"data": "hush"}})]);
    let error = node.client().fetch(&[ResourceInfo::new(&ResourceKind::Secret, "s", "1")]).await.remove(0);
    let error = error.unwrap_err();
    assert!(matches!(error, ResourceError::Invalid { .. }));
    assert!(!format!("{error:?} {}", Chain(&error)).contains("hush"));
}

#[tokio::test]
async fn a_node_that_the_cloud_does_not_know_is_not_told_that_its_resources_are_gone() {
    let node = Node::default();
    node.link.reply(Reply::Refused(404, "ErrResourceNotFound", "The (node) resource (n) is not found."));
    let found = node.client().fetch(&[info("a"), info("b")]).await;
    assert!(found.iter().all(|result| matches!(result, Err(ResourceError::Unreachable { .. }))));
    assert_eq!(node.link.asked().len(), 1);
}

#[tokio::test]
async fn another_version_than_the_one_asked_for_is_not_taken() {
    let node = Node::default();
    node.answer(&[value("a", "2")]);
    let found = node.client().fetch(&[info("a")]).await;
    assert!(matches!(&found[0], Err(ResourceError::OtherVersion { answered, .. }) if answered == "2"));
    assert_eq!(node.store.writes(), 0);
}

#[tokio::test]
async fn what_cannot_be_made_durable_is_not_given_out() {
    let node = Node::default();
    node.store.take_room();
    node.answer(&[value("a", "1")]);
    let found = node.client().fetch(&[info("a")]).await;
    assert!(matches!(&found[0], Err(ResourceError::Store { .. })), "{found:?}");
}

#[tokio::test]
async fn damage_in_the_cache_is_mended_from_the_cloud() {
    let node = Node::default();
    let damaged = Change::Put(Table::Resource, "configuration/a/1".to_owned(), b"{".to_vec());
    node.store.commit(vec![damaged]).await.unwrap();
    node.answer(&[value("a", "1")]);
    assert!(node.client().fetch(&[info("a")]).await[0].is_ok());
    node.link.reply(Reply::Unreachable);
    assert!(node.client().fetch(&[info("a")]).await[0].is_ok());
}

#[tokio::test]
async fn of_a_program_package_only_this_platform_is_kept() {
    let node = Node::default();
    node.answer(&[json!({"kind": "configuration", "name": "a", "version": "1", "value": {
        "name": "a", "version": "1", "labels": {"baetyl-config-type": "baetyl-program"},
        "data": {"_object_linux-amd64": "{}", "_object_linux-arm64-v8": "{}", "plain": "x"}}})]);
    let found = node.client().telling_platform().fetch(&[info("a")]).await.remove(0).unwrap();
    let Resource::Configuration(config) = found else { panic!("no configuration") };
    assert_eq!(config.data.keys().collect::<Vec<_>>(), ["_object_linux-amd64", "plain"]);
    assert_eq!(node.link.asked()[0].meta, [("x-baetyl-platform".to_owned(), "linux-amd64".to_owned())]);
}

#[tokio::test]
async fn names_that_could_be_taken_for_others_are_refused() {
    let node = Node::default();
    let found = node.client().fetch(&[info("a/b"), info("")]).await;
    assert!(found.iter().all(|result| matches!(result, Err(ResourceError::Invalid { .. }))));
    assert!(node.link.asked().is_empty());
}

#[tokio::test]
async fn what_nobody_needs_any_more_is_forgotten() {
    let node = Node::default();
    node.answer(&[value("a", "1"), value("b", "1")]);
    node.client().fetch(&[info("a"), info("b")]).await;
    let keep = BTreeSet::from([ResourceInfo { kind: "config".to_owned(), ..info("b") }]);
    node.client().retain(&keep).await.unwrap();
    let left = node.store.list(Table::Resource, "").await.unwrap();
    assert_eq!(left.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), ["configuration/b/1"]);
}
