//! What passed through the seams, in order: counted, hashed, and the last of it kept to be read.
//!
//! Knows nothing of what the words mean. The hash holds all of them, so two runs of one seed that differ
//! anywhere differ in it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// How many of the last events a failure shows.
const SHOWN: usize = 60;

/// The trace of one run. Clones are the same trace.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    start: Instant,
    hash: u64,
    events: u32,
    counts: BTreeMap<&'static str, u32>,
    last: VecDeque<String>,
    aloud: bool,
    violation: Option<String>,
}

/// How a run went, as far as two runs of one seed must agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) hash: u64,
    pub(crate) events: u32,
    pub(crate) counts: BTreeMap<&'static str, u32>,
}

impl Trace {
    /// An empty trace that begins now; `aloud` prints each event.
    pub(crate) fn new(aloud: bool) -> Self {
        let inner = Inner {
            start: Instant::now(),
            // FNV-1a: the same on every machine and in every run.
            hash: 0xcbf2_9ce4_8422_2325,
            events: 0,
            counts: BTreeMap::new(),
            last: VecDeque::new(),
            aloud,
            violation: None,
        };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// Takes an event in. `kind` is what is counted.
    pub(crate) fn event(&self, kind: &'static str, detail: impl fmt::Display) {
        let mut inner = self.lock();
        let line = format!("{:>12.6} {kind} {detail}", inner.start.elapsed().as_secs_f64());
        for byte in line.bytes() {
            inner.hash = (inner.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        inner.events += 1;
        *inner.counts.entry(kind).or_default() += 1;
        if inner.aloud {
            println!("{line}");
        }
        if inner.last.len() == SHOWN {
            inner.last.pop_front();
        }
        inner.last.push_back(line);
    }

    /// An invariant is broken. The first one counts.
    pub(crate) fn violation(&self, what: impl fmt::Display) {
        self.event("violation", &what);
        let mut inner = self.lock();
        if inner.violation.is_none() {
            let last: Vec<&str> = inner.last.iter().map(String::as_str).collect();
            let report = format!("{what}\nthe last events:\n{}", last.join("\n"));
            inner.violation = Some(report);
        }
    }

    /// The first broken invariant, with the events before it.
    pub(crate) fn broken(&self) -> Option<String> {
        self.lock().violation.clone()
    }

    pub(crate) fn summary(&self) -> Summary {
        let inner = self.lock();
        Summary { hash: inner.hash, events: inner.events, counts: inner.counts.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A task of the agent that panicked inside a seam must not hide what was seen so far.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
