//! Lines, engines and applications that fail or hang.

use baetyl_core_lib::application::Scope;
use baetyl_core_lib::spec::{AppInfo, Status};
use baetyl_core_lib::testing::Fault;

use super::bed::{Bed, named, web};

#[tokio::test(start_paused = true)]
async fn an_application_that_hangs_delays_no_other() {
    for fault in [Fault::HangPrepare, Fault::HangApply] {
        let mut bed = Bed::new().await;
        bed.start().await;
        bed.engine.fault("hangs", "1", fault);
        bed.desire(&[named("hangs", "1").spec(), web("1")]).await;
        assert_eq!(bed.running(), ["web@1"], "{fault:?}");
        bed.desire(&[named("hangs", "1").spec(), web("2")]).await;
        bed.pass(4.0).await;
        assert_eq!(bed.running(), ["web@2"], "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_hangs_delays_no_other() {
    let mut bed = Bed::new().await;
    bed.start().await;
    bed.desire(&[named("hangs", "1").spec()]).await;
    bed.pass(4.0).await;
    bed.engine.fault("hangs", "1", Fault::HangRemove);
    bed.desire(&[web("1")]).await;
    assert!(bed.running().contains(&"web@1".to_owned()));
    bed.engine.mend("hangs", "1");
    bed.pass(1.0).await;
    assert_eq!(bed.running(), ["web@1"]);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_hangs_gives_way_to_the_next() {
    let mut bed = Bed::new().await;
    bed.start().await;
    bed.engine.fault("web", "1", Fault::HangPrepare);
    bed.engine.fault("web", "2", Fault::HangApply);
    for version in ["1", "2", "3"] {
        bed.desire(&[web(version)]).await;
    }
    bed.pass(4.0).await;
    assert_eq!(bed.running(), ["web@3"]);
}

#[tokio::test(start_paused = true)]
async fn an_apply_that_hangs_fails_at_its_deadline() {
    let mut bed = Bed::new().await;
    bed.start().await;
    bed.desire(&[web("1")]).await;
    bed.pass(4.0).await;
    bed.engine.fault("web", "2", Fault::HangApply);
    bed.desire(&[named("web", "2").label("baetyl-update-deadline", "20s").spec()]).await;
    bed.pass(25.0).await;
    assert_eq!(bed.running(), ["web@1"]);
    assert!(bed.stats("web").cause.contains("version 2 failed"), "{}", bed.stats("web").cause);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_cannot_be_asked_loses_nothing_and_says_so() {
    let mut bed = Bed::new().await;
    bed.start().await;
    bed.desire(&[web("1")]).await;
    bed.pass(4.0).await;
    bed.engine.go_away();
    bed.want(Vec::new()).await;
    bed.pass(1.0).await;
    assert_eq!(bed.reported(), ["web@1"]);
    let stats = bed.stats("web");
    assert_eq!(stats.status, Status::Unknown);
    assert!(stats.cause.contains("cannot be reached"), "{}", stats.cause);
    assert!(!bed.engine.calls().iter().any(|call| call.starts_with("remove")));
    bed.engine.come_back();
    bed.pass(1.0).await;
    assert!(bed.running().is_empty());
}

#[tokio::test(start_paused = true)]
async fn with_a_dead_line_what_is_cached_is_repaired_and_the_rest_says_what_is_missing() {
    let mut bed = Bed::new().await;
    bed.start().await;
    bed.desire(&[web("1")]).await;
    bed.pass(4.0).await;
    bed.want(vec![AppInfo::new("web", "1"), AppInfo::new("new", "1")]).await;
    bed.stop().await;
    bed.engine.lose(Scope::User, &AppInfo::new("web", "1"));
    bed.start().await;
    assert_eq!(bed.running(), ["web@1"]);
    assert!(bed.stats("new").cause.contains("\"new\" in version 1"), "{}", bed.stats("new").cause);
}

#[tokio::test(start_paused = true)]
async fn bad_input_is_one_clear_sentence_and_changes_nothing_that_runs() {
    let mut bed = Bed::new().await;
    bed.start().await;
    bed.desire(&[web("1")]).await;
    bed.pass(4.0).await;
    let mut unknown = web("2");
    unknown.services[0].volume_mounts.push(baetyl_core_lib::spec::VolumeMount {
        name: "conf".to_owned(),
        mount_path: "/etc".to_owned(),
        ..Default::default()
    });
    let missing = named("missing", "1").config("settings", "/etc", &[]).spec();
    let invalid = named("invalid", "1").spec();
    bed.engine.fault("invalid", "1", Fault::Invalid);
    bed.desire(&[unknown, missing, invalid]).await;
    bed.pass(1.0).await;
    assert_eq!(bed.running(), ["web@1"]);
    for (name, words) in [
        ("web", "service \"server\" mounts volume \"conf\", which the application does not have"),
        ("missing", "configuration \"settings\" in version 1 is not known to the cloud"),
        ("invalid", "asks for what cannot be"),
    ] {
        let cause = bed.stats(name).cause;
        assert!(cause.contains(words), "{cause}");
    }
}
