//! What is reported, and how quiet a node at rest is.

use std::sync::Arc;

use baetyl_core_lib::application::{Role, Scope};
use baetyl_core_lib::engine::{Engine, InstanceUsage};
use baetyl_core_lib::shadow::Shadow;
use baetyl_core_lib::spec::{AppInfo, Desire, Section};
use baetyl_core_lib::testing::Fault;

use baetyl_engine::collect::Usage;

use super::bed::{Bed, named, web};

#[tokio::test(start_paused = true)]
async fn lists_are_reported_even_when_they_are_empty() {
    let mut bed = Bed::new().await;
    bed.start().await;
    assert_eq!(bed.report().apps, Section::Is(Vec::new()));
    assert_eq!(bed.report().sysapps, Section::Is(Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_node_at_rest_writes_nothing_and_applies_nothing() {
    let mut bed = Bed::new().await;
    bed.start().await;
    bed.desire(&[web("1"), named("db", "1").spec()]).await;
    bed.pass(60.0).await;
    bed.engine.clear_calls();
    let mut report = bed.shadow.report();
    report.mark_unchanged();
    bed.pass(3600.0).await;
    assert!(bed.engine.calls().is_empty());
    assert!(!report.has_changed().unwrap());
}

#[tokio::test(start_paused = true)]
async fn init_runs_core_and_nothing_else() {
    let mut bed = Bed::new().await;
    bed.role = Role::Init;
    bed.start().await;
    let specs = ["baetyl-core-1", "baetyl-broker-1"].map(|name| named(name, "1").spec());
    for spec in &specs {
        bed.resources.put_app(spec.clone());
    }
    let sysapps = Some(specs.iter().map(|spec| spec.info()).collect());
    let apps = Some(vec![AppInfo::new("web", "1")]);
    bed.shadow.apply_desire(Desire { apps, sysapps, ..Desire::default() }).await.unwrap();
    bed.pass(5.0).await;
    assert_eq!(bed.engine.running(Scope::System), ["baetyl-core-1@1"]);
    assert!(bed.running().is_empty());
    assert_eq!(bed.report().apps, Section::Absent);
}

#[tokio::test(start_paused = true)]
async fn what_instances_use_is_reported_beside_how_they_fare() {
    let mut bed = Bed::new().await;
    bed.start().await;
    bed.desire(&[web("1")]).await;
    bed.pass(4.0).await;
    let mut usage = Usage::default();
    let name = "web-1-server-0".to_owned();
    usage.insert(Scope::User, InstanceUsage { name: name.clone(), cpu: 0.25, memory: 1024 });
    bed.usage.send_replace(Arc::new(usage));
    bed.pass(0.1).await;
    let stats = bed.stats("web");
    assert_eq!(stats.instances[&name].usage["cpu"], "0.250");
    assert_eq!(stats.instances[&name].usage["memory"], "1024");
    assert_eq!(stats.instances[&name].app_name, "web");
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_whole_again_says_no_more_why_it_was_not() {
    let mut bed = Bed::new().await;
    bed.start().await;
    bed.desire(&[web("1")]).await;
    bed.pass(5.0).await;
    bed.engine.fault("web", "1", Fault::Apply);
    bed.engine.lose(Scope::User, &web("1").info());
    bed.pass(0.5).await;
    assert!(bed.stats("web").cause.contains("asked to fail"));
    bed.engine.mend("web", "1");
    bed.engine.apply(Scope::User, &named("web", "1").build()).await.unwrap();
    bed.pass(10.0).await;
    assert_eq!((bed.running(), bed.stats("web").cause), (vec!["web@1".to_owned()], String::new()));
}

#[tokio::test(start_paused = true)]
async fn an_old_version_that_is_gone_at_last_is_told_no_more() {
    let mut bed = Bed::new().await;
    bed.start().await;
    bed.desire(&[web("1")]).await;
    bed.pass(5.0).await;
    bed.engine.fault("web", "1", Fault::Remove);
    bed.desire(&[web("2")]).await;
    bed.pass(5.0).await;
    assert!(bed.stats("web").cause.contains("asked to fail"));
    bed.engine.mend("web", "1");
    bed.engine.remove(Scope::User, &web("1").info()).await.unwrap();
    bed.pass(10.0).await;
    assert_eq!((bed.running(), bed.stats("web").cause), (vec!["web@2".to_owned()], String::new()));
}
