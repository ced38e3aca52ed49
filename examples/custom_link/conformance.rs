//! The suite that every link must pass, on the socket.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use baetyl::core::link::Link;
use baetyl::core::task::TaskScope;
use baetyl_core_lib::conformance::link::{Cloud, LinkFixture, check};
use tempfile::TempDir;
use tokio::net::UnixListener;

use crate::link::{Answer, SocketLink};
use crate::server::{Reply, serve};

/// What this link does not offer: the cloud cannot say that it has news, the node asks at its interval.
pub(crate) const SKIPPED: [&str; 2] = ["news_ends_a_wait", "a_dropped_wait_loses_no_news"];

/// Runs all cases that apply.
///
/// # Panics
/// At the first sentence of the contract that is not kept.
#[expect(clippy::expect_used, reason = "without a folder there is nothing to try")]
pub(crate) async fn run() {
    let bench = || Bench {
        cloud: Arc::new(Mutex::new(Cloud::Echo)),
        folder: tempfile::tempdir().expect("a folder for the socket"),
        tasks: TaskScope::new(),
    };
    check(bench, &SKIPPED).await;
}

struct Bench {
    cloud: Arc<Mutex<Cloud>>,
    folder: TempDir,
    tasks: TaskScope,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.tasks.token().cancel();
    }
}

#[async_trait]
impl LinkFixture for Bench {
    #[expect(clippy::expect_used, reason = "without a socket there is nothing to try")]
    async fn link(&self) -> Arc<dyn Link> {
        let path = self.folder.path().join("cloud.sock");
        let listener = UnixListener::bind(&path).expect("a socket to listen on");
        let cloud = Arc::clone(&self.cloud);
        let refused = |status, code: &str, body: &str| {
            Reply::Answer(Answer::Refused { status, code: code.to_owned(), body: body.to_owned() })
        };
        let decide = move |request| match *cloud.lock().unwrap_or_else(PoisonError::into_inner) {
            Cloud::Echo => Reply::Answer(Answer::Is(request)),
            Cloud::Silent => Reply::Silence,
            Cloud::Busy => refused(503, "", "later"),
            Cloud::Refuses => refused(400, "ErrRequestParamInvalid", "not like this"),
            Cloud::Stranger => {
                refused(404, "ErrResourceNotFound", "The (node) resource (press-17) is not found.")
            }
            Cloud::Garbage => Reply::Garbage,
            _ => Reply::HangUp,
        };
        serve(listener, Arc::new(decide), &self.tasks);
        Arc::new(SocketLink::new(path, Duration::from_millis(300)))
    }

    async fn cloud(&self, cloud: Cloud) {
        *self.cloud.lock().unwrap_or_else(PoisonError::into_inner) = cloud;
    }

    async fn news(&self) {}
}
