//! Between the engine and its attempts.

use std::collections::BTreeMap;

use segue_core::{
    ids::{HandlerId, RunId, TaskId, WorkflowId},
    outcome::Usage,
    question::Question,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::calls::Rpc;

/// What an attempt opens its connection with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AttemptHello {
    /// It waits for its start.
    Hello {
        /// The versions that it speaks.
        protocol: Vec<u32>,
        /// Which attempt.
        spawn_id: String,
        /// Its token.
        token: String,
        /// Its process.
        pid: u32,
    },
}

impl AttemptHello {
    /// Is it from the attempt of this name?
    pub fn is(&self, name: &str) -> bool {
        matches!(self, Self::Hello { spawn_id, .. } if spawn_id == name)
    }
}

/// From the engine to an attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToAttempt {
    /// What to do.
    Start(Box<Start>),
    /// End.
    Cancel {
        /// `cancelled` or `timeout`.
        reason: String,
        /// When it will be killed.
        grace_ms: u64,
    },
    /// The final message has arrived.
    Ack,
    /// What a call gives.
    RpcOk {
        /// The call's.
        id: u64,
        /// Its value.
        value: Value,
    },
    /// A call failed.
    RpcError {
        /// The call's.
        id: u64,
        /// Why.
        message: String,
    },
    /// Answered by a pong.
    Ping {
        /// Comes back.
        id: u64,
    },
}

/// What an attempt is to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// The run. (A text: golden files use readable ones.)
    pub run_id: String,
    /// The workflow.
    pub workflow_id: WorkflowId,
    /// The task.
    pub task_id: TaskId,
    /// From 1.
    pub attempt: u32,
    /// Stable over attempts.
    pub idempotency_key: String,
    /// The handler.
    pub handler: HandlerId,
    /// What the handler needs beside its inputs.
    pub target: Value,
    /// Rendered.
    pub inputs: Value,
    /// The node's hints for this adapter.
    pub hints: Value,
    /// Is every model replaced?
    pub rehearsal: bool,
    /// Where models are asked.
    pub provider: Option<Provider>,
    /// The workflow's folder, absolute.
    pub base_dir: Option<String>,
    /// From now.
    pub deadline_ms: Option<u64>,
    /// Pause between heartbeats.
    pub heartbeat_ms: u64,
    /// Further values by name.
    pub context: Map<String, Value>,
    /// With what it takes up the work of an attempt that had asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Resume>,
    /// Does somebody listen to tokens?
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stream: bool,
    /// The name of the task's checkpoints. The pool sets it where there is a store for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
}

impl Start {
    /// Fills in what the invocation says; the adapter adds `target`, `hints` and `provider`.
    pub fn of(invocation: &segue_core::ports::Invocation) -> Self {
        let context = &invocation.context;
        let run: RunId = context.run_id;
        Self {
            run_id: run.to_string(),
            workflow_id: context.workflow_id.clone(),
            task_id: context.task_id.clone(),
            attempt: context.attempt,
            idempotency_key: context.idempotency_key(),
            handler: invocation.handler.clone(),
            target: Value::Object(Map::new()),
            inputs: (*invocation.inputs).clone(),
            hints: Value::Object(Map::new()),
            rehearsal: invocation.rehearsal,
            provider: None,
            base_dir: invocation.base_dir.as_ref().map(|folder| folder.to_string_lossy().into_owned()),
            deadline_ms: invocation.timeout.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
            heartbeat_ms: 5_000,
            context: (*context.values).clone(),
            resume: invocation.resume.as_ref().map(Resume::of),
            stream: invocation.progress.is_wanted(),
            thread: None,
        }
    }
}

/// What an attempt before this one had asked about was answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resume {
    /// Its question's `resume`.
    pub token: Value,
    /// By the ids of the question's items.
    pub answers: BTreeMap<String, Value>,
}

impl Resume {
    fn of(resume: &segue_core::question::Resume) -> Self {
        Self { token: resume.token.clone(), answers: (*resume.answers).clone() }
    }
}

/// Where models are asked. Not to be shown: it may hold a key.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Provider {
    /// An OpenAI-compatible address.
    pub base_url: Option<String>,
    /// The variable of the attempt's environment that holds the key.
    pub api_key_env: Option<String>,
    /// A key of ours that is good for this attempt only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<String>,
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provider").field("base_url", &self.base_url).finish_non_exhaustive()
    }
}

/// From an attempt, after its hello.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromAttempt {
    /// The user's code is about to be loaded.
    Started,
    /// Something happened inside.
    Event {
        /// From 1, without gaps.
        seq: u64,
        /// What.
        kind: String,
        /// Its data, from a whitelist.
        data: Map<String, Value>,
    },
    /// A line for the log.
    Log {
        /// `debug`, `info`, `warning` or `error`.
        level: String,
        /// One line.
        line: String,
        /// Where it was printed, if an attempt of a host printed it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stream: Option<String>,
    },
    /// A piece of a model's answer.
    Chunk(Map<String, Value>),
    /// Asks the engine to keep or give something.
    Rpc(Rpc),
    /// It lives.
    Heartbeat {
        /// Its memory.
        rss_bytes: u64,
        /// Until now.
        usage: Usage,
    },
    /// It did what it should.
    Result {
        /// What it produced.
        output: Value,
        /// What it consumed.
        usage: Usage,
        /// What a reader should know.
        #[serde(default)]
        warnings: Vec<String>,
    },
    /// It ends by asking.
    Waiting {
        /// What.
        #[serde(flatten)]
        question: Question,
        /// What it consumed until then.
        usage: Usage,
    },
    /// It did not.
    Error(AttemptError),
    /// It stopped because it was told to.
    Cancelled {
        /// What it consumed until then.
        usage: Usage,
    },
    /// Answers a ping.
    Pong {
        /// The ping's.
        id: u64,
    },
    /// From a later version; ignored.
    #[serde(other)]
    Unknown,
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptError {
    /// A kind of `segue_core::outcome::ErrorKind`, or one of a later version.
    pub kind: String,
    /// What happened.
    pub message: String,
    /// May another attempt go better?
    pub retryable: bool,
    /// The provider asked to wait this long.
    #[serde(default)]
    pub retry_after_ms: Option<u64>,
    /// The exceptions, from the outermost to the root.
    #[serde(default)]
    pub chain: Vec<Value>,
    /// Where in Python.
    #[serde(default)]
    pub trace: Option<String>,
    /// What it consumed all the same.
    #[serde(default)]
    pub usage: Usage,
    /// What a reader should know.
    #[serde(default)]
    pub warnings: Vec<String>,
}
