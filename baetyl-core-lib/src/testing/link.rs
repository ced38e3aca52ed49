//! A link to a cloud that a test plays.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::Notify;

use crate::error::Chain;
use crate::link::{ChangeWait, Link, LinkError, LinkState};
use crate::spec::Message;

type Handler = dyn Fn(Message) -> Result<Message, LinkError> + Send + Sync;

/// A link to a cloud that a test plays: each request goes to a function. Clones are the same link.
///
/// ```
/// use baetyl_core_lib::link::Link;
/// use baetyl_core_lib::spec::{Kind, Message};
/// use baetyl_core_lib::testing::MemoryLink;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), baetyl_core_lib::link::LinkError> {
/// let link = MemoryLink::new(|request| Ok(Message::new(request.kind).with_meta("node", "n1")));
/// let answer = link.request(Message::new(Kind::Report)).await?;
/// assert_eq!(answer.meta["node"], "n1");
/// assert_eq!(link.requests().len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MemoryLink {
    handler: Arc<Handler>,
    inner: Arc<Mutex<Line>>,
    moved: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Line {
    requests: Vec<Message>,
    scripted: VecDeque<Result<Message, LinkError>>,
    state: LinkState,
    dead: bool,
    held: bool,
    pushes: bool,
    news: bool,
    hold_over: bool,
}

impl MemoryLink {
    /// A link whose requests are answered by `handler`.
    pub fn new(handler: impl Fn(Message) -> Result<Message, LinkError> + Send + Sync + 'static) -> Self {
        Self { handler: Arc::new(handler), inner: Arc::default(), moved: Arc::default() }
    }

    /// The same link, with a cloud that tells of news: [`Link::changes`] is there.
    #[must_use]
    pub fn with_changes(self) -> Self {
        self.lock().pushes = true;
        self
    }

    /// Gives this answer to the next request in place of the handler's; several are given in turn.
    pub fn script(&self, answer: Result<Message, LinkError>) {
        self.lock().scripted.push_back(answer);
    }

    /// All requests so far that reached the cloud, oldest first.
    pub fn requests(&self) -> Vec<Message> {
        self.lock().requests.clone()
    }

    /// From now on the cloud cannot be reached.
    pub fn go_away(&self) {
        self.lock().dead = true;
        self.moved.notify_waiters();
    }

    /// The cloud can be reached again.
    pub fn come_back(&self) {
        self.lock().dead = false;
    }

    /// Requests reach the cloud, but answers wait until [`MemoryLink::release`].
    pub fn hold(&self) {
        self.lock().held = true;
    }

    /// Lets answers through.
    pub fn release(&self) {
        self.lock().held = false;
        self.moved.notify_waiters();
    }

    /// The cloud has news.
    pub fn news(&self) {
        self.lock().news = true;
        self.moved.notify_waiters();
    }

    /// The hold time of a poll that waits is over.
    pub fn end_hold(&self) {
        self.lock().hold_over = true;
        self.moved.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        // A test that failed may have poisoned it; the others go on.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `ready` says something. Dropping it takes nothing.
    async fn until<T>(&self, ready: impl Fn(&mut Line) -> Option<T>) -> T {
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            if let Some(value) = ready(&mut self.lock()) {
                return value;
            }
            moved.await;
        }
    }
}

fn dead() -> LinkError {
    LinkError::Unreachable { address: "memory".into(), source: "the line is dead".into() }
}

impl fmt::Debug for MemoryLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLink").field("line", &self.inner).finish_non_exhaustive()
    }
}

#[async_trait]
impl Link for MemoryLink {
    async fn request(&self, message: Message) -> Result<Message, LinkError> {
        let scripted = {
            let mut line = self.lock();
            if line.dead {
                let error = dead();
                line.state = LinkState::NetworkError(Chain(&error).to_string());
                return Err(error);
            }
            line.requests.push(message.clone());
            line.scripted.pop_front()
        };
        let answer = scripted.unwrap_or_else(|| (self.handler)(message));
        let lost = self.until(|line| (line.dead || !line.held).then_some(line.dead)).await;
        let answer = if lost { Err(dead()) } else { answer };
        self.lock().state = match &answer {
            Ok(_) => LinkState::Succeeded,
            Err(LinkError::Rejected { status: 404, body, .. }) if body.contains("(node) resource") => {
                LinkState::NodeNotFound(body.clone())
            }
            Err(LinkError::Rejected { status, .. }) if !matches!(status, 401 | 403) => LinkState::Succeeded,
            Err(error) => LinkState::NetworkError(Chain(error).to_string()),
        };
        answer
    }

    fn state(&self) -> LinkState {
        self.lock().state.clone()
    }

    fn changes(&self) -> Option<&dyn ChangeWait> {
        self.lock().pushes.then_some(self)
    }
}

#[async_trait]
impl ChangeWait for MemoryLink {
    async fn wait(&self) -> Result<bool, LinkError> {
        self.until(|line| {
            if line.dead {
                Some(Err(dead()))
            } else if std::mem::take(&mut line.news) {
                Some(Ok(true))
            } else {
                std::mem::take(&mut line.hold_over).then_some(Ok(false))
            }
        })
        .await
    }
}
