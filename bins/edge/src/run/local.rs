//! What this process offers on the device: the local HTTP API, and the socket of its owner.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use baetyl::core::api::{self, Context, Request, Response};
use baetyl::core::link::{Link, LinkState};
use baetyl::core::shadow::Shadow;
use baetyl::core::spec::{AppStats, Report, Status};
use baetyl::core::task::TaskScope;
use baetyl::sync::identity::CommonName;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Agent, Base, Role, VERSION, cert_files};
use crate::env::{self, Env};
use crate::exit::Fatal;
use crate::serve::{self, Handler, Listener};

/// Where the local API listens when the configuration does not say.
const DEFAULT_ADDRESS: &str = "127.0.0.1:8443";

/// How the owner's wish to drain reaches the end of the program, and the word that it is done gets back.
#[derive(Debug, Clone)]
pub(super) struct Owner {
    wish: watch::Sender<bool>,
    done: watch::Sender<bool>,
}

impl Owner {
    /// Whether all applications are to be stopped, too.
    pub(super) fn wants_drain(&self) -> bool {
        *self.wish.borrow()
    }

    /// Tells the owner that all applications have ended.
    pub(super) fn drained(&self) {
        self.done.send_replace(true);
    }
}

/// What the handlers answer from.
#[derive(Debug)]
struct Local {
    role: Role,
    name: CommonName,
    api: Option<String>,
    context: Context,
    shadow: Arc<dyn Shadow>,
    link: Arc<dyn Link>,
    owner: Owner,
    stop: CancellationToken,
}

/// Serves the owner's socket, and for core the local API.
pub(super) async fn serve(
    base: &Base,
    agent: &Agent,
    name: &CommonName,
    stop: &CancellationToken,
    tasks: &TaskScope,
) -> Result<Owner, Fatal> {
    let listener = if base.role == Role::Core { Some(api_listener(base).await?) } else { None };
    let api = listener.as_ref().map(|(_, url)| url.clone());
    let owner = Owner { wish: watch::Sender::new(false), done: watch::Sender::new(false) };
    let local = Arc::new(Local {
        role: base.role,
        name: name.clone(),
        api,
        context: Context::new(
            name.node.clone(),
            agent.shadow(),
            Some(agent.link()),
            agent.engines(),
            agent.clock(),
        ),
        shadow: agent.shadow(),
        link: agent.link(),
        owner: owner.clone(),
        stop: stop.clone(),
    });
    if let Some((listener, url)) = listener {
        tracing::info!(%url, "local API");
        let local = Arc::clone(&local);
        let handler: Handler = Arc::new(move |request| {
            let local = Arc::clone(&local);
            Box::pin(async move { api::handle(&local.context, request).await })
        });
        let token = tasks.token().clone();
        tasks.spawn("local API", serve::serve(listener, handler, token));
    }
    let socket = env::socket(&base.runtime, base.role.word());
    let listener = serve::bind_unix(&socket)
        .map_err(|error| Fatal::TryAgain(format!("socket {} cannot be made: {error}", socket.display())))?;
    let handler: Handler = Arc::new(move |request| {
        let local = Arc::clone(&local);
        Box::pin(async move { local.answer(request).await })
    });
    let token = tasks.token().clone();
    tasks.spawn("owner's socket", serve::serve(Listener::Unix(listener), handler, token));
    Ok(owner)
}

impl Local {
    /// Answers the owner.
    async fn answer(&self, request: Request) -> Response {
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/status") => Response::json(&self.status()),
            ("POST", "/drain") => self.drain().await,
            _ => api::handle(&self.context, request).await,
        }
    }

    async fn drain(&self) -> Response {
        self.owner.wish.send_replace(true);
        self.stop.cancel();
        let mut done = self.owner.done.subscribe();
        // The sender lives as long as this handler: an error cannot come.
        match done.wait_for(|done| *done).await {
            Ok(_) => Response::json(&json!({"success": true})),
            Err(_) => Response::error(500, "UnknownError", "the program ends before it has drained"),
        }
    }

    fn status(&self) -> Value {
        let report = Arc::clone(&self.shadow.report().borrow());
        json!({
            "role": self.role.word(),
            "version": VERSION,
            "pid": std::process::id(),
            "node": self.name.node,
            "namespace": self.name.namespace,
            "api": self.api,
            "link": link_words(&self.link.state()),
            "apps": stats(&report).collect::<Vec<_>>(),
        })
    }
}

fn link_words(state: &LinkState) -> String {
    match state {
        LinkState::Unknown => "not tried yet".to_owned(),
        LinkState::Succeeded => "online".to_owned(),
        LinkState::NodeNotFound(words) => format!("the cloud does not know this node: {words}"),
        LinkState::NetworkError(words) => format!("offline: {words}"),
    }
}

