//! The journal of model calls, watched.

use std::sync::Arc;

use async_trait::async_trait;
use segue_core::{
    ids::RunId,
    outcome::Usage,
    ports::{CallKey, ModelJournal, RecordedCall, StoreError},
};

use super::{
    ledger::{About, Entry},
    moments::Moments,
    plan::Bug,
};

/// Writes down what was paid and what is kept. Each record of an answer is a moment.
pub(super) struct ChaosJournal {
    inner: Arc<dyn ModelJournal>,
    moments: Arc<Moments>,
}

impl ChaosJournal {
    pub(super) const fn new(inner: Arc<dyn ModelJournal>, moments: Arc<Moments>) -> Self {
        Self { inner, moments }
    }
}

/// One call of one task, whichever attempt makes it.
fn name_of(key: &CallKey) -> String {
    format!("{} {} {}", key.effect_key, key.hash, key.nth)
}

#[async_trait]
impl ModelJournal for ChaosJournal {
    async fn record(&self, call: RecordedCall) -> Result<(), StoreError> {
        let name = name_of(&call.key);
        self.moments.note(Entry::Paid { call: name.clone() });
        let task = call.key.effect_key.split_once('/').map_or("", |(_, task)| task).to_owned();
        let n = self.moments.come(About::Answer, format!("answer of a model to {task}"));
        if self.moments.wants_workers(n) {
            self.moments.kill_workers(n);
        }
        if !self.moments.has(Bug::ForgetsAnswers) {
            self.inner.record(call).await?;
        }
        self.moments.note(Entry::Kept { call: name });
        self.moments.over(n);
        Ok(())
    }

    async fn recorded(&self, key: &CallKey) -> Result<Option<RecordedCall>, StoreError> {
        self.inner.recorded(key).await
    }

    async fn usage(&self, run_id: RunId, effect_key: &str, attempt: u32) -> Result<Usage, StoreError> {
        self.inner.usage(run_id, effect_key, attempt).await
    }
}
