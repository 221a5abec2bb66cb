//! Attempts: how they begin, how they end, and whether another follows.

use std::time::Duration;

use serde_json::Value;

use super::{
    Phase, Rejected, Run, TaskIx,
    task::{ENGINE_LOSSES_MAX, Layer},
};
use crate::{
    event::{Event, EventKind, Waiting},
    ids::TaskId,
    outcome::{ErrorKind, Loss, TaskError, TaskOutcome, Usage},
    payload::Payload,
    plan::{RetryRule, Work},
    spec::{FailureAction, OnExhausted},
    status::Status,
    time::Timestamp,
};

/// An attempt that did not succeed, on its way to a decision.
pub(super) struct Failure {
    pub(super) error: TaskError,
    pub(super) lost: Option<Loss>,
    pub(super) usage: Usage,
    pub(super) jitter: f64,
    /// It is an instance's, and has been decided there.
    pub(super) of_part: bool,
}

impl Failure {
    pub(super) fn of(error: TaskError) -> Self {
        Self { error, lost: None, usage: Usage::default(), jitter: 0.0, of_part: false }
    }
}

impl Run {
    pub(super) fn accept(&mut self, events: &mut Vec<Event>, task: &TaskId, now: Timestamp) -> Result<(), Rejected> {
        let ix = self.find(task).ok_or(Rejected::UnknownTask)?;
        let is_over = |due| due <= now || planted!(StartsBeforeDue);
        let is_due = self.task(ix).due.is_some_and(|due| is_over(due) && self.state.delayed.contains(&(due, ix)));
        let is_ready = is_due || self.state.ready.contains(&ix) || planted!(AcceptsTasksTwice);
        if self.room() == 0 || !is_ready {
            return Err(Rejected::NotReady);
        }
        let attempt = self.task(ix).attempt + 1 + u32::from(planted!(AttemptOffByOne));
        self.record_about(events, now, ix, Some(attempt), EventKind::TaskStarted {});
        Ok(())
    }

    /// The fence against stale answers: only the attempt that runs can be answered, and only once.
    pub(super) fn running_attempt(&self, task: &TaskId, attempt: u32) -> Result<TaskIx, Rejected> {
        let ix = self.find(task).ok_or(Rejected::UnknownTask)?;
        let known = self.task(ix);
        let is_current = known.attempt == attempt || planted!(AcceptsStaleAnswers);
        let runs = self.is_alive(ix) || planted!(AcceptsAnswersTwice);
        if planted!(TakesAnswersOfTheCancelled) && self.was_cancelled(ix) {
            return Ok(ix);
        }
        if runs && is_current { Ok(ix) } else { Err(Rejected::Stale) }
    }

    /// For a planted bug only.
    fn was_cancelled(&self, ix: TaskIx) -> bool {
        self.task(ix).status == Status::Cancelled
    }

    pub(super) fn end_of_attempt(
        &mut self,
        events: &mut Vec<Event>,
        ix: TaskIx,
        outcome: TaskOutcome,
        jitter: f64,
        now: Timestamp,
    ) {
        let failure = match outcome {
            TaskOutcome::Succeeded { usage, .. } if planted!(LosesSuccessOnCancel) && self.is_stopping() => {
                let error = TaskError::new(ErrorKind::Cancelled, "too late");
                Failure { usage, jitter, ..Failure::of(error) }
            }
            TaskOutcome::Succeeded { output, usage, warnings } => match self.misfit(ix, &output) {
                Some(error) if planted!(MisfitsCostNothing) => Failure { jitter, ..Failure::of(error) },
                Some(error) => Failure { usage, jitter, ..Failure::of(error) },
                None => {
                    match self.refusal(ix, &output) {
                        Some(error) => {
                            self.fail_for_good(events, ix, Failure { usage, jitter, ..Failure::of(error) }, now);
                        }
                        None => {
                            let kind = EventKind::TaskSucceeded { output, usage, warnings, reused_from: None };
                            self.record_about(events, now, ix, Some(self.task(ix).attempt), kind);
                        }
                    }
                    return;
                }
            },
            TaskOutcome::Failed { error, usage } => Failure { usage, jitter, ..Failure::of(error) },
            TaskOutcome::Cancelled { usage } => {
                let error = TaskError::new(ErrorKind::Cancelled, "the task cancelled itself");
                Failure { usage, jitter, ..Failure::of(error) }
            }
            TaskOutcome::Lost { by, message, usage } => {
                let error = TaskError::new(ErrorKind::WorkerLost, message);
                Failure { lost: Some(by), usage, jitter, ..Failure::of(error) }
            }
            TaskOutcome::Waiting { question, usage } if !self.is_stopping() && self.may_ask(ix) => {
                let attempt = Some(self.task(ix).attempt);
                let waiting = Waiting::Question { question, usage };
                self.record_about(events, now, ix, attempt, EventKind::TaskWaiting(waiting));
                return;
            }
            TaskOutcome::Waiting { usage, .. } => {
                let error = TaskError::new(ErrorKind::Output, "the adapter asked a question where none can be asked");
                Failure { usage, jitter, ..Failure::of(error) }
            }
        };
        self.fail_attempt(events, ix, failure, now);
    }

