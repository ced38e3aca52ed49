//! The other side of the socket.

use std::sync::Arc;

use baetyl::core::spec::Message;
use baetyl::core::task::TaskScope;
use tokio::net::{UnixListener, UnixStream};

use crate::link::{Answer, read_frame, write_frame};

/// What it does about a request.
#[derive(Debug)]
pub(crate) enum Reply {
    /// It answers.
    Answer(Answer),
    /// It sends what is no answer.
    Garbage,
    /// It says nothing.
    Silence,
    /// It ends the connection.
    HangUp,
}

/// Decides what to do about a request.
pub(crate) type Decide = Arc<dyn Fn(Message) -> Reply + Send + Sync>;

/// Serves all who connect, until the tasks are told to stop.
pub(crate) fn serve(listener: UnixListener, decide: Decide, tasks: &TaskScope) {
    let connections = tasks.clone();
    tasks.spawn("listener", async move {
        let token = connections.token().clone();
        let accept = async {
            while let Ok((stream, _)) = listener.accept().await {
                let (decide, token) = (Arc::clone(&decide), connections.token().clone());
                connections.spawn("connection", async move {
                    token.run_until_cancelled(converse(stream, decide)).await;
                });
            }
        };
        token.run_until_cancelled(accept).await;
    });
}

/// Answers one request after the other, until one side hangs up.
async fn converse(mut stream: UnixStream, decide: Decide) {
    while let Ok(frame) = read_frame(&mut stream).await {
        let Ok(request) = serde_json::from_slice(&frame) else { return };
        let answer = match decide(request) {
            Reply::Answer(answer) => serde_json::to_vec(&answer).unwrap_or_default(),
            Reply::Garbage => b"<html>".to_vec(),
            Reply::Silence => continue,
            Reply::HangUp => return,
        };
        if write_frame(&mut stream, &answer).await.is_err() {
            return;
        }
    }
}
