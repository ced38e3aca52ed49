//! The HTTP link against what every link must do.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use baetyl_core_lib::conformance::link::{self, Cloud as Mood, LinkFixture};
use baetyl_core_lib::link::Link;
use baetyl_sync::link::HttpConfig;
use tokio::sync::{OnceCell, watch};

use crate::server::{Act, Cloud, Recorded};

/// A cloud on loopback whose mood a case sets.
struct Loopback {
    cloud: OnceCell<Cloud>,
    mood: Arc<Mutex<Mood>>,
    state: watch::Sender<u32>,
    protocols: &'static [&'static str],
}

impl Loopback {
    fn new(protocols: &'static [&'static str]) -> Self {
        Self {
            cloud: OnceCell::new(),
            mood: Arc::new(Mutex::new(Mood::Echo)),
            state: watch::Sender::new(1),
            protocols,
        }
    }

    async fn start(&self) -> Cloud {
        let (mood, state) = (Arc::clone(&self.mood), self.state.subscribe());
        Cloud::with_protocols(self.protocols, move |request| {
            let mood = *mood.lock().unwrap();
            act(mood, &state, request)
        })
        .await
    }
}

fn act(mood: Mood, state: &watch::Receiver<u32>, request: &Recorded) -> Act {
    if request.path == "/v1/sync/changes" {
        let asked: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        return Act::Held(state.clone(), asked["cursor"].as_str().unwrap().parse().unwrap());
    }
    match mood {
        Mood::Echo => {
            let offer = format!("changes/1;cursor={}", *state.borrow());
            Act::json(200, std::str::from_utf8(&request.body).unwrap()).with("x-baetyl-ext", &offer)
        }
        Mood::Gone => Act::HangUp,
        Mood::Silent => Act::Silence,
        Mood::Busy => Act::json(503, "busy"),
        Mood::Refuses => Act::json(400, r#"{"code":"ErrRequestParamInvalid","message":"bad"}"#),
        Mood::Stranger => Act::json(
            404,
            r#"{"code":"ErrResourceNotFound","message":"The (node) resource (edge1) is not found."}"#,
        ),
        Mood::Garbage => Act::json(200, "<html>"),
        mood => panic!("the suite has a mood that is not played here: {mood:?}"),
    }
}

#[async_trait]
impl LinkFixture for Loopback {
    async fn link(&self) -> Arc<dyn Link> {
        let cloud = self.cloud.get_or_init(|| self.start()).await;
        let config = HttpConfig { timeout: Duration::from_millis(300), ..cloud.config() };
        cloud.link_with(config).unwrap()
    }

    async fn cloud(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    async fn news(&self) {
        self.state.send_modify(|state| *state += 1);
    }
}

#[tokio::test]
async fn the_link_over_http_2_keeps_the_contract_of_links() {
    link::check(|| Loopback::new(&["h2", "http/1.1"]), &[]).await;
}

#[tokio::test]
async fn the_link_over_http_1_1_keeps_the_contract_of_links() {
    link::check(|| Loopback::new(&["http/1.1"]), &[]).await;
}
