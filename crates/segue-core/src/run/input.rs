//! What comes in, what goes out, and what is refused.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    event::Waiting,
    ids::{RunId, TaskId},
    outcome::TaskOutcome,
    time::Timestamp,
};

/// Something that happened to a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The shell has a place for the task's next attempt, and will execute it once the fact is committed.
    TaskAccepted {
        /// One of [`Run::ready`](super::Run::ready).
        task: TaskId,
    },
    /// An attempt has ended.
    TaskEnded {
        /// The task.
        task: TaskId,
        /// The attempt that ended.
        attempt: u32,
        /// How.
        outcome: TaskOutcome,
        /// Drawn from `[0, 1)` by the shell, for the pause before a retry.
        jitter: f64,
    },
    /// An attempt has handed its work over and holds no place any more: that of a child workflow, once the child run has
    /// started. [`Input::TaskEnded`] ends it.
    TaskWaits {
        /// The task.
        task: TaskId,
        /// The attempt that runs.
        attempt: u32,
        /// What it waits for: [`Waiting::Child`].
        waiting: Waiting,
    },
    /// Time has passed.
    Woke {
        /// As above, for what fails because of it.
        jitter: f64,
    },
    /// Somebody, or something, says what a task waits for.
    Signal {
        /// To whom.
        to: Address,
        /// What. To an approval: `{"decision": "approve" | "reject", "form"?, "by"?, "comment"?}`; to a failure that a
        /// person is to decide about: `{"decision": "retry" | "continue" | "fail", "output"?, "by"?, "comment"?}`.
        data: Value,
        /// The stored request that says it; kept in the log, so that who posted it knows whether it counted.
        request: Option<i64>,
    },
    /// Somebody wants the run to stop.
    Cancel {
        /// Why, for the log.
        reason: String,
    },
    /// Somebody wants an ended run to go on: what succeeded keeps its result, the rest runs.
    Reopen,
}

/// Whom a signal is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Address {
    /// The task.
    Task(TaskId),
    /// Every task that waits for an event of this name.
    Event(String),
}

/// What the world owes a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// Find a place for the task's next attempt and say [`Input::TaskAccepted`].
    Accept {
        /// The task.
        task: &'a TaskId,
    },
    /// This attempt has begun: execute it and say [`Input::TaskEnded`].
    Execute {
        /// The task.
        task: &'a TaskId,
        /// The attempt.
        attempt: u32,
    },
    /// This attempt waits for another run: see to it that the end of that run comes back as [`Input::TaskEnded`]. When it
    /// is owed no longer and the attempt has not ended well, the other run is to be cancelled.
    Await {
        /// The task.
        task: &'a TaskId,
        /// The attempt.
        attempt: u32,
        /// The run.
        child: RunId,
    },
    /// Say [`Input::Woke`] at this time, or as soon as it has passed.
    WakeAt(Timestamp),
}

/// An input that means nothing to the run any more, or never did. It changed nothing; it is no error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// There is no such task.
    #[error("no such task")]
    UnknownTask,
    /// The attempt is not the one that runs: it was answered before, given up, or never begun.
    #[error("a stale answer")]
    Stale,
    /// The task may not start now.
    #[error("the task is not ready")]
    NotReady,
    /// Nothing waits for this signal: it was answered before, or never asked for.
    #[error("nothing waits for this")]
    NobodyWaits,
    /// The answer does not fit the question; [`Run::check_answer`](super::Run::check_answer) says why.
    #[error("the answer does not fit the question")]
    BadAnswer,
    /// The run has ended.
    #[error("the run has ended")]
    Ended,
    /// The run is being stopped already.
    #[error("the run is being stopped")]
    Stopping,
    /// Only a run that failed or was cancelled can be reopened.
    #[error("only a run that is FAILED or CANCELLED can be reopened")]
    NotReopenable,
}
