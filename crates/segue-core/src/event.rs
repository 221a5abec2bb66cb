//! Events: the committed facts of a run. The log, the bus and every interface show the same ones.
//!
//! Inside a run an [`Event`] leaves out what all of its events share; [`Envelope`] adds the run and its workflow for
//! readers outside. The schema only grows: a golden file a version is a test.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use crate::{
    ids::{ContentHash, NodeId, RunId, TaskId, WorkflowId},
    outcome::{Loss, TaskError, Usage},
    payload::Payload,
    question::Question,
    time::Timestamp,
};

/// One committed fact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Position in the run's log, from 1, without gaps.
    pub seq: u64,
    /// When it became true.
    pub time: Timestamp,
    /// The task it is about; none for a fact about the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// The attempt it is about, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened, with its data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", content = "data")]
pub enum EventKind {
    /// The run exists and is durable.
    #[serde(rename = "run.created")]
    RunCreated(RunCreated),
    /// It began.
    #[serde(rename = "run.started")]
    RunStarted {},
    /// Nothing runs, something waits.
    #[serde(rename = "run.waiting")]
    RunWaiting {},
    /// Nothing new starts; what runs is being stopped.
    #[serde(rename = "run.cancelling")]
    RunCancelling {
        /// Who stops it.
        by: CancelCause,
        /// In words.
        reason: String,
    },
    /// The end: all went well, or what failed was handled.
    #[serde(rename = "run.succeeded")]
    RunSucceeded {
        /// What the workflow declares as its outputs, else the outputs of its final nodes.
        outputs: Payload,
    },
    /// The end: something failed that nothing handles.
    #[serde(rename = "run.failed")]
    RunFailed {
        /// The first such failure.
        error: TaskError,
    },
    /// The end: it was cancelled.
    #[serde(rename = "run.cancelled")]
    RunCancelled {
        /// Why.
        reason: String,
    },
    /// An ended run goes on: what has not succeeded runs again.
    #[serde(rename = "run.reopened")]
    RunReopened {},
    /// An attempt begins.
    #[serde(rename = "task.started")]
    TaskStarted {},
    /// The task waits for something outside, without a worker.
    #[serde(rename = "task.waiting")]
    TaskWaiting(Waiting),
    /// Somebody, or something, answered a waiting task.
    #[serde(rename = "task.signaled")]
    TaskSignaled {
        /// What was said.
        data: Payload,
        /// The stored request that said it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<i64>,
    },
    /// A `foreach` node has its instances: `node[0]` to `node[n-1]`.
    #[serde(rename = "task.mapped")]
    TaskMapped {
        /// How many.
        n: u32,
    },
    /// A loop goes round once more: `repeat` begins `node#iteration`, a loop edge runs its body again.
    #[serde(rename = "loop.iterated")]
    LoopIterated {
        /// From 1.
        iteration: u32,
    },
    /// An attempt ended without success; another will follow.
    #[serde(rename = "task.retrying")]
    TaskRetrying {
        /// Why.
        error: TaskError,
        /// When the next attempt may start.
        due: Timestamp,
        /// The attempt was lost, and by whom.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lost: Option<Loss>,
        /// What it consumed.
        #[serde(default, skip_serializing_if = "Usage::is_zero")]
        usage: Usage,
    },
    /// The task has its result.
    #[serde(rename = "task.succeeded")]
    TaskSucceeded {
        /// What it produced.
        output: Payload,
        /// What the attempt consumed.
        #[serde(default, skip_serializing_if = "Usage::is_zero")]
        usage: Usage,
        /// What a reader should know although it succeeded.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        warnings: Vec<String>,
        /// The result is that of the same task in this earlier run; nothing ran.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reused_from: Option<RunId>,
    },
    /// The task failed for good.
    #[serde(rename = "task.failed")]
    TaskFailed {
        /// Why.
        error: TaskError,
        /// The attempt was lost, and by whom.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lost: Option<Loss>,
        /// `on_failure: continue`: the run goes on with this output in the place of the task's own.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
        continue_with: Option<Payload>,
        /// What the attempt consumed.
        #[serde(default, skip_serializing_if = "Usage::is_zero")]
        usage: Usage,
    },
    /// The task will not run.
    #[serde(rename = "task.skipped")]
    TaskSkipped {
        /// Why.
        reason: SkipReason,
    },
    /// The task was stopped, or never started, because the run is being cancelled.
    #[serde(rename = "task.cancelled")]
    TaskCancelled {
        /// What the attempt consumed.
        #[serde(default, skip_serializing_if = "Usage::is_zero")]
        usage: Usage,
    },
}

