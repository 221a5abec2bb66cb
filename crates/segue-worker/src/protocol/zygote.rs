//! Between the engine and its zygotes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How a zygote carries attempts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Each in a process that it forks.
    #[default]
    Process,
    /// All in its own process, as tasks of one loop.
    Shared,
}

impl Mode {
    /// As the worker's program is told.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Shared => "shared",
        }
    }

    fn is_process(&self) -> bool {
        *self == Self::Process
    }
}

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
    /// What it has of its own. `None` in shared mode.
    #[serde(flatten)]
    pub place: Option<Place>,
}

/// What an attempt that is a process has of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// Over the zygote's own environment; `None` removes a variable.
    pub env: BTreeMap<String, Option<String>>,
    /// An existing folder.
    pub cwd: String,
    /// Path of the FIFO for its stdout.
    pub stdout: String,
    /// Path of the FIFO for its stderr.
    pub stderr: String,
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
    /// How it carries attempts.
    #[serde(default, skip_serializing_if = "Mode::is_process")]
    pub mode: Mode,
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
    /// A host lives.
    Beat {
        /// For how long its loop has not done what was put into it.
        lag_ms: u64,
        /// Attempts in it.
        attempts: u64,
        /// Its memory.
        rss_bytes: u64,
    },
    /// A host takes no more attempts: something of one that was to be over runs on.
    Dirty {
        /// What.
        message: String,
    },
    /// From a later version; ignored.
    #[serde(other)]
    Unknown,
}
