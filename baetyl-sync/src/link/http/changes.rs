//! Waiting for news over HTTP: the extension `changes/1` (`docs/PROTOCOL.md`, design.md 2).
//!
//! The cloud offers it in the header of an answer to a report; the node then holds a request that is answered
//! when there is news. A cloud of the original offers nothing and is polled.

use std::time::Duration;

use async_trait::async_trait;
use baetyl_core_lib::link::{ChangeWait, LinkError};
use baetyl_core_lib::spec::{Kind, Message};
use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::answer::{self, Answer};
use super::{HttpLink, headers, lock};

/// The header in which extensions are offered, by both sides.
pub(super) const EXTENSION: &str = "x-baetyl-ext";
/// What this side offers.
pub(super) const OFFER: &str = "changes/1";

const PATH: &str = "v1/sync/changes";
/// How long the cloud holds a request that says nothing of it: short enough for nearly every way.
const HOLD: Duration = Duration::from_secs(50);
/// How long requests are held at most, where the way lets them live. TCP's own signs of life are cheaper than
/// a request, and notice a way that is gone.
const LONGEST: Duration = Duration::from_secs(290);
/// How much later than that an answer may come.
const GRACE: Duration = Duration::from_secs(10);
/// The shortest time after which this side ends a request on a way that lets none live longer.
const SHORTEST: Duration = Duration::from_secs(5);

/// What is known of the cloud's offer.
#[derive(Debug, Default)]
pub(super) struct Changes {
    cursor: Option<Cursor>,
    /// How long the next request is to be held, where that was tried to be longer than the cloud's own time.
    longer: Option<Duration>,
    /// How long a request lives on this way, where that was found to be less than the cloud holds it.
    lives: Option<Duration>,
    /// Requests that were cut off in a row.
    cuts: u32,
}

/// Up to where the node knows what the cloud has, and which address said so.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cursor {
    address: usize,
    text: String,
}

/// The body of both directions.
#[derive(Debug, Serialize, Deserialize)]
struct CursorBody {
    cursor: String,
    /// How many seconds the cloud should hold the request at most; only asked for where its own time is too
    /// long or too short for the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hold: Option<u64>,
}

impl Changes {
    /// Takes note of what an answer to a report offers.
    pub(super) fn offered(&mut self, address: usize, header: Option<&str>) {
        self.cursor = header.and_then(cursor).map(|text| Cursor { address, text: text.to_owned() });
    }

    pub(super) const fn is_offered(&self) -> bool {
        self.cursor.is_some()
    }

    /// Takes the cursor of an answer that tells news, for a request that held `asked`. Whether it is news: the
    /// answer to a report may have brought it meanwhile.
    fn told(&mut self, asked: &Cursor, text: String) -> bool {
        let known = self.cursor.as_ref();
        if known.is_some_and(|known| known.address == asked.address && known.text == text) {
            return text == asked.text;
        }
        if known == Some(asked) {
            self.cursor = Some(Cursor { address: asked.address, text });
        }
        true
    }

    /// How long the next request is to be held; `None` for the cloud's own time.
    fn hold(&self) -> Option<Duration> {
        self.lives.or(self.longer)
    }

    /// Takes note that a request was held to its end: the next one may be held for longer.
    fn held(&mut self) {
        self.cuts = 0;
        if self.lives.is_none() {
            self.longer = Some(LONGEST);
        }
    }

    /// Takes note that a request was cut off after `lived`. Once is an accident, twice is the way's habit; but
    /// one that was held for longer than usual was held for too long.
    fn cut_off(&mut self, lived: Duration) {
        if lived < SHORTEST {
            return;
        }
        if self.longer.take().is_some() {
            self.lives = Some((lived / 4 * 3).max(HOLD));
            return;
        }
        self.cuts += 1;
        if self.cuts > 1 {
            let shorter = (lived / 4 * 3).max(SHORTEST);
            self.lives = Some(self.lives.map_or(shorter, |lives| lives.min(shorter)));
        }
    }
}

