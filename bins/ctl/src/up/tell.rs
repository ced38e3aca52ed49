//! What is told once all is up: `up.json` for scripts, the last lines for the person.

use serde_json::{Value, json};

use super::child::Role;
use super::folder::Folder;
use super::{Addresses, Options, Running, hello};
use crate::error::CtlError;
use crate::output;
use crate::resource::text;

/// Writes the file for scripts, whole, once all is up.
pub(super) fn summary(
    folder: &Folder,
    addresses: &Addresses,
    running: &Running,
    core: &Value,
    page: &str,
) -> Result<(), CtlError> {
    let certs = folder.node().join("node");
    let summary = json!({
        "admin": format!("http://{}", addresses.admin),
        "node": format!("https://{}", addresses.node),
        "init": format!("https://{}", addresses.init),
        "core": text(core, "/api"),
        "page": page,
        "pids": {
            "cloud": running.cloud.as_ref().and_then(Role::pid),
            "init": running.init.as_ref().and_then(Role::pid),
            "core": core.get("pid"),
        },
        "nodeName": core.get("node"),
        "namespace": core.get("namespace"),
        "certificate": {
            "ca": certs.join("ca.pem"),
            "key": certs.join("client.key"),
            "cert": certs.join("client.pem"),
        },
    });
    let bytes = serde_json::to_vec_pretty(&summary).map_err(|error| CtlError::Failed(error.to_string()))?;
    folder.write(&folder.summary(), &bytes, 0o644)
}

/// Says what runs, and what to do next.
pub(super) fn farewell(options: &Options, folder: &Folder, addresses: &Addresses, node: &str, page: &str) {
    let ctl = called();
    let server = if addresses.admin.to_string() == "127.0.0.1:9004" {
        String::new()
    } else {
        format!(" -s http://{}", addresses.admin)
    };
    output::say(&format!("\nnode {node} runs application {}, which serves a page:\n", hello::APP));
    output::say(&format!("  curl {page}\n"));
    output::say(&format!("change its text in {} and apply it:\n", folder.text().display()));
    output::say(&format!("  {ctl} apply -f {}{server}\n", folder.text().display()));
    output::say("look around:\n");
    output::say(&format!("  {ctl} describe node {node}{server}\n"));
    output::say(&format!("everything is kept in {}; Ctrl-C stops all of it.", options.data.display()));
}

/// How this program was called: it need not be in the path of the person who copies the line.
fn called() -> String {
    let name = std::env::args().next().filter(|name| name.contains('/'));
    name.unwrap_or_else(|| "baetylctl".to_owned())
}