/// A field that is there has a value: `null` is one too, and not the absence of any.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Payload>, D::Error> {
    Payload::deserialize(deserializer).map(Some)
}

/// The data of `run.created`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunCreated {
    /// The version of the workflow that the run is pinned to.
    pub workflow_hash: ContentHash,
    /// The values of the workflow's params, defaults filled in.
    pub inputs: Payload,
    /// The key under which the start was submitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// The folder in which the document's relative paths are resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_dir: Option<String>,
    /// The run's models answer from the built-in rehearsal model.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rehearsal: bool,
    /// Of a child run: the task that started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ParentLink>,
    /// The versions of all workflows that this run may start, and that those may start.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, String>")]
    pub workflows: BTreeMap<WorkflowId, ContentHash>,
    /// The earlier run whose results this one takes over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerun_of: Option<RunId>,
}

impl RunCreated {
    /// A run of its own, without a key.
    pub const fn new(workflow_hash: ContentHash, inputs: Payload) -> Self {
        Self {
            workflow_hash,
            inputs,
            idempotency_key: None,
            base_dir: None,
            rehearsal: false,
            parent: None,
            workflows: BTreeMap::new(),
            rerun_of: None,
        }
    }
}

/// Who started a child run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ParentLink {
    /// The parent's run.
    pub run_id: RunId,
    /// The task in it.
    pub task_id: TaskId,
    /// How many runs are above this one, from 1.
    pub depth: u32,
}

/// What a task waits for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Waiting {
    /// For a person's answer.
    Approval {
        /// The question.
        title: String,
        /// What the person needs to know.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
        /// What the person is to fill in: a name and a type each.
        #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
        form: serde_json::Map<String, Value>,
        /// Who may answer; anybody if empty.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        approvers: Vec<String>,
        /// When the waiting ends without an answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        due: Option<Timestamp>,
    },
    /// For a time.
    Time {
        /// Which.
        due: Timestamp,
    },
    /// For a signal.
    Event {
        /// Its name.
        event: String,
        /// When the waiting ends without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        due: Option<Timestamp>,
    },
    /// For the end of another run.
    Child {
        /// Which.
        run_id: RunId,
        /// Its workflow.
        workflow_id: WorkflowId,
        /// The version of its workflow.
        workflow_hash: ContentHash,
    },
    /// For a person who decides what the failure means: `on_failure: pause`.
    Failure {
        /// What failed.
        error: TaskError,
        /// The attempt was lost, and by whom.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lost: Option<Loss>,
        /// What the attempt consumed that this ends.
        #[serde(default, skip_serializing_if = "Usage::is_zero")]
        usage: Usage,
    },
    /// For the answer to what the task's own code asks. Ends the attempt that asked; the next one goes on from there.
    Question {
        /// What it asks.
        #[serde(flatten)]
        question: Question,
        /// What the attempt consumed.
        #[serde(default, skip_serializing_if = "Usage::is_zero")]
        usage: Usage,
    },
}

impl Waiting {
    /// When the waiting ends by itself.
    pub const fn due(&self) -> Option<Timestamp> {
        match self {
            Self::Approval { due, .. } | Self::Event { due, .. } => *due,
            Self::Time { due } => Some(*due),
            Self::Child { .. } | Self::Failure { .. } | Self::Question { .. } => None,
        }
    }
}

/// Who stops a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CancelCause {
    /// Somebody asked for it: the run ends `CANCELLED`.
    Request,
    /// Its `timeout_seconds` passed: the run ends `FAILED`.
    Deadline,
    /// A task failed and the workflow says `on_failure: cancel`: the run ends `FAILED`.
    Failure,
}

/// Why a task was skipped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SkipReason {
    /// The rule that skipped it.
    pub code: SkipCode,
    /// In words, naming the dependency.
    pub message: String,
    /// The dependency that decided it, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<NodeId>,
}

/// The rules that skip a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SkipCode {
    /// Its own `when` is false.
    When,
    /// Nothing that leads to it was taken: all its dependencies were skipped, or no edge's condition held.
    NotReached,
    /// What it needs failed.
    UpstreamFailed,
    /// An `any_failure` node whose dependencies all went well.
    NothingFailed,
    /// `all_success` where some dependencies succeeded and others were skipped: the join can never hold.
    JoinNeverHolds,
}

