//! The document of a run: what `run --json` and `runs show --json` print.

use std::collections::{BTreeMap, HashMap, HashSet};

use segue_core::{
    event::{Event, EventKind, ParentLink, SkipReason, Waiting},
    ids::{ContentHash, RunId, TaskId, WorkflowId},
    outcome::{TaskError, Usage},
    payload::Payload,
    ports::{RunFilter, RunRow, RunStore, StoreError},
    spec::{TaskNode, WorkflowOnFailure, WorkflowSpec},
    status::Status,
    time::Timestamp,
};
use segue_engine::LimitWaiting;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    failure::{Failure, Outcome},
    graph::Address,
};

/// What a run has come to. The field names and their order are part of the interface.
#[derive(Debug, Serialize)]
pub(crate) struct RunDocument {
    pub(crate) run_id: RunId,
    pub(crate) workflow_id: WorkflowId,
    pub(crate) status: Status,
    pub(crate) outputs: Value,
    pub(crate) error: Option<TaskError>,
    pub(crate) usage: Usage,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Option<Timestamp>,
    pub(crate) tasks: Map<String, Value>,
    /// Of the run of a child workflow: who started it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<ParentLink>,
    /// The runs of its child workflows, in the order of their start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) children: Vec<ChildRun>,
    /// The run whose results it took over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rerun_of: Option<RunId>,
}

/// The run of a child workflow.
#[derive(Debug, Serialize)]
pub(crate) struct ChildRun {
    pub(crate) run_id: RunId,
    pub(crate) workflow_id: WorkflowId,
    pub(crate) status: Status,
}

/// One task in the document.
#[derive(Debug, Clone, Serialize)]
struct TaskDocument {
    status: Status,
    attempts: u32,
    output: Value,
    error: Option<TaskError>,
    /// Why it was skipped, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<SkipReason>,
    /// What it waits for, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<Waiting>,
    /// The run whose result it took over.
    #[serde(skip_serializing_if = "Option::is_none")]
    reused_from: Option<RunId>,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
}

impl TaskDocument {
    const PENDING: Self = Self {
        status: Status::Pending,
        attempts: 0,
        output: Value::Null,
        error: None,
        reason: None,
        waiting: None,
        reused_from: None,
        started_at: None,
        finished_at: None,
    };
}

