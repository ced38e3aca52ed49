//! What every [`Link`] must do.

use std::sync::Arc;

use async_trait::async_trait;

use super::{begin_and_drop, cases, ok};
use crate::link::{Link, LinkError, LinkState};
use crate::spec::{Kind, Message};

/// What the cloud at the other end does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cloud {
    /// Answers each request with its own kind and content.
    Echo,
    /// Cannot be reached.
    Gone,
    /// Takes requests and answers none.
    Silent,
    /// Answers that it cannot now: 503.
    Busy,
    /// Refuses: 400 with the code `ErrRequestParamInvalid`.
    Refuses,
    /// Refuses, because it does not know the node, in the original's words.
    Stranger,
    /// Answers what is no JSON.
    Garbage,
}

/// A link to be tried, with a cloud at its other end. Its time-out should be short.
#[async_trait]
pub trait LinkFixture: Send + Sync {
    /// The link; nothing was requested over it yet.
    async fn link(&self) -> Arc<dyn Link>;

    /// Makes the cloud behave so from now on. It echoes at first.
    async fn cloud(&self, cloud: Cloud);

    /// The cloud has news.
    async fn news(&self);
}

/// Runs all cases but those that are `skipped`.
///
/// # Panics
/// When the link does not keep its contract.
pub async fn check<F: LinkFixture>(make: impl Fn() -> F + Send + Sync, skipped: &[&str]) {
    cases!(make, skipped,
        each_request_gets_its_own_answer
        a_dropped_request_does_no_harm
        the_state_is_that_of_the_last_request
        a_cloud_that_is_gone_is_unreachable
        a_cloud_that_is_silent_times_out
        a_busy_cloud_is_unavailable
        a_refusal_is_final_and_has_its_code
        garbage_is_a_bad_answer
        news_ends_a_wait
        a_dropped_wait_loses_no_news
    );
}

async fn each_request_gets_its_own_answer(fixture: &impl LinkFixture) {
    let link = fixture.link().await;
    let one = |number: u32| {
        let link = Arc::clone(&link);
        async move {
            let answer = ok(link.request(report(number)).await, "request");
            assert_eq!((answer.kind.clone(), content(&answer)), (Kind::Report, number));
        }
    };
    for round in 0..4 {
        let number = round * 4;
        tokio::join!(one(number), one(number + 1), one(number + 2), one(number + 3));
    }
}

async fn a_dropped_request_does_no_harm(fixture: &impl LinkFixture) {
    let link = fixture.link().await;
    for number in 0..5 {
        drop(begin_and_drop(link.request(report(number))).await);
        let answer = ok(link.request(report(100 + number)).await, "request");
        assert_eq!(content(&answer), 100 + number, "an answer that was given up came later");
    }
}

async fn the_state_is_that_of_the_last_request(fixture: &impl LinkFixture) {
    let link = fixture.link().await;
    assert_eq!(link.state(), LinkState::Unknown);
    for (cloud, expected) in [
        (Cloud::Echo, "Succeeded"),
        (Cloud::Gone, "NetworkError"),
        (Cloud::Stranger, "NodeNotFound"),
        (Cloud::Echo, "Succeeded"),
    ] {
        fixture.cloud(cloud).await;
        drop(link.request(report(1)).await);
        let state = match link.state() {
            LinkState::Unknown => "Unknown",
            LinkState::Succeeded => "Succeeded",
            LinkState::NodeNotFound(_) => "NodeNotFound",
            LinkState::NetworkError(_) => "NetworkError",
        };
        assert_eq!(state, expected, "after {cloud:?}");
    }
}

async fn a_cloud_that_is_gone_is_unreachable(fixture: &impl LinkFixture) {
    let error = failure(fixture, Cloud::Gone).await;
    assert!(matches!(error, LinkError::Unreachable { .. }) && error.is_transient(), "{error:?}");
}

async fn a_cloud_that_is_silent_times_out(fixture: &impl LinkFixture) {
    let error = failure(fixture, Cloud::Silent).await;
    assert!(matches!(error, LinkError::Timeout { .. }) && error.is_transient(), "{error:?}");
}

async fn a_busy_cloud_is_unavailable(fixture: &impl LinkFixture) {
    let error = failure(fixture, Cloud::Busy).await;
    assert!(matches!(error, LinkError::Unavailable { status: 503, .. }) && error.is_transient(), "{error:?}");
}

async fn a_refusal_is_final_and_has_its_code(fixture: &impl LinkFixture) {
    let error = failure(fixture, Cloud::Refuses).await;
    let LinkError::Rejected { status: 400, code, .. } = &error else { panic!("{error:?}") };
    assert_eq!(code, "ErrRequestParamInvalid");
    assert!(!error.is_transient());
}

async fn garbage_is_a_bad_answer(fixture: &impl LinkFixture) {
    let error = failure(fixture, Cloud::Garbage).await;
    assert!(matches!(error, LinkError::BadAnswer { .. }), "{error:?}");
}

async fn news_ends_a_wait(fixture: &impl LinkFixture) {
    let link = fixture.link().await;
    ok(link.request(report(1)).await, "request");
    let Some(changes) = link.changes() else { panic!("the cloud has told no way to wait for changes") };
    let (waited, ()) = tokio::join!(changes.wait(), fixture.news());
    assert!(ok(waited, "wait"), "there is news");
}

async fn a_dropped_wait_loses_no_news(fixture: &impl LinkFixture) {
    let link = fixture.link().await;
    ok(link.request(report(1)).await, "request");
    let Some(changes) = link.changes() else { panic!("the cloud has told no way to wait for changes") };
    assert!(begin_and_drop(changes.wait()).await.is_none(), "no news yet");
    fixture.news().await;
    assert!(ok(changes.wait().await, "wait"), "there is news");
}

/// Sends a request to such a cloud; the link must work again once the cloud does.
async fn failure(fixture: &impl LinkFixture, cloud: Cloud) -> LinkError {
    let link = fixture.link().await;
    fixture.cloud(cloud).await;
    let Err(error) = link.request(report(1)).await else { panic!("{cloud:?} answered") };
    fixture.cloud(Cloud::Echo).await;
    assert_eq!(content(&ok(link.request(report(2)).await, "request of a cloud that is back")), 2);
    error
}

fn report(number: u32) -> Message {
    ok(Message::new(Kind::Report).with_content(&serde_json::json!({ "number": number })), "encode")
}

fn content(message: &Message) -> u32 {
    #[derive(serde::Deserialize)]
    struct Content {
        number: u32,
    }
    ok(message.decode::<Content>(), "decode").number
}
