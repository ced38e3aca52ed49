use std::collections::BTreeSet;

use super::*;
use crate::engine::{InstanceState, Readiness};
use crate::spec::Status;
use crate::task::TaskScope;
use crate::testing::app;

async fn only(engine: &FakeEngine) -> InstanceState {
    engine.inventory(Scope::User).await.unwrap().remove(0).instances.unwrap().remove(0)
}

#[tokio::test(start_paused = true)]
async fn a_crash_loop_is_an_end_and_a_start_each_second_until_it_is_mended() {
    let engine = FakeEngine::new();
    engine.fault("web", "1", Fault::CrashLoop(3));
    engine.apply(Scope::User, &app("web").service("main").build()).await.unwrap();
    let mut runs = BTreeSet::new();
    for (restarts, runs_now) in [(0, true), (0, false), (1, true), (1, false), (2, true)] {
        let state = only(&engine).await;
        assert_eq!((state.restarts, state.run.is_some()), (restarts, runs_now));
        runs.extend(state.run);
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert_eq!(runs.len(), 3, "each start is another run");
    assert_eq!(only(&engine).await.last_exit, Some(Exit::Code(3)));
    engine.mend("web", "1");
    assert_eq!(only(&engine).await.status, Status::Running);
}

#[tokio::test(start_paused = true)]
async fn readiness_comes_when_the_test_says() {
    let engine = FakeEngine::new();
    let web = app("web").service("main").build();
    engine.fault("web", "1", Fault::ReadyAfter(Duration::from_secs(5)));
    engine.apply(Scope::User, &web).await.unwrap();
    assert_eq!(only(&engine).await.readiness, Readiness::NotReady);
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(only(&engine).await.readiness, Readiness::Ready);
    engine.mend("web", "1");
    assert_eq!(only(&engine).await.readiness, Readiness::Unprobed);
    engine.fault("web", "1", Fault::ReadyAfterLooks(4));
    assert_eq!(only(&engine).await.readiness, Readiness::NotReady);
    assert_eq!(only(&engine).await.readiness, Readiness::Ready);
}

#[tokio::test]
async fn a_call_that_hangs_goes_on_when_it_is_mended() {
    let engine = FakeEngine::new();
    engine.fault("web", "1", Fault::HangApply);
    let scope = TaskScope::new();
    let hanging = engine.clone();
    scope.spawn("apply", async move {
        hanging.apply(Scope::User, &app("web").service("main").build()).await.unwrap();
    });
    tokio::task::yield_now().await;
    assert_eq!((engine.calls().len(), engine.running(Scope::User).len()), (1, 0));
    engine.mend("web", "1");
    scope.wait().await;
    assert_eq!(engine.running(Scope::User), ["web@1"]);
}

#[tokio::test]
async fn a_fixed_port_belongs_to_one_instance_at_a_time() {
    let engine = FakeEngine::new();
    let version = |version: &str| app("web").version(version).service("main").host_port(80, 80).build();
    engine.apply(Scope::User, &version("1")).await.unwrap();
    let error = engine.apply(Scope::User, &version("2")).await.unwrap_err();
    assert!(matches!(error, EngineError::Conflict { .. }));
    assert_eq!(engine.running(Scope::User), ["web@1"]);
    engine.stop(Scope::User, &AppInfo::new("web", "1")).await.unwrap();
    engine.apply(Scope::User, &version("2")).await.unwrap();
    assert_eq!(engine.running(Scope::User), ["web@2"]);
}

#[tokio::test]
async fn one_broken_application_leaves_the_inventory_whole() {
    let engine = FakeEngine::new();
    for name in ["db", "web"] {
        engine.apply(Scope::User, &app(name).service("main").build()).await.unwrap();
    }
    engine.fault("db", "1", Fault::Broken);
    let all = engine.inventory(Scope::User).await.unwrap();
    assert!(all[0].instances.is_err() && all[1].instances.is_ok());
    engine.go_away();
    assert!(engine.inventory(Scope::User).await.is_err());
    engine.come_back();
    assert_eq!(engine.inventory(Scope::User).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_log_gives_its_last_lines() {
    let engine = FakeEngine::new();
    engine.apply(Scope::User, &app("web").service("main").build()).await.unwrap();
    let instance = only(&engine).await.name;
    engine.write_log(&instance, "one\ntwo\nthree\n");
    assert_eq!(engine.tail(Scope::User, &instance, 2).await.unwrap(), b"two\nthree\n");
}