/// Reads the document of `run`: states from the rows, values from the log.
pub(crate) async fn of_run(store: &dyn RunStore, run: RunId) -> Outcome<RunDocument> {
    let row = store.get_run(run).await?;
    let spec = workflow(store, row.workflow_hash).await?;
    let log = store.events(run, 0, 0).await?;
    let event_at = |seq: u64| log.get(usize::try_from(seq).ok()?.checked_sub(1)?);

    let listed = store.list_tasks(run).await?;
    let order: Vec<String> = listed.iter().map(|task| task.task_id.to_string()).collect();
    let mut rows: HashMap<String, _> = order.iter().cloned().zip(listed).collect();
    let mut tasks = Map::new();
    let after: &[TaskNode] = match &spec.on_failure {
        Some(WorkflowOnFailure::Nodes(nodes)) => nodes,
        _ => &[],
    };
    let names: Vec<String> =
        spec.nodes.iter().chain(after).chain(&spec.finally).map(|node| node.id.to_string()).collect();
    let known: HashSet<&String> = names.iter().collect();
    // Instances, iterations and members in the order in which they began.
    let further: Vec<&String> = order.iter().filter(|id| !known.contains(id)).collect();
    for name in names.iter().chain(further).cloned() {
        let mut document = TaskDocument::PENDING;
        if let Some(task) = rows.remove(&name) {
            (document.status, document.attempts) = (task.status, task.attempts);
            (document.started_at, document.finished_at) = (task.started_at, task.finished_at);
            if let Some(event) = task.result_seq.and_then(event_at) {
                document.error = error_of(event).cloned();
                match &event.kind {
                    EventKind::TaskSkipped { reason } => document.reason = Some(reason.clone()),
                    EventKind::TaskWaiting(waiting) if task.status == Status::Waiting => {
                        document.waiting = Some(waiting.clone());
                    }
                    EventKind::TaskSucceeded { reused_from, .. } => document.reused_from = *reused_from,
                    _ => {}
                }
                document.output = match event.task_id.is_some().then(|| event.kind.payload()).flatten() {
                    Some(payload) => load(store, payload).await?,
                    None => Value::Null,
                };
            }
        }
        tasks.insert(name, serde_json::to_value(document).expect("a task can be written as JSON"));
    }

    let outputs = match log.iter().rev().find(|event| event.kind.ends_run()).map(|event| &event.kind) {
        Some(EventKind::RunSucceeded { outputs }) if row.status == Status::Succeeded => load(store, outputs).await?,
        _ => Value::Null,
    };
    let created = match log.first().map(|event| &event.kind) {
        Some(EventKind::RunCreated(created)) => Some(created),
        _ => None,
    };
    let mut children = store.list_runs(RunFilter { parent: Some(run), ..RunFilter::default() }).await?;
    children.reverse();
    let child = |row: RunRow| ChildRun { run_id: row.run_id, workflow_id: row.workflow_id, status: row.status };
    Ok(RunDocument {
        run_id: run,
        workflow_id: row.workflow_id,
        status: row.status,
        outputs,
        error: row.error,
        usage: row.usage,
        started_at: row.started_at,
        finished_at: row.finished_at,
        tasks,
        parent: created.and_then(|created| created.parent.clone()),
        children: children.into_iter().map(child).collect(),
        rerun_of: created.and_then(|created| created.rerun_of),
    })
}

impl RunDocument {
    /// Adds `waits_for` to the tasks that limits keep from beginning. Of instances that have not changed yet the node tells
    /// it.
    pub(crate) fn add_limit_waits(&mut self, waits: &BTreeMap<TaskId, Vec<LimitWaiting>>) {
        for (task, limits) in waits {
            let id =
                if self.tasks.contains_key(task.as_str()) { task.as_str() } else { Address::of(task.as_str()).node };
            if let Some(Value::Object(document)) = self.tasks.get_mut(id) {
                let told = limits.iter().map(limit_document).collect();
                document.entry("waits_for").or_insert(Value::Array(told));
            }
        }
    }
}

fn limit_document(waiting: &LimitWaiting) -> Value {
    let LimitWaiting { limit, why, held, concurrent, opens_in } = waiting;
    let mut told = json!({ "limit": limit, "why": why, "held": held });
    if let Some(most) = concurrent {
        told["concurrent"] = json!(most);
    }
    if let Some(left) = opens_in {
        told["opens_in_seconds"] = json!(left.as_secs_f64());
    }
    told
}

const fn error_of(event: &Event) -> Option<&TaskError> {
    match &event.kind {
        EventKind::TaskFailed { error, .. } | EventKind::TaskRetrying { error, .. } => Some(error),
        _ => None,
    }
}

/// The workflow that a run is pinned to.
pub(crate) async fn workflow(store: &dyn RunStore, hash: ContentHash) -> Outcome<WorkflowSpec> {
    let version = store.get_workflow(hash).await?;
    serde_json::from_str(&version.spec_json).map_err(|error| {
        Failure::from(StoreError::Broken(format!("workflow {} of version {hash}: {error}", version.workflow_id)))
    })
}

/// A value, fetched from beside the log if it is large.
pub(crate) async fn load(store: &dyn RunStore, payload: &Payload) -> Outcome<Value> {
    if let Some(value) = payload.value() {
        return Ok(Value::clone(value));
    }
    let Some(blob) = payload.blob() else { return Ok(Value::Null) };
    let bytes = store.blob(blob).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Failure::from(StoreError::Broken(format!("the large value {}: {error}", blob.hash))))
}
