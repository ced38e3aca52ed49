//! What every [`Engine`] must do.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{begin_and_drop, cases, ok};
use crate::application::{Application as _, Deployment, Scope};
use crate::engine::{AppState, Engine, EngineError, Exit, InstanceState, Readiness};
use crate::spec::AppInfo;

/// A backend to be tried, empty at first. Programs of the fixture need not do anything else than is said.
#[async_trait]
pub trait EngineFixture: Send + Sync {
    /// A new engine over the backend, as after a restart of the agent.
    async fn engine(&self) -> Arc<dyn Engine>;

    /// An application whose one service runs until it is stopped, one instance, with neither probe. It
    /// mounts a secret `files` with one file `file` that holds `text`.
    fn runs(&self, name: &str, version: &str, text: &str) -> Deployment;

    /// As [`EngineFixture::runs`], but the program ends with exit code 1 soon after each start.
    fn fails(&self, name: &str, version: &str) -> Deployment;

    /// As [`EngineFixture::runs`], but the program listens on a fixed port of the host, the same for all
    /// names and versions, and a readiness probe asks there.
    fn listens(&self, name: &str, version: &str) -> Deployment;

    /// As [`EngineFixture::runs`], but the program or image is not to be had.
    fn is_missing(&self, name: &str, version: &str) -> Deployment;

    /// How many processes of this version the backend itself says run now.
    async fn processes(&self, scope: Scope, info: &AppInfo) -> usize;

    /// What the instance of this version sees in the file `file` now.
    async fn sees(&self, scope: Scope, info: &AppInfo) -> String;

    /// Ends everything of this version behind the engine's back, so that the backend does not start it again.
    async fn lose(&self, scope: Scope, info: &AppInfo);

    /// How long something may take that is to happen soon.
    fn patience(&self) -> Duration {
        Duration::from_secs(30)
    }
}

/// Runs all cases but those that are `skipped`, one after the other.
///
/// # Panics
/// When the engine does not keep its contract.
pub async fn check<F: EngineFixture>(make: impl Fn() -> F + Send + Sync, skipped: &[&str]) {
    cases!(make, skipped,
        an_empty_backend_has_an_empty_inventory
        apply_makes_it_run_and_says_how_many_are_wanted
        prepare_changes_nothing_that_runs
        a_prepare_that_fails_changes_nothing
        apply_again_restarts_nothing
        apply_replaces_files_in_place
        apply_starts_what_is_missing
        apply_follows_the_number_of_instances
        apply_finishes_what_was_dropped
        a_new_version_runs_beside_the_old_one
        removing_one_version_leaves_the_other
        what_is_absent_is_stopped_and_removed_already
        stop_keeps_what_apply_starts_again
        when_stop_and_remove_return_nothing_runs
        a_new_engine_finds_what_runs_and_leaves_it
        the_inventory_is_complete_and_in_order
        a_program_that_ends_is_started_again_and_counted
        a_probed_service_becomes_ready
        two_versions_take_turns_at_one_port
        scopes_are_apart
        different_applications_may_be_changed_at_once
        usage_names_what_runs
        logs_of_an_unknown_instance_are_not_found
    );
}

async fn an_empty_backend_has_an_empty_inventory(fixture: &impl EngineFixture) {
    let engine = fixture.engine().await;
    for scope in Scope::ALL {
        assert!(look(&*engine, scope).await.is_empty());
    }
}

async fn apply_makes_it_run_and_says_how_many_are_wanted(fixture: &impl EngineFixture) {
    let engine = fixture.engine().await;
    let app = fixture.runs("web", "1", "a");
    start(&*engine, &app).await;
    let run = settled(fixture, &*engine, &app.info()).await;
    assert_eq!(fixture.processes(Scope::User, &app.info()).await, 1);
    assert_eq!(look(&*engine, Scope::User).await[0].wanted, Some(1));
    let instance = only(&*engine, &app.info()).await;
    assert_eq!((instance.service, instance.run), (app.spec.services[0].name.clone(), Some(run)));
    assert_eq!((instance.readiness, instance.restarts), (Readiness::Unprobed, 0));
}

