//! What is kept beside runs, and fails with them.

use std::sync::Arc;

use async_trait::async_trait;
use segue_core::{
    ids::RunId,
    outcome::Usage,
    ports::{
        CallKey, Checkpoint, CheckpointFilter, CheckpointStore, CheckpointWrites, ModelJournal, RecordedCall,
        StoreError,
    },
};

use super::fate::{Faults, Kind};

/// A [`ModelJournal`] to which things happen.
pub struct FaultJournal {
    inner: Arc<dyn ModelJournal>,
    faults: Arc<Faults>,
}

impl FaultJournal {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn ModelJournal>, faults: Arc<Faults>) -> Self {
        Self { inner, faults }
    }
}

#[async_trait]
impl ModelJournal for FaultJournal {
    async fn record(&self, call: RecordedCall) -> Result<(), StoreError> {
        let record = || {
            let (inner, call) = (self.inner.clone(), call.clone());
            async move { inner.record(call).await }
        };
        self.faults.around(Kind::Upkeep, record).await
    }

    async fn recorded(&self, key: &CallKey) -> Result<Option<RecordedCall>, StoreError> {
        let find = || {
            let (inner, key) = (self.inner.clone(), key.clone());
            async move { inner.recorded(&key).await }
        };
        self.faults.around(Kind::Read, find).await
    }

    async fn usage(&self, run_id: RunId, effect_key: &str, attempt: u32) -> Result<Usage, StoreError> {
        let find = || {
            let (inner, effect_key) = (self.inner.clone(), effect_key.to_owned());
            async move { inner.usage(run_id, &effect_key, attempt).await }
        };
        self.faults.around(Kind::Read, find).await
    }
}

/// A [`CheckpointStore`] to which things happen.
pub struct FaultCheckpoints {
    inner: Arc<dyn CheckpointStore>,
    faults: Arc<Faults>,
}

impl FaultCheckpoints {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn CheckpointStore>, faults: Arc<Faults>) -> Self {
        Self { inner, faults }
    }
}

#[async_trait]
impl CheckpointStore for FaultCheckpoints {
    async fn put_checkpoint(&self, checkpoint: Checkpoint) -> Result<(), StoreError> {
        let put = || {
            let (inner, checkpoint) = (self.inner.clone(), checkpoint.clone());
            async move { inner.put_checkpoint(checkpoint).await }
        };
        self.faults.around(Kind::Upkeep, put).await
    }

    async fn put_writes(&self, writes: CheckpointWrites) -> Result<(), StoreError> {
        let put = || {
            let (inner, writes) = (self.inner.clone(), writes.clone());
            async move { inner.put_writes(writes).await }
        };
        self.faults.around(Kind::Upkeep, put).await
    }

    async fn get_checkpoint(
        &self,
        thread: &str,
        namespace: &str,
        id: Option<&str>,
    ) -> Result<Option<Checkpoint>, StoreError> {
        let get = || {
            let (inner, id) = (self.inner.clone(), id.map(str::to_owned));
            let (thread, namespace) = (thread.to_owned(), namespace.to_owned());
            async move { inner.get_checkpoint(&thread, &namespace, id.as_deref()).await }
        };
        self.faults.around(Kind::Read, get).await
    }

    async fn list_checkpoints(&self, filter: &CheckpointFilter) -> Result<Vec<Checkpoint>, StoreError> {
        let list = || {
            let (inner, filter) = (self.inner.clone(), filter.clone());
            async move { inner.list_checkpoints(&filter).await }
        };
        self.faults.around(Kind::Read, list).await
    }

    async fn delete_thread(&self, thread: &str) -> Result<(), StoreError> {
        let delete = || {
            let (inner, thread) = (self.inner.clone(), thread.to_owned());
            async move { inner.delete_thread(&thread).await }
        };
        self.faults.around(Kind::Upkeep, delete).await
    }
}
