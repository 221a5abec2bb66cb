//! The orchestrator: what an application calls.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::{
    ids::{ContentHash, RunId, TaskId, WorkflowId},
    outcome::TaskResult,
    ports::{RunRow, StoreError},
    spec::{Diagnostic, WorkflowSpec},
};

/// A run to start.
#[derive(Debug, Clone, Default)]
pub struct StartRun {
    /// Values of the workflow's params.
    pub inputs: Map<String, Value>,
    /// Two starts of one workflow with one key are one run.
    pub idempotency_key: Option<String>,
    /// The folder in which relative paths are resolved.
    pub base_dir: Option<String>,
    /// Let the built-in model stand in for every other.
    pub rehearsal: bool,
    /// The versions that its child workflows, and theirs, are to have; each has been deployed. Those that are not named
    /// here have the version that is current when the run starts.
    pub workflows: BTreeMap<WorkflowId, ContentHash>,
}

/// The answer to a start. The run is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    /// The run.
    pub run_id: RunId,
    /// `false`: the key was used before, and this is the run of that start.
    pub is_new: bool,
}

/// Why the orchestrator did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum OrchestratorError {
    /// The workflow, or the inputs, are not valid.
    #[error("the workflow or its inputs are not valid: {} problem(s)", .0.len())]
    Invalid(Vec<Diagnostic>),
    /// No such workflow, run or task.
    #[error("{0} not found")]
    NotFound(String),
    /// It conflicts with what is so already: a key used with other inputs, a retry of a run that has not ended.
    #[error("{0}")]
    Conflict(String),
    /// The orchestrator shuts down.
    #[error("the orchestrator is shutting down")]
    ShuttingDown,
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for OrchestratorError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound(what) => Self::NotFound(what),
            StoreError::KeyReused { .. } => Self::Conflict(error.to_string()),
            other => Self::Store(other),
        }
    }
}

/// Deploys workflows and runs them.
#[async_trait]
pub trait Orchestrator: Send + Sync {
    /// Checks a workflow and keeps it under its content's hash. Repeatable.
    async fn deploy_workflow(&self, workflow: &WorkflowSpec) -> Result<ContentHash, OrchestratorError>;

    /// Starts a run of a deployed workflow. When it returns, the run is durable.
    async fn start_run(&self, workflow: ContentHash, start: StartRun) -> Result<Started, OrchestratorError>;

    /// Where a run stands.
    async fn get_run_status(&self, run: RunId) -> Result<RunRow, OrchestratorError>;

    /// Asks a run to stop. Durable when it returns; the run ends when what runs has ended, its child runs too, and its
    /// `finally` nodes have run. Asking again stops the `finally` nodes as well; asking a run that has ended changes
    /// nothing and is no error.
    async fn cancel_run(&self, run: RunId, reason: &str) -> Result<(), OrchestratorError>;

    /// What a task has come to.
    async fn get_task_result(&self, run: RunId, task: &TaskId) -> Result<TaskResult, OrchestratorError>;

    /// The workflow's id of a hash, if it is deployed here.
    async fn workflow_id(&self, workflow: ContentHash) -> Result<WorkflowId, OrchestratorError>;

    /// Takes no new work, lets what runs go on for the drain time, hands the rest back, ends everything it started.
    async fn shutdown(&self);
}
