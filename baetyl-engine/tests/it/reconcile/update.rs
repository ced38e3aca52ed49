//! Apply, update, go back, remove: the whole way.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use baetyl_core_lib::application::Scope;
use baetyl_core_lib::object::{ObjectError, ObjectSource, OnProgress};
use baetyl_core_lib::shadow::Shadow;
use baetyl_core_lib::spec::application::ResourceRef;
use baetyl_core_lib::spec::{AppInfo, Configuration, Desire, Status};
use baetyl_core_lib::testing::Fault;
use baetyl_engine::reconcile::Parts;

use super::bed::{Bed, named, web};

#[tokio::test(start_paused = true)]
async fn what_is_desired_runs_and_what_is_not_goes() {
    let mut bed = Bed::new().await;
    bed.start().await;
    bed.desire(&[web("1"), named("db", "1").spec()]).await;
    assert_eq!(bed.running(), ["db@1", "web@1"]);
    bed.pass(4.0).await;
    assert_eq!(bed.reported(), ["web@1", "db@1"]);
    assert_eq!(bed.stats("web").status, Status::Running);
    assert_eq!(bed.stats("web").cause, "");

    bed.want(vec![AppInfo::new("db", "1")]).await;
    bed.pass(1.0).await;
    assert_eq!(bed.running(), ["db@1"]);
    assert_eq!(bed.reported(), ["db@1"]);
}

#[tokio::test(start_paused = true)]
async fn the_old_version_runs_until_the_new_one_is_ready() {
    let mut bed = Bed::new().await;
    bed.start().await;
    bed.desire(&[web("1")]).await;
    bed.pass(4.0).await;
    bed.desire(&[web("2")]).await;
    assert_eq!(bed.running(), ["web@1", "web@2"]);
    assert_eq!(bed.reported(), ["web@1"]);
    bed.pass(4.0).await;
    assert_eq!(bed.running(), ["web@2"]);
    assert_eq!(bed.reported(), ["web@2"]);
    let calls = [
        "prepare user web@1",
        "apply user web@1",
        "prepare user web@2",
        "apply user web@2",
        "remove user web@1",
    ];
    assert_eq!(bed.engine.calls(), calls);
}

