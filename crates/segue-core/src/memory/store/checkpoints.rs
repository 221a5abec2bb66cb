//! States of graphs.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::MemoryStore;
use crate::ports::{Checkpoint, CheckpointFilter, CheckpointStore, CheckpointWrites, StoreError, Write};

/// Thread, namespace, id.
type Key = (String, String, String);

/// Checkpoints and the writes after them, which may come first.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    states: BTreeMap<Key, Checkpoint>,
    writes: BTreeMap<Key, BTreeMap<(String, i64), Write>>,
}

impl Checkpoints {
    fn with_writes(&self, key: &Key, state: &Checkpoint) -> Checkpoint {
        let mut writes: Vec<Write> = self.writes.get(key).into_iter().flat_map(BTreeMap::values).cloned().collect();
        writes.sort_by(|a, b| (&a.task_path, &a.task_id, a.index).cmp(&(&b.task_path, &b.task_id, b.index)));
        Checkpoint { writes, ..state.clone() }
    }

    pub(super) fn delete_threads(&mut self, is_meant: impl Fn(&str) -> bool) {
        self.states.retain(|key, _| !is_meant(&key.0));
        self.writes.retain(|key, _| !is_meant(&key.0));
    }
}

#[async_trait]
impl CheckpointStore for MemoryStore {
    async fn put_checkpoint(&self, mut checkpoint: Checkpoint) -> Result<(), StoreError> {
        checkpoint.writes.clear();
        let Checkpoint { thread, namespace, id, .. } = &checkpoint;
        let key = (thread.clone(), namespace.clone(), id.clone());
        self.state().checkpoints.states.insert(key, checkpoint);
        Ok(())
    }

    async fn put_writes(&self, writes: CheckpointWrites) -> Result<(), StoreError> {
        let CheckpointWrites { thread, namespace, id, writes, replace } = writes;
        let mut state = self.state();
        let kept = state.checkpoints.writes.entry((thread, namespace, id)).or_default();
        for write in writes {
            let place = (write.task_id.clone(), write.index);
            if replace {
                kept.insert(place, write);
            } else {
                kept.entry(place).or_insert(write);
            }
        }
        Ok(())
    }

    async fn get_checkpoint(
        &self,
        thread: &str,
        namespace: &str,
        id: Option<&str>,
    ) -> Result<Option<Checkpoint>, StoreError> {
        let filter = CheckpointFilter {
            thread: Some(thread.to_owned()),
            namespace: Some(namespace.to_owned()),
            id: id.map(str::to_owned),
            limit: Some(1),
            ..CheckpointFilter::default()
        };
        Ok(self.list_checkpoints(&filter).await?.pop())
    }

    async fn list_checkpoints(&self, filter: &CheckpointFilter) -> Result<Vec<Checkpoint>, StoreError> {
        let state = self.state();
        let all = &state.checkpoints;
        let is = |wanted: &Option<String>, text: &str| wanted.as_ref().is_none_or(|wanted| wanted == text);
        let mut found: Vec<_> = all
            .states
            .iter()
            .filter(|((thread, namespace, id), state)| {
                is(&filter.thread, thread)
                    && is(&filter.namespace, namespace)
                    && is(&filter.id, id)
                    && filter.before.as_ref().is_none_or(|before| id < before)
                    && filter.metadata.iter().all(|(name, value)| state.metadata.get(name) == Some(value))
            })
            .collect();
        found.sort_by(|(a, _), (b, _)| b.2.cmp(&a.2));
        found.truncate(filter.limit.unwrap_or(usize::MAX));
        Ok(found.into_iter().map(|(key, state)| all.with_writes(key, state)).collect())
    }

    async fn delete_thread(&self, thread: &str) -> Result<(), StoreError> {
        self.state().checkpoints.delete_threads(|name| name == thread);
        Ok(())
    }
}
