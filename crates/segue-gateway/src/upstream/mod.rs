//! Who answers a call: a provider, or the rehearsal model.

mod provider;
mod rehearsal;

use async_trait::async_trait;
use axum::http::{HeaderMap, StatusCode};
use futures_util::stream::BoxStream;
use hyper::body::Bytes;
use segue_core::ids::{ContentHash, RunId, TaskId};

use crate::ask::Endpoint;

pub(crate) use provider::Provider;
pub(crate) use rehearsal::RehearsalModel;

/// Answers calls. It asks once: to ask again is the business of the gateway, or of who called it.
#[async_trait]
pub(crate) trait Upstream: Send + Sync {
    /// What logs and progress call it.
    fn name(&self) -> &str;

    /// Sends the call, and returns when the head of the answer is there. Dropping the future, or the body of the answer,
    /// closes the connection at once.
    async fn send(&self, request: UpstreamRequest) -> Result<UpstreamReply, UpstreamError>;

    /// The key that no answer may repeat.
    fn secret(&self) -> Option<&str> {
        None
    }
}

/// One call, ready to be sent.
#[derive(Debug, Clone)]
pub(crate) struct UpstreamRequest {
    pub(crate) endpoint: Endpoint,
    /// As the body names it.
    pub(crate) model: String,
    /// Was a streamed answer asked for? Then its usage was, too.
    pub(crate) stream: bool,
    pub(crate) body: Bytes,
    /// Those of the client's headers that concern a provider.
    pub(crate) headers: HeaderMap,
    /// Who asks.
    pub(crate) caller: Caller,
    /// Names what is asked, whoever asks and however the answer is given.
    pub(crate) hash: ContentHash,
}

/// Whose call it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) run_id: RunId,
    pub(crate) task: TaskId,
    pub(crate) effect_key: String,
    pub(crate) attempt: u32,
}

/// The head of an answer, and its body as it comes.
pub(crate) struct UpstreamReply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: BodyStream,
}

/// Pieces of a body; an error is the last of them.
pub(crate) type BodyStream = BoxStream<'static, Result<Bytes, UpstreamError>>;

/// There is no answer, or no whole one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UpstreamError {
    /// It cannot be reached.
    #[error("cannot be reached: {0}")]
    Connect(String),
    /// The connection broke.
    #[error("broke the connection off: {0}")]
    Broken(String),
    /// It said nothing for too long.
    #[error("said nothing for too long: {0}")]
    TimedOut(String),
}
