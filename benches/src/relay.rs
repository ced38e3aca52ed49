//! A relay between node and cloud that counts what passes, as a meter on the line would.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use crate::error::BenchError;

/// IPv4 and TCP headers with timestamps.
const HEADER: usize = 52;

/// What passed.
#[derive(Debug, Default)]
struct Count {
    up: AtomicUsize,
    down: AtomicUsize,
    connections: AtomicUsize,
}

/// What passed so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Passed {
    /// Bytes from the node, TLS included.
    pub(crate) up: usize,
    /// Bytes to the node, TLS included.
    pub(crate) down: usize,
    /// Headers of IP and TCP, of every segment that the kernel counted: data, acknowledgements, probes.
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
    /// Segments of both directions, by the node's address; of closed connections what was seen last.
    segments: BTreeMap<String, usize>,
}

impl Relay {
    /// Listens; where to is told later.
    pub(crate) fn start() -> Result<Self, BenchError> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(BenchError::when("relay"))?;
        let address = listener.local_addr().map_err(BenchError::when("relay"))?;
        let (to, count) = (Arc::new(OnceLock::<SocketAddr>::new()), Arc::new(Count::default()));
        let relay =
            Self { address, to: Arc::clone(&to), count: Arc::clone(&count), segments: BTreeMap::new() };
        thread::spawn(move || {
            for node in listener.incoming().flatten() {
                let cloud = to.get().and_then(|to| TcpStream::connect(to).ok());
                if let Some(cloud) = cloud {
                    connection(&node, &cloud, &count);
                }
            }
        });
        Ok(relay)
    }

    /// Where it relays to.
    pub(crate) fn relay_to(&self, address: SocketAddr) {
        self.to.get_or_init(|| address);
    }

    /// What passed so far. Segments of a connection count as of the last call while it was open.
    pub(crate) fn passed(&mut self) -> Result<Passed, BenchError> {
        self.look()?;
        let of = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        Ok(Passed {
            up: of(&self.count.up),
            down: of(&self.count.down),
            headers: self.segments.values().sum::<usize>() * HEADER,
            connections: of(&self.count.connections),
        })
    }

    /// Asks the kernel for the segments of the connections that are open.
    fn look(&mut self) -> Result<(), BenchError> {
        let output = Command::new("ss")
            .args(["-tinH", "sport", "=", &format!(":{}", self.address.port())])
            .output()
            .map_err(BenchError::when("ss of iproute2, which counts segments"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let mut lines = text.lines();
        while let (Some(ends), Some(counts)) = (lines.next(), lines.next()) {
            let Some(peer) = ends.split_whitespace().nth(4) else { continue };
            let number = |name: &str| {
                counts
                    .split_whitespace()
                    .find_map(|word| word.strip_prefix(name)?.parse::<usize>().ok())
                    .unwrap_or(0)
            };
            self.segments.insert(peer.to_owned(), number("segs_in:") + number("segs_out:"));
        }
        Ok(())
    }
}

fn connection(node: &TcpStream, cloud: &TcpStream, count: &Arc<Count>) {
    count.connections.fetch_add(1, Ordering::Relaxed);
    // A relay that waits for more would change what is measured.
    node.set_nodelay(true).ok();
    cloud.set_nodelay(true).ok();
    for (from, to, up) in [(node, cloud, true), (cloud, node, false)] {
        let (Ok(from), Ok(to), count) = (from.try_clone(), to.try_clone(), Arc::clone(count)) else { return };
        thread::spawn(move || pipe(from, to, if up { &count.up } else { &count.down }));
    }
}

fn pipe(mut from: TcpStream, mut to: TcpStream, bytes: &AtomicUsize) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        bytes.fetch_add(read, Ordering::Relaxed);
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    // The other direction may have ended the connection already.
    to.shutdown(Shutdown::Write).ok();
}
