//! What comes back from an attempt: its outcome, its error, what it used.

use std::{fmt, ops::AddAssign, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{ids::NodeId, payload::Payload, question::Question, status::Status};

/// Why an attempt failed, cut by what can be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The provider said "too many requests".
    RateLimited,
    /// The attempt, or a call in it, took too long.
    Timeout,
    /// No connection, or it broke.
    Connection,
    /// The provider failed (5xx, an unreadable answer).
    Provider,
    /// The model's answer was not what was asked for.
    ModelOutput,
    /// The worker, or the engine, was lost while it ran.
    WorkerLost,
    /// The user's own code raised.
    User,
    /// The inputs, or an expression, are wrong.
    InvalidInput,
    /// The provider refused the key.
    Auth,
    /// The account's quota is used up.
    Quota,
    /// The prompt is longer than the model takes.
    ContextOverflow,
    /// A limit of Segue's was reached (a deadline, a number of iterations).
    Limit,
    /// The budget is used up.
    Budget,
    /// The target cannot be loaded.
    Load,
    /// The output is not JSON, or too large.
    Output,
    /// A process ended with an exit code that means failure.
    Exit,
    /// A person said no.
    Rejected,
    /// It was cancelled from inside (a framework's own cancellation).
    Cancelled,
    /// Whether it happened cannot be told, and asking again could do it twice.
    Unknown,
    /// Of a run only: a join that could never hold.
    Join,
}

impl ErrorKind {
    /// All kinds, in the order of the documentation.
    pub const ALL: [Self; 20] = [
        Self::RateLimited,
        Self::Timeout,
        Self::Connection,
        Self::Provider,
        Self::ModelOutput,
        Self::WorkerLost,
        Self::User,
        Self::InvalidInput,
        Self::Auth,
        Self::Quota,
        Self::ContextOverflow,
        Self::Limit,
        Self::Budget,
        Self::Load,
        Self::Output,
        Self::Exit,
        Self::Rejected,
        Self::Cancelled,
        Self::Unknown,
        Self::Join,
    ];

    /// Did the attempt break for reasons that say nothing about what models had answered it? Then another attempt may be
    /// given those answers again instead of paying for new ones.
    pub const fn keeps_answers(self) -> bool {
        matches!(self, Self::RateLimited | Self::Timeout | Self::Connection | Self::Provider | Self::WorkerLost)
    }

    /// May another attempt go better? The node's retry policy can say otherwise.
    pub const fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::RateLimited
                | Self::Timeout
                | Self::Connection
                | Self::Provider
                | Self::ModelOutput
                | Self::WorkerLost
                | Self::User
        )
    }

    /// The name used in documents and events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RateLimited => "rate_limited",
            Self::Timeout => "timeout",
            Self::Connection => "connection",
            Self::Provider => "provider",
            Self::ModelOutput => "model_output",
            Self::WorkerLost => "worker_lost",
            Self::User => "user",
            Self::InvalidInput => "invalid_input",
            Self::Auth => "auth",
            Self::Quota => "quota",
            Self::ContextOverflow => "context_overflow",
            Self::Limit => "limit",
            Self::Budget => "budget",
            Self::Load => "load",
            Self::Output => "output",
            Self::Exit => "exit",
            Self::Rejected => "rejected",
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
            Self::Join => "join",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a task (or a run) failed, in the words of the interfaces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error, JsonSchema)]
#[error("{kind}: {message}")]
pub struct TaskError {
    /// What it is about.
    pub kind: ErrorKind,
    /// One or two sentences for a person: what happened, and what to do.
    pub message: String,
    /// May another attempt go better? Usually [`ErrorKind::is_retryable`] of the kind.
    pub retryable: bool,
    /// The provider asked to wait this many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<f64>,
    /// More for a reader who looks closer: a traceback, an exit code, the tail of stderr.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Value>,
    /// Of a run's error: the node whose failure it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
}

impl TaskError {
    /// An error with the kind's own answer to "retryable?".
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            retryable: kind.is_retryable(),
            retry_after: None,
            detail: None,
            node: None,
        }
    }

    /// Adds detail.
    #[must_use]
    pub fn with_detail(mut self, detail: Value) -> Self {
        self.detail = Some(detail);
        self
    }

    /// Adds the pause that the provider asked for.
    #[must_use]
    pub fn with_retry_after(mut self, pause: Duration) -> Self {
        self.retry_after = Some(pause.as_secs_f64());
        self
    }
}