    /// Only work that an adapter carries out has questions.
    fn may_ask(&self, ix: TaskIx) -> bool {
        matches!(self.node_of(ix).work, Work::Attempts)
    }

    /// Records the result of a task that no adapter carried out.
    pub(super) fn conclude(
        &mut self,
        events: &mut Vec<Event>,
        ix: TaskIx,
        result: Result<Payload, TaskError>,
        now: Timestamp,
    ) {
        // The failure of an instance is its own affair; a loop that is exhausted is the node's.
        let of_part = result.is_err() && self.task(ix).layer == Layer::Map;
        let result = result.and_then(|output| match self.misfit(ix, &output).or_else(|| self.refusal(ix, &output)) {
            Some(error) => Err(error),
            None => Ok(output),
        });
        match result {
            Ok(output) => {
                let kind = EventKind::TaskSucceeded {
                    output,
                    usage: Usage::default(),
                    warnings: Vec::new(),
                    reused_from: None,
                };
                self.record_about(events, now, ix, None, kind);
            }
            Err(error) => self.fail_for_good(events, ix, Failure { of_part, ..Failure::of(error) }, now),
        }
    }

    /// A result is none if it is not what the node's `output_schema` says.
    fn misfit(&self, ix: TaskIx, output: &Payload) -> Option<TaskError> {
        let is_result = self.task(ix).layer == Layer::Work || planted!(SchemaOfTheWholeList);
        let schema = self.node_of(ix).schema.as_ref().filter(|_| is_result && !planted!(IgnoresTheSchema))?;
        let misfits = schema.misfits(output.value()?);
        let first = misfits.first()?;
        let place = if first.pointer.is_empty() { "the output" } else { first.pointer.as_str() };
        let more = if misfits.len() > 1 { format!(" (and {} more)", misfits.len() - 1) } else { String::new() };
        let message = format!("the output does not fit output_schema: {place}: {}{more}", first.message);
        let mut error = TaskError::new(ErrorKind::ModelOutput, message);
        error.retryable &= !planted!(MisfitsAreFinal);
        Some(error)
    }

    /// A result is none if the loop that it ends would have to go round once more than it may.
    fn refusal(&self, ix: TaskIx, output: &Payload) -> Option<TaskError> {
        let back = self.node_of(ix).loop_back.as_ref().filter(|_| self.is_member(ix) && !self.is_stopping())?;
        match self.wants_round(ix, back, Some(output)) {
            Err(error) => Some(self.no_answer(ix, "the condition of the loop", &error)),
            Ok(true) if self.task(ix).round >= back.most && back.on_exhausted == OnExhausted::Fail => {
                let message = format!(
                    "the loop that ends at `{}` would go on after {} iterations",
                    self.node_of(ix).id,
                    back.most
                );
                Some(TaskError::new(ErrorKind::Limit, message))
            }
            Ok(_) => None,
        }
    }

    pub(super) fn fail_attempt(&mut self, events: &mut Vec<Event>, ix: TaskIx, failure: Failure, now: Timestamp) {
        let attempt = Some(self.task(ix).attempt);
        if planted!(ChangesStateBesideTheLog) {
            self.task_mut(ix).engine_losses += 1;
        }
        if self.is_stopping() {
            self.record_about(events, now, ix, attempt, EventKind::TaskCancelled { usage: failure.usage });
            return;
        }
        match self.next_attempt_at(ix, &failure, now) {
            Some(due) => {
                let Failure { error, lost, usage, .. } = failure;
                self.record_about(events, now, ix, attempt, EventKind::TaskRetrying { error, due, lost, usage });
            }
            None => self.fail_for_good(events, ix, failure, now),
        }
    }

