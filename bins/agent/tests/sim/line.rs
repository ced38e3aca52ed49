//! The way to the cloud: requests go straight to its logic, and meet the weather of the line.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use baetyl_cloud::error::ServiceError;
use baetyl_cloud::service::{Cloud, ReportContext};
use baetyl_core_lib::clock::{Clock, Random as _};
use baetyl_core_lib::link::{ChangeWait, Link, LinkError, LinkState};
use baetyl_core_lib::spec::{Kind, Message};
use baetyl_core_lib::testing::SeededRandom;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::life::Life;
use crate::oracle::{Oracle, Wanted};
use crate::trace::Trace;

const ADDRESS: &str = "cloud";
/// How long a request waits for its answer, and how long the cloud holds a poll.
const PATIENCE: Duration = Duration::from_secs(30);
const HOLD: Duration = Duration::from_secs(50);

/// How the outside fares. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Weather {
    inner: Arc<Mutex<Conditions>>,
}

#[derive(Debug, Default)]
struct Conditions {
    /// Of a thousand calls, so many meet a fault.
    storm: u32,
    /// No byte passes before this.
    dead_until: Option<Instant>,
}

impl Weather {
    /// So many of a thousand calls meet a fault from now on.
    pub(crate) fn set(&self, storm: u32) {
        self.lock().storm = storm;
    }

    /// The line swallows everything for this long.
    pub(crate) fn die(&self, time: Duration) {
        self.lock().dead_until = Some(Instant::now() + time);
    }

    /// From now on all is well.
    pub(crate) fn clear(&self) {
        *self.lock() = Conditions::default();
    }

    /// Whether a fault strikes here, in a storm that is weaker by `shelter`.
    pub(crate) fn strikes(&self, random: &SeededRandom, shelter: u32) -> bool {
        random.next_u32() % 1000 < self.lock().storm.saturating_sub(shelter)
    }

    fn dead_until(&self) -> Option<Instant> {
        self.lock().dead_until.filter(|until| *until > Instant::now())
    }

    fn lock(&self) -> MutexGuard<'_, Conditions> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a request meets on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Refused,
    RequestLost,
    AnswerLost,
    Late,
    Twice,
    Echo,
    Busy,
    Garbage,
    HalfAnswer,
    Empty,
}

const FAULTS: [Fault; 10] = [
    Fault::Refused,
    Fault::RequestLost,
    Fault::AnswerLost,
    Fault::Late,
    Fault::Twice,
    Fault::Echo,
    Fault::Busy,
    Fault::Garbage,
    Fault::HalfAnswer,
    Fault::Empty,
];

impl Fault {
    const fn kind(self) -> &'static str {
        match self {
            Self::Refused => "fault: refused",
            Self::RequestLost => "fault: request lost",
            Self::AnswerLost => "fault: answer lost",
            Self::Late => "fault: late",
            Self::Twice => "fault: twice",
            Self::Echo => "fault: echo",
            Self::Busy => "fault: busy",
            Self::Garbage => "fault: garbage",
            Self::HalfAnswer => "fault: half an answer",
            Self::Empty => "fault: empty answer",
        }
    }
}

/// The link of one run of the agent.
#[derive(Debug)]
pub(crate) struct SimLink {
    line: Arc<Line>,
    cursor: Mutex<Option<String>>,
    state: Mutex<LinkState>,
}

/// All that a request needs on its way; a copy that comes late outlives its link.
pub(crate) struct Line {
    pub(crate) cloud: Arc<Cloud>,
    pub(crate) node: String,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: SeededRandom,
    pub(crate) weather: Weather,
    pub(crate) life: Arc<Life>,
    pub(crate) trace: Trace,
    pub(crate) oracle: Oracle,
    pub(crate) echoes: baetyl_core_lib::task::TaskScope,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("node", &self.node).finish_non_exhaustive()
    }
}

/// What the cloud said.
struct Answer {
    content: Value,
    /// The version of the desire that it told.
    cursor: Option<String>,
}

impl Line {
    async fn ask(&self, message: &Message) -> Result<Answer, LinkError> {
        let body = message.content.get().as_bytes();
        let answered = match message.kind {
            Kind::Report => {
                let source = message.meta.get("source").map_or("", String::as_str);
                let context = ReportContext { source, client_ip: "10.0.0.1" };
                let answered = self.cloud.report(&self.node, context, body).await;
                answered.map(|(content, cursor)| Answer { content: json!(content), cursor: Some(cursor) })
            }
            _ => {
                let answered = self.cloud.desire_request(&self.node, body).await;
                answered.map(|content| Answer { content, cursor: None })
            }
        };
        if let Ok(answer) = &answered {
            self.trace.event("cloud answered", format_args!("{} {}", message.kind, answer.content));
        }
        answered.map_err(|error| refusal(&error))
    }

    async fn travel(&self) {
        let millis = 1 + self.random.next_u32() % 80;
        sleep(Duration::from_millis(millis.into())).await;
    }

    /// Waits while the line is dead; gives up when that takes too long.
    async fn wade(&self, since: Instant) -> Result<(), LinkError> {
        let Some(until) = self.weather.dead_until() else { return Ok(()) };
        self.trace.event("fault: dead line", "");
        sleep_until(until.min(since + PATIENCE)).await;
        if until < since + PATIENCE { Ok(()) } else { Err(timed_out()) }
    }
}

