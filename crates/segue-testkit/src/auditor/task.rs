//! Events about a task.

use std::time::Duration;

use segue_core::{
    event::{CancelCause, Event, EventKind, SkipReason},
    ids::TaskId,
    outcome::{ErrorKind, Loss, TaskError},
    payload::Payload,
    spec::OnExhausted,
    status::Status,
    time::Timestamp,
};
use serde_json::{Value, json};

use super::{
    Auditor, Rule, Violation,
    join::Decision,
    step::{Round, Step},
    tree::{Layer, Parts},
};

/// Attempts that engines may lose before a task is given up.
const ENGINE_LOSSES_MAX: u32 = 3;
/// Pauses are computed in floating point and recorded in microseconds.
const ROUNDING: Duration = Duration::from_micros(2);

impl Auditor {
    pub(super) fn task_event(&mut self, event: &Event) -> Result<(), Violation> {
        let ix = self.index_of(event.task_id.as_ref())?;
        let was = self.tasks[ix].status;
        let goes_on = !was.is_terminal() || (self.tasks[ix].again && event.kind.name() == "loop.iterated");
        self.check(goes_on && !self.tasks[ix].gone, Rule::TaskEnded, || {
            format!("{} for `{}`, which is {was}", event.kind.name(), self.tasks[ix].id)
        })?;
        self.idle &= was == Status::Waiting;
        let without_attempt = event.attempt.is_none();
        match &event.kind {
            EventKind::TaskStarted {} if without_attempt && !self.makes_attempts(ix) => {
                self.check_not_cancelling("a start")?;
                self.group_started(ix)?;
            }
            EventKind::TaskStarted {} => self.task_started(ix, event.attempt)?,
            EventKind::TaskMapped { n } => self.task_mapped(ix, *n)?,
            EventKind::LoopIterated { iteration } => self.loop_iterated(ix, *iteration)?,
            EventKind::TaskWaiting(waiting) => self.task_waiting(ix, waiting)?,
            EventKind::TaskSignaled { data, .. } => {
                self.idle = false;
                self.task_signaled(ix, data.value().map_or(&Value::Null, |data| data))?;
            }
            EventKind::TaskRetrying { error, due, lost, usage } => {
                self.check_alive(ix, event.attempt)?;
                self.check_not_cancelling("a retry")?;
                self.task_retrying(ix, error, *due, *lost)?;
                self.tasks[ix].usage += *usage;
            }
            EventKind::TaskSucceeded { output, usage, .. } => {
                self.task_succeeded(ix, event.attempt, output)?;
                self.tasks[ix].usage += *usage;
            }
            EventKind::TaskFailed { error, lost, continue_with, usage } => {
                self.check_not_cancelling("a failure")?;
                self.task_failed(ix, event.attempt, error, *lost)?;
                self.check_stand_in(ix, error, continue_with.as_ref())?;
                let task = &mut self.tasks[ix];
                task.error = Some(error.clone());
                task.usage += *usage;
                task.continued = continue_with.is_some();
                task.output = continue_with.as_ref().and_then(|output| output.value().cloned());
                self.end(ix, Status::Failed);
            }
            EventKind::TaskSkipped { reason } => self.task_skipped(ix, reason)?,
            EventKind::TaskCancelled { usage } => {
                self.task_cancelled(ix, event.attempt)?;
                self.tasks[ix].usage += *usage;
            }
            other => return self.broken(Rule::Address, format!("{} names a task", other.name())),
        }
        Ok(())
    }

    fn end(&mut self, ix: usize, status: Status) {
        let (seq, now) = (self.seq, self.time);
        let task = &mut self.tasks[ix];
        task.status = status;
        task.due = None;
        task.waiting = None;
        task.ended_seq = seq;
        task.ended = now;
        if !self.is_member(ix) {
            return;
        }
        if self.cancelling.is_none() {
            self.tasks[ix].again = status == Status::Succeeded && self.round(ix, &self.output(ix)) == Round::Again;
            if !self.tasks[ix].again {
                self.follow_edges(ix);
            }
        } else {
            self.tasks[ix].unfollowed = status == Status::Succeeded;
        }
    }