    /// Is this the task at which the node's `on_failure` is looked at? That is each instance of `foreach`, else the task
    /// that others depend on.
    fn decides_failure(&self, ix: TaskIx) -> bool {
        let task = self.task(ix);
        match task.parent {
            Some(whole) => self.task(whole).layer == Layer::Map || planted!(ContinuesAfterFailedIterations),
            None => true,
        }
    }

    /// When another attempt may start; `None` if there is to be none.
    fn next_attempt_at(&self, ix: TaskIx, failure: &Failure, now: Timestamp) -> Option<Timestamp> {
        let task = self.task(ix);
        match failure.lost {
            Some(Loss::Drained) => return Some(now),
            Some(Loss::Engine) => {
                let is_harmless = task.engine_losses + 1 < ENGINE_LOSSES_MAX || planted!(QuarantinesNobody);
                return is_harmless.then_some(now);
            }
            Some(Loss::Worker) | None => {}
        }
        let rule = &self.node_of(ix).retry;
        let failures = task.failures + 1;
        let is_waited_out = self.is_waited_out(ix, &failure.error, failure.lost);
        let is_last =
            !is_waited_out && failures >= rule.backoff.attempts_max + u32::from(planted!(RetriesWithoutAttemptsLeft));
        if is_last || !(rule.allows(&failure.error) || planted!(RetriesPermanentErrors)) {
            return None;
        }
        let due = now.plus(pause(rule, failures, failure));
        let in_time = task.deadline_at.is_none_or(|deadline| due < deadline) || planted!(RetriesAfterDeadline);
        in_time.then_some(due)
    }

    /// Did a provider ask to wait, and is there a limit under which everybody does? Then the attempt counts for nothing.
    pub(super) fn is_waited_out(&self, ix: TaskIx, error: &TaskError, lost: Option<Loss>) -> bool {
        let asks = error.kind == ErrorKind::RateLimited && error.retry_after.is_some() && lost.is_none();
        asks && !self.node_of(ix).limits.is_empty() && !planted!(CountsWhatIsWaitedOut)
    }

    pub(super) fn fail_for_good(&mut self, events: &mut Vec<Event>, ix: TaskIx, failure: Failure, now: Timestamp) {
        let Failure { mut error, lost, usage, of_part, .. } = failure;
        if lost == Some(Loss::Engine) {
            error.retryable = false;
            error.message = format!(
                "quarantined: {ENGINE_LOSSES_MAX} engines died while this task ran, so it may be what kills them ({})",
                error.message
            );
        }
        let decides = !of_part && self.decides_failure(ix);
        let exceeded = self.on_exceeded(ix, &error).filter(|_| decides);
        let pauses = decides && self.node_of(ix).pauses || exceeded == Some(FailureAction::Pause);
        if pauses && self.state.phase == Phase::Live && !planted!(PausesNobody) {
            let waiting = Waiting::Failure { error, lost, usage };
            self.record_about(events, now, ix, None, EventKind::TaskWaiting(waiting));
            return;
        }
        let task = self.task(ix);
        let has_begun = self.is_alive(ix) || (task.parts.is_none() && task.due.is_some());
        let attempt = has_begun.then_some(task.attempt);
        let stand_in = match self.stand_in(ix, &error) {
            _ if !decides => Ok(None),
            Ok(None) if exceeded == Some(FailureAction::Continue) => Ok(Some(Payload::new(Value::Null))),
            stand_in => stand_in,
        };
        let continue_with = match stand_in {
            Ok(output) => output,
            Err(wrong) => {
                error = wrong;
                None
            }
        };
        let kind = EventKind::TaskFailed { error, lost, continue_with, usage };
        self.record_about(events, now, ix, attempt, kind);
    }
}

/// How long to wait before the next attempt.
fn pause(rule: &RetryRule, failures: u32, failure: &Failure) -> Duration {
    if planted!(IgnoresRetryAfter) && failure.error.retry_after.is_some() {
        return Duration::ZERO;
    }
    let jitter = if planted!(IgnoresJitter) { 1.0 } else { failure.jitter };
    rule.pause(failures, &failure.error, jitter)
}
