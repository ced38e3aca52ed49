//! The syncer against a link with state, under a paused clock.

use std::sync::Arc;
use std::time::Duration;

use baetyl_core_lib::application::Role;
use baetyl_core_lib::clock::Clock;
use baetyl_core_lib::shadow::{Shadow, StoredShadow};
use baetyl_core_lib::spec::{AppInfo, Desire, Report};
use baetyl_core_lib::store::MemoryStore;
use baetyl_core_lib::task::TaskScope;
use baetyl_core_lib::testing::{ManualClock, SeededRandom};
use baetyl_sync::syncer::{SyncConfig, Syncer, SyncerParts};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::fake::{Asked, FakeLink, Reply};

struct Node {
    link: Arc<FakeLink>,
    store: Arc<MemoryStore>,
    shadow: Arc<StoredShadow>,
    clock: ManualClock,
    scope: TaskScope,
    begun: Instant,
}

impl Node {
    async fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let shadow = Arc::new(StoredShadow::open(Arc::clone(&store) as _).await.unwrap());
        let clock = ManualClock::at("2026-01-01T00:00:00Z");
        let begun = Instant::now();
        Self { link: Arc::default(), store, shadow, clock, scope: TaskScope::new(), begun }
    }

    fn start(&self, role: Role) {
        let syncer = Syncer::new(SyncerParts {
            link: Arc::clone(&self.link) as _,
            shadow: Arc::clone(&self.shadow) as _,
            clock: Arc::new(self.clock.clone()),
            random: Arc::new(SeededRandom::new(7)),
            role,
            config: SyncConfig::default(),
        });
        self.scope.spawn("syncer", syncer.run(self.scope.token().clone()));
    }

    /// A node that runs as core, knows its inventory, and is not offered push.
    async fn running() -> Self {
        let node = Self::new().await;
        node.say(json!({"apps": [], "sysapps": []})).await;
        node.start(Role::Core);
        sleep(Duration::from_millis(10)).await;
        node
    }

    async fn say(&self, part: Value) {
        let part: Report = serde_json::from_value(part).unwrap();
        self.shadow.merge_report(part).await.unwrap();
    }

    fn asked(&self) -> Vec<Asked> {
        self.link.asked()
    }

    fn desire(&self) -> Arc<Desire> {
        Arc::clone(&self.shadow.desire().borrow())
    }

    /// When requests came, in whole milliseconds since the node was made.
    fn moments(&self) -> Vec<u128> {
        self.asked().iter().map(|asked| asked.at.duration_since(self.begun).as_millis()).collect()
    }
}

fn apps(names: &[&str]) -> Option<Vec<AppInfo>> {
    Some(names.iter().map(|name| AppInfo::new(*name, "1")).collect())
}

fn app(name: &str) -> Value {
    json!({"name": name, "version": "1"})
}

#[tokio::test(start_paused = true)]
async fn no_report_goes_before_the_inventory_is_known_and_then_one_at_once() {
    let node = Node::new().await;
    node.start(Role::Core);
    node.say(json!({"core": {"binVersion": "1"}, "sysapps": []})).await;
    sleep(Duration::from_secs(60)).await;
    assert!(node.asked().is_empty());
    node.say(json!({"apps": [app("web")]})).await;
    sleep(Duration::from_millis(1)).await;
    let asked = node.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].meta, [("source".to_owned(), "baetyl-core".to_owned())]);
    assert_eq!(asked[0].content["apps"], json!([app("web")]));
    assert_eq!(asked[0].content["time"], "2026-01-01T00:00:00Z");
}

