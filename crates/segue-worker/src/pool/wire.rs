//! JSON lines over a Unix socket, bounded.

use std::io;

use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
    sync::{mpsc, oneshot},
};
use tokio_util::task::AbortOnDropHandle;

use crate::protocol::{LINE_BYTES_MAX, LONG_LINE_BYTES_MAX, ToAttempt};

/// Why nothing more can be read from a connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("a line of more than {0} bytes")]
    TooLong(usize),
    #[error("a line that is no message: {0}")]
    Garbage(String),
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
}

/// Reads one line of at most `limit` bytes. `None`: the end. A last line without an end is none.
pub(super) async fn read_line(
    from: &mut (impl AsyncBufRead + Unpin),
    limit: usize,
) -> Result<Option<Vec<u8>>, WireError> {
    let mut line = Vec::new();
    loop {
        let chunk = from.fill_buf().await?;
        if chunk.is_empty() {
            return Ok(None);
        }
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let length = end.map_or(chunk.len(), |index| index + 1);
        if line.len() + length > limit {
            return Err(WireError::TooLong(limit));
        }
        line.extend_from_slice(&chunk[..length]);
        from.consume(length);
        if end.is_some() {
            return Ok(Some(line));
        }
    }
}

/// Reads a message.
pub(super) fn parse<T: DeserializeOwned>(line: &[u8]) -> Result<T, WireError> {
    // The position is told, the content is not: it may hold anything.
    serde_json::from_slice(line).map_err(|error| WireError::Garbage(format!("{} bytes, {error}", line.len())))
}

/// The receiving half of a connection. Reading may be given up and begun again: nothing is lost.
pub(super) struct Incoming {
    lines: BufReader<OwnedReadHalf>,
    begun: Vec<u8>,
}

impl Incoming {
    /// Goes on where the opening was read.
    pub(super) const fn resume(lines: BufReader<OwnedReadHalf>) -> Self {
        Self { lines, begun: Vec::new() }
    }

    /// The next message; `None`: the other side has closed.
    pub(super) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, WireError> {
        loop {
            let chunk = self.lines.fill_buf().await?;
            if chunk.is_empty() {
                return Ok(None);
            }
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let length = end.map_or(chunk.len(), |index| index + 1);
            if self.begun.len() + length > LONG_LINE_BYTES_MAX {
                return Err(WireError::TooLong(LONG_LINE_BYTES_MAX));
            }
            self.begun.extend_from_slice(&chunk[..length]);
            self.lines.consume(length);
            if end.is_some() {
                let line = std::mem::take(&mut self.begun);
                if line.len() > LINE_BYTES_MAX && !may_be_long(&line) {
                    return Err(WireError::TooLong(LINE_BYTES_MAX));
                }
                return parse(&line).map(Some);
            }
        }
    }
}

/// Is the `type` of a long line one that may be long? Reads no more than the line's start; the worker writes `type` first.
fn may_be_long(line: &[u8]) -> bool {
    let start: String = String::from_utf8_lossy(&line[..64.min(line.len())]).split_whitespace().collect();
    [r#"{"type":"result""#, r#"{"type":"rpc""#].iter().any(|beginning| start.starts_with(beginning))
}

/// The sending half.
pub(super) struct Outgoing(OwnedWriteHalf);

impl Outgoing {
    pub(super) const fn new(half: OwnedWriteHalf) -> Self {
        Self(half)
    }
}

/// A message as a line.
fn to_line(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    if line.len() > LONG_LINE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the message is too long"));
    }
    Ok(line)
}

/// A line, and whom to tell when it has been written.
type Posted = (Vec<u8>, Option<oneshot::Sender<()>>);

/// Sends what is put into it, in order, from a task of its own: so that the other side, when it does not read, keeps
/// nobody waiting. Stops when it is dropped.
pub(super) struct Outbox {
    lines: mpsc::UnboundedSender<Posted>,
    _writing: AbortOnDropHandle<()>,
}

impl Outbox {
    pub(super) fn new(mut outgoing: Outgoing) -> Self {
        let (lines, mut waiting) = mpsc::unbounded_channel::<Posted>();
        let writing = tokio::spawn(async move {
            while let Some((line, written)) = waiting.recv().await {
                if outgoing.0.write_all(&line).await.is_err() {
                    // The reading half sees the end too, and tells.
                    return;
                }
                if let Some(written) = written {
                    let _ = written.send(());
                }
            }
        });
        Self { lines, _writing: AbortOnDropHandle::new(writing) }
    }

    /// Queues a message. Fails only if it cannot be written at all.
    pub(super) fn send(&self, message: &impl Serialize) -> io::Result<()> {
        // A closed queue means a broken connection, see above.
        let _ = self.lines.send((to_line(message)?, None));
        Ok(())
    }

    /// For answers that are not to pile up.
    pub(super) fn replies(&self) -> Replies {
        Replies(self.lines.clone())
    }
}

/// Sends answers, each when the one before it has left.
pub(super) struct Replies(mpsc::UnboundedSender<Posted>);

impl Replies {
    /// Returns when the answer has been written, or never will be. One that is too long is replaced by an error.
    pub(super) async fn send(&self, answer: &ToAttempt) {
        let line = to_line(answer).or_else(|error| match answer {
            ToAttempt::RpcOk { id, .. } => to_line(&ToAttempt::RpcError { id: *id, message: error.to_string() }),
            _ => Err(error),
        });
        let Ok(line) = line else { return };
        let (written, is_written) = oneshot::channel();
        let _ = self.0.send((line, Some(written)));
        let _ = is_written.await;
    }
}
