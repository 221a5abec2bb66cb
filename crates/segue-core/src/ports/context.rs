//! What a task may know about where it runs.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::{
    ids::{RunId, TaskId, WorkflowId},
    time::Timestamp,
};

/// Read-only facts about the run, for the adapter that carries out one of its tasks.
#[derive(Debug, Clone)]
pub struct ExecutionContext {
    /// The workflow's id.
    pub workflow_id: WorkflowId,
    /// The run's id.
    pub run_id: RunId,
    /// The task's id.
    pub task_id: TaskId,
    /// The attempt, from 1.
    pub attempt: u32,
    /// When the attempt was dispatched.
    pub now: Timestamp,
    /// What an effect is keyed by, so that its receiver can tell a repetition: `run_id/task_id`. The same over attempts,
    /// restarts and engines; another one each time a loop edge runs the task again.
    pub effect_key: String,
    /// What models answered this task's attempts from this one on, up to the attempt itself, is good still: they were lost, or
    /// broken by something that says nothing about the answers. From 1.
    pub answers_since: u32,
    /// Further values by name: the run's params, and what the shell adds.
    pub values: Arc<Map<String, Value>>,
}

impl ExecutionContext {
    /// The value called `key`, or `default`.
    pub fn get<'a>(&'a self, key: &str, default: &'a Value) -> &'a Value {
        self.values.get(key).unwrap_or(default)
    }

    /// As [`ExecutionContext::effect_key`].
    pub fn idempotency_key(&self) -> String {
        self.effect_key.clone()
    }
}
