//! Activation, from the sections `init` and `node` of the configuration.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use baetyl::core::durable::OsDisk;
use baetyl::core::error::Chain;
use baetyl::engine::host::Host;
use baetyl::sync::activate::{ActivateConfig, ActivateError, Activator, CertificateFiles, Facts, Proof};
use tokio_util::sync::CancellationToken;

use super::{Base, absolute, clock};
use crate::config::{self, ActiveSection};
use crate::exit::Fatal;

/// Where files with serial numbers lie, below the working directory (edge.md 3.3).
const SERIALS: &str = "var/lib/baetyl/sn";

/// Activates the node; `false` when it was told to stop before.
pub(super) async fn activate(base: &Base, shutdown: &CancellationToken) -> Result<bool, Fatal> {
    let section = &base.config.init.active;
    let config = activate_config(base, section)?;
    let host = Host::new(base.lib.clone(), Arc::clone(&base.pool));
    let known = host.facts().map_err(|error| Fatal::TryAgain(Chain(&error).to_string()))?;
    let facts = Facts {
        hostname: known.hostname,
        machine_id: known.machine_id,
        system_uuid: known.system_uuid,
        boot_id: known.boot_id,
        serials: serials(&section.collector.fingerprints),
    };
    let random = Arc::clone(&base.random);
    let activator =
        Activator::try_new(config, facts, Arc::new(OsDisk), Arc::clone(&base.pool), clock(base), random)
            .map_err(|error| Fatal::Config(Chain(&error).to_string()))?;
    match activator.run(shutdown.clone()).await {
        Ok(activated) => {
            tracing::info!(node = %activated.node_name, namespace = %activated.namespace, "activated");
            if let Some(address) = activated.sync_addr {
                super::parts::keep_sync_address(base, &address).await?;
            }
            Ok(true)
        }
        Err(ActivateError::Stopped) => Ok(false),
        Err(error @ ActivateError::Config { .. }) => Err(Fatal::Config(Chain(&error).to_string())),
        Err(error) => Err(Fatal::TryAgain(Chain(&error).to_string())),
    }
}

fn activate_config(base: &Base, section: &ActiveSection) -> Result<ActivateConfig, Fatal> {
    let mut batch = base.config.init.batch.clone();
    if batch.mode.is_empty() {
        batch.mode.clone_from(&base.run_mode);
    }
    let file = |path: &str| absolute(Path::new(path));
    let node = &base.config.node;
    let files = CertificateFiles { ca: file(&node.ca)?, key: file(&node.key)?, cert: file(&node.cert)? };
    let mut config = ActivateConfig::new(batch, section.http.address.clone(), files);
    config.url.clone_from(&section.url);
    config.interval = section.interval;
    config.timeout = section.http.timeout;
    config.insecure_skip_verify = section.http.insecure_skip_verify;
    if !section.http.ca.is_empty() {
        let pem = std::fs::read(&section.http.ca).map_err(|error| {
            Fatal::Config(format!("init.active.ca {} cannot be read: {error}", section.http.ca))
        })?;
        config.ca = Some(pem);
    }
    let collector = &section.collector;
    for item in &collector.fingerprints {
        let proof = Proof::parse(&item.proof, &item.value)
            .map_err(|error| Fatal::Config(format!("init.active.collector.fingerprints: {error}")))?;
        config.fingerprints.push(proof);
    }
    config.attributes.clone_from(&collector.attributes);
    config.nodeinfo.clone_from(&collector.nodeinfo);
    config.serial.clone_from(&collector.serial);
    if !collector.server.listen.is_empty() {
        config.listen = Some(
            super::local::listen_address(&collector.server.listen)
                .map_err(|reason| Fatal::Config(format!("init.active.collector.server.listen: {reason}")))?,
        );
    }
    Ok(config)
}

/// The files with serial numbers that are asked for and can be read.
fn serials(fingerprints: &[config::Fingerprint]) -> BTreeMap<String, String> {
    let wanted = fingerprints.iter().filter(|item| item.proof == "sn");
    wanted
        .filter_map(|item| {
            let text = std::fs::read_to_string(Path::new(SERIALS).join(&item.value)).ok()?;
            Some((item.value.clone(), text.trim().to_owned()))
        })
        .collect()
}
