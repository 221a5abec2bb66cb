//! Failures for good: whether there was a reason, and what stands in for the output.

use segue_core::{
    outcome::{ErrorKind, Loss, TaskError, Usage},
    payload::Payload,
    spec::{FailureAction, OnExhausted},
    time::Timestamp,
};
use serde_json::{Value, json};

use super::{
    Auditor, Rule, Violation,
    attempt::{ENGINE_LOSSES_MAX, ROUNDING},
    step::Step,
    tree::Parts,
};

impl Auditor {
    /// `task.failed`: somebody has said so, or the document says so and nobody is to be asked.
    pub(super) fn task_failed(
        &mut self,
        ix: usize,
        attempt: Option<u32>,
        (error, lost, usage): (&TaskError, Option<Loss>, Usage),
        continue_with: Option<&Payload>,
    ) -> Result<(), Violation> {
        let given = Self::payload_value(continue_with);
        if self.tasks[ix].is_paused() {
            self.check_decided(ix, attempt, (error, lost, usage))?;
            let expected = self.given_instead(ix);
            return self.check(given == expected, Rule::ContinueWith, || {
                format!("`{}` goes on with {given:?}, somebody said {expected:?}", self.tasks[ix].id)
            });
        }
        let asks = self.asks_about(ix, error);
        self.check(!asks, Rule::Paused, || format!("`{}` fails, and nobody was asked: {error}", self.tasks[ix].id))?;
        let task = &self.tasks[ix];
        let last = (task.is_alive() || task.due.is_some()).then_some(task.attempts);
        self.check(attempt == last, Rule::Attempt, || {
            format!("attempt {attempt:?} of `{}` fails, instead of {last:?}", task.id)
        })?;
        let expected = self.stand_in(ix, error);
        self.check_given_up(ix, error, lost)?;
        self.check(given == expected, Rule::ContinueWith, || {
            format!("`{}` goes on with {given:?}, not with {expected:?}", self.tasks[ix].id)
        })
    }

    /// Was there a reason to give up?
    pub(super) fn check_given_up(&mut self, ix: usize, error: &TaskError, lost: Option<Loss>) -> Result<(), Violation> {
        let id = self.tasks[ix].id.clone();
        let late = self.is_late(ix);
        if !self.tasks[ix].is_alive() {
            return self.check_failure_without_attempt(ix, error);
        }
        // Where the stand-in output cannot be evaluated, that is the error.
        let has_other_error = self.stands_in(ix, error) && error.kind == ErrorKind::InvalidInput;
        let refused = self.may_refuse(ix, error.kind);
        self.check(lost.is_none() || error.kind == ErrorKind::WorkerLost || has_other_error, Rule::Loss, || {
            format!("`{id}` was lost with the error {error}")
        })?;
        let reason = match lost {
            Some(Loss::Engine) => {
                self.tasks[ix].engine_losses += 1;
                late || self.tasks[ix].engine_losses >= ENGINE_LOSSES_MAX
            }
            Some(Loss::Drained) => late,
            None if self.is_waited_out(ix, error) => {
                let retry = &self.node(ix).retry;
                let (_, longest) = retry.pause(1, error);
                let too_late = self.deadline(ix).is_some_and(|deadline| self.time.plus(longest + ROUNDING) > deadline);
                late || too_late || has_other_error || refused || !retry.is_for(error)
            }
            None | Some(Loss::Worker) => {
                self.tasks[ix].failures += 1;
                let (failures, retry) = (self.tasks[ix].failures, &self.node(ix).retry);
                let (_, longest) = retry.pause(failures, error);
                let too_late = self.deadline(ix).is_some_and(|deadline| self.time.plus(longest + ROUNDING) > deadline);
                late || too_late
                    || has_other_error
                    || refused
                    || failures >= retry.backoff.attempts_max
                    || !retry.is_for(error)
            }
        };
        self.check(reason, Rule::Retry, || format!("`{id}` gives up although it could be retried: {error}"))
    }

    /// A task fails that has no attempt under way: its condition, its items, its question or its parts are at fault,
    /// or its time is over.
    fn check_failure_without_attempt(&self, ix: usize, error: &TaskError) -> Result<(), Violation> {
        let (task, step) = (&self.tasks[ix], self.step(ix));
        let mut reasons = Vec::new();
        if self.is_overrun(ix) {
            reasons.push((ErrorKind::Timeout, None));
        }
        let has_no_answer = match step {
            Step::Break => true,
            Step::Map => matches!(self.tasks[ix].items, Some(Err(_))),
            Step::Ask => self.question(ix).is_err(),
            _ => false,
        };
        if has_no_answer {
            reasons.push((ErrorKind::InvalidInput, None));
        }
        reasons.extend(self.result(ix).and_then(Result::err));
        let fits = reasons.iter().any(|(kind, message)| {
            let same = error.kind == *kind && message.as_ref().is_none_or(|message| *message == error.message);
            same || (self.stands_in(ix, error) && error.kind == ErrorKind::InvalidInput)
        });
        self.check(fits, Rule::Failure, || {
            format!("`{}` fails, {step:?}, with {error}; it could with {reasons:?}", task.id)
        })
    }

    /// Can a result have been refused with this error, because of the loop that the task ends?
    fn may_refuse(&self, ix: usize, kind: ErrorKind) -> bool {
        let Some(back) = self.node(ix).back.as_ref().filter(|_| self.is_member(ix)) else { return false };
        let exhausted = back.on_exhausted == OnExhausted::Fail && self.tasks[ix].round >= back.most;
        (kind == ErrorKind::Limit && exhausted) || (kind == ErrorKind::InvalidInput && back.when.is_some())
    }

    /// Does the node's `on_failure: continue` speak of this task?
    fn stands_in(&self, ix: usize, error: &TaskError) -> bool {
        self.node(ix).continue_with.is_some() && self.decides_failure(ix, error)
    }

    /// What stands in for the output. One that cannot be evaluated is none: the task simply fails.
    fn stand_in(&self, ix: usize, error: &TaskError) -> Option<Value> {
        let is_exceeded = error.kind == ErrorKind::Budget && self.node(ix).exceeded == FailureAction::Continue;
        let Some(template) = self.node(ix).continue_with.as_ref().filter(|_| self.stands_in(ix, error)) else {
            return (is_exceeded && self.decides_failure(ix, error)).then_some(Value::Null);
        };
        let mut scope = self.scope_of(ix);
        scope.extra.push(("error", json!({ "kind": error.kind, "message": error.message })));
        scope.render(template).ok()
    }

    /// The end of the task's time, once it has begun, and while nobody is asked about it. Instances and iterations have
    /// none of their own.
    pub(super) fn deadline(&self, ix: usize) -> Option<Timestamp> {
        let span = self.node(ix).deadline.filter(|_| self.is_member(ix))?;
        Some(self.tasks[ix].deadline_from?.plus(span))
    }

    /// Has it not ended, and its time passed?
    pub(super) fn is_late(&self, ix: usize) -> bool {
        !self.tasks[ix].status.is_terminal() && self.deadline(ix).is_some_and(|deadline| self.time >= deadline)
    }

    /// Is it a group that has taken too long, or in something whose time has passed?
    pub(super) fn is_overrun(&self, ix: usize) -> bool {
        self.is_late(ix)
            || (self.tasks[ix].parts != Parts::None && self.attempt_end(ix).is_some_and(|end| self.time >= end))
    }
}