impl EventKind {
    /// The event's name in the log and on the bus.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::RunCreated(_) => "run.created",
            Self::RunStarted {} => "run.started",
            Self::RunWaiting {} => "run.waiting",
            Self::RunCancelling { .. } => "run.cancelling",
            Self::RunSucceeded { .. } => "run.succeeded",
            Self::RunFailed { .. } => "run.failed",
            Self::RunCancelled { .. } => "run.cancelled",
            Self::RunReopened {} => "run.reopened",
            Self::TaskStarted {} => "task.started",
            Self::TaskWaiting(_) => "task.waiting",
            Self::TaskSignaled { .. } => "task.signaled",
            Self::TaskMapped { .. } => "task.mapped",
            Self::LoopIterated { .. } => "loop.iterated",
            Self::TaskRetrying { .. } => "task.retrying",
            Self::TaskSucceeded { .. } => "task.succeeded",
            Self::TaskFailed { .. } => "task.failed",
            Self::TaskSkipped { .. } => "task.skipped",
            Self::TaskCancelled { .. } => "task.cancelled",
        }
    }

    /// Does it end the run?
    pub const fn ends_run(&self) -> bool {
        matches!(self, Self::RunSucceeded { .. } | Self::RunFailed { .. } | Self::RunCancelled { .. })
    }

    /// The large value that the event may carry, to be stored beside the log or loaded from there.
    pub const fn payload(&self) -> Option<&Payload> {
        match self {
            Self::RunCreated(created) => Some(&created.inputs),
            Self::RunSucceeded { outputs } => Some(outputs),
            Self::TaskSucceeded { output, .. } => Some(output),
            Self::TaskSignaled { data, .. } => Some(data),
            Self::TaskFailed { continue_with, .. } => continue_with.as_ref(),
            _ => None,
        }
    }

    /// As [`EventKind::payload`], to give it its value.
    pub const fn payload_mut(&mut self) -> Option<&mut Payload> {
        match self {
            Self::RunCreated(created) => Some(&mut created.inputs),
            Self::RunSucceeded { outputs } => Some(outputs),
            Self::TaskSucceeded { output, .. } => Some(output),
            Self::TaskSignaled { data, .. } => Some(data),
            Self::TaskFailed { continue_with, .. } => continue_with.as_mut(),
            _ => None,
        }
    }
}

/// An event as readers outside see it: the log's facts, and progress that is not state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// Position in the run's log. Of a transient event: that of the last fact before it.
    pub seq: u64,
    /// The event's name.
    #[serde(rename = "type")]
    pub name: String,
    /// When it happened.
    pub time: Timestamp,
    /// The workflow's id.
    pub workflow_id: WorkflowId,
    /// The run's id.
    pub run_id: RunId,
    /// The task it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// The attempt it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The event's own data.
    pub data: Value,
    /// Progress that is not state: on the bus only, may be lost.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub transient: bool,
}

impl Envelope {
    /// Shows a committed fact of a run.
    pub fn of(event: &Event, workflow_id: &WorkflowId, run_id: RunId) -> Self {
        let kind = serde_json::to_value(&event.kind).expect("an event can be written as JSON");
        let data = match kind {
            Value::Object(mut fields) => fields.remove("data").unwrap_or_default(),
            _ => Value::Null,
        };
        Self {
            seq: event.seq,
            name: event.kind.name().to_owned(),
            time: event.time,
            workflow_id: workflow_id.clone(),
            run_id,
            task_id: event.task_id.clone(),
            attempt: event.attempt,
            data,
            transient: false,
        }
    }
}

/// JSON Schema (2020-12) of the envelope: its fields, and the data of each event of the log by `type`.
pub fn schema() -> Value {
    let kinds = schemars::schema_for!(EventKind).to_value();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Event",
        "description": "One fact of a run's log, or (transient) progress on the bus, whose type is not listed here.",
        "type": "object",
        "required": ["seq", "type", "time", "workflow_id", "run_id", "data"],
        "properties": {
            "seq": {"type": "integer", "minimum": 0, "description": "Position in the run's log, from 1, without gaps."},
            "type": {"type": "string"},
            "time": {"type": "string", "format": "date-time", "description": "UTC, microseconds."},
            "workflow_id": {"type": "string"},
            "run_id": {"type": "string", "format": "uuid"},
            "task_id": {"type": "string"},
            "attempt": {"type": "integer", "minimum": 1},
            "data": true,
            "transient": {"type": "boolean", "description": "Progress that is not state; may be lost."},
        },
        "if": {"not": {"properties": {"transient": {"const": true}}, "required": ["transient"]}},
        "then": {"oneOf": kinds["oneOf"]},
        "$defs": kinds["$defs"],
    })
}
