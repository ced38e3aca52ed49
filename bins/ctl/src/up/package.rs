//! The agent as an object: this executable, packed as a program package and offered as module `baetyl`.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::client::Client;
use crate::error::CtlError;
use crate::resource::text;

/// The module that core and init are made of.
const MODULE: &str = "baetyl";

/// Uploads this executable, unless this very one is offered already.
pub(crate) async fn offer(client: &Client) -> Result<(), CtlError> {
    let failed = |error: std::io::Error| CtlError::Failed(format!("this program cannot be read: {error}"));
    let program = std::env::current_exe().and_then(std::fs::read).map_err(failed)?;
    let digest = ring::digest::digest(&ring::digest::SHA256, &program);
    let digest: String = digest.as_ref().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let version = format!("{}-{digest}", env!("CARGO_PKG_VERSION"));
    if client.find(&format!("/v1/modules/{MODULE}/version/{version}")).await?.is_some() {
        return Ok(());
    }
    let platform = baetyl_edge::platform();
    let name = format!("baetyl-{version}-{platform}.tgz");
    let package = pack(&program).map_err(failed)?;
    let object = upload(client, &name, package).await?;
    let module = json!({
        "name": MODULE,
        "version": version,
        "type": "system",
        "isLatest": true,
        "description": "the agent that baetylctl up runs",
        "programs": {platform: text(&object, "/url")},
    });
    client.post("/v1/modules", &module).await?;
    Ok(())
}

/// Uploads an object.
pub(crate) async fn upload(client: &Client, name: &str, bytes: Vec<u8>) -> Result<Value, CtlError> {
    let path = format!("/v2/objects/local/buckets/up/object?object={}", crate::resource::encode(name));
    client.put_bytes(&path, bytes).await
}

fn pack(program: &[u8]) -> std::io::Result<Vec<u8>> {
    archive(&[("baetyl", program, 0o755), ("program.yml", b"entry: baetyl\n", 0o644)])
}

/// A tgz of these files.
pub(crate) fn archive(files: &[(&str, &[u8], u32)]) -> std::io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, bytes, mode) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(*mode);
        tar.append_data(&mut header, name, *bytes)?;
    }
    let mut bytes = tar.into_inner()?.finish()?;
    bytes.flush()?;
    Ok(bytes)
}