    fn task_succeeded(&mut self, ix: usize, attempt: Option<u32>, output: &Payload) -> Result<(), Violation> {
        let given = output.value().map_or(&Value::Null, |value| value);
        if self.makes_attempts(ix) {
            self.check_alive(ix, attempt)?;
            let refused = self.cancelling.is_none() && self.refuses(ix, given);
            self.check(!refused, Rule::Iteration, || {
                format!("`{}` succeeds although its loop is exhausted, or cannot be asked", self.tasks[ix].id)
            })?;
        } else {
            self.check_not_cancelling("a result")?;
            let result = self.result(ix);
            self.check(attempt.is_none() && result == Some(Ok(given.clone())), Rule::Result, || {
                format!("`{}` succeeds with {given}, attempt {attempt:?}; it comes to {result:?}", self.tasks[ix].id)
            })?;
        }
        self.tasks[ix].output = output.value().cloned();
        self.end(ix, Status::Succeeded);
        Ok(())
    }

    /// Is this no result, because of the loop that the task ends?
    fn refuses(&self, ix: usize, output: &Value) -> bool {
        matches!(self.round(ix, output), Round::Exhausted | Round::Broken)
    }

    /// Would this output of the attempt that runs be no result?
    pub fn refuses_output(&self, task: &TaskId, output: &Value) -> bool {
        self.is_live() && self.index_of(Some(task)).is_ok_and(|ix| self.refuses(ix, output))
    }

    fn task_cancelled(&mut self, ix: usize, attempt: Option<u32>) -> Result<(), Violation> {
        let id = self.tasks[ix].id.clone();
        let is_doomed = self.containers(ix).any(|around| self.is_overrun(around));
        let is_left_behind = std::iter::once(ix).chain(self.containers(ix)).any(|inside| {
            let (node, scope) = (self.tasks[inside].node, &self.scopes[self.tasks[inside].scope]);
            let again = scope.tasks.iter().filter(|&&at| self.tasks[at].again);
            again.filter_map(|&at| self.node(at).back.as_ref()).any(|back| back.body.contains(&node))
        });
        self.check(self.cancelling.is_some() || is_doomed || is_left_behind, Rule::Cancelling, || {
            format!("`{id}` was cancelled although nothing around it is")
        })?;
        let open = self.parts(ix).into_iter().find(|&part| !self.tasks[part].status.is_terminal());
        self.check(open.is_none(), Rule::Outlived, || format!("`{id}` was cancelled before its part {open:?}"))?;
        match self.tasks[ix].is_running() {
            true => self.check_alive(ix, attempt)?,
            false => self.check(attempt.is_none(), Rule::Attempt, || {
                format!("attempt {attempt:?} of `{id}` is cancelled and does not run")
            })?,
        }
        self.end(ix, Status::Cancelled);
        Ok(())
    }

    /// The event is about the attempt that runs now.
    fn check_alive(&self, ix: usize, attempt: Option<u32>) -> Result<(), Violation> {
        let task = &self.tasks[ix];
        self.check(task.is_running() && attempt == Some(task.attempts), Rule::Attempt, || {
            let id = &task.id;
            format!("attempt {attempt:?} of `{id}` ends, which is {} after {} attempts", task.status, task.attempts)
        })
    }

    fn check_not_cancelling(&self, what: &str) -> Result<(), Violation> {
        self.check(self.cancelling.is_none(), Rule::Cancelling, || format!("{what} in a run that is being cancelled"))
    }

    fn task_started(&mut self, ix: usize, attempt: Option<u32>) -> Result<(), Violation> {
        let (task, id) = (&self.tasks[ix], &self.tasks[ix].id);
        self.check(!task.is_running(), Rule::Attempt, || format!("`{id}` starts while an attempt is alive"))?;
        self.check(attempt == Some(task.attempts + 1), Rule::Attempt, || {
            format!("attempt {attempt:?} of `{id}` starts after {} attempts", task.attempts)
        })?;
        self.check_not_cancelling("a start")?;
        let step = self.step(ix);
        self.check(step == Step::Attempt, Rule::Ready, || format!("`{id}` starts: {step:?}, {:?}", task.decision))?;
        self.check(task.due.is_none_or(|due| due <= self.time), Rule::Pause, || {
            format!("`{id}` starts at {} and is due at {:?}", self.time, task.due)
        })?;
        self.check(self.graph.max_parallel.is_none_or(|most| self.running().count() < most), Rule::Parallel, || {
            format!("`{id}` starts while {} tasks run", self.running().count())
        })?;
        let now = self.time;
        let task = &mut self.tasks[ix];
        task.status = Status::Running;
        task.attempts += 1;
        task.started = now;
        task.due = None;
        task.first_started.get_or_insert(now);
        Ok(())
    }

