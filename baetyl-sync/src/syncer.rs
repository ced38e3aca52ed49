//! The syncer: brings the report out to the cloud and the desire in.
//!
//! Writes the desire half of the shadow and nothing else. Knows nothing of engines, and nothing of what a
//! link is made of; when to report is decided by [`crate::cadence`].

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use baetyl_core_lib::application::Role;
use baetyl_core_lib::backoff::Backoff;
use baetyl_core_lib::clock::{Clock, Random};
use baetyl_core_lib::error::{BoxError, Chain};
use baetyl_core_lib::link::{Link, LinkError};
use baetyl_core_lib::shadow::Shadow;
use baetyl_core_lib::shadow::rebuild::Sent;
use baetyl_core_lib::spec::{Delta, Desire, Kind, Message, Report, Timestamp};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::exchange::{desired, is_whole, prepare};
use self::worth::worth;
use crate::cadence::{Cadence, Event, Intervals};

mod exchange;
mod worth;

/// How long to wait before news are waited for again after that failed.
const POLL_BACKOFF: Backoff =
    Backoff { min: Duration::from_secs(1), max: Duration::from_secs(60), factor: 2 };

/// How the syncer goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncConfig {
    /// How often to report when nothing happens (`sync.report.interval`).
    pub intervals: Intervals,
    /// How long the end of the program waits for a report that is under way or owed.
    pub flush: Duration,
}

impl Default for SyncConfig {
    fn default() -> Self {
        Self { intervals: Intervals::default(), flush: Duration::from_secs(3) }
    }
}

/// What a syncer is made of.
#[derive(Debug, Clone)]
pub struct SyncerParts {
    /// The way to the cloud.
    pub link: Arc<dyn Link>,
    /// Where report and desire meet.
    pub shadow: Arc<dyn Shadow>,
    /// Stamps reports; learns the time from verified answers.
    pub clock: Arc<dyn Clock>,
    /// Spreads reports of many nodes.
    pub random: Arc<dyn Random>,
    /// Which part of the node this is: init waits for no news and learns of the system's applications only.
    pub role: Role,
    /// How to go about it.
    pub config: SyncConfig,
}

/// Reports to the cloud and makes its answers the desire.
#[derive(Debug)]
pub struct Syncer {
    parts: SyncerParts,
    cadence: Cadence,
    origin: Instant,
    /// The report that was sent last, as the device side wrote it.
    told: Option<Arc<Report>>,
    /// How often it reports for now.
    interval: watch::Sender<Duration>,
    /// Whether a report was ever answered.
    met: bool,
    /// Whether the last report failed: a line that is dead for days is not worth a warning each time.
    failing: bool,
    /// Whether the last report was answered, and no news came since.
    settled: bool,
    poll_failures: u32,
}

/// A request that is under way, with the sections that it sent.
type Exchange = Pin<Box<dyn Future<Output = (Sent, Result<Message, LinkError>)> + Send>>;
/// Waiting for news.
type Poll = Pin<Box<dyn Future<Output = Result<bool, LinkError>> + Send>>;

/// What ended a wait.
enum Woken {
    Stop,
    Answer(Sent, Result<Message, LinkError>),
    Poll(Result<bool, LinkError>),
    Report,
    Due,
}

impl Syncer {
    /// A syncer that has not begun.
    pub fn new(parts: SyncerParts) -> Self {
        let cadence = Cadence::new(parts.config.intervals);
        let interval = watch::Sender::new(parts.config.intervals.plain);
        Self {
            parts,
            cadence,
            origin: Instant::now(),
            told: None,
            interval,
            met: false,
            failing: false,
            settled: false,
            poll_failures: 0,
        }
    }

    /// How often it reports when nothing happens, as that changes: measuring more often is of no use.
    pub fn interval(&self) -> watch::Receiver<Duration> {
        self.interval.subscribe()
    }

