//! The messages between the engine and its Python workers, version 1: JSON lines over a Unix socket.
//!
//! Said in full, with who sends what when, in `docs/reference/worker-protocol.md`; the golden files of
//! `python/tests/golden` are tested here and there.

use std::collections::BTreeMap;

use segue_core::{
    ids::{HandlerId, RunId, TaskId, WorkflowId},
    outcome::Usage,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The version that this engine speaks.
pub const VERSION: u32 = 1;
/// The longest line of type `start` or `result`, its end included.
pub const LONG_LINE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The longest line of any other type, its end included.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;
/// The environment variable with a zygote's token.
pub const TOKEN_VARIABLE: &str = "SEGUE_WORKER_TOKEN";

/// From the engine to a zygote.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToZygote {
    /// Fork an attempt.
    Spawn(Spawn),
    /// Kill an attempt and everything it started.
    Kill {
        /// Which.
        spawn_id: String,
    },
    /// Answered by a pong.
    Ping {
        /// Comes back.
        id: u64,
    },
    /// Take no more; exit after the last attempt.
    Drain,
}

/// An attempt to fork.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spawn {
    /// Unique for the zygote.
    pub spawn_id: String,
    /// Good for the attempt's hello only.
    pub token: String,
    /// Over the zygote's own environment; `None` removes a variable.
    pub env: BTreeMap<String, Option<String>>,
    /// An existing folder.
    pub cwd: String,
    /// Path of the FIFO for its stdout.
    pub stdout: String,
    /// Path of the FIFO for its stderr.
    pub stderr: String,
}

/// The first line of a connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "snake_case")]
pub enum Opening {
    /// A zygote: ready, or unable to load its framework.
    Zygote(ZygoteOpening),
    /// An attempt.
    Attempt(AttemptHello),
}

impl Opening {
    /// The token that it gives.
    pub fn token(&self) -> &str {
        match self {
            Self::Zygote(ZygoteOpening::Hello(hello)) => &hello.token,
            Self::Zygote(ZygoteOpening::Error(error)) => &error.token,
            Self::Attempt(AttemptHello::Hello { token, .. }) => token,
        }
    }

    /// Does it speak our version?
    pub fn speaks_our_version(&self) -> bool {
        match self {
            Self::Zygote(ZygoteOpening::Hello(hello)) => hello.protocol.contains(&VERSION),
            Self::Zygote(ZygoteOpening::Error(_)) => true,
            Self::Attempt(AttemptHello::Hello { protocol, .. }) => protocol.contains(&VERSION),
        }
    }
}

/// What a zygote opens its connection with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ZygoteOpening {
    /// Ready to fork.
    Hello(ZygoteHello),
    /// Its framework cannot be loaded; it exits.
    Error(ZygoteError),
}

/// A zygote is ready to fork.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ZygoteHello {
    /// The versions that it speaks.
    pub protocol: Vec<u32>,
    /// Its token.
    pub token: String,
    /// Its process.
    pub pid: u32,
    /// Version of Python.
    pub python: String,
    /// The framework's name.
    pub framework: String,
    /// Versions by distribution.
    #[serde(default)]
    pub versions: BTreeMap<String, String>,
    /// What the framework's version allows.
    #[serde(default)]
    pub features: Vec<String>,
    /// `off` or `partial`.
    #[serde(default)]
    pub inner_retries: String,
}

/// A zygote could not load its framework.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ZygoteError {
    /// Its token.
    pub token: String,
    /// Its process.
    pub pid: u32,
    /// `load`.
    pub kind: String,
    /// Why.
    pub message: String,
    /// Always false.
    #[serde(default)]
    pub retryable: bool,
    /// Where in Python.
    #[serde(default)]
    pub trace: Option<String>,
}

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

/// From a zygote, after its hello.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromZygote {
    /// Forked.
    Spawned {
        /// Which.
        spawn_id: String,
        /// The process; also its group and session.
        pid: u32,
    },
    /// Not forked.
    SpawnFailed {
        /// Which.
        spawn_id: String,
        /// Why.
        message: String,
    },
    /// An attempt's process and everything it started are gone.
    Exit {
        /// Which.
        spawn_id: String,
        /// The process.
        pid: u32,
        /// Its exit code.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<i32>,
        /// Or the signal that ended it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signal: Option<i32>,
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
        }
    }
}

/// Where models are asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Provider {
    /// An OpenAI-compatible address.
    pub base_url: Option<String>,
    /// The variable of the attempt's environment that holds the key.
    pub api_key_env: Option<String>,
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
    },
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

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use serde::de::DeserializeOwned;

    use super::*;

    fn same<T: Serialize + DeserializeOwned>(name: &str, golden: &Value) {
        let read: T = serde_json::from_value(golden.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let written = serde_json::to_value(read).expect("a message is JSON");
        assert_eq!(written, *golden, "{name}");
    }

    #[test]
    fn every_golden_message_is_read_and_written() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../python/tests/golden");
        let mut count = 0;
        for entry in fs::read_dir(&folder).expect("the golden messages").flatten() {
            let name = entry.file_name().into_string().expect("a name in ASCII");
            let text = fs::read_to_string(entry.path()).expect("a readable file");
            let golden: Value = serde_json::from_str(&text).expect("a file of JSON");
            let parts: Vec<&str> = name.split('.').collect();
            match (parts[0], parts[1]) {
                ("engine", "spawn" | "kill" | "drain") => same::<ToZygote>(&name, &golden),
                ("engine", "ping") => {
                    same::<ToZygote>(&name, &golden);
                    same::<ToAttempt>(&name, &golden);
                }
                ("engine", _) => same::<ToAttempt>(&name, &golden),
                (_, "hello") | ("zygote", "error") => same::<Opening>(&name, &golden),
                ("zygote", _) => same::<FromZygote>(&name, &golden),
                ("attempt", _) => same::<FromAttempt>(&name, &golden),
                _ => panic!("{name}: from nobody"),
            }
            count += 1;
        }
        assert!(count >= 27, "only {count} golden messages");
    }

    #[test]
    fn what_a_later_version_says_is_ignored() {
        let message: FromAttempt = serde_json::from_str(r#"{"type": "waiting", "prompt": "?"}"#).expect("unknown type");
        assert_eq!(message, FromAttempt::Unknown);
        let message: FromAttempt = serde_json::from_str(r#"{"type": "started", "at": 1}"#).expect("unknown field");
        assert_eq!(message, FromAttempt::Started);
        serde_json::from_str::<FromAttempt>(r#"{"type": "result"}"#).expect_err("a result has an output");
    }
}