async fn prepare_changes_nothing_that_runs(fixture: &impl EngineFixture) {
    let engine = fixture.engine().await;
    let (old, new) = (fixture.runs("web", "1", "a"), fixture.runs("web", "2", "b"));
    start(&*engine, &old).await;
    let run = settled(fixture, &*engine, &old.info()).await;
    for _ in 0..2 {
        ok(engine.prepare(Scope::User, &new).await, "prepare");
    }
    assert_eq!(settled(fixture, &*engine, &old.info()).await, run);
    assert_eq!(fixture.processes(Scope::User, &new.info()).await, 0);
}

async fn a_prepare_that_fails_changes_nothing(fixture: &impl EngineFixture) {
    let engine = fixture.engine().await;
    let old = fixture.runs("web", "1", "a");
    start(&*engine, &old).await;
    let run = settled(fixture, &*engine, &old.info()).await;
    let result = engine.prepare(Scope::User, &fixture.is_missing("web", "2")).await;
    assert!(result.is_err(), "there is nothing to prepare");
    assert_eq!(names(&look(&*engine, Scope::User).await), ["web@1"]);
    assert_eq!(settled(fixture, &*engine, &old.info()).await, run);
}

async fn apply_again_restarts_nothing(fixture: &impl EngineFixture) {
    let engine = fixture.engine().await;
    let app = fixture.runs("web", "1", "a");
    start(&*engine, &app).await;
    let run = settled(fixture, &*engine, &app.info()).await;
    for _ in 0..3 {
        ok(engine.apply(Scope::User, &app).await, "apply again");
    }
    assert_eq!(settled(fixture, &*engine, &app.info()).await, run);
    assert_eq!(fixture.processes(Scope::User, &app.info()).await, 1);
}

async fn apply_replaces_files_in_place(fixture: &impl EngineFixture) {
    let engine = fixture.engine().await;
    let app = fixture.runs("web", "1", "old certificate");
    start(&*engine, &app).await;
    let run = settled(fixture, &*engine, &app.info()).await;
    assert_eq!(fixture.sees(Scope::User, &app.info()).await, "old certificate");
    ok(engine.apply(Scope::User, &fixture.runs("web", "1", "new certificate")).await, "apply");
    until(fixture, "the instance sees the new file", async || {
        fixture.sees(Scope::User, &app.info()).await == "new certificate"
    })
    .await;
    assert_eq!(settled(fixture, &*engine, &app.info()).await, run);
}

async fn apply_starts_what_is_missing(fixture: &impl EngineFixture) {
    let engine = fixture.engine().await;
    let app = fixture.runs("web", "1", "a");
    start(&*engine, &app).await;
    let run = settled(fixture, &*engine, &app.info()).await;
    fixture.lose(Scope::User, &app.info()).await;
    assert_eq!(fixture.processes(Scope::User, &app.info()).await, 0);
    let states = look(&*engine, Scope::User).await;
    assert!(instances(&states, &app.info()).iter().all(|instance| instance.run.is_none()), "{states:?}");
    start(&*engine, &app).await;
    assert_ne!(settled(fixture, &*engine, &app.info()).await, run);
}

async fn apply_follows_the_number_of_instances(fixture: &impl EngineFixture) {
    let engine = fixture.engine().await;
    let mut app = fixture.runs("web", "1", "a");
    start(&*engine, &app).await;
    let run = settled(fixture, &*engine, &app.info()).await;
    for replica in [3, 1, 0] {
        app.spec.replica = replica;
        start(&*engine, &app).await;
        let wanted = u32::try_from(replica).ok();
        until(fixture, "as many instances as are wanted run", async || {
            let states = look(&*engine, Scope::User).await;
            let runs: Vec<_> =
                instances(&states, &app.info()).iter().filter_map(|instance| instance.run.clone()).collect();
            assert_eq!(states[0].wanted, wanted);
            assert!(replica != 3 || runs.contains(&run), "an instance more restarts none");
            u32::try_from(runs.len()).ok() == wanted
        })
        .await;
    }
    assert_eq!(fixture.processes(Scope::User, &app.info()).await, 0);
    assert_eq!(names(&look(&*engine, Scope::User).await), ["web@1"], "wanting no instance is no removal");
}

async fn apply_finishes_what_was_dropped(fixture: &impl EngineFixture) {
    let engine = fixture.engine().await;
    let app = fixture.runs("web", "1", "a");
    ok(engine.prepare(Scope::User, &app).await, "prepare");
    drop(begin_and_drop(engine.apply(Scope::User, &app)).await);
    start(&*fixture.engine().await, &app).await;
    settled(fixture, &*engine, &app.info()).await;
    assert_eq!(fixture.processes(Scope::User, &app.info()).await, 1);
}