#[tokio::test(start_paused = true)]
async fn versions_with_one_fixed_port_change_places_and_back() {
    let mut bed = Bed::new().await;
    bed.start().await;
    let version = |version: &str| named("web", version).host_port(8080, 80).spec();
    bed.desire(&[version("1")]).await;
    bed.pass(4.0).await;
    bed.engine.fault("web", "2", Fault::NeverReady);
    bed.desire(&[version("2")]).await;
    assert_eq!(bed.running(), ["web@2"]);
    assert!(bed.engine.calls().contains(&"stop user web@1".to_owned()));
    bed.pass(301.0).await;
    assert_eq!(bed.running(), ["web@1"]);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_asks_to_run_alone_waits_for_the_old_one_to_stop() {
    let mut bed = Bed::new().await;
    bed.start().await;
    let version = |version: &str| named("web", version).label("baetyl-update-overlap", "false").spec();
    bed.desire(&[version("1")]).await;
    bed.pass(4.0).await;
    bed.desire(&[version("2")]).await;
    assert_eq!(bed.running(), ["web@2"]);
    assert!(bed.engine.calls().contains(&"stop user web@1".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_broken_update_goes_back_and_is_not_tried_again_until_its_delay_is_over() {
    let mut bed = Bed::new().await;
    bed.start().await;
    bed.desire(&[web("1")]).await;
    bed.pass(4.0).await;
    bed.engine.fault("web", "2", Fault::CrashLoop(3));
    bed.desire(&[web("2")]).await;
    bed.pass(20.0).await;
    assert_eq!(bed.running(), ["web@1"]);
    assert_eq!(bed.reported(), ["web@1"]);
    let stats = bed.stats("web");
    assert_eq!((stats.version.as_str(), stats.status), ("1", Status::Running));
    assert!(
        stats.cause.contains("version 2 failed") && stats.cause.contains("exit code 3"),
        "{}",
        stats.cause
    );
    bed.pass(30.0).await;
    assert_eq!(bed.applied("web@2"), 1);

    bed.pass(600.0).await;
    assert!(bed.applied("web@2") > 1);
    assert_eq!(bed.running(), ["web@1"]);

    bed.desire(&[web("3")]).await;
    bed.pass(4.0).await;
    assert_eq!(bed.running(), ["web@3"]);
    assert_eq!(bed.stats("web").cause, "");
}

#[tokio::test(start_paused = true)]
async fn an_update_taken_back_leaves_the_good_version_as_it_was() {
    let mut bed = Bed::new().await;
    bed.start().await;
    bed.desire(&[web("1")]).await;
    bed.pass(4.0).await;
    let before = bed.stats("web").instances;
    bed.engine.fault("web", "2", Fault::NeverReady);
    bed.desire(&[web("2")]).await;
    bed.pass(10.0).await;
    bed.desire(&[web("1")]).await;
    bed.pass(4.0).await;
    assert_eq!(bed.running(), ["web@1"]);
    assert_eq!(bed.stats("web").instances, before);
    assert_eq!(bed.stats("web").cause, "");
}

#[tokio::test(start_paused = true)]
async fn a_first_version_that_fails_stays_with_its_reason_and_may_still_come_up() {
    let mut bed = Bed::new().await;
    bed.start().await;
    bed.engine.fault("web", "1", Fault::NeverReady);
    bed.desire(&[web("1")]).await;
    bed.pass(310.0).await;
    assert_eq!(bed.running(), ["web@1"]);
    assert!(bed.stats("web").cause.contains("not ready in time"), "{}", bed.stats("web").cause);
    bed.engine.mend("web", "1");
    bed.engine.come_back();
    bed.pass(4.0).await;
    assert_eq!(bed.stats("web").cause, "");
    assert_eq!(bed.applied("web@1"), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_while_it_comes_up_is_made_again_before_the_deadline() {
    let mut bed = Bed::new().await;
    bed.start().await;
    bed.engine.fault("web", "1", Fault::NeverReady);
    bed.desire(&[web("1")]).await;
    bed.pass(2.0).await;
    bed.engine.lose(Scope::User, &AppInfo::new("web", "1"));
    bed.pass(30.0).await;
    assert_eq!(bed.running(), ["web@1"]);
    bed.engine.mend("web", "1");
    bed.pass(10.0).await;
    assert_eq!(bed.stats("web").cause, "");
}

#[tokio::test(start_paused = true)]
async fn what_a_version_did_before_it_is_tried_again_does_not_count() {
    let mut bed = Bed::new().await;
    bed.start().await;
    bed.engine.fault("web", "1", Fault::CrashLoop(1));
    bed.desire(&[web("1")]).await;
    bed.pass(10.0).await;
    assert!(bed.stats("web").cause.contains("ends again and again"), "{}", bed.stats("web").cause);
    bed.engine.mend("web", "1");
    bed.pass(65.0).await;
    assert_eq!(bed.stats("web").cause, "");
}

#[tokio::test(start_paused = true)]
async fn a_desire_without_lists_stops_nothing() {
    let mut bed = Bed::new().await;
    bed.start().await;
    bed.desire(&[web("1")]).await;
    bed.pass(4.0).await;
    let props = [("zone".to_owned(), "a".into())].into();
    bed.shadow.apply_desire(Desire { nodeprops: Some(props), ..Desire::default() }).await.unwrap();
    bed.pass(60.0).await;
    assert_eq!(bed.running(), ["web@1"]);
    assert_eq!(bed.reported(), ["web@1"]);
}

#[tokio::test(start_paused = true)]
async fn of_two_applications_with_one_host_port_the_first_runs_and_the_other_says_why_not() {
    let mut bed = Bed::new().await;
    bed.start().await;
    let app = |name: &str| named(name, "1").host_port(8899, 80).spec();
    bed.desire(&[app("porta"), app("portb")]).await;
    bed.pass(4.0).await;
    assert_eq!(bed.running(), ["porta@1"]);
    let stats = bed.stats("portb");
    assert_eq!(stats.status, Status::Unknown);
    assert_eq!(stats.cause, "port [8899] in application [portb] collide with service [porta]");
    bed.want(vec![AppInfo::new("portb", "1")]).await;
    bed.pass(1.0).await;
    assert_eq!(bed.running(), ["portb@1"]);
}

#[tokio::test(start_paused = true)]
async fn what_this_role_did_not_make_is_reported_and_never_removed() {
    use baetyl_core_lib::engine::Engine;
    let mut bed = Bed::new().await;
    bed.engine.apply(Scope::User, &named("found", "1").build()).await.unwrap();
    bed.engine.apply(Scope::System, &named("baetyl-core-x", "1").build()).await.unwrap();
    bed.start().await;
    bed.want(Vec::new()).await;
    bed.pass(60.0).await;
    assert_eq!(bed.running(), ["found@1"]);
    assert_eq!(bed.engine.running(Scope::System), ["baetyl-core-x@1"]);
    assert_eq!(bed.report().sysapps.value().unwrap(), &[AppInfo::new("baetyl-core-x", "1")]);
}

#[tokio::test(start_paused = true)]
async fn after_an_update_nothing_is_kept_but_what_is_named() {
    let mut bed = Bed::new().await;
    bed.start().await;
    bed.desire(&[web("1")]).await;
    bed.pass(4.0).await;
    bed.desire(&[web("2")]).await;
    bed.pass(30.0).await;
    let kept = bed.resources.kept().unwrap();
    let names: Vec<_> = kept.iter().map(|info| format!("{}@{}", info.name, info.version)).collect();
    assert_eq!(names, ["web@2"]);
}

#[tokio::test(start_paused = true)]
async fn versions_that_come_faster_than_they_settle_each_run_and_the_last_one_stays() {
    let mut bed = Bed::new().await;
    bed.start().await;
    for number in 1..=20 {
        bed.desire(&[web(&number.to_string())]).await;
        assert!(bed.running().contains(&format!("web@{number}")), "{:?}", bed.running());
        bed.pass(1.8).await;
    }
    bed.pass(4.0).await;
    assert_eq!(bed.running(), ["web@20"]);
    assert_eq!(bed.reported(), ["web@20"]);
}

#[tokio::test(start_paused = true)]
async fn an_application_taken_back_while_it_comes_up_goes() {
    let mut bed = Bed::new().await;
    bed.start().await;
    for fault in [Fault::HangPrepare, Fault::HangApply, Fault::NeverReady] {
        bed.engine.fault("web", "1", fault);
        bed.desire(&[web("1")]).await;
        bed.want(Vec::new()).await;
        bed.pass(1.0).await;
        assert!(bed.running().is_empty(), "{fault:?}");
        assert!(bed.report().appstats.value().unwrap().is_empty(), "{fault:?}");
        bed.engine.mend("web", "1");
    }
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_is_no_application_is_told_and_disturbs_no_other() {
    let mut bed = Bed::new().await;
    bed.start().await;
    bed.desire(&[web("1")]).await;
    bed.pass(4.0).await;
    bed.want(vec![AppInfo::new("../etc", "1"), AppInfo::new("web", "..")]).await;
    bed.pass(1.0).await;
    assert_eq!(bed.running(), ["web@1"]);
    assert!(bed.stats("../etc").cause.contains("is not valid"));
    assert!(bed.stats("web").cause.contains("version \"..\" is not valid"));
}

#[tokio::test(start_paused = true)]
async fn after_going_back_what_the_good_and_the_wanted_version_need_is_kept() {
    let mut bed = Bed::new().await;
    bed.start().await;
    let conf =
        |name: &str| Configuration { name: name.to_owned(), version: "1".to_owned(), ..Default::default() };
    bed.resources.put_config(conf("old"));
    bed.resources.put_config(conf("new"));
    bed.desire(&[named("web", "1").config("old", "/c", &[]).spec()]).await;
    bed.pass(4.0).await;
    bed.engine.fault("web", "2", Fault::CrashLoop(1));
    bed.desire(&[named("web", "2").config("new", "/c", &[]).spec()]).await;
    bed.pass(40.0).await;
    let kept = bed.resources.kept().unwrap();
    let names: Vec<_> = kept.iter().map(|info| format!("{}@{}", info.name, info.version)).collect();
    assert_eq!(names, ["web@1", "web@2", "new@1", "old@1"]);
}

#[tokio::test(start_paused = true)]
async fn a_sweep_that_hangs_gives_way_to_the_next_update() {
    let mut bed = Bed::new().await;
    let sweeps = Arc::new(AtomicUsize::new(0));
    let parts = Parts { objects: Arc::new(Stuck(sweeps.clone())), ..bed.parts() };
    bed.start_with(parts).await;
    bed.desire(&[web("1")]).await;
    bed.pass(30.0).await;
    assert_eq!(sweeps.load(Ordering::SeqCst), 1);
    bed.desire(&[web("2")]).await;
    assert!(bed.running().contains(&"web@2".to_owned()));
    assert_eq!(sweeps.load(Ordering::SeqCst), 0, "nothing is fetched while a sweep is under way");
}

/// Objects that are swept for ever; counts the sweeps under way.
#[derive(Debug)]
struct Stuck(Arc<AtomicUsize>);

struct Sweeping(Arc<AtomicUsize>);

impl Drop for Sweeping {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl ObjectSource for Stuck {
    async fn ensure(&self, _: &Configuration, _: OnProgress) -> Result<PathBuf, ObjectError> {
        Ok("/objects".into())
    }

    async fn retain(&self, _: &BTreeSet<ResourceRef>) -> Result<(), ObjectError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        let _sweeping = Sweeping(self.0.clone());
        std::future::pending().await
    }
}
