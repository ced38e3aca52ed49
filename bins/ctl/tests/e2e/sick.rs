//! A cloud that answers 500, garbage, half a body or nothing: whatever comes, what runs goes on, a killed
//! program comes back, and once the cloud is well the node takes what was wanted meanwhile.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::harness::{Up, kill, processes, run, until};
use crate::life::{apply, shell, with};

/// What stands between node and cloud does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    /// Passes everything.
    Well,
    /// Answers this, and closes.
    Says(&'static str),
    /// Answers nothing, and stays.
    Silent,
}

const MOODS: [Mood; 5] = [
    Mood::Says("HTTP/1.1 500 Internal Server Error\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"),
    Mood::Says("HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\nnot json!"),
    Mood::Says(
        "HTTP/1.1 200 OK\r\ncontent-length: 33\r\nconnection: close\r\n\r\n{\"apps\": 7, \"sysapps\": \"nothing\"}\n",
    ),
    Mood::Says(
        "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\nconnection: close\r\n\r\n{\"apps\": [], \"sysapps\": [",
    ),
    Mood::Silent,
];

/// A server with a certificate of the cloud's own authority, which speaks for the cloud, or does not.
#[derive(Debug)]
struct Sick {
    address: SocketAddr,
    mood: watch::Sender<Mood>,
    /// Requests that were not passed.
    refused: Arc<AtomicUsize>,
    cloud: watch::Sender<Option<SocketAddr>>,
}

impl Sick {
    async fn start(folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mood, moods) = watch::channel(Mood::Well);
        let (refused, cloud) = (Arc::new(AtomicUsize::new(0)), watch::Sender::new(None));
        let (count, target, folder) = (Arc::clone(&refused), cloud.subscribe(), folder.to_owned());
        tokio::task::spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Some(target) = *target.borrow() else { continue };
                let (folder, moods, count) = (folder.clone(), moods.clone(), Arc::clone(&count));
                tokio::task::spawn_local(async move {
                    // Connections of a node that is being cut off may break anywhere.
                    serve(stream, target, folder, moods, count).await.ok();
                });
            }
        });
        Self { address, mood, refused, cloud }
    }
}

async fn serve(
    stream: TcpStream,
    target: SocketAddr,
    folder: PathBuf,
    mut moods: watch::Receiver<Mood>,
    refused: Arc<AtomicUsize>,
) -> std::io::Result<()> {
    let mut node = TlsAcceptor::from(server(&folder.join("cloud"))).accept(stream).await?;
    let mood = *moods.borrow_and_update();
    let changed = async move {
        // The sender lives as long as the test.
        moods.changed().await.ok();
    };
    let work = async {
        if mood == Mood::Well {
            let name = ServerName::try_from("127.0.0.1").unwrap();
            let cloud = TcpStream::connect(target).await?;
            let connector = TlsConnector::from(client(&folder));
            let mut cloud = connector.connect(name, cloud).await?;
            copy_bidirectional(&mut node, &mut cloud).await?;
            return Ok(());
        }
        let mut head = Vec::new();
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            if node.read_buf(&mut head).await? == 0 {
                return Ok(());
            }
        }
        refused.fetch_add(1, Ordering::Relaxed);
        match mood {
            Mood::Says(answer) => {
                node.write_all(answer.as_bytes()).await?;
                node.shutdown().await
            }
            Mood::Well | Mood::Silent => std::future::pending().await,
        }
    };
    // Another mood ends what the last one began.
    tokio::select! {
        done = work => done,
        () = changed => Ok(()),
    }
}

fn server(cloud: &Path) -> Arc<rustls::ServerConfig> {
    let read = |name: &str| std::fs::read_to_string(cloud.join(name)).unwrap();
    let authority = rcgen::KeyPair::from_pem(&read("ca.key")).unwrap();
    let authority = rcgen::Issuer::from_ca_cert_pem(&read("ca.pem"), authority).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let names = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let cert = names.signed_by(&key, &authority).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config =
        rustls::ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

fn client(folder: &Path) -> Arc<rustls::ClientConfig> {
    let node = folder.join("node/node");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("cloud/ca.pem")).unwrap()).unwrap();
    let chain = vec![CertificateDer::from_pem_file(node.join("client.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(node.join("client.key")).unwrap();
    let mut config =
        rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

#[test]
fn a_cloud_that_answers_500_garbage_half_a_body_or_nothing_disturbs_nothing() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let sick = Sick::start(folder.path()).await;
        let up = Up::begin(folder.path(), &["--node-url", &format!("https://{}", sick.address)]);
        let told = folder.path().join("cloud/addresses.json");
        let addresses = until("the cloud's addresses", || async {
            serde_json::from_slice::<serde_json::Value>(&std::fs::read(&told).ok()?).ok()
        })
        .await;
        sick.cloud.send_replace(addresses["node"].as_str().unwrap().parse().ok());
        let up = up.wait().await;
        apply(&up, &shell("worker", "exec sleep 4001"));
        let worker = until("the worker", || async { with(folder.path(), "4001") }).await;
        let page = || processes(folder.path()).into_iter().find(|process| process.role() == "page");

        for mood in MOODS {
            let before = (sick.refused.load(Ordering::Relaxed), page().unwrap());
            sick.mood.send_replace(mood);
            // The cloud is told of that at once, or would be.
            kill(before.1.pid);
            until(&format!("a request while the cloud {mood:?}"), || async {
                (sick.refused.load(Ordering::Relaxed) > before.0).then_some(())
            })
            .await;
            until("the page server to come back", || async { page().filter(|page| *page != before.1) }).await;
            assert_eq!(
                with(folder.path(), "4001"),
                Some(worker.clone()),
                "the worker goes on while {mood:?}"
            );
        }
        apply(&up, &shell("later", "exec sleep 4002"));
        sick.mood.send_replace(Mood::Well);
        until("what was applied meanwhile", || async { with(folder.path(), "4002") }).await;
        assert_eq!(with(folder.path(), "4001"), Some(worker), "the worker was not touched");
        up.stop().await;
    });
}