async fn a_new_version_runs_beside_the_old_one(fixture: &impl EngineFixture) {
    let engine = fixture.engine().await;
    let (old, new) = (fixture.runs("web", "1", "a"), fixture.runs("web", "2", "b"));
    start(&*engine, &old).await;
    let run = settled(fixture, &*engine, &old.info()).await;
    start(&*engine, &new).await;
    settled(fixture, &*engine, &new.info()).await;
    assert_eq!(settled(fixture, &*engine, &old.info()).await, run);
    assert_eq!(fixture.sees(Scope::User, &old.info()).await, "a");
    assert_eq!(fixture.sees(Scope::User, &new.info()).await, "b");
}

async fn removing_one_version_leaves_the_other(fixture: &impl EngineFixture) {
    for (gone, left) in [("1", "2"), ("2", "1")] {
        let engine = fixture.engine().await;
        let (gone, left) = (fixture.runs("web", gone, "a"), fixture.runs("web", left, "b"));
        start(&*engine, &gone).await;
        start(&*engine, &left).await;
        let run = settled(fixture, &*engine, &left.info()).await;
        ok(engine.remove(Scope::User, &gone.info()).await, "remove");
        assert_eq!(names(&look(&*engine, Scope::User).await), [left.info().to_string()]);
        assert_eq!(settled(fixture, &*engine, &left.info()).await, run);
        assert_eq!(fixture.sees(Scope::User, &left.info()).await, "b");
        ok(engine.remove(Scope::User, &left.info()).await, "remove");
        assert!(look(&*engine, Scope::User).await.is_empty());
    }
}

async fn what_is_absent_is_stopped_and_removed_already(fixture: &impl EngineFixture) {
    let engine = fixture.engine().await;
    let info = AppInfo::new("web", "1");
    ok(engine.stop(Scope::User, &info).await, "stop what is absent");
    ok(engine.remove(Scope::User, &info).await, "remove what is absent");
    let app = fixture.runs("web", "1", "a");
    start(&*engine, &app).await;
    for _ in 0..2 {
        ok(engine.stop(Scope::User, &info).await, "stop");
    }
    for _ in 0..2 {
        ok(engine.remove(Scope::User, &info).await, "remove");
    }
}

async fn stop_keeps_what_apply_starts_again(fixture: &impl EngineFixture) {
    let engine = fixture.engine().await;
    let (app, other) = (fixture.runs("web", "1", "a"), fixture.runs("web", "2", "b"));
    start(&*engine, &app).await;
    start(&*engine, &other).await;
    let run = settled(fixture, &*engine, &app.info()).await;
    let other_run = settled(fixture, &*engine, &other.info()).await;
    ok(engine.stop(Scope::User, &app.info()).await, "stop");
    let states = look(&*engine, Scope::User).await;
    assert_eq!(names(&states), ["web@1", "web@2"]);
    assert!(instances(&states, &app.info()).iter().all(|instance| instance.run.is_none()), "{states:?}");
    ok(engine.apply(Scope::User, &app).await, "apply what was stopped");
    assert_ne!(settled(fixture, &*engine, &app.info()).await, run);
    assert_eq!(settled(fixture, &*engine, &other.info()).await, other_run);
}

async fn when_stop_and_remove_return_nothing_runs(fixture: &impl EngineFixture) {
    let engine = fixture.engine().await;
    let app = fixture.runs("web", "1", "a");
    start(&*engine, &app).await;
    ok(engine.stop(Scope::User, &app.info()).await, "stop at once");
    assert_eq!(fixture.processes(Scope::User, &app.info()).await, 0);
    start(&*engine, &app).await;
    settled(fixture, &*engine, &app.info()).await;
    ok(engine.remove(Scope::User, &app.info()).await, "remove");
    assert_eq!(fixture.processes(Scope::User, &app.info()).await, 0);
    assert!(look(&*engine, Scope::User).await.is_empty());
}