/// What model calls consumed. Sums of the provider's own figures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Usage {
    /// Requests that a model answered.
    pub model_calls: u64,
    /// Tokens read, cached ones included.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Of the input tokens: those that the provider had cached.
    pub cached_input_tokens: u64,
    /// What that cost by the price table, in billionths of a US dollar; written as dollars. 0 where no price is known.
    #[serde(rename = "cost_usd", with = "dollars", skip_serializing_if = "is_zero")]
    #[schemars(with = "f64")]
    pub cost_nanousd: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Billionths of a dollar in memory, dollars outside.
mod dollars {
    use serde::{Deserialize, Deserializer, Serializer};

    const NANO: f64 = 1e9;

    #[expect(clippy::cast_precision_loss, reason = "exact up to nine million dollars")]
    pub(super) fn serialize<S: Serializer>(nanousd: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(*nanousd as f64 / NANO)
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast saturates; what is negative is 0"
    )]
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        Ok((f64::deserialize(deserializer)? * NANO).round() as u64)
    }
}

impl Usage {
    /// Was nothing consumed?
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    /// What was consumed since `earlier`, a reading of the same meter.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self {
            model_calls: self.model_calls.saturating_sub(earlier.model_calls),
            input_tokens: self.input_tokens.saturating_sub(earlier.input_tokens),
            output_tokens: self.output_tokens.saturating_sub(earlier.output_tokens),
            cached_input_tokens: self.cached_input_tokens.saturating_sub(earlier.cached_input_tokens),
            cost_nanousd: self.cost_nanousd.saturating_sub(earlier.cost_nanousd),
        }
    }

    /// Input and output tokens together.
    pub const fn total_tokens(&self) -> u64 {
        self.input_tokens + self.output_tokens
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.model_calls += other.model_calls;
        self.input_tokens += other.input_tokens;
        self.output_tokens += other.output_tokens;
        self.cached_input_tokens += other.cached_input_tokens;
        self.cost_nanousd += other.cost_nanousd;
    }
}

/// Who lost an attempt that never answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Its worker died. Counts as a failed attempt of kind `worker_lost`.
    Worker,
    /// Its engine died. Counts not against the retry policy; after three a task is quarantined.
    Engine,
    /// Its engine left in good order and handed the attempt back. Counts for nothing.
    Drained,
}

/// The one answer of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskOutcome {
    /// It did what it should.
    Succeeded {
        /// What it produced.
        output: Payload,
        /// What it consumed.
        usage: Usage,
        /// What a reader should know although it succeeded (a tool that failed, a limit that was hit).
        warnings: Vec<String>,
    },
    /// It did not.
    Failed {
        /// Why.
        error: TaskError,
        /// What it consumed all the same.
        usage: Usage,
    },
    /// It stopped because it was told to.
    Cancelled {
        /// What it consumed until then.
        usage: Usage,
    },
    /// It will never answer.
    Lost {
        /// Who lost it.
        by: Loss,
        /// What is known: exit code, signal.
        message: String,
        /// What it is known to have consumed.
        usage: Usage,
    },
    /// It asks, and has ended until it is answered: it holds no worker and no place. The next attempt takes up its work.
    Waiting {
        /// What.
        question: Question,
        /// What it consumed until then.
        usage: Usage,
    },
}

impl TaskOutcome {
    /// A success that consumed nothing.
    pub fn success(output: Value) -> Self {
        Self::Succeeded { output: Payload::new(output), usage: Usage::default(), warnings: Vec::new() }
    }

    /// What the attempt consumed.
    pub const fn usage(&self) -> Usage {
        let (Self::Succeeded { usage, .. }
        | Self::Failed { usage, .. }
        | Self::Cancelled { usage }
        | Self::Lost { usage, .. }
        | Self::Waiting { usage, .. }) = self;
        *usage
    }

    /// The same with other figures.
    #[must_use]
    pub fn with_usage(mut self, figures: Usage) -> Self {
        let (Self::Succeeded { usage, .. }
        | Self::Failed { usage, .. }
        | Self::Cancelled { usage }
        | Self::Lost { usage, .. }
        | Self::Waiting { usage, .. }) = &mut self;
        *usage = figures;
        self
    }

    /// It was lost, and nothing is known of what it consumed.
    pub fn lost(by: Loss, message: impl Into<String>) -> Self {
        Self::Lost { by, message: message.into(), usage: Usage::default() }
    }

    /// A failure that consumed nothing.
    pub fn failure(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::Failed { error: TaskError::new(kind, message), usage: Usage::default() }
    }
}

/// How a task ended, as the store answers it.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskResult {
    /// Where it stands.
    pub status: Status,
    /// The attempts so far.
    pub attempts: u32,
    /// What it produced. Of a task that failed and goes on all the same: the output that stands in.
    pub output: Option<Payload>,
    /// Why it failed, or why its last attempt did.
    pub error: Option<TaskError>,
    /// What all its attempts consumed.
    pub usage: Usage,
}