    fn task_retrying(
        &mut self,
        ix: usize,
        error: &TaskError,
        due: Timestamp,
        lost: Option<Loss>,
    ) -> Result<(), Violation> {
        let id = self.tasks[ix].id.clone();
        self.check(lost.is_none() || error.kind == ErrorKind::WorkerLost, Rule::Loss, || {
            format!("`{id}` was lost with the error {error}")
        })?;
        match lost {
            None | Some(Loss::Worker) => self.check_retry(ix, error, due)?,
            Some(Loss::Engine | Loss::Drained) => {
                self.check(due == self.time, Rule::Loss, || format!("`{id}` was lost and is due at {due}"))?;
            }
        }
        if lost == Some(Loss::Engine) {
            self.tasks[ix].engine_losses += 1;
            let losses = self.tasks[ix].engine_losses;
            self.check(losses < ENGINE_LOSSES_MAX, Rule::Loss, || {
                format!("`{id}` goes on after {losses} engines were lost")
            })?;
        }
        let task = &mut self.tasks[ix];
        task.status = Status::Pending;
        task.due = Some(due);
        Ok(())
    }

    /// A retry after a failure that counts.
    fn check_retry(&mut self, ix: usize, error: &TaskError, due: Timestamp) -> Result<(), Violation> {
        self.tasks[ix].failures += 1;
        let (node, task) = (self.node(ix), &self.tasks[ix]);
        self.check(node.retry.is_for(error), Rule::Retry, || format!("`{}` is retried after {error}", node.id))?;
        self.check(task.failures < node.retry.backoff.attempts_max, Rule::Retry, || {
            format!("`{}` is retried after {} attempts that count", node.id, task.failures)
        })?;
        let (shortest, longest) = node.retry.pause(task.failures, error);
        let pause = due.since(self.time);
        let drawn = shortest != longest;
        self.check(
            pause + ROUNDING >= shortest
                && pause <= longest + ROUNDING
                && !(drawn && longest > ROUNDING * 10 && pause == longest),
            Rule::Pause,
            || format!("`{}` pauses for {pause:?}, not between {shortest:?} and {longest:?}", node.id),
        )?;
        self.tasks[ix].pause = Some((shortest, longest));
        let (node, deadline) = (self.node(ix), self.deadline(ix));
        self.check(deadline.is_none_or(|deadline| due <= deadline), Rule::Deadline, || {
            format!("`{}` is due at {due}, after its deadline {deadline:?}", node.id)
        })
    }

    /// Was there a reason to give up?
    fn task_failed(
        &mut self,
        ix: usize,
        attempt: Option<u32>,
        error: &TaskError,
        lost: Option<Loss>,
    ) -> Result<(), Violation> {
        let node = self.node(ix).clone();
        let late = self.is_late(ix);
        if !self.tasks[ix].is_running() {
            return self.check_failure_without_attempt(ix, attempt, error);
        }
        self.check_alive(ix, attempt)?;
        // Where the stand-in output cannot be evaluated, that is the error.
        let has_other_error = self.stands_in(ix, error) && error.kind == ErrorKind::InvalidInput;
        let refused = self.may_refuse(ix, error.kind);
        self.check(lost.is_none() || error.kind == ErrorKind::WorkerLost || has_other_error, Rule::Loss, || {
            format!("`{}` was lost with the error {error}", node.id)
        })?;
        let task = &mut self.tasks[ix];
        let reason = match lost {
            Some(Loss::Engine) => {
                task.engine_losses += 1;
                late || task.engine_losses >= ENGINE_LOSSES_MAX
            }
            Some(Loss::Drained) => late,
            None | Some(Loss::Worker) => {
                task.failures += 1;
                let failures = task.failures;
                let (_, longest) = node.retry.pause(failures, error);
                let too_late = self.deadline(ix).is_some_and(|deadline| self.time.plus(longest + ROUNDING) > deadline);
                late || too_late
                    || has_other_error
                    || refused
                    || failures >= node.retry.backoff.attempts_max
                    || !node.retry.is_for(error)
            }
        };
        self.check(reason, Rule::Retry, || format!("`{}` gives up although it could be retried: {error}", node.id))
    }

