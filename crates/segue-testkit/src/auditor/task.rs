//! Events about a task.

use segue_core::{
    event::{CancelCause, Event, EventKind, SkipReason},
    ids::TaskId,
    payload::Payload,
    status::Status,
};
use serde_json::Value;

use super::{Auditor, Rule, Violation, join::Decision, step::Round};

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
                self.check_not_stopping("a start")?;
                self.group_started(ix)?;
            }
            EventKind::TaskStarted {} => self.task_started(ix, event.attempt)?,
            EventKind::TaskMapped { n } => self.task_mapped(ix, *n)?,
            EventKind::LoopIterated { iteration } => self.loop_iterated(ix, *iteration)?,
            EventKind::TaskWaiting(waiting) => self.task_waiting(ix, event.attempt, waiting)?,
            EventKind::TaskSignaled { data, .. } => {
                self.idle = false;
                self.task_signaled(ix, data.value().map_or(&Value::Null, |data| data))?;
            }
            EventKind::TaskRetrying { error, due, lost, usage } => {
                self.check_alive(ix, event.attempt)?;
                self.check_not_stopping("a retry")?;
                self.task_retrying(ix, error, *due, *lost)?;
                self.tasks[ix].usage += *usage;
            }
            EventKind::TaskSucceeded { output, usage, reused_from, .. } => {
                match reused_from {
                    Some(from) => self.task_reused(ix, event.attempt, *usage, *from)?,
                    None => self.check_success(ix, event.attempt, output)?,
                }
                let task = &mut self.tasks[ix];
                task.reused = reused_from.is_some();
                task.output = output.value().cloned();
                task.usage += *usage;
                self.end(ix, Status::Succeeded);
            }
            EventKind::TaskFailed { error, lost, continue_with, usage } => {
                self.check_not_stopping("a failure")?;
                self.task_failed(ix, event.attempt, (error, *lost, *usage), continue_with.as_ref())?;
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
        if !self.stopping {
            // A loop that is taken over has come to its end in the other run.
            let may_go_on = status == Status::Succeeded && !self.tasks[ix].reused;
            self.tasks[ix].again = may_go_on && self.round(ix, &self.output(ix)) == Round::Again;
            if !self.tasks[ix].again {
                self.follow_edges(ix);
            }
        } else {
            self.tasks[ix].unfollowed = status == Status::Succeeded;
        }
    }

    fn check_success(&self, ix: usize, attempt: Option<u32>, output: &Payload) -> Result<(), Violation> {
        let given = output.value().map_or(&Value::Null, |value| value);
        if self.makes_attempts(ix) {
            self.check_alive(ix, attempt)?;
            let misfit = self.misfit(ix, given);
            self.check(misfit.is_none(), Rule::Schema, || {
                format!("`{}` succeeds with {given}, which does not fit at {misfit:?}", self.tasks[ix].id)
            })?;
            let refused = !self.stopping && self.refuses(ix, given);
            self.check(!refused, Rule::Iteration, || {
                format!("`{}` succeeds although its loop is exhausted, or cannot be asked", self.tasks[ix].id)
            })
        } else {
            self.check_not_stopping("a result")?;
            let result = self.result(ix);
            self.check(attempt.is_none() && result == Some(Ok(given.clone())), Rule::Result, || {
                format!("`{}` succeeds with {given}, attempt {attempt:?}; it comes to {result:?}", self.tasks[ix].id)
            })
        }
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
        let is_stopped = self.stopping && self.stage_of(ix) == self.stage && !self.skips_stage();
        self.check(is_stopped || is_doomed || is_left_behind, Rule::Cancelling, || {
            format!("`{id}` was cancelled although nothing around it is")
        })?;
        let open = self.parts(ix).into_iter().find(|&part| !self.tasks[part].status.is_terminal());
        self.check(open.is_none(), Rule::Outlived, || format!("`{id}` was cancelled before its part {open:?}"))?;
        match self.tasks[ix].is_alive() {
            true => self.check_alive(ix, attempt)?,
            false => self.check(attempt.is_none(), Rule::Attempt, || {
                format!("attempt {attempt:?} of `{id}` is cancelled and does not run")
            })?,
        }
        self.end(ix, Status::Cancelled);
        Ok(())
    }

    pub(super) fn check_not_stopping(&self, what: &str) -> Result<(), Violation> {
        self.check(!self.stopping, Rule::Cancelling, || format!("{what} in a run that is being cancelled"))
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
        let may_be = !self.stopping || (self.skips_stage() && self.stage_of(ix) == self.stage);
        self.check(may_be, Rule::Cancelling, || format!("`{id}` is skipped in a run that is being stopped"))?;
        self.end(ix, Status::Skipped);
        Ok(())
    }

    /// The tasks of which an attempt runs now.
    pub(super) fn running(&self) -> impl Iterator<Item = usize> {
        self.current().filter(|&ix| self.tasks[ix].is_running())
    }

    pub(super) fn cause(&self) -> Option<CancelCause> {
        self.cancelling.as_ref().map(|(cause, _)| *cause)
    }
}
