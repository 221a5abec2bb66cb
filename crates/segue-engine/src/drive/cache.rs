//! Results that are used again: looked for when an attempt is dispatched, kept when its success is committed.

use std::{collections::BTreeMap, time::Duration};

use segue_core::{
    ids::{ContentHash, TaskId},
    outcome::{TaskError, TaskOutcome, Usage},
    payload::Payload,
    ports::Cached,
    run::Rendered,
};
use serde_json::{Value, json};

use super::Drive;
use crate::pins::pin_of;

/// What a run holds of the cache.
#[derive(Default)]
pub(super) struct CacheState {
    /// The keys of attempts that are under way, to be kept under.
    keys: BTreeMap<TaskId, (u32, String)>,
    /// Tasks whose last attempt was answered from the cache. If they are tried again, that answer was no good.
    answered: BTreeMap<TaskId, u32>,
}

impl CacheState {
    /// After the run was loaded anew.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Drive {
    /// The result of an earlier attempt with the same key, if the node lets it be used again. Otherwise the key is
    /// remembered. A store that does not answer is as good as an empty cache.
    pub(super) async fn cached(
        &mut self,
        task: &TaskId,
        attempt: u32,
        rendered: &Rendered,
    ) -> Result<Option<TaskOutcome>, TaskError> {
        let Some(key) = self.cache_key(task, rendered)? else { return Ok(None) };
        let is_first_look = self.cache.answered.remove(task).is_none();
        let found = if is_first_look { self.shared.store.cache_get(&key, self.now()).await } else { Ok(None) };
        let hit = match found {
            Ok(hit) => hit,
            Err(error) => {
                tracing::warn!(run_id = %self.run.id(), task_id = %task, %error, "the cache was not asked");
                None
            }
        };
        let Some((hit, value)) = hit.and_then(|hit| hit.output.value().cloned().map(|value| (hit, value))) else {
            self.cache.keys.insert(task.clone(), (attempt, key));
            return Ok(None);
        };
        self.cache.answered.insert(task.clone(), attempt);
        let warning = format!("from the cache: run {}, task {}", hit.run_id, hit.task_id);
        // Made anew: the run keeps a large value of its own.
        let output = Payload::from_arc(value);
        Ok(Some(TaskOutcome::Succeeded { output, usage: Usage::default(), warnings: vec![warning] }))
    }

    /// Only tasks of one node of one workflow share a result, and never those of a rehearsal with others.
    fn cache_key(&self, task: &TaskId, rendered: &Rendered) -> Result<Option<String>, TaskError> {
        let node = self.run.node(task).expect("an owed task has a node");
        if node.cache().is_none() {
            return Ok(None);
        }
        let created = self.run.created();
        let what = match self.run.cache_key(task)? {
            Some(key) => json!({ "key": key }),
            None => json!({
                "inputs": *rendered.inputs,
                "material": rendered.material.iter().map(|(id, value)| json!([id, **value])).collect::<Value>(),
                "handler": node.handler,
                "name": node.name,
                "description": node.description,
                "workflow": node.child().and_then(|child| created.workflows.get(&pin_of(child))),
            }),
        };
        let whose = json!([self.run.plan().workflow_id(), node.id, created.rehearsal, what]);
        Ok(Some(ContentHash::of(whose.to_string().as_bytes()).to_string()))
    }

    /// A success is in the log: it may be used again.
    pub(super) async fn keep_in_cache(&mut self, task: &TaskId, attempt: u32, output: &Payload) {
        let Some((_, key)) = self.cache.keys.remove(task).filter(|(own, _)| *own == attempt) else { return };
        let Some(cache) = self.run.node(task).and_then(|node| node.cache()) else { return };
        let now = self.now();
        let expires_at = cache.ttl.filter(|ttl| *ttl < Duration::MAX).map(|ttl| now.plus(ttl));
        let entry = Cached { output: output.clone(), run_id: self.run.id(), task_id: task.clone(), stored_at: now };
        if let Err(error) = self.shared.store.cache_put(&key, entry, expires_at).await {
            tracing::warn!(run_id = %self.run.id(), task_id = %task, %error, "a result was not kept to be used again");
        }
    }

    /// An attempt has ended without a result.
    pub(super) fn forget_cache_key(&mut self, task: &TaskId) {
        self.cache.keys.remove(task);
    }
}
