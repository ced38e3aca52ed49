//! The agent's parts, from the configuration.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use baetyl::core::cert::{CertIssuer, CertRequest};
use baetyl::core::error::Chain;
use baetyl::core::identity::Identity;
use baetyl::core::store::{Change, Table};
use baetyl::engine::cert::{self, NodeAuthority, PkiConfig};
use baetyl::engine::process::ProcessConfig;
use baetyl::engine::reconcile::ReconcileConfig;
use baetyl::sync::cadence::Intervals;
use baetyl::sync::link::HttpConfig;
use baetyl::sync::object::ObjectConfig;
use baetyl::sync::syncer::SyncConfig;

use super::{Agent, Base, clock, unbuildable};
use crate::env::{self, Env};
use crate::exit::Fatal;

/// Where the store keeps the cloud's address that a person entered on the activation page.
const SYNC_ADDRESS: &str = "sync-address";
/// Where this program's own certificate lies, below the working directory.
const SYSTEM_CERTS: &str = "var/lib/baetyl/system/certs";

/// Puts the agent together.
pub(super) async fn agent(
    base: &Base,
    namespace: &str,
    name: &str,
    identity: Arc<dyn Identity>,
    env: &dyn Env,
) -> Result<Agent, Fatal> {
    let role = base.role.part();
    let mut sync = SyncConfig::default();
    let plain = base.config.sync.report.or(20);
    sync.intervals = Intervals { plain, push: sync.intervals.push.max(plain) };
    let mut reconcile = ReconcileConfig::new(role, base.lib.clone(), name, base.run_mode.clone());
    reconcile.interval = base.config.engine.report.or(10);
    let (authority, own) = authority(base, namespace, name, env).await?;
    reconcile.own_certs.insert(own);
    let builder = Agent::builder(base.lib.clone(), namespace, name)
        .role(role)
        .sync(sync)
        .reconcile(reconcile)
        .disk(Arc::clone(&base.disk))
        .blocking(Arc::clone(&base.pool))
        .random(Arc::clone(&base.random) as _)
        .clock(clock(base))
        .store(Arc::clone(&base.store))
        .process_with(process(base)?)
        .certs(authority)
        .http_with(link(base, env).await?, objects(base)?, identity);
    builder.build().await.map_err(|error| unbuildable(&error))
}

fn process(base: &Base) -> Result<ProcessConfig, Fatal> {
    let program = env::this_program().map_err(|error| Fatal::TryAgain(format!("own program: {error}")))?;
    let mut config = ProcessConfig::new(base.lib.clone(), base.runtime.clone(), vec![program]);
    let ports = &base.config.native.ports_range;
    config.ports = ports.start..=ports.end;
    config.agent_socket = Some(base.runtime.join(format!("{}.events", base.role.word())));
    Ok(config)
}

/// The node's own authority, with this program's own certificate written where its server looks for it
/// (edge.md 6.1); gives the common name of that certificate, too.
async fn authority(
    base: &Base,
    namespace: &str,
    name: &str,
    env: &dyn Env,
) -> Result<(Arc<dyn CertIssuer>, String), Fatal> {
    let failed = |error: &dyn std::error::Error| Fatal::TryAgain(Chain(error).to_string());
    let section = &base.config.security.pki;
    let mut config = PkiConfig::default();
    config.sub_duration = section.sub_duration.unwrap_or(config.sub_duration);
    config.root_duration = section.root_duration.unwrap_or(config.root_duration);
    let common_name = format!("{namespace}.{name}");
    let authority = NodeAuthority::open(Arc::clone(&base.store), &common_name, clock(base), config)
        .await
        .map_err(|error| failed(&error))?;
    let service = base.role.part().source();
    let application = env.var("BAETYL_APP_NAME").filter(|name| !name.is_empty());
    let own = format!("{}.{service}", application.as_deref().unwrap_or(service));
    let request = CertRequest {
        common_name: own.clone(),
        dns: vec![format!("{service}.baetyl-edge-system"), service.to_owned(), "localhost".to_owned()],
        ip: vec![Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::LOCALHOST.into()],
    };
    let issued = authority.issue(&request).await.map_err(|error| failed(&error))?;
    let folder = super::absolute(Path::new(SYSTEM_CERTS))?;
    if let Err(error) = cert::write(&*base.disk, &folder, &issued) {
        tracing::warn!(folder = %folder.display(), %error, "own certificate not written");
    }
    Ok((Arc::new(authority), own))
}

async fn link(base: &Base, env: &dyn Env) -> Result<HttpConfig, Fatal> {
    let section = &base.config.httplink;
    let entered = base.store.load(Table::Node, SYNC_ADDRESS).await.ok().flatten();
    let entered = entered.and_then(|bytes| String::from_utf8(bytes).ok());
    let told = env.var("BAETYL_SYNC_ADDR").filter(|address| !address.is_empty());
    let address = told.or(entered).unwrap_or_else(|| section.address.clone());
    if address.is_empty() {
        return Err(Fatal::Config(
            "httplink.address is empty: write the cloud's address for nodes there or in BAETYL_SYNC_ADDR"
                .to_owned(),
        ));
    }
    let ca = Path::new(&base.config.node.ca);
    let ca_pem = std::fs::read(ca)
        .map_err(|error| Fatal::TryAgain(format!("node.ca {} cannot be read: {error}", ca.display())))?;
    Ok(HttpConfig { address, ca_pem: Some(ca_pem), ..section.clone() })
}

fn objects(base: &Base) -> Result<ObjectConfig, Fatal> {
    let section = &base.config.sync.download;
    let folder = match section.path.as_str() {
        "" => base.lib.join("object"),
        path => super::absolute(Path::new(path))?,
    };
    let mut config = ObjectConfig::new(folder);
    config.timeout = section.http.timeout.max(config.timeout);
    config.bandwidth = section.http.bytes_per_second();
    config.address = Some(section.http.address.clone()).filter(|address| !address.is_empty());
    config.twin = env::this_program().ok().map(Into::into);
    Ok(config)
}

/// Keeps the cloud's address that a person entered on the activation page, over restarts.
pub(super) async fn keep_sync_address(base: &Base, address: &str) -> Result<(), Fatal> {
    let change = Change::Put(Table::Node, SYNC_ADDRESS.to_owned(), address.as_bytes().to_vec());
    base.store
        .commit(vec![change])
        .await
        .map_err(|error| Fatal::TryAgain(format!("the entered address cannot be kept: {error}")))
}
