//! The first application: its page as an object, its text as a configuration, its program in this
//! executable.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::folder::Folder;
use super::package;
use crate::client::Client;
use crate::document;
use crate::error::CtlError;

/// The application's name.
pub(crate) const APP: &str = "hello";

const PAGE: &[u8] = include_bytes!("page.html");

/// Deploys it where it is not there yet, and gives the page's address. What a person changed stays.
pub(crate) async fn deploy(
    client: &Client,
    folder: &Folder,
    node: &str,
    port: u16,
) -> Result<String, CtlError> {
    let page = format!("http://127.0.0.1:{port}/");
    if !folder.text().exists() {
        folder.write(&folder.text(), text_file(node).as_bytes(), 0o644)?;
    }
    if client.find(&format!("/v1/apps/{APP}")).await?.is_some() {
        return Ok(page);
    }
    let failed = |error: std::io::Error| CtlError::Failed(format!("the page cannot be packed: {error}"));
    let archive = package::archive(&[("index.html", PAGE, 0o644)]).map_err(failed)?;
    package::upload(client, "hello-page.tgz", archive).await?;
    let program = std::env::current_exe()
        .map_err(|error| CtlError::Failed(format!("this program is not to be found: {error}")))?;
    let resources = [
        json!({"kind": "config", "name": "hello-page", "description": "the page of hello", "data": {
            "page.tgz": {"type": "object", "source": "local", "bucket": "up", "object": "hello-page.tgz", "unpack": "tgz"},
        }}),
        json!({"kind": "config", "name": "hello-program", "description": "the program of hello", "data": {
            "program.yml": format!("entry: {}\n", program.display()),
        }}),
        json!({"kind": "app", "name": APP, "description": "the first application", "mode": "native",
            "type": "container", "selector": format!("baetyl-node-name={node}"), "replica": 1,
            "services": [{
                "name": "web",
                "programConfig": "hello-program",
                "args": ["page", "page/index.html", "text/text.txt", format!("127.0.0.1:{port}")],
                "ports": [{"hostPort": port, "containerPort": port, "protocol": "TCP"}],
                "volumeMounts": [
                    {"name": "page", "mountPath": "page", "readOnly": true},
                    {"name": "text", "mountPath": "text", "readOnly": true},
                ],
            }],
            "volumes": [
                {"name": "page", "config": {"name": "hello-page"}},
                {"name": "text", "config": {"name": "hello-text"}},
            ],
        }),
    ];
    let text = std::fs::read_to_string(folder.text())
        .map_err(|error| CtlError::Failed(format!("{} cannot be read: {error}", folder.text().display())))?;
    let mut documents = document::parse(&text)
        .map_err(|reason| CtlError::Input(format!("{}: {reason}", folder.text().display())))?;
    for resource in resources {
        documents.extend(document::parse(&resource.to_string()).map_err(CtlError::Failed)?);
    }
    for document in &documents {
        document::put(client, document).await?;
    }
    Ok(page)
}

fn text_file(node: &str) -> String {
    format!(
        "# The text of the page. Change it, then: baetylctl apply -f <this file>\n\
         kind: config\nname: hello-text\ndata:\n  text.txt: Hello from {node}\n"
    )
}

/// Whether the page answers; else why not.
pub(crate) async fn answers(page: &str) -> Result<(), String> {
    let address = page.trim_start_matches("http://").trim_end_matches('/');
    let ask = async {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        stream.write_all(format!("GET / HTTP/1.0\r\nhost: {address}\r\n\r\n").as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(64 * 1024).read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    match tokio::time::timeout(Duration::from_secs(2), ask).await {
        Ok(Ok(answer)) if answer.starts_with(b"HTTP/1.0 200") || answer.starts_with(b"HTTP/1.1 200") => {
            Ok(())
        }
        Ok(Ok(_)) => Err("the page answers, but not as it should".to_owned()),
        Ok(Err(error)) => Err(format!("the page does not answer yet: {error}")),
        Err(_) => Err("the page does not answer in time".to_owned()),
    }
}
