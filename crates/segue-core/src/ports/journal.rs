//! What models answered, kept with the run, so that an attempt that follows a lost one need not pay for it again.

use async_trait::async_trait;

use super::StoreError;
use crate::{
    ids::{ContentHash, RunId},
    outcome::Usage,
};

/// Names a call within a run: the same request, asked for the n-th time by the same work.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallKey {
    /// The run.
    pub run_id: RunId,
    /// The task and its round: [`ExecutionContext::effect_key`](super::ExecutionContext::effect_key).
    pub effect_key: String,
    /// The first attempt of those that share their answers:
    /// [`ExecutionContext::answers_since`](super::ExecutionContext::answers_since).
    pub since: u32,
    /// Of the normalised request.
    pub hash: ContentHash,
    /// How often those attempts had asked the same before, from 0.
    pub nth: u32,
}

/// A call that a provider has answered in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedCall {
    /// Its name.
    pub key: CallKey,
    /// The attempt that made it, and paid.
    pub attempt: u32,
    /// The model that was asked.
    pub model: String,
    /// Of `body`: `application/json`, `text/event-stream`.
    pub content_type: String,
    /// The answer, as it came.
    pub body: Vec<u8>,
    /// What it consumed, by the provider's own figures.
    pub usage: Usage,
}

/// Keeps the calls of a run's attempts as long as the run is kept.
#[async_trait]
pub trait ModelJournal: Send + Sync {
    /// Keeps a call; it is durable when this returns. The first one of a key stays, a later one changes nothing.
    async fn record(&self, call: RecordedCall) -> Result<(), StoreError>;

    /// The call of this name.
    async fn recorded(&self, key: &CallKey) -> Result<Option<RecordedCall>, StoreError>;

    /// What the calls that one attempt made have consumed. For an attempt that was lost with its engine, and took its own
    /// figures along.
    async fn usage(&self, run_id: RunId, effect_key: &str, attempt: u32) -> Result<Usage, StoreError>;
}
