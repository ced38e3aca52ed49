//! A node and a cloud that change their minds over a line that loses, delays and damages: when it is quiet, the
//! node's desire is the cloud's.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use baetyl_core_lib::application::Role;
use baetyl_core_lib::link::LinkError;
use baetyl_core_lib::shadow::diff::{Reported, delta};
use baetyl_core_lib::shadow::{Shadow, StoredShadow};
use baetyl_core_lib::spec::{AppInfo, Desire, Message, Report, Section};
use baetyl_core_lib::store::MemoryStore;
use baetyl_core_lib::task::TaskScope;
use baetyl_core_lib::testing::{ManualClock, MemoryLink, SeededRandom};
use baetyl_sync::syncer::{SyncConfig, Syncer, SyncerParts};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tokio::time::sleep;

/// What happens next.
#[derive(Debug, Clone)]
enum Step {
    /// The cloud wants these applications, in these versions.
    Wants(Vec<(u8, u8)>),
    /// The node runs so many of those that it is to run, first to last.
    Runs(usize),
    /// The next report meets this.
    Meets(Fault),
    GoesAway,
    ComesBack,
    /// Answers are held back.
    Slow,
    Quick,
    /// The disk has room, or not.
    Full(bool),
    /// Time passes, in milliseconds.
    Waits(u64),
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    /// The cloud takes the report; the answer is lost.
    AnswerLost,
    Busy,
    Garbage,
    /// The node is left to itself.
    Nothing,
}

impl Fault {
    fn answer(self) -> Result<Message, LinkError> {
        let answer =
            |value: Value| Message::new(baetyl_core_lib::spec::Kind::Report).with_content(&value).unwrap();
        match self {
            Self::AnswerLost => {
                Err(LinkError::Timeout { address: "cloud".to_owned(), after: Duration::from_secs(30) })
            }
            Self::Busy => Err(LinkError::Unavailable { status: 500, body: String::new(), retry_after: None }),
            Self::Garbage => Ok(answer(json!({"apps": 7}))),
            Self::Nothing => Ok(answer(Value::Null)),
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let fault =
        prop_oneof![Just(Fault::AnswerLost), Just(Fault::Busy), Just(Fault::Garbage), Just(Fault::Nothing)];
    prop_oneof![
        proptest::collection::vec((0_u8..5, 0_u8..3), 0..5).prop_map(Step::Wants),
        (0_usize..6).prop_map(Step::Runs),
        fault.prop_map(Step::Meets),
        Just(Step::GoesAway),
        Just(Step::ComesBack),
        Just(Step::Slow),
        Just(Step::Quick),
        any::<bool>().prop_map(Step::Full),
        (1_u64..30_000).prop_map(Step::Waits),
    ]
}

fn apps(wanted: &[(u8, u8)]) -> Vec<AppInfo> {
    let mut apps: Vec<AppInfo> = Vec::new();
    for (name, version) in wanted {
        let app = AppInfo::new(format!("app-{name}"), version.to_string());
        if apps.iter().all(|other| other.name != app.name) {
            apps.push(app);
        }
    }
    apps
}

/// Both sections; order makes no difference.
fn sections(desire: Desire) -> [Option<BTreeSet<AppInfo>>; 2] {
    [desire.apps, desire.sysapps].map(|section| Some(section?.into_iter().collect()))
}

async fn play(steps: Vec<Step>, push: bool) -> Result<(), TestCaseError> {
    let cloud = Arc::new(Mutex::new(Desire {
        apps: Some(vec![]),
        sysapps: Some(vec![AppInfo::new("baetyl-core-1", "1")]),
        ..Desire::default()
    }));
    let wanted = Arc::clone(&cloud);
    let link = MemoryLink::new(move |request: Message| {
        let report: Map<String, Value> = request.decode().unwrap();
        let answer = delta(&wanted.lock().unwrap(), &Reported::read(&report));
        Ok(Message::new(request.kind).with_content(&answer).unwrap())
    });
    let link = if push { link.with_changes() } else { link };
    let store = Arc::new(MemoryStore::new());
    let shadow = Arc::new(StoredShadow::open(Arc::clone(&store) as _).await.unwrap());
    let empty = Report { apps: Section::Is(vec![]), sysapps: Section::Is(vec![]), ..Report::default() };
    shadow.merge_report(empty).await.unwrap();
    let syncer = Syncer::new(SyncerParts {
        link: Arc::new(link.clone()),
        shadow: Arc::clone(&shadow) as _,
        clock: Arc::new(ManualClock::at("2026-01-01T00:00:00Z")),
        random: Arc::new(SeededRandom::new(1)),
        role: Role::Core,
        config: SyncConfig::default(),
    });
    let scope = TaskScope::new();
    scope.spawn("syncer", syncer.run(scope.token().clone()));
    for step in steps {
        match step {
            Step::Wants(wanted) => {
                cloud.lock().unwrap().apps = Some(apps(&wanted));
                link.news();
            }
            Step::Runs(count) => {
                let mut running = shadow.desire().borrow().apps.clone().unwrap_or_default();
                running.truncate(count);
                let part = Report { apps: Section::Is(running), ..Report::default() };
                shadow.merge_report(part).await.unwrap();
            }
            Step::Meets(fault) => link.script(fault.answer()),
            Step::GoesAway => link.go_away(),
            Step::ComesBack => link.come_back(),
            Step::Slow => link.hold(),
            Step::Quick => link.release(),
            Step::Full(true) => store.take_room(),
            Step::Full(false) => store.give_room(),
            Step::Waits(millis) => sleep(Duration::from_millis(millis)).await,
        }
    }
    link.come_back();
    link.release();
    store.give_room();
    // Each fault that is left costs one try, at most 20 s.
    sleep(Duration::from_secs(60 * 20)).await;
    let (found, expected) = (Desire::clone(&shadow.desire().borrow()), cloud.lock().unwrap().clone());
    prop_assert_eq!(sections(found), sections(expected));
    scope.stop().await;
    Ok(())
}

proptest! {
    #[test]
    fn when_it_is_quiet_the_desire_is_the_clouds(
        steps in proptest::collection::vec(step(), 0..40),
        push: bool,
    ) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().start_paused(true).build().unwrap().block_on(play(steps, push))?;
    }
}
