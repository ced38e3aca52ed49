//! When to report next. Pure: what happens, the time and the random number are arguments.
//!
//! Time is the time since any fixed moment. One report at a time: while one is under way none is due.

use std::time::Duration;

use baetyl_core_lib::backoff::Backoff;

/// The longest wait for the next try on a line that fails.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);
/// The shortest such wait.
const SHORTEST_BACKOFF: Duration = Duration::from_secs(1);
/// How long changes are gathered that follow a report closely.
const GATHER: Duration = Duration::from_millis(100);
/// At most one report in this time for changes of the node.
const SPACING: Duration = Duration::from_secs(1);
/// Reports at an interval are late by less than this, so that nodes that started together drift apart.
const JITTER_MILLIS: u32 = 100;

/// How often to report when nothing happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intervals {
    /// To a cloud that has to be asked for news.
    pub plain: Duration,
    /// To a cloud that tells when there is news.
    pub push: Duration,
}

impl Default for Intervals {
    fn default() -> Self {
        Self { plain: Duration::from_secs(20), push: Duration::from_secs(300) }
    }
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Something of the node changed that the cloud should know soon.
    Changed,
    /// The cloud has news.
    News,
    /// A report is under way.
    Sent,
    /// The report was answered; whether the cloud tells when there is news.
    Answered {
        /// Whether it does.
        push: bool,
    },
    /// The report failed; how long the cloud asks to wait.
    Failed {
        /// As far as it said.
        retry_after: Option<Duration>,
    },
    /// The cloud cannot be relied on to tell news for now.
    PushLost,
}

/// When to report next.
///
/// ```
/// use std::time::Duration;
///
/// use baetyl_sync::cadence::{Cadence, Event, Intervals};
///
/// let mut cadence = Cadence::new(Intervals::default());
/// cadence.on(Duration::ZERO, 0, Event::Sent);
/// assert_eq!(cadence.due(), None, "one report at a time");
/// cadence.on(Duration::from_millis(30), 0, Event::Answered { push: false });
/// assert_eq!(cadence.due(), Some(Duration::from_secs(20)));
/// cadence.on(Duration::from_secs(5), 0, Event::News);
/// assert_eq!(cadence.due(), Some(Duration::from_secs(5)));
/// ```
#[derive(Debug, Clone)]
pub struct Cadence {
    intervals: Intervals,
    push: bool,
    failures: u32,
    under_way: bool,
    /// When the last report went out.
    sent: Option<Duration>,
    /// When the next one goes without any cause, or after a failure.
    next: Duration,
    /// When the next one goes because something changed.
    changed: Option<Duration>,
    /// When the next one goes because the cloud has news.
    news: Option<Duration>,
}

impl Cadence {
    /// The first report is due at once.
    pub const fn new(intervals: Intervals) -> Self {
        Self {
            intervals,
            push: false,
            failures: 0,
            under_way: false,
            sent: None,
            next: Duration::ZERO,
            changed: None,
            news: None,
        }
    }

    /// When the next report is due; `None` while one is under way. A moment that has passed means now.
    pub fn due(&self) -> Option<Duration> {
        if self.under_way {
            return None;
        }
        // On a line that fails, changes of the node wait for the next try.
        let changed = if self.failures > 0 { None } else { self.changed };
        [changed, self.news].into_iter().flatten().chain([self.next]).min()
    }

    /// Whether something changed that no report has told, and the line is good.
    pub const fn owes(&self) -> bool {
        self.changed.is_some() && self.failures == 0
    }

    /// Takes an event in. `random` is drawn evenly from all of `u32`.
    pub fn on(&mut self, now: Duration, random: u32, event: Event) {
        match event {
            Event::Changed => {
                let due = match self.sent {
                    Some(sent) if now < sent + SPACING => (now + GATHER).max(sent + SPACING),
                    _ => now,
                };
                self.changed.get_or_insert(due);
            }
            // A cloud that tells news without end gets no more than a report in this time.
            Event::News => self.news = Some(self.sent.map_or(now, |sent| now.max(sent + GATHER))),
            Event::Sent => {
                self.under_way = true;
                self.sent = Some(now);
                self.changed = None;
                self.news = None;
            }
            Event::Answered { push } => {
                self.under_way = false;
                self.failures = 0;
                self.push = push;
                self.next = self.sent.unwrap_or(now) + self.interval() + jitter(random);
            }
            Event::Failed { retry_after } => {
                self.under_way = false;
                self.failures = self.failures.saturating_add(1);
                self.push = false;
                // One step further than it is, so that the first try again is spread as well.
                let delay = self.backoff().delay(self.failures.saturating_add(1), random);
                let asked = retry_after.unwrap_or_default().min(LONGEST_BACKOFF);
                self.next = now + delay.max(asked);
            }
            Event::PushLost => {
                self.push = false;
                let plain = self.sent.unwrap_or(now) + self.intervals.plain;
                // A cloud that goes away leaves all its nodes at once: they come back one after the other.
                let spread = (self.intervals.plain / 4).mul_f64(f64::from(random) / f64::from(u32::MAX));
                self.next = self.next.min(plain.max(now + spread));
            }
        }
    }

    /// How often to report when nothing happens, as far as is known now.
    pub const fn interval(&self) -> Duration {
        if self.push { self.intervals.push } else { self.intervals.plain }
    }

    fn backoff(&self) -> Backoff {
        let max = self.interval().clamp(SHORTEST_BACKOFF, LONGEST_BACKOFF);
        Backoff { min: SHORTEST_BACKOFF, max, factor: 2 }
    }
}

fn jitter(random: u32) -> Duration {
    Duration::from_millis((random % JITTER_MILLIS).into())
}

#[cfg(test)]
mod tests;
