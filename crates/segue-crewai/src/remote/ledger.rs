//! What was kicked off, written down before and after, so that nobody does it twice.

use std::sync::Arc;

use segue_core::{
    ids::ContentHash,
    outcome::{ErrorKind, TaskError, Usage},
    ports::{CallKey, ExecutionContext, ModelJournal, RecordedCall, StoreError},
};
use serde_json::{Value, json};

/// A piece of work's entries: for the n-th kickoff, at 2n that it is about to be made, at 2n + 1 what came of it.
pub(super) struct Ledger {
    journal: Option<Arc<dyn ModelJournal>>,
    key: CallKey,
    attempt: u32,
}

/// What is known of the last kickoff.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Last {
    /// There was none, or none that began: the next one has this number.
    None { next: u32 },
    /// It has this id.
    Known { id: String, next: u32 },
    /// It was about to be made; nothing more is known.
    Intended,
}

impl Ledger {
    /// `what` tells this work from other work of the same task: where it goes, with which inputs.
    pub(super) fn new(journal: Option<Arc<dyn ModelJournal>>, context: &ExecutionContext, what: &Value) -> Self {
        let key = CallKey {
            run_id: context.run_id,
            effect_key: context.effect_key.clone(),
            since: context.answers_since,
            hash: ContentHash::of(format!("crewai.remote\n{what}").as_bytes()),
            nth: 0,
        };
        Self { journal, key, attempt: context.attempt }
    }

    pub(super) async fn last(&self) -> Result<Last, TaskError> {
        let (mut last, mut next) = (None, 0);
        loop {
            if self.read(2 * next).await?.is_none() {
                return Ok(last.map_or(Last::None { next }, |id| Last::Known { id, next }));
            }
            let Some(came) = self.read(2 * next + 1).await? else { return Ok(Last::Intended) };
            last = came["kickoff_id"].as_str().map(str::to_owned);
            next += 1;
        }
    }

    /// It is about to be made.
    pub(super) async fn intend(&self, number: u32) -> Result<(), TaskError> {
        self.write(2 * number, &json!({ "intended": true })).await
    }

    /// It has this id.
    pub(super) async fn began(&self, number: u32, id: &str) -> Result<(), TaskError> {
        self.write(2 * number + 1, &json!({ "kickoff_id": id })).await
    }

    /// It is certain that nothing began.
    pub(super) async fn came_to_nothing(&self, number: u32) -> Result<(), TaskError> {
        self.write(2 * number + 1, &json!({ "kickoff_id": null })).await
    }

    /// A person has answered this execution.
    pub(super) async fn answered(&self, id: &str) -> Result<(), TaskError> {
        self.write_at(self.answer_of(id), &json!({ "answered": id })).await
    }

    /// Has a person answered it before?
    pub(super) async fn was_answered(&self, id: &str) -> Result<bool, TaskError> {
        Ok(self.read_at(&self.answer_of(id)).await?.is_some())
    }

    /// Answers are kept for all attempts: they may be given long after.
    fn answer_of(&self, id: &str) -> CallKey {
        let hash = ContentHash::of(format!("crewai.remote answered\n{id}").as_bytes());
        CallKey { since: 0, hash, nth: 0, ..self.key.clone() }
    }

    async fn read(&self, nth: u32) -> Result<Option<Value>, TaskError> {
        self.read_at(&CallKey { nth, ..self.key.clone() }).await
    }

    async fn read_at(&self, key: &CallKey) -> Result<Option<Value>, TaskError> {
        let Some(journal) = &self.journal else { return Ok(None) };
        let entry = journal.recorded(key).await.map_err(unwritten)?;
        Ok(entry.map(|entry| serde_json::from_slice(&entry.body).unwrap_or_default()))
    }

    async fn write(&self, nth: u32, body: &Value) -> Result<(), TaskError> {
        self.write_at(CallKey { nth, ..self.key.clone() }, body).await
    }

    async fn write_at(&self, key: CallKey, body: &Value) -> Result<(), TaskError> {
        let Some(journal) = &self.journal else { return Ok(()) };
        let entry = RecordedCall {
            key,
            attempt: self.attempt,
            model: "crewai.remote".to_owned(),
            content_type: "application/json".to_owned(),
            body: body.to_string().into_bytes(),
            usage: Usage::default(),
        };
        journal.record(entry).await.map_err(unwritten)
    }
}

fn unwritten(error: StoreError) -> TaskError {
    TaskError::new(ErrorKind::WorkerLost, format!("the kickoff cannot be written down: {error}"))
}