    /// A task fails that has no attempt under way: its condition, its items, its question or its parts are at fault,
    /// or its time is over.
    fn check_failure_without_attempt(
        &self,
        ix: usize,
        attempt: Option<u32>,
        error: &TaskError,
    ) -> Result<(), Violation> {
        let (task, step) = (&self.tasks[ix], self.step(ix));
        let last = task.due.map(|_| task.attempts);
        self.check(attempt == last, Rule::Attempt, || {
            format!("`{}` fails between attempts: {attempt:?} instead of {last:?}", task.id)
        })?;
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

    /// Does the node's `on_failure: continue` speak of this task? Of the outermost one, and of instances; not of a
    /// `foreach` that fails because an instance has.
    fn stands_in(&self, ix: usize, error: &TaskError) -> bool {
        let for_a_part = self.tasks[ix].layer == Layer::Map
            && matches!(self.result(ix), Some(Err((_, Some(message)))) if message == error.message);
        self.node(ix).continue_with.is_some() && (self.is_member(ix) || self.is_instance(ix)) && !for_a_part
    }

    fn check_stand_in(&self, ix: usize, error: &TaskError, continue_with: Option<&Payload>) -> Result<(), Violation> {
        let given = continue_with.map(|output| output.value().map_or(Value::Null, |value| (**value).clone()));
        let mut scope = self.scope_of(ix);
        scope.extra.push(("error", json!({ "kind": error.kind, "message": error.message })));
        let template = self.node(ix).continue_with.as_ref().filter(|_| self.stands_in(ix, error));
        let expected = template.map(|output| scope.render(output)).transpose();
        // A stand-in that cannot be evaluated is none: the task simply fails.
        let expected = expected.unwrap_or(None);
        self.check(given == expected, Rule::ContinueWith, || {
            format!("`{}` goes on with {given:?}, not with {expected:?}", self.tasks[ix].id)
        })
    }

    fn task_skipped(&mut self, ix: usize, reason: &SkipReason) -> Result<(), Violation> {
        let (task, id) = (&self.tasks[ix], &self.tasks[ix].id);
        let Decision::Skip(code, blamed) = &task.decision else {
            return self.broken(Rule::Skip, format!("`{id}` is skipped: {:?}", task.decision));
        };
        self.check(*code == reason.code, Rule::Skip, || {
            format!("`{id}` is skipped because of {:?}, not of {code:?}", reason.code)
        })?;
        self.check(!task.is_running() && task.due.is_none(), Rule::Skip, || format!("`{id}` ran and is skipped"))?;
        self.check(reason.because.as_ref().is_none_or(|because| blamed.contains(because)), Rule::Skip, || {
            format!("`{id}` is skipped because of {:?}, not of {blamed:?}", reason.because)
        })?;
        self.check(self.cancelling.is_none(), Rule::Cancelling, || format!("`{id}` is skipped in a cancelled run"))?;
        self.end(ix, Status::Skipped);
        Ok(())
    }

    /// The end of the task's time, once it has begun. Instances and iterations have none of their own.
    pub(super) fn deadline(&self, ix: usize) -> Option<Timestamp> {
        let span = self.node(ix).deadline.filter(|_| self.is_member(ix))?;
        Some(self.tasks[ix].first_started?.plus(span))
    }

    /// Has it not ended, and its time passed?
    fn is_late(&self, ix: usize) -> bool {
        !self.tasks[ix].status.is_terminal() && self.deadline(ix).is_some_and(|deadline| self.time >= deadline)
    }

    /// Is it a group that has taken too long, or in something whose time has passed?
    fn is_overrun(&self, ix: usize) -> bool {
        self.is_late(ix)
            || (self.tasks[ix].parts != Parts::None && self.attempt_end(ix).is_some_and(|end| self.time >= end))
    }

    /// The tasks of which an attempt runs now.
    pub(super) fn running(&self) -> impl Iterator<Item = usize> {
        self.current().filter(|&ix| self.tasks[ix].is_running())
    }

    pub(super) fn cause(&self) -> Option<CancelCause> {
        self.cancelling.as_ref().map(|(cause, _)| *cause)
    }
}