#[async_trait]
impl ChangeWait for HttpLink {
    async fn wait(&self) -> Result<bool, LinkError> {
        loop {
            let (cursor, hold, lives) = {
                let changes = lock(&self.changes);
                let Some(cursor) = changes.cursor.clone() else { return Ok(false) };
                (cursor, changes.hold(), changes.lives)
            };
            let started = Instant::now();
            match self.poll(&cursor, hold, lives).await {
                Ok(answer) if answer.status == StatusCode::NO_CONTENT => {
                    lock(&self.changes).held();
                    return Ok(false);
                }
                Ok(answer) => {
                    let address = &self.addresses[cursor.address].text;
                    let content = answer.content(address, &self.templates)?;
                    let body: CursorBody = serde_json::from_str(content.get())
                        .map_err(|error| answer::bad(address, &format!("it holds no cursor, {error}")))?;
                    if lock(&self.changes).told(&cursor, body.cursor) {
                        return Ok(true);
                    }
                }
                // This side ended it, before the way does.
                Err(LinkError::Timeout { .. }) if lives.is_some() => return Ok(false),
                Err(LinkError::Rejected { status: 404 | 405, .. }) => {
                    lock(&self.changes).cursor = None;
                    return Ok(false);
                }
                Err(error) => {
                    self.leave_silent_connection(&error);
                    lock(&self.changes).cut_off(started.elapsed());
                    return Err(error);
                }
            }
        }
    }
}

impl HttpLink {
    async fn poll(
        &self,
        cursor: &Cursor,
        hold: Option<Duration>,
        lives: Option<Duration>,
    ) -> Result<Answer, LinkError> {
        let body = CursorBody { cursor: cursor.text.clone(), hold: hold.map(|hold| hold.as_secs()) };
        // A little longer than what is asked for, and still shorter than what the way lets live.
        let timeout = lives.map_or(hold.unwrap_or(HOLD) + GRACE, |lives| lives + lives / 6);
        let message = Message::new(Kind::Changes)
            .with_content(&body)
            .map_err(|error| LinkError::Invalid { reason: error.to_string() })?;
        let headers = headers(&message)?;
        let body = Bytes::from(String::from(Box::<str>::from(message.content)));
        self.exchange(cursor.address, PATH, headers, body, timeout).await
    }
}

/// The cursor in an offer: `changes/1; cursor=<text>`.
fn cursor(header: &str) -> Option<&str> {
    let mut parts = header.split(';').map(str::trim);
    let offered = parts.next()? == OFFER;
    let cursor = parts.find_map(|part| part.strip_prefix("cursor="))?;
    (offered && !cursor.is_empty()).then_some(cursor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Cursor {
        Cursor { address: 0, text: text.to_owned() }
    }

    #[test]
    fn an_offer_is_read_as_the_protocol_says() {
        for (header, expected) in [
            ("changes/1;cursor=abc", Some("abc")),
            ("changes/1; cursor=a=b", Some("a=b")),
            ("changes/1; x=y; cursor=1", Some("1")),
            ("changes/2; cursor=1", None),
            ("changes/1", None),
            ("changes/1; cursor=", None),
            ("", None),
        ] {
            assert_eq!(cursor(header), expected, "{header}");
        }
    }

    #[test]
    fn news_that_a_report_has_brought_meanwhile_is_none() {
        let mut changes = Changes::default();
        changes.offered(0, Some("changes/1; cursor=2"));
        assert!(!changes.told(&at("1"), "2".to_owned()));
        assert!(changes.told(&at("1"), "3".to_owned()), "something else is news");
        assert_eq!(changes.cursor, Some(at("2")), "and the later cursor stays");
    }

    #[test]
    fn the_cursor_moves_with_news() {
        let mut changes = Changes::default();
        changes.offered(0, Some("changes/1; cursor=1"));
        assert!(changes.told(&at("1"), "2".to_owned()));
        assert_eq!(changes.cursor, Some(at("2")));
        assert!(changes.told(&at("2"), "2".to_owned()), "a cloud that insists is believed");
    }

    #[test]
    fn requests_are_held_for_longer_while_the_way_lets_them_live() {
        let mut changes = Changes::default();
        let seconds = |changes: &Changes| changes.hold().map(|hold| hold.as_secs());
        assert_eq!(seconds(&changes), None, "the first one is the cloud's to say");
        changes.held();
        assert_eq!(seconds(&changes), Some(290));
        changes.cut_off(Duration::from_secs(120));
        assert_eq!(seconds(&changes), Some(90), "what was too long is not tried again");
        changes.held();
        assert_eq!(seconds(&changes), Some(90));

        let mut changes = Changes::default();
        changes.held();
        changes.cut_off(Duration::from_secs(7));
        assert_eq!(seconds(&changes), Some(50), "one accident never makes it shorter than usual");
    }

    #[test]
    fn a_way_that_cuts_twice_is_used_for_shorter_and_once_is_an_accident() {
        let mut changes = Changes::default();
        changes.cut_off(Duration::from_millis(10));
        changes.cut_off(Duration::from_secs(20));
        assert_eq!(changes.lives, None);
        changes.cut_off(Duration::from_secs(20));
        assert_eq!(changes.lives, Some(Duration::from_secs(15)));
        changes.cut_off(Duration::from_secs(40));
        assert_eq!(changes.lives, Some(Duration::from_secs(15)));
    }
}
