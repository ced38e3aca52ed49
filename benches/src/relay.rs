//! A relay between node and cloud that counts what passes, as a meter on the line would.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use crate::clock::now;
use crate::error::BenchError;

/// The largest payload of a segment on an ordinary line.
const SEGMENT: usize = 1448;
/// IPv4 and TCP headers with timestamps, of data and of the acknowledgement of it.
const HEADER: usize = 52;
/// The segments that open and close a connection.
const CONNECTION: usize = 7;
/// After so much silence the node's TCP asks and the cloud's answers.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// What passed.
#[derive(Debug, Default)]
struct Count {
    up: AtomicUsize,
    down: AtomicUsize,
    segments: AtomicUsize,
    connections: AtomicUsize,
}

/// What passed so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Passed {
    /// Bytes from the node, TLS included.
    pub(crate) up: usize,
    /// Bytes to the node, TLS included.
    pub(crate) down: usize,
    /// Headers of IP and TCP: of each segment, its acknowledgement, of keep-alive probes, and of opening and
    /// closing. Reckoned, since loopback has other segments than a line.
    pub(crate) headers: usize,
    /// Connections.
    pub(crate) connections: usize,
}

impl Passed {
    /// Everything.
    pub(crate) const fn all(self) -> usize {
        self.up + self.down + self.headers
    }

    /// What passed since then.
    pub(crate) const fn since(self, before: Self) -> Self {
        Self {
            up: self.up - before.up,
            down: self.down - before.down,
            headers: self.headers - before.headers,
            connections: self.connections - before.connections,
        }
    }
}

/// A relay on a port of its own.
#[derive(Debug)]
pub(crate) struct Relay {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    to: Arc<OnceLock<SocketAddr>>,
    count: Arc<Count>,
}

impl Relay {
    /// Listens; where to is told later.
    pub(crate) fn start() -> Result<Self, BenchError> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(BenchError::when("relay"))?;
        let address = listener.local_addr().map_err(BenchError::when("relay"))?;
        let (to, count) = (Arc::new(OnceLock::new()), Arc::new(Count::default()));
        let relay = Self { address, to: Arc::clone(&to), count: Arc::clone(&count) };
        thread::spawn(move || {
            for node in listener.incoming().flatten() {
                let cloud = to.get().and_then(|to| TcpStream::connect(to).ok());
                if let Some(cloud) = cloud {
                    connection(node, cloud, &count);
                }
            }
        });
        Ok(relay)
    }

    /// Where it relays to.
    pub(crate) fn relay_to(&self, address: SocketAddr) {
        self.to.get_or_init(|| address);
    }

    /// What passed so far.
    pub(crate) fn passed(&self) -> Passed {
        let of = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        Passed {
            up: of(&self.count.up),
            down: of(&self.count.down),
            headers: of(&self.count.segments) * HEADER,
            connections: of(&self.count.connections),
        }
    }
}

fn connection(node: TcpStream, cloud: TcpStream, count: &Arc<Count>) {
    count.connections.fetch_add(1, Ordering::Relaxed);
    count.segments.fetch_add(CONNECTION, Ordering::Relaxed);
    // A relay that waits for more would change what is measured.
    node.set_nodelay(true).ok();
    cloud.set_nodelay(true).ok();
    let last = Arc::new(Mutex::new(now()));
    for up in [true, false] {
        let (Ok(from), Ok(to)) = (if up { node.try_clone() } else { cloud.try_clone() }, {
            if up { cloud.try_clone() } else { node.try_clone() }
        }) else {
            return;
        };
        let (count, last) = (Arc::clone(count), Arc::clone(&last));
        thread::spawn(move || pipe(from, to, up, &count, &last));
    }
}

fn pipe(mut from: TcpStream, mut to: TcpStream, up: bool, count: &Count, last: &Mutex<Duration>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let silence = {
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            let silence = now().saturating_sub(*last);
            *last = now();
            silence
        };
        let probes = usize::try_from(silence.as_secs() / KEEPALIVE.as_secs()).unwrap_or(0);
        let bytes = if up { &count.up } else { &count.down };
        bytes.fetch_add(read, Ordering::Relaxed);
        // Each with its acknowledgement.
        count.segments.fetch_add(2 * (read.div_ceil(SEGMENT) + probes), Ordering::Relaxed);
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    to.shutdown(Shutdown::Write).ok();
}
