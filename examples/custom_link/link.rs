//! The link: each message is a frame on a Unix socket, its length before it. A serial line or a radio would
//! differ in how it connects, and in little else.

use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use baetyl::core::error::Chain;
use baetyl::core::link::{Link, LinkError, LinkState};
use baetyl::core::spec::Message;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// No message is larger, in bytes.
const LARGEST: u32 = 1 << 20;

/// What the other side says to a request.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// The answer.
    Is(Message),
    /// There is none, as HTTP would say it.
    Refused { status: u16, code: String, body: String },
}

/// A link over a Unix socket.
#[derive(Debug)]
pub(crate) struct SocketLink {
    path: PathBuf,
    timeout: Duration,
    line: tokio::sync::Mutex<Option<UnixStream>>,
    state: Mutex<LinkState>,
}

impl SocketLink {
    /// A link to the cloud that listens at this path. Connects when there is something to say.
    pub(crate) fn new(path: PathBuf, timeout: Duration) -> Self {
        Self { path, timeout, line: tokio::sync::Mutex::default(), state: Mutex::default() }
    }

    /// One request at a time. The connection is put back only after a whole answer: whoever gives up takes it
    /// with him, and nobody reads an answer that was meant for another.
    async fn exchange(&self, message: &Message) -> Result<Answer, LinkError> {
        let mut line = self.line.lock().await;
        let lost =
            |error: io::Error| LinkError::Unreachable { address: self.address(), source: error.into() };
        let mut stream = match line.take() {
            Some(stream) => stream,
            None => UnixStream::connect(&self.path).await.map_err(lost)?,
        };
        let request =
            serde_json::to_vec(message).map_err(|error| LinkError::Invalid { reason: error.to_string() })?;
        write_frame(&mut stream, &request).await.map_err(lost)?;
        let answer = read_frame(&mut stream).await.map_err(lost)?;
        *line = Some(stream);
        serde_json::from_slice(&answer)
            .map_err(|error| LinkError::BadAnswer { address: self.address(), reason: error.to_string() })
    }

    fn address(&self) -> String {
        self.path.display().to_string()
    }
}

#[async_trait]
impl Link for SocketLink {
    async fn request(&self, message: Message) -> Result<Message, LinkError> {
        let result = match tokio::time::timeout(self.timeout, self.exchange(&message)).await {
            Ok(Ok(Answer::Is(answer))) => Ok(answer),
            Ok(Ok(Answer::Refused { status: status @ (429 | 500..), body, .. })) => {
                Err(LinkError::Unavailable { status, body, retry_after: None })
            }
            Ok(Ok(Answer::Refused { status, code, body })) => Err(LinkError::Rejected { status, code, body }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(LinkError::Timeout { address: self.address(), after: self.timeout }),
        };
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state_after(&result);
        result
    }

    fn state(&self) -> LinkState {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A refusal is an answer too: the line is fine.
fn state_after(result: &Result<Message, LinkError>) -> LinkState {
    match result {
        Err(LinkError::Rejected { status: 404, body, .. }) if body.contains("(node) resource") => {
            LinkState::NodeNotFound(body.clone())
        }
        Ok(_) | Err(LinkError::Rejected { .. }) => LinkState::Succeeded,
        Err(error) => LinkState::NetworkError(Chain(error).to_string()),
    }
}

/// Writes one frame.
pub(crate) async fn write_frame(line: &mut (impl AsyncWrite + Unpin + Send), frame: &[u8]) -> io::Result<()> {
    let length = u32::try_from(frame.len()).ok().filter(|length| *length <= LARGEST);
    let length = length.ok_or_else(|| io::Error::other("the message is too large for this line"))?;
    line.write_all(&length.to_be_bytes()).await?;
    line.write_all(frame).await
}

/// Reads one frame.
pub(crate) async fn read_frame(line: &mut (impl AsyncRead + Unpin + Send)) -> io::Result<Vec<u8>> {
    let length = line.read_u32().await?;
    if length > LARGEST {
        return Err(io::Error::other("the other side announced a message that is too large"));
    }
    let mut frame = Vec::new();
    line.take(u64::from(length)).read_to_end(&mut frame).await?;
    if u32::try_from(frame.len()) != Ok(length) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(frame)
}