    /// Reports until `shutdown` is cancelled; then lets a report that is under way come to its end, sends one
    /// that is owed, and returns within [`SyncConfig::flush`].
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut report = self.parts.shadow.report();
        let mut exchange: Option<Exchange> = None;
        let mut poll: Option<Poll> = None;
        self.origin = Instant::now();
        loop {
            if poll.is_none() {
                poll = self.start_poll();
            }
            let now = Arc::clone(&report.borrow_and_update());
            self.look(&now);
            let whole = is_whole(&now, self.parts.role);
            let due = self.cadence.due().filter(|_| whole).map(|due| self.origin + due);
            let woken = tokio::select! {
                biased;
                // Cancel-safe: a token stays cancelled.
                () = shutdown.cancelled() => Woken::Stop,
                // The future is kept and polled on.
                (sent, answer) = ready(&mut exchange) => Woken::Answer(sent, answer),
                // The future is kept and polled on.
                news = ready(&mut poll) => Woken::Poll(news),
                // Cancel-safe: the moment is fixed.
                () = at(due) => Woken::Due,
                // Cancel-safe: a change stays marked as not seen.
                changed = report.changed() => if changed.is_ok() { Woken::Report } else { Woken::Stop },
            };
            match woken {
                Woken::Stop => break,
                Woken::Answer(sent, answer) => {
                    exchange = None;
                    self.settle(&sent, answer).await;
                }
                Woken::Poll(news) => {
                    poll = None;
                    self.polled(news);
                }
                Woken::Report => {}
                Woken::Due => exchange = Some(self.send(now)),
            }
        }
        drop(poll);
        self.flush(&report, exchange).await;
    }

    /// Takes a look at the report as it is now.
    fn look(&mut self, now: &Arc<Report>) {
        if self.told.as_ref().is_some_and(|told| !Arc::ptr_eq(told, now) && worth(told, now)) {
            self.on(Event::Changed);
        }
    }

    /// Starts a report.
    fn send(&mut self, report: Arc<Report>) -> Exchange {
        let desire = Arc::clone(&self.parts.shadow.desire().borrow());
        let (document, sent) = prepare(&report, &desire, self.parts.clock.now());
        self.told = Some(report);
        self.on(Event::Sent);
        let link = Arc::clone(&self.parts.link);
        let message = Message::new(Kind::Report).with_meta("source", self.parts.role.source());
        Box::pin(async move {
            let answer = match message.with_content(&document) {
                Ok(message) => link.request(message).await,
                Err(error) => Err(LinkError::Invalid { reason: error.to_string() }),
            };
            (sent, answer)
        })
    }

    /// Brings a report that has ended home.
    async fn settle(&mut self, sent: &Sent, answer: Result<Message, LinkError>) {
        let message = match answer {
            Ok(message) => message,
            Err(error) => {
                if std::mem::replace(&mut self.failing, true) {
                    tracing::debug!(error = %Chain(&error), "report failed again");
                } else {
                    tracing::warn!(error = %Chain(&error), "report failed, it will be sent again");
                }
                let retry_after = match error {
                    LinkError::Unavailable { retry_after, .. } => retry_after,
                    _ => None,
                };
                return self.on(Event::Failed { retry_after });
            }
        };
        let failed = std::mem::take(&mut self.failing);
        if !std::mem::replace(&mut self.met, true) {
            tracing::info!("first report is answered");
        } else if failed {
            tracing::info!("reports are answered again");
        }
        if let Some(time) = message.meta.get("date").and_then(|text| Timestamp::parse(text)) {
            self.parts.clock.raise_floor(time);
        }
        if let Err(error) = self.take(sent, &message).await {
            tracing::warn!(error = %Chain(&*error), "answer to a report was not taken, it will be asked again");
            return self.on(Event::Failed { retry_after: None });
        }
        let push = self.parts.link.changes().is_some();
        self.on(Event::Answered { push });
    }

    /// Makes an answer the desire. `null` says nothing: the cloud leaves the node to itself.
    async fn take(&self, sent: &Sent, message: &Message) -> Result<(), BoxError> {
        let Some(delta) = message.decode::<Option<Delta>>()? else { return Ok(()) };
        let stored: Arc<Desire> = Arc::clone(&self.parts.shadow.desire().borrow());
        let desire = desired(&stored, sent, &delta, self.parts.role);
        if desire != *stored {
            tracing::info!("the cloud's desire changed");
            self.parts.shadow.apply_desire(desire).await?;
        }
        Ok(())
    }

    /// Starts waiting for news where that is to be had, and once it is known what there was before.
    fn start_poll(&self) -> Option<Poll> {
        if !self.settled || self.parts.role == Role::Init || self.parts.link.changes().is_none() {
            return None;
        }
        let delay = match self.poll_failures {
            0 => Duration::ZERO,
            failures => POLL_BACKOFF.delay(failures.saturating_add(1), self.parts.random.next_u32()),
        };
        let link = Arc::clone(&self.parts.link);
        Some(Box::pin(async move {
            tokio::time::sleep(delay).await;
            match link.changes() {
                Some(changes) => changes.wait().await,
                None => Ok(false),
            }
        }))
    }

    fn polled(&mut self, news: Result<bool, LinkError>) {
        match news {
            Ok(news) => {
                self.poll_failures = 0;
                if news {
                    self.on(Event::News);
                } else if self.parts.link.changes().is_none() {
                    self.on(Event::PushLost);
                }
            }
            Err(error) => {
                self.poll_failures = self.poll_failures.saturating_add(1);
                tracing::info!(error = %Chain(&error), "waiting for news failed");
                self.on(Event::PushLost);
            }
        }
    }

    /// Ends in order: the report that is under way, then one that is owed.
    async fn flush(mut self, report: &watch::Receiver<Arc<Report>>, exchange: Option<Exchange>) {
        let deadline = Instant::now() + self.parts.config.flush;
        let last = async {
            if let Some(exchange) = exchange {
                let (sent, answer) = exchange.await;
                self.settle(&sent, answer).await;
            }
            let now = Arc::clone(&report.borrow());
            self.look(&now);
            if self.cadence.owes() && is_whole(&now, self.parts.role) {
                let (sent, answer) = self.send(now).await;
                self.settle(&sent, answer).await;
            }
        };
        if tokio::time::timeout_at(deadline, last).await.is_err() {
            tracing::info!("the last report was given up");
        }
    }

    fn on(&mut self, event: Event) {
        match event {
            Event::Answered { .. } => self.settled = true,
            Event::Sent | Event::Failed { .. } | Event::News => self.settled = false,
            Event::Changed | Event::PushLost => {}
        }
        self.cadence.on(self.origin.elapsed(), self.parts.random.next_u32(), event);
        let interval = self.cadence.interval();
        self.interval.send_if_modified(|last| std::mem::replace(last, interval) != interval);
    }
}

/// The result of a future that may not be there; pending while it is not.
async fn ready<T>(future: &mut Option<Pin<Box<dyn Future<Output = T> + Send>>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// That moment; never when there is none.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
