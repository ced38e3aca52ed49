//! A link with state: what it was asked, what it answers, and whether it tells news.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use baetyl_core_lib::link::{ChangeWait, Link, LinkError, LinkState};
use baetyl_core_lib::spec::{Kind, Message};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;

/// What the link does with a request.
#[derive(Debug)]
pub(crate) enum Reply {
    Json(Value),
    Dated(Value, &'static str),
    Refused(u16, &'static str, &'static str),
    BadAnswer,
    Unreachable,
    Never,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) at: Instant,
    pub(crate) meta: Vec<(String, String)>,
    pub(crate) content: Value,
}

#[derive(Debug, Default)]
pub(crate) struct FakeLink {
    replies: Mutex<VecDeque<Reply>>,
    asked: Mutex<Vec<Asked>>,
    push: AtomicBool,
    broken: AtomicBool,
    news: Notify,
    polls: Mutex<usize>,
}

impl FakeLink {
    /// Answers the next request so; those that nothing was said of are answered with `{}`.
    pub(crate) fn reply(&self, reply: Reply) {
        self.replies.lock().unwrap().push_back(reply);
    }

    pub(crate) fn offer_push(&self) {
        self.push.store(true, Ordering::Relaxed);
    }

    /// From now on waiting for news fails at once.
    pub(crate) fn break_push(&self) {
        self.broken.store(true, Ordering::Relaxed);
        self.news.notify_one();
    }

    pub(crate) fn tell_news(&self) {
        self.news.notify_one();
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// How often news were waited for.
    pub(crate) fn polls(&self) -> usize {
        *self.polls.lock().unwrap()
    }
}

#[async_trait]
impl Link for FakeLink {
    async fn request(&self, message: Message) -> Result<Message, LinkError> {
        self.asked.lock().unwrap().push(Asked {
            at: Instant::now(),
            meta: message.meta.clone().into_iter().collect(),
            content: message.decode().unwrap(),
        });
        let reply = self.replies.lock().unwrap().pop_front().unwrap_or_else(|| Reply::Json(json!({})));
        let answer = Message::new(Kind::Report);
        match reply {
            Reply::Json(value) => Ok(answer.with_content(&value).unwrap()),
            Reply::Dated(value, date) => Ok(answer.with_content(&value).unwrap().with_meta("date", date)),
            Reply::Refused(status, code, body) => {
                Err(LinkError::Rejected { status, code: code.to_owned(), body: body.to_owned() })
            }
            Reply::BadAnswer => {
                Err(LinkError::BadAnswer { address: "fake".to_owned(), reason: "too large".to_owned() })
            }
            Reply::Unreachable => {
                Err(LinkError::Unreachable { address: "fake".to_owned(), source: "cut".into() })
            }
            Reply::Never => std::future::pending().await,
        }
    }

    fn state(&self) -> LinkState {
        LinkState::Unknown
    }

    fn changes(&self) -> Option<&dyn ChangeWait> {
        self.push.load(Ordering::Relaxed).then_some(self as &dyn ChangeWait)
    }
}

#[async_trait]
impl ChangeWait for FakeLink {
    async fn wait(&self) -> Result<bool, LinkError> {
        *self.polls.lock().unwrap() += 1;
        if !self.broken.load(Ordering::Relaxed) {
            self.news.notified().await;
        }
        if self.broken.load(Ordering::Relaxed) {
            return Err(LinkError::Unreachable { address: "fake".to_owned(), source: "cut".into() });
        }
        Ok(true)
    }
}