async fn a_new_engine_finds_what_runs_and_leaves_it(fixture: &impl EngineFixture) {
    let engine = fixture.engine().await;
    let app = fixture.runs("web", "1", "a");
    start(&*engine, &app).await;
    settled(fixture, &*engine, &app.info()).await;
    let before = only(&*engine, &app.info()).await;
    drop(engine);
    let engine = fixture.engine().await;
    assert_eq!(look(&*engine, Scope::User).await[0].wanted, Some(1));
    assert_eq!(only(&*engine, &app.info()).await, before);
    start(&*engine, &app).await;
    assert_eq!(only(&*engine, &app.info()).await, before);
    ok(engine.remove(Scope::User, &app.info()).await, "remove what another engine made");
    assert_eq!(fixture.processes(Scope::User, &app.info()).await, 0);
}

async fn the_inventory_is_complete_and_in_order(fixture: &impl EngineFixture) {
    let engine = fixture.engine().await;
    for (name, version) in [("web", "2"), ("db", "7"), ("web", "10"), ("web.a", "1"), ("web-a", "1")] {
        start(&*engine, &fixture.runs(name, version, "a")).await;
    }
    let expected = ["db@7", "web@10", "web@2", "web-a@1", "web.a@1"];
    assert_eq!(names(&look(&*engine, Scope::User).await), expected);
    assert_eq!(names(&look(&*fixture.engine().await, Scope::User).await), expected);
    let states = look(&*engine, Scope::User).await;
    let mut all: Vec<_> = states
        .iter()
        .flat_map(|state| instances(&states, &state.info))
        .map(|instance| &instance.name)
        .collect();
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!((count, all.len()), (5, 5), "names of instances are unique in the scope");
}

async fn a_program_that_ends_is_started_again_and_counted(fixture: &impl EngineFixture) {
    let engine = fixture.engine().await;
    let (app, other) = (fixture.fails("web", "2"), fixture.runs("web", "1", "a"));
    start(&*engine, &other).await;
    let run = settled(fixture, &*engine, &other.info()).await;
    start(&*engine, &app).await;
    let mut code = None;
    until(fixture, "it was started again, and its last exit was seen", async || {
        let instance = only(&*engine, &app.info()).await;
        assert_ne!(instance.readiness, Readiness::Ready);
        // Some backends tell the last exit only between two runs.
        code = instance.last_exit.or(code);
        instance.restarts > 0 && code.is_some()
    })
    .await;
    assert_eq!(code, Some(Exit::Code(1)));
    assert_eq!(settled(fixture, &*engine, &other.info()).await, run);
    ok(engine.remove(Scope::User, &app.info()).await, "remove");
    assert_eq!(fixture.processes(Scope::User, &app.info()).await, 0);
}

async fn a_probed_service_becomes_ready(fixture: &impl EngineFixture) {
    let engine = fixture.engine().await;
    let app = fixture.listens("web", "1");
    start(&*engine, &app).await;
    until(fixture, "its readiness probe passes", async || {
        only(&*engine, &app.info()).await.readiness == Readiness::Ready
    })
    .await;
}

async fn two_versions_take_turns_at_one_port(fixture: &impl EngineFixture) {
    let engine = fixture.engine().await;
    let (old, new) = (fixture.listens("web", "1"), fixture.listens("web", "2"));
    let ready = async |app: &Deployment| {
        until(fixture, "it listens and its readiness probe passes", async || {
            only(&*engine, &app.info()).await.readiness == Readiness::Ready
        })
        .await;
    };
    start(&*engine, &old).await;
    ready(&old).await;
    ok(engine.prepare(Scope::User, &new).await, "prepare");
    ok(engine.stop(Scope::User, &old.info()).await, "stop");
    ok(engine.apply(Scope::User, &new).await, "apply the new version");
    ready(&new).await;
    ok(engine.remove(Scope::User, &new.info()).await, "remove the new version");
    ok(engine.apply(Scope::User, &old).await, "apply the old version again");
    ready(&old).await;
}

async fn scopes_are_apart(fixture: &impl EngineFixture) {
    let engine = fixture.engine().await;
    let app = fixture.runs("web", "1", "a");
    start(&*engine, &app).await;
    let run = settled(fixture, &*engine, &app.info()).await;
    assert!(look(&*engine, Scope::System).await.is_empty());
    ok(engine.remove(Scope::System, &app.info()).await, "remove from the other scope");
    ok(engine.prepare(Scope::System, &app).await, "prepare in the other scope");
    ok(engine.apply(Scope::System, &app).await, "apply in the other scope");
    until(fixture, "it runs in both scopes", async || {
        fixture.processes(Scope::System, &app.info()).await == 1
    })
    .await;
    ok(engine.remove(Scope::System, &app.info()).await, "remove from the other scope");
    assert!(look(&*engine, Scope::System).await.is_empty());
    assert_eq!(settled(fixture, &*engine, &app.info()).await, run);
}

