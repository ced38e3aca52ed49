//! Asking init or core over the socket that only its owner may open.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

use crate::exit::Fatal;
use crate::serve::ShortPath;

/// The largest answer that is taken.
const MAX_ANSWER: usize = 64 << 20;
/// How long an answer may take; stopping applications takes their grace time.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Asks and reads JSON.
///
/// # Errors
/// [`Fatal::TryAgain`] when nobody listens, [`Fatal::Refused`] with the words of the other side.
pub async fn get(socket: &Path, path: &str) -> Result<Value, Fatal> {
    json(&request(socket, "GET", path).await?)
}

/// Tells to do something and reads JSON.
///
/// # Errors
/// As [`get`].
pub async fn post(socket: &Path, path: &str) -> Result<Value, Fatal> {
    json(&request(socket, "POST", path).await?)
}

fn json(body: &[u8]) -> Result<Value, Fatal> {
    serde_json::from_slice(body)
        .map_err(|error| Fatal::Refused(format!("the answer cannot be read: {error}")))
}

/// Asks and gives the body of the answer.
///
/// # Errors
/// As [`get`].
pub async fn request(socket: &Path, method: &str, path: &str) -> Result<Bytes, Fatal> {
    let ask = async {
        let short = ShortPath::of(socket)?;
        let stream = UnixStream::connect(&short.path).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(std::io::Error::other)?;
        let request = hyper::Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .body(Full::new(Bytes::new()))
            .map_err(std::io::Error::other)?;
        let answer = async {
            let answer = sender.send_request(request).await?;
            let (head, body) = answer.into_parts();
            Ok((head.status.as_u16(), body))
        };
        let exchange = async {
            let (status, body): (u16, hyper::body::Incoming) =
                answer.await.map_err(|e: hyper::Error| std::io::Error::other(e))?;
            let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(std::io::Error::other)?;
            Ok::<_, std::io::Error>((status, body.to_bytes()))
        };
        tokio::pin!(connection, exchange);
        tokio::select! {
            biased;
            // Cancel-safe: pinned outside, polled until it ends.
            done = exchange.as_mut() => done,
            // Cancel-safe: pinned outside; its end is seen by the exchange.
            ended = connection.as_mut() => match ended {
                Ok(()) => exchange.as_mut().await,
                Err(error) => Err(std::io::Error::other(error)),
            },
        }
    };
    let absent = |reason: String| {
        Fatal::TryAgain(format!(
            "nobody answers at {}: is it running, and are you its owner? ({reason})",
            socket.display()
        ))
    };
    let (status, body) = match tokio::time::timeout(TIMEOUT, ask).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(absent(error.to_string())),
        Err(_) => return Err(absent("no answer in time".to_owned())),
    };
    if (200..300).contains(&status) {
        return Ok(body);
    }
    let message = json(&body).ok().and_then(|body| Some(body.get("message")?.as_str()?.to_owned()));
    Err(Fatal::Refused(message.unwrap_or_else(|| String::from_utf8_lossy(&body).into_owned())))
}
