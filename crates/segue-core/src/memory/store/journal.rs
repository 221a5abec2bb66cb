//! Answers of models.

use async_trait::async_trait;

use super::MemoryStore;
use crate::{
    ids::RunId,
    outcome::Usage,
    ports::{CallKey, ModelJournal, RecordedCall, StoreError},
};

#[async_trait]
impl ModelJournal for MemoryStore {
    async fn record(&self, call: RecordedCall) -> Result<(), StoreError> {
        let mut state = self.state();
        state.run(call.key.run_id)?;
        state.calls.entry(call.key.clone()).or_insert(call);
        Ok(())
    }

    async fn recorded(&self, key: &CallKey) -> Result<Option<RecordedCall>, StoreError> {
        Ok(self.state().calls.get(key).cloned())
    }

    async fn usage(&self, run_id: RunId, effect_key: &str, attempt: u32) -> Result<Usage, StoreError> {
        let state = self.state();
        let of_attempt = state
            .calls
            .values()
            .filter(|call| call.key.run_id == run_id && call.key.effect_key == effect_key && call.attempt == attempt);
        Ok(of_attempt.fold(Usage::default(), |mut sum, call| {
            sum += call.usage;
            sum
        }))
    }
}
