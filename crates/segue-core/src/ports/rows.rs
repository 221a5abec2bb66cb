//! What stores keep and give back: versions and deployments of workflows, summaries of runs and tasks, cached results.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    event::{EventKind, Waiting},
    ids::{ContentHash, RunId, TaskId, WorkflowId},
    outcome::{TaskError, TaskResult, Usage},
    payload::Payload,
    status::Status,
    time::Timestamp,
};

/// A workflow at one version.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkflowVersion {
    /// BLAKE3 of `spec_json`.
    pub hash: ContentHash,
    /// The workflow's id.
    pub workflow_id: WorkflowId,
    /// The [`crate::spec::WorkflowSpec`] as JSON.
    pub spec_json: Arc<str>,
}

/// A version that was put into service: what a start by the workflow's id takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// The workflow.
    pub workflow_id: WorkflowId,
    /// Its version.
    pub hash: ContentHash,
    /// When.
    pub deployed_at: Timestamp,
    /// The folder in which the document's relative paths are resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_dir: Option<String>,
}

/// A run's summary: what lists show. Written in the commit that changes it; always equal to the fold of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRow {
    /// The run.
    pub run_id: RunId,
    /// Its workflow.
    pub workflow_id: WorkflowId,
    /// The workflow's version.
    pub workflow_hash: ContentHash,
    /// Where it stands.
    pub status: Status,
    /// Is it being stopped?
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancelling: bool,
    /// `seq` of its last event: its version.
    pub version: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<TaskError>,
    /// What all its attempts consumed.
    #[serde(default)]
    pub usage: Usage,
    /// Nodes of its workflow.
    pub tasks_total: u32,
    /// Tasks that have ended.
    pub tasks_done: u32,
    /// The labels of its workflow's version, for lists. Those of the creation, always.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The run that started it as a child workflow. That of the creation, always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<RunId>,
}

/// A task's summary. Holds no payload: its output is in the event at `result_seq`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskRow {
    /// The task.
    pub task_id: TaskId,
    /// Where it stands.
    pub status: Status,
    /// The attempts so far.
    pub attempts: u32,
    /// When its first attempt began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// `seq` of the last event that said how an attempt, or the task, ended; of a `WAITING` task that of the
    /// `task.waiting` that says what it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_seq: Option<u64>,
    /// What all its attempts consumed.
    #[serde(default)]
    pub usage: Usage,
}

impl TaskRow {
    /// What the task has come to, given the event at `result_seq`. A large output is still a reference.
    pub fn result(&self, ending: Option<&EventKind>) -> TaskResult {
        let (output, error) = match ending {
            Some(EventKind::TaskSucceeded { output, .. }) => (Some(output), None),
            Some(EventKind::TaskFailed { error, continue_with, .. }) => (continue_with.as_ref(), Some(error)),
            Some(EventKind::TaskRetrying { error, .. }) => (None, Some(error)),
            _ => (None, None),
        };
        TaskResult {
            status: self.status,
            attempts: self.attempts,
            output: output.cloned(),
            error: error.cloned(),
            usage: self.usage,
        }
    }
}

/// A task that waits, and what for.
#[derive(Debug, Clone, PartialEq)]
pub struct WaitingTask {
    /// The run.
    pub run_id: RunId,
    /// Its workflow.
    pub workflow_id: WorkflowId,
    /// The task.
    pub task_id: TaskId,
    /// When the waiting began.
    pub since: Timestamp,
    /// What for.
    pub waiting: Waiting,
}

/// A result that may stand in for another task's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cached {
    /// What the task produced.
    pub output: Payload,
    /// The run that it was produced in. It may have been deleted since.
    pub run_id: RunId,
    /// The task that produced it.
    pub task_id: TaskId,
    /// When it was kept.
    pub stored_at: Timestamp,
}

/// Which runs to list, newest first.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Of these statuses; empty: of all.
    pub statuses: Vec<Status>,
    /// Of this workflow.
    pub workflow_id: Option<WorkflowId>,
    /// Whose id starts with this text (hyphenated, lower case).
    pub id_prefix: Option<String>,
    /// With this label: name and value.
    pub label: Option<(String, String)>,
    /// Started by this run as child workflows.
    pub parent: Option<RunId>,
    /// Older than this run.
    pub before: Option<RunId>,
    /// At most this many; 0: all.
    pub limit: usize,
}

/// What a collection removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collected {
    /// Runs with their logs.
    pub runs: u64,
    /// Large values.
    pub blobs: u64,
    /// Cached results.
    pub cache_entries: u64,
    /// Bytes of all that as text, about: room for what is written next.
    pub bytes: u64,
}