#[tokio::test(start_paused = true)]
async fn the_desire_is_rebuilt_from_the_answer_and_what_was_sent() {
    let node = Node::new().await;
    node.say(json!({"apps": [app("a")], "sysapps": [app("s")]})).await;
    node.link.reply(Reply::Json(json!({"apps": [app("a"), app("b")]})));
    node.start(Role::Core);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(
        (node.desire().apps.clone(), node.desire().sysapps.clone()),
        (apps(&["a", "b"]), apps(&["s"]))
    );
    // The cloud takes b back: an empty answer is news too.
    sleep(Duration::from_secs(21)).await;
    assert_eq!(node.desire().apps, apps(&["a"]));
    // Nothing is said: everything stays.
    let writes = node.store.writes();
    node.link.reply(Reply::Json(Value::Null));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(node.desire().apps, apps(&["a"]));
    assert_eq!(node.store.writes(), writes, "what does not change is not written");
}

#[tokio::test(start_paused = true)]
async fn init_learns_of_the_systems_applications_only_and_holds_no_poll() {
    let node = Node::new().await;
    node.link.offer_push();
    node.say(json!({"sysapps": []})).await;
    node.link.reply(Reply::Json(json!({"apps": [app("web")], "sysapps": [app("baetyl-core-1")]})));
    node.start(Role::Init);
    sleep(Duration::from_secs(299)).await;
    assert_eq!(node.asked()[0].meta[0].1, "baetyl-init");
    assert_eq!((node.desire().apps.clone(), node.desire().sysapps.clone()), (None, apps(&["baetyl-core-1"])));
    assert_eq!((node.asked().len(), node.link.polls()), (1, 0));
    sleep(Duration::from_secs(2)).await;
    assert_eq!(node.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn without_push_the_cloud_is_asked_each_interval() {
    let node = Node::running().await;
    sleep(Duration::from_secs(61)).await;
    let moments = node.moments();
    assert_eq!(moments.len(), 4, "{moments:?}");
    for pair in moments.windows(2) {
        assert!((20_000..20_101).contains(&(pair[1] - pair[0])), "{moments:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_status_goes_out_at_once_and_usage_waits() {
    let node = Node::running().await;
    let stats = |status: &str, cpu: &str| {
        json!({"appstats": [{"name": "web", "version": "1", "status": status,
            "instances": {"i": {"usage": {"cpu": cpu}}}}]})
    };
    sleep(Duration::from_secs(5)).await;
    node.say(stats("Pending", "1")).await;
    sleep(Duration::from_millis(1)).await;
    assert_eq!(node.asked().len(), 2);
    node.say(stats("Pending", "2")).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(node.asked().len(), 2, "numbers wait for the interval");
    node.say(stats("Running", "2")).await;
    sleep(Duration::from_millis(1)).await;
    assert_eq!(node.asked().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_changes_makes_one_report_a_second() {
    let node = Node::running().await;
    sleep(Duration::from_secs(5)).await;
    for number in 0..200 {
        node.say(json!({"nodeprops": {"number": number.to_string()}})).await;
        sleep(Duration::from_millis(25)).await;
    }
    assert!((4..=7).contains(&(node.asked().len() - 1)), "{:?}", node.moments());
    sleep(Duration::from_secs(1)).await;
    assert_eq!(node.asked().last().unwrap().content["nodeprops"]["number"], "199");
}

#[tokio::test(start_paused = true)]
async fn a_dead_line_is_tried_less_and_less_and_never_given_up() {
    let node = Node::new().await;
    node.say(json!({"apps": [app("a")], "sysapps": []})).await;
    for _ in 0..10 {
        node.link.reply(Reply::Unreachable);
    }
    node.start(Role::Core);
    sleep(Duration::from_secs(200)).await;
    let moments = node.moments();
    assert!(moments.len() > 10, "{moments:?}");
    assert!(moments.windows(2).all(|pair| (1_000..=20_100).contains(&(pair[1] - pair[0]))), "{moments:?}");
    assert_eq!(node.desire().apps, apps(&["a"]), "the line is back");
}

#[tokio::test(start_paused = true)]
async fn news_make_a_report_at_once_and_nothing_else_does_for_five_minutes() {
    let node = Node::new().await;
    node.link.offer_push();
    node.say(json!({"apps": [], "sysapps": []})).await;
    node.start(Role::Core);
    sleep(Duration::from_secs(100)).await;
    assert_eq!((node.asked().len(), node.link.polls()), (1, 1));
    node.link.reply(Reply::Json(json!({"apps": [app("web")]})));
    node.link.tell_news();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(node.desire().apps, apps(&["web"]));
    assert_eq!((node.asked().len(), node.link.polls()), (2, 2), "and news are waited for again");
    sleep(Duration::from_secs(301)).await;
    assert_eq!(node.asked().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_cloud_that_tells_news_without_end_is_not_flooded() {
    let node = Node::new().await;
    node.link.offer_push();
    node.say(json!({"apps": [], "sysapps": []})).await;
    node.start(Role::Core);
    for _ in 0..10_000 {
        node.link.tell_news();
        sleep(Duration::from_millis(1)).await;
    }
    assert!(node.asked().len() <= 101, "{} reports in 10 s", node.asked().len());
    assert!(node.link.polls() <= 101, "{} polls in 10 s", node.link.polls());
}

#[tokio::test(start_paused = true)]
async fn where_news_cannot_be_waited_for_the_cloud_is_asked_each_interval_again() {
    let node = Node::new().await;
    node.link.offer_push();
    node.say(json!({"apps": [], "sysapps": []})).await;
    node.start(Role::Core);
    sleep(Duration::from_secs(1)).await;
    node.link.break_push();
    sleep(Duration::from_secs(120)).await;
    assert!((5..=8).contains(&node.asked().len()), "{:?}", node.moments());
    assert!(node.link.polls() < 20, "{} polls", node.link.polls());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_the_disk_did_not_take_is_asked_for_again() {
    let node = Node::new().await;
    node.say(json!({"apps": [], "sysapps": []})).await;
    node.store.take_room();
    for _ in 0..9 {
        node.link.reply(Reply::Json(json!({"apps": [app("web")]})));
    }
    node.start(Role::Core);
    sleep(Duration::from_secs(5)).await;
    assert!(node.asked().len() > 1);
    assert_eq!(node.desire().apps, None);
    node.store.give_room();
    sleep(Duration::from_secs(10)).await;
    assert_eq!(node.desire().apps, apps(&["web"]));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_makes_no_sense_changes_nothing() {
    let node = Node::new().await;
    node.say(json!({"apps": [app("a")], "sysapps": []})).await;
    node.link.reply(Reply::Json(json!(["what"])));
    node.link.reply(Reply::Refused(404, "ErrResourceNotFound", "The (node) resource (n) is not found."));
    node.start(Role::Core);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(*node.desire(), Desire::default());
    sleep(Duration::from_secs(60)).await;
    assert_eq!(node.desire().apps, apps(&["a"]));
}

#[tokio::test(start_paused = true)]
async fn a_verified_answer_tells_a_clock_that_was_never_set_the_time() {
    let node = Node::new().await;
    node.say(json!({"apps": [], "sysapps": []})).await;
    node.link.reply(Reply::Dated(json!({}), "2031-05-06T07:08:09Z"));
    node.start(Role::Core);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(node.clock.now().to_string(), "2031-05-06T07:08:09Z");
}

#[tokio::test(start_paused = true)]
async fn the_end_sends_what_is_owed_and_waits_no_longer_than_it_may() {
    let node = Node::running().await;
    node.say(json!({"nodeprops": {"a": "1"}})).await;
    sleep(Duration::from_millis(1)).await;
    node.scope.stop().await;
    assert_eq!(node.asked().last().unwrap().content["nodeprops"]["a"], "1");

    let node = Node::new().await;
    node.say(json!({"apps": [], "sysapps": []})).await;
    node.link.reply(Reply::Never);
    node.start(Role::Core);
    sleep(Duration::from_secs(1)).await;
    let asked = Instant::now();
    node.scope.stop().await;
    assert!(asked.elapsed() <= SyncConfig::default().flush);
}
