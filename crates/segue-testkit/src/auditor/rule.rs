//! The rules of a log.

use std::fmt;

/// A rule of the log that an event, or a missing event, breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// `seq` counts from 1 without gaps.
    Seq,
    /// Time does not go backwards.
    Time,
    /// A log begins with `run.created` and `run.started`, each of them once.
    Begin,
    /// Nothing follows the end of a run but `run.reopened`, and that only after a failure or a cancel.
    AfterEnd,
    /// A task that the workflow does not have, or an event without the task or attempt that it is about.
    Address,
    /// A task starts only if its join holds, its condition is true, and its pause is over.
    Ready,
    /// Attempts count up by one, and only one of a task is alive.
    Attempt,
    /// Running tasks never exceed `max_parallel_nodes`.
    Parallel,
    /// Nothing starts, fails or retries after `run.cancelling`.
    Cancelling,
    /// A task that has ended stays as it is.
    TaskEnded,
    /// A retry needs a retryable error and an attempt left; without a reason a task does not give up.
    Retry,
    /// The pause before a retry is the policy's, or the provider's.
    Pause,
    /// Attempts that engines lost: retried at once, three times at most.
    Loss,
    /// A retry is not due after the task's deadline.
    Deadline,
    /// A task is skipped if, and only if, its join cannot hold or its condition is false; with that reason.
    Skip,
    /// `on_failure: continue` gives the stand-in output, and nothing else does.
    ContinueWith,
    /// The consequences of an event are committed with it.
    Settled,
    /// A run ends when all its tasks have, with the status and the error that they imply.
    End,
    /// The outputs of a run are what the document says.
    Outputs,
    /// `run.cancelling` needs a request, a passed deadline, or `on_failure: cancel` and a failure.
    Cause,
    /// `foreach` has one instance an item, and `parallelism` of them at once.
    Mapped,
    /// Iterations and rounds count from 1 without gaps, within their bound, and only while they are wanted.
    Iteration,
    /// The result of a task of parts, or of one that waited, is what these came to.
    Result,
    /// A task without an attempt fails only for a reason that the log shows.
    Failure,
    /// The question is the document's, and is asked when it is the task's turn.
    Waiting,
    /// A waiting task is answered once, with what it waits for.
    Answer,
    /// A part of a task does not outlive it.
    Outlived,
    /// `run.waiting` is the last word exactly when nothing runs and something waits.
    Idle,
    /// A failure waits for a person exactly where the document says so, and means what they say.
    Paused,
    /// The run that a child workflow waits for is of that workflow, and the same over all its attempts.
    Child,
    /// A result fits its schema.
    Schema,
    /// What is taken over from an earlier run is so before anything runs, with all that it rests on.
    Reused,
    /// The rows say what the log says.
    Rows,
}

/// What is wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The event at which it shows.
    pub seq: u64,
    /// The rule.
    pub rule: Rule,
    /// What happened instead.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event {} breaks the rule {:?}: {}", self.seq, self.rule, self.message)
    }
}

impl std::error::Error for Violation {}
