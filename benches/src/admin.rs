//! Asking over HTTP: the cloud's REST API on its port, init and core on their sockets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::clock::now;
use crate::error::BenchError;

/// The cloud's REST API.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Admin(pub(crate) SocketAddr);

impl Admin {
    /// Asks, and gives the answer that says yes.
    pub(crate) fn ask(self, method: &str, path: &str, body: &Value) -> Result<Value, BenchError> {
        self.ask_at(method, path, body).map(|(value, _)| value)
    }

    /// As [`Admin::ask`], with the time at which the answer began.
    pub(crate) fn ask_at(
        self,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Result<(Value, Duration), BenchError> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(method, path, body.as_bytes())
    }

    /// Uploads an object and gives what the cloud says of it.
    pub(crate) fn upload(self, name: &str, bytes: &[u8]) -> Result<Value, BenchError> {
        let path = format!("/v2/objects/local/buckets/bench/object?object={name}");
        self.send("PUT", &path, bytes).map(|(value, _)| value)
    }

    fn send(self, method: &str, path: &str, body: &[u8]) -> Result<(Value, Duration), BenchError> {
        let stream = TcpStream::connect(self.0).map_err(BenchError::when("the cloud's REST API"))?;
        stream.set_nodelay(true).ok();
        exchange(stream, method, path, body)
    }
}

/// Asks an agent on its owner's socket.
pub(crate) fn ask_agent(socket: &Path, method: &str, path: &str) -> Result<Value, BenchError> {
    let stream = UnixStream::connect(socket).map_err(BenchError::at(socket))?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).ok();
    exchange(stream, method, path, b"").map(|(value, _)| value)
}

fn exchange(
    mut stream: impl Read + Write,
    method: &str,
    path: &str,
    body: &[u8],
) -> Result<(Value, Duration), BenchError> {
    let failed = BenchError::when("an HTTP request");
    let (answer, began) = (|| {
        // 1.0, so that the answer is plain and ends with the connection.
        let head = format!(
            "{method} {path} HTTP/1.0\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat())?;
        let mut answer = vec![0; 4096];
        let count = stream.read(&mut answer)?;
        let began = now();
        answer.truncate(count);
        stream.read_to_end(&mut answer)?;
        Ok((answer, began))
    })()
    .map_err(failed)?;
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status != "200" {
        return Err(BenchError::Failed(format!("{method} {path} was answered with {status}: {body}")));
    }
    Ok((serde_json::from_str(body).unwrap_or(Value::Null), began))
}
