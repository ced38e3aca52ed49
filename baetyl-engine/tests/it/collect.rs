//! The collector over a node and an engine in memory.

use std::sync::Arc;
use std::time::Duration;

use baetyl_core_lib::application::Scope;
use baetyl_core_lib::engine::Engine;
use baetyl_core_lib::shadow::{Shadow, StoredShadow};
use baetyl_core_lib::spec::NodeStats;
use baetyl_core_lib::store::MemoryStore;
use baetyl_core_lib::task::TaskScope;
use baetyl_core_lib::testing::{FakeEngine, FakeNode, app};
use baetyl_engine::collect::{CollectConfig, Collector};
use tokio::sync::watch;
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn what_cannot_be_measured_keeps_its_last_value() {
    let shadow = Arc::new(StoredShadow::open(Arc::new(MemoryStore::new())).await.unwrap());
    let (node, engine) = (FakeNode::new("edge"), FakeEngine::new());
    engine.apply(Scope::User, &app("web").service("server").build()).await.unwrap();
    let engines: Vec<Arc<dyn Engine>> = vec![Arc::new(engine)];
    let config = CollectConfig::every(Duration::from_secs(20));
    let mut collector = Collector::new(Arc::new(node.clone()), engines, shadow.clone(), config);

    collector.measure().await;
    let report = shadow.report().borrow().clone();
    assert_eq!(report.node.value().unwrap()["edge"].hostname, "edge");
    assert!(report.nodestats.value().unwrap()["edge"].ready);
    let usage = collector.usage().borrow().clone();
    assert_eq!(usage.of(Scope::User, "web-1-server-0").map(|usage| usage.memory), Some(1 << 20));

    node.fail();
    collector.measure().await;
    assert!(shadow.report().borrow().nodestats.value().unwrap()["edge"].ready);
}

#[tokio::test(start_paused = true)]
async fn the_interval_may_change_while_it_waits() {
    let shadow = Arc::new(StoredShadow::open(Arc::new(MemoryStore::new())).await.unwrap());
    let node = FakeNode::new("edge");
    let (pace, interval) = watch::channel(Duration::from_secs(300));
    let config = CollectConfig { interval, ..CollectConfig::every(Duration::ZERO) };
    let collector = Collector::new(Arc::new(node.clone()), Vec::new(), shadow.clone(), config);
    let tasks = TaskScope::new();
    tasks.spawn("collector", collector.run(tasks.token().clone()));
    let ready = || shadow.report().borrow().nodestats.value().is_some_and(|stats| stats["edge"].ready);
    sleep(Duration::from_secs(1)).await;
    assert!(ready());

    node.set_stats("edge", NodeStats::default());
    sleep(Duration::from_secs(30)).await;
    assert!(ready(), "not measured again yet");
    pace.send_replace(Duration::from_secs(20));
    sleep(Duration::from_secs(1)).await;
    assert!(!ready());
    tasks.stop().await;
}