async fn different_applications_may_be_changed_at_once(fixture: &impl EngineFixture) {
    let engine = fixture.engine().await;
    let apps = ["a1", "b1", "c1"].map(|name| fixture.runs(name, "1", "a"));
    let [a, b, c] = &apps;
    tokio::join!(start(&*engine, a), start(&*engine, b), start(&*engine, c), look(&*engine, Scope::User));
    for app in &apps {
        settled(fixture, &*engine, &app.info()).await;
    }
    let remove = async |app: &Deployment| ok(engine.remove(Scope::User, &app.info()).await, "remove");
    tokio::join!(remove(a), remove(b), start(&*engine, c));
    assert_eq!(names(&look(&*engine, Scope::User).await), ["c1@1"]);
}

async fn usage_names_what_runs(fixture: &impl EngineFixture) {
    let engine = fixture.engine().await;
    let Some(usage) = engine.usage() else { return };
    let app = fixture.runs("web", "1", "a");
    start(&*engine, &app).await;
    settled(fixture, &*engine, &app.info()).await;
    let instance = only(&*engine, &app.info()).await;
    until(fixture, "its memory is measured", async || {
        let all = ok(usage.usage(Scope::User).await, "usage");
        let of = all.iter().filter(|usage| usage.info == app.info()).flat_map(|usage| &usage.instances);
        of.filter(|usage| usage.name == instance.name && usage.memory > 0).count() == 1
    })
    .await;
    assert!(ok(usage.usage(Scope::System).await, "usage").iter().all(|usage| usage.instances.is_empty()));
}

async fn logs_of_an_unknown_instance_are_not_found(fixture: &impl EngineFixture) {
    let engine = fixture.engine().await;
    let Some(logs) = engine.logs() else { return };
    let app = fixture.runs("web", "1", "a");
    start(&*engine, &app).await;
    settled(fixture, &*engine, &app.info()).await;
    let instance = only(&*engine, &app.info()).await.name;
    ok(logs.tail(Scope::User, &instance, 10).await, "logs");
    for (scope, instance) in [(Scope::User, "none"), (Scope::System, instance.as_str())] {
        let result = logs.tail(scope, instance, 10).await;
        assert!(matches!(result, Err(EngineError::NotFound { .. })), "{scope} {instance}: {result:?}");
    }
}

async fn start(engine: &dyn Engine, app: &Deployment) {
    ok(engine.prepare(Scope::User, app).await, "prepare");
    ok(engine.apply(Scope::User, app).await, "apply");
}

async fn look(engine: &dyn Engine, scope: Scope) -> Vec<AppState> {
    ok(engine.inventory(scope).await, "inventory")
}

fn names(states: &[AppState]) -> Vec<String> {
    states.iter().map(|state| state.info.to_string()).collect()
}

#[track_caller]
fn instances<'a>(states: &'a [AppState], info: &AppInfo) -> &'a [InstanceState] {
    let Some(state) = states.iter().find(|state| state.info == *info) else {
        panic!("{info} is not in the inventory: {states:?}");
    };
    match &state.instances {
        Ok(instances) => instances,
        Err(error) => panic!("{info} cannot be looked at: {error:?}"),
    }
}

/// The one instance of a version.
async fn only(engine: &dyn Engine, info: &AppInfo) -> InstanceState {
    let states = look(engine, Scope::User).await;
    let [instance] = instances(&states, info) else { panic!("{info} has not one instance: {states:?}") };
    instance.clone()
}

/// Waits until the one instance of a version runs, and tells which run that is.
async fn settled(fixture: &impl EngineFixture, engine: &dyn Engine, info: &AppInfo) -> String {
    let mut run = None;
    until(fixture, "it runs", async || {
        run = only(engine, info).await.run;
        run.is_some()
    })
    .await;
    run.unwrap_or_default()
}

/// Waits until something is so, but no longer than the fixture's patience.
async fn until(fixture: &impl EngineFixture, what: &str, mut so: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(fixture.patience(), async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    assert!(waited.await.is_ok(), "in {:?} it was never so: {what}", fixture.patience());
}
