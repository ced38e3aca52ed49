//! A relay between node and cloud that can go dead: it then swallows bytes of both sides without a reset.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A relay on a port of its own.
#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    open: watch::Sender<bool>,
    target: watch::Sender<Option<SocketAddr>>,
    generation: watch::Sender<u32>,
    connections: Arc<AtomicUsize>,
}

impl Relay {
    /// Listens; where to is told later.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (open, is_open) = watch::channel(true);
        let (target, to) = watch::channel(None);
        let (generation, now) = watch::channel(0);
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        tokio::task::spawn_local(async move {
            loop {
                let Ok((node, _)) = listener.accept().await else { return };
                count.fetch_add(1, Ordering::Relaxed);
                let (is_open, mut to, mut now) = (is_open.clone(), to.clone(), now.clone());
                now.mark_unchanged();
                tokio::task::spawn_local(async move {
                    let Ok(Some(target)) = to.wait_for(Option::is_some).await.map(|target| *target) else {
                        return;
                    };
                    let Ok(cloud) = TcpStream::connect(target).await else { return };
                    let (node_in, node_out) = node.into_split();
                    let (cloud_in, cloud_out) = cloud.into_split();
                    let both = async {
                        tokio::join!(
                            pipe(node_in, cloud_out, is_open.clone()),
                            pipe(cloud_in, node_out, is_open)
                        )
                    };
                    tokio::select! {
                        _ = both => {}
                        _ = now.changed() => {}
                    }
                });
            }
        });
        Self { address, open, target, generation, connections }
    }

    /// Where it relays to.
    pub(crate) fn relay_to(&self, target: SocketAddr) {
        self.target.send_replace(Some(target));
    }

    /// Ends all connections.
    pub(crate) fn reset(&self) {
        self.generation.send_modify(|generation| *generation += 1);
    }

    /// Swallows everything from now on, new connections too.
    pub(crate) fn cut(&self) {
        self.open.send_replace(false);
    }

    /// Passes bytes again. What was swallowed is lost, as are the connections that it belonged to.
    pub(crate) fn heal(&self) {
        self.open.send_replace(true);
    }

    /// How many connections were made.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn pipe(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    open: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 64 * 1024];
    let mut lost = false;
    while let Ok(count) = from.read(&mut buffer).await {
        if count == 0 {
            break;
        }
        lost |= !*open.borrow();
        // A stream with a hole in it cannot go on: it stays dead, as behind a router that forgot it.
        if !lost && to.write_all(&buffer[..count]).await.is_err() {
            break;
        }
    }
    if lost {
        std::future::pending::<()>().await;
    }
}