fn stats(report: &Report) -> impl Iterator<Item = &AppStats> {
    [&report.sysappstats, &report.appstats].into_iter().filter_map(|section| section.value()).flatten()
}

/// Cancels the token once core runs: `init --once`.
pub(super) async fn stop_when_core_runs(shadow: Arc<dyn Shadow>, shutdown: CancellationToken) {
    let mut report = shadow.report();
    let runs = |report: &Arc<Report>| {
        stats(report).any(|stat| stat.name.contains("baetyl-core") && stat.status == Status::Running)
    };
    tokio::select! {
        biased;
        // Cancel-safe: a token stays cancelled.
        () = shutdown.cancelled() => {}
        // Cancel-safe: the report stays in its channel.
        _ = report.wait_for(runs) => shutdown.cancel(),
    }
}

/// Binds the local API; gives the listener and its URL.
async fn api_listener(base: &Base) -> Result<(Listener, String), Fatal> {
    let section = &base.config.server;
    let wanted = if section.address.is_empty() { DEFAULT_ADDRESS } else { section.address.as_str() };
    let address =
        listen_address(wanted).map_err(|reason| Fatal::Config(format!("server.address: {reason}")))?;
    let taken = |error: std::io::Error| {
        Fatal::TryAgain(format!(
            "server.address {address} cannot be listened on: {error}; free it or name another"
        ))
    };
    let listener = TcpListener::bind(address).await.map_err(taken)?;
    let bound = listener.local_addr().map_err(taken)?;
    let Some((cert, key)) = cert_files(&section.cert) else {
        return Ok((Listener::Tcp(listener), format!("http://{bound}")));
    };
    let config = tls(cert, key)?;
    Ok((Listener::Tls(listener, config), format!("https://{bound}")))
}

fn tls(cert: &Path, key: &Path) -> Result<Arc<rustls::ServerConfig>, Fatal> {
    use baetyl::core::cert::pem;
    let read = |path: &Path| {
        std::fs::read(path)
            .map_err(|error| Fatal::Config(format!("server: {} cannot be read: {error}", path.display())))
    };
    let unusable =
        |path: &Path, reason: String| Fatal::Config(format!("server: {}: {reason}", path.display()));
    let chain = pem::certificates(&read(cert)?).map_err(|error| unusable(cert, error.to_string()))?;
    let private = pem::private_key(&read(key)?)
        .map_err(|error| unusable(key, error.to_string()))?
        .ok_or_else(|| unusable(key, "there is no private key in it".to_owned()))?;
    rustls::ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map(Arc::new)
        .map_err(|error| unusable(cert, error.to_string()))
}

/// An address to listen on, as Go writes it: `:80` is all addresses.
pub(super) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let whole = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() };
    whole.parse().map_err(|_| format!("{text:?} is no address to listen on: write it like 127.0.0.1:8443"))
}

/// Tells systemd that the program is up, where it asks to be told (sd_notify).
pub(super) fn notify_ready(env: &dyn Env) {
    let Some(path) = env.var("NOTIFY_SOCKET").filter(|path| !path.is_empty()) else { return };
    let sent = std::os::unix::net::UnixDatagram::unbound().and_then(|socket| {
        let address = match path.strip_prefix('@') {
            Some(name) => {
                use std::os::linux::net::SocketAddrExt as _;
                std::os::unix::net::SocketAddr::from_abstract_name(name)?
            }
            None => std::os::unix::net::SocketAddr::from_pathname(&path)?,
        };
        socket.send_to_addr(b"READY=1", &address)
    });
    if let Err(error) = sent {
        tracing::warn!(%error, "systemd is not told that this program is ready");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn systemd_is_told_that_the_program_is_ready() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let systemd = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        notify_ready(&BTreeMap::from([("NOTIFY_SOCKET".to_owned(), path.display().to_string())]));
        systemd.set_nonblocking(true).unwrap();
        let mut told = [0; 32];
        let size = systemd.recv(&mut told).unwrap();
        assert_eq!(&told[..size], b"READY=1");
        notify_ready(&BTreeMap::new());
        assert!(systemd.recv(&mut told).is_err(), "nobody asked to be told");
    }

    #[test]
    fn addresses_are_read_as_go_writes_them() {
        assert_eq!(listen_address(":80").unwrap().to_string(), "0.0.0.0:80");
        assert_eq!(listen_address("127.0.0.1:8443").unwrap().port(), 8443);
        assert!(listen_address("8443").unwrap_err().contains("127.0.0.1:8443"));
    }
}