impl SimLink {
    pub(crate) fn new(line: Line) -> Self {
        Self { line: Arc::new(line), cursor: Mutex::default(), state: Mutex::default() }
    }

    async fn carry(&self, message: &Message) -> Result<Answer, LinkError> {
        let (line, since) = (&self.line, Instant::now());
        let fault = line.weather.strikes(&line.random, 0).then(|| {
            let fault = FAULTS[line.random.next_u32() as usize % FAULTS.len()];
            line.trace.event(fault.kind(), &message.kind);
            fault
        });
        line.wade(since).await?;
        line.travel().await;
        match fault {
            Some(Fault::Refused) => {
                let source = "refused".into();
                return Err(LinkError::Unreachable { address: ADDRESS.to_owned(), source });
            }
            Some(Fault::RequestLost) => {
                sleep_until(since + PATIENCE).await;
                return Err(timed_out());
            }
            Some(Fault::Busy) => {
                return Err(LinkError::Unavailable { status: 500, body: String::new(), retry_after: None });
            }
            Some(Fault::Twice) => drop(line.ask(message).await),
            Some(Fault::Echo) => {
                let (line, copy) = (Arc::clone(&self.line), message.clone());
                let delay = Duration::from_millis((line.random.next_u32() % 60_000).into());
                let echoes = line.echoes.clone();
                echoes.spawn("echo", async move {
                    sleep(delay).await;
                    drop(line.ask(&copy).await);
                });
            }
            _ => {}
        }
        line.life.pass("a request that arrived").await;
        let answer = line.ask(message).await;
        line.wade(since).await?;
        line.travel().await;
        match fault {
            Some(Fault::AnswerLost) => {
                sleep_until(since + PATIENCE).await;
                Err(timed_out())
            }
            Some(Fault::Late) => {
                sleep(Duration::from_millis((line.random.next_u32() % 25_000).into())).await;
                answer
            }
            Some(Fault::Garbage) => Ok(Answer { content: json!({ "apps": 7, "values": 7 }), ..answer? }),
            Some(Fault::HalfAnswer) => {
                let reason = "it was cut short".to_owned();
                Err(LinkError::BadAnswer { address: ADDRESS.to_owned(), reason })
            }
            Some(Fault::Empty) => answer.map(|_| Answer { content: Value::Null, cursor: None }),
            _ => answer,
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Link for SimLink {
    async fn request(&self, message: Message) -> Result<Message, LinkError> {
        let line = &self.line;
        line.trace.event("request", format_args!("{} {}", message.kind, message.content.get()));
        line.life.pass("a request, before it").await;
        if message.kind == Kind::Report {
            line.oracle.reports();
        }
        let answer = self.carry(&message).await;
        line.life.pass("a request, after it").await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                line.trace.event("request failed", format_args!("{} {error}", message.kind));
                *lock(&self.state) = LinkState::NetworkError(error.to_string());
                return Err(error);
            }
        };
        *lock(&self.state) = LinkState::Succeeded;
        if message.kind == Kind::Report {
            lock(&self.cursor).clone_from(&answer.cursor);
            match &answer.cursor {
                Some(version) if Wanted::is_delta(&answer.content) => line.oracle.answered(version),
                _ => line.oracle.excused(),
            }
        }
        line.trace.event("answer", format_args!("{} {}", message.kind, answer.content));
        let reply = Message::new(message.kind).with_meta("date", line.clock.now().to_string());
        reply.with_content(&answer.content).map_err(|error| LinkError::Invalid { reason: error.to_string() })
    }

    fn state(&self) -> LinkState {
        lock(&self.state).clone()
    }

    fn changes(&self) -> Option<&dyn ChangeWait> {
        lock(&self.cursor).is_some().then_some(self as &dyn ChangeWait)
    }

    fn duplex(&self) -> Option<&dyn baetyl_core_lib::link::DuplexLink> {
        None
    }
}

#[async_trait]
impl ChangeWait for SimLink {
    async fn wait(&self) -> Result<bool, LinkError> {
        let line = &self.line;
        line.life.pass("a poll, before it").await;
        let Some(asked) = lock(&self.cursor).clone() else { return Ok(false) };
        let since = Instant::now();
        line.wade(since).await?;
        line.travel().await;
        let lost = line.weather.strikes(&line.random, 0);
        let held = line.cloud.changes(&line.node, &asked, HOLD);
        let told = timeout_at(since + HOLD + PATIENCE, held).await.map_err(|_| timed_out())?;
        let told = told.map_err(|error| refusal(&error))?;
        line.wade(Instant::now()).await?;
        line.travel().await;
        line.life.pass("a poll, after it").await;
        if lost {
            line.trace.event("fault: poll lost", "");
            let reason = "it was cut off".to_owned();
            return Err(LinkError::BadAnswer { address: ADDRESS.to_owned(), reason });
        }
        let Some(told) = told else { return Ok(false) };
        line.trace.event("news", &told);
        let mut cursor = lock(&self.cursor);
        if cursor.as_ref() == Some(&asked) {
            *cursor = Some(told);
        }
        Ok(true)
    }
}

fn refusal(error: &ServiceError) -> LinkError {
    let body = error.to_string();
    match error.status() {
        status @ 500.. => LinkError::Unavailable { status, body, retry_after: None },
        status => LinkError::Rejected { status, code: error.code().to_owned(), body },
    }
}

fn timed_out() -> LinkError {
    LinkError::Timeout { address: ADDRESS.to_owned(), after: PATIENCE }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
