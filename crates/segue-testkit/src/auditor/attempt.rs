//! Attempts: how they begin, and when another follows.

use std::time::Duration;

use segue_core::{
    outcome::{ErrorKind, Loss, TaskError},
    status::Status,
    time::Timestamp,
};

use super::{Auditor, Rule, Violation, step::Step};

/// Attempts that engines may lose before a task is given up.
pub(super) const ENGINE_LOSSES_MAX: u32 = 3;
/// Pauses are computed in floating point and recorded in microseconds.
pub(super) const ROUNDING: Duration = Duration::from_micros(2);

impl Auditor {
    /// The event is about the attempt that runs now.
    pub(super) fn check_alive(&self, ix: usize, attempt: Option<u32>) -> Result<(), Violation> {
        let task = &self.tasks[ix];
        self.check(task.is_alive() && attempt == Some(task.attempts), Rule::Attempt, || {
            let id = &task.id;
            format!("attempt {attempt:?} of `{id}` ends, which is {} after {} attempts", task.status, task.attempts)
        })
    }

    pub(super) fn task_started(&mut self, ix: usize, attempt: Option<u32>) -> Result<(), Violation> {
        let (task, id) = (&self.tasks[ix], &self.tasks[ix].id);
        self.check(!task.is_alive(), Rule::Attempt, || format!("`{id}` starts while an attempt is alive"))?;
        self.check(attempt == Some(task.attempts + 1), Rule::Attempt, || {
            format!("attempt {attempt:?} of `{id}` starts after {} attempts", task.attempts)
        })?;
        self.check_not_stopping("a start")?;
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
        task.deadline_from.get_or_insert(now);
        Ok(())
    }

    pub(super) fn task_retrying(
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
            None if self.is_waited_out(ix, error) => self.check_waited_out(ix, error, due)?,
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
        task.waiting = None;
        Ok(())
    }

    /// Was the attempt sent back by a provider, under a limit that waits it out?
    pub(super) fn is_waited_out(&self, ix: usize, error: &TaskError) -> bool {
        error.kind == ErrorKind::RateLimited && error.retry_after.is_some() && self.node(ix).is_limited
    }

    /// A retry that counts for nothing: as late as the provider said.
    fn check_waited_out(&mut self, ix: usize, error: &TaskError, due: Timestamp) -> Result<(), Violation> {
        let node = self.node(ix);
        self.check(node.retry.is_for(error), Rule::Retry, || format!("`{}` is retried after {error}", node.id))?;
        let (pause, asked) = (due.since(self.time), node.retry.pause(1, error).0);
        self.check(pause + ROUNDING >= asked && pause <= asked + ROUNDING, Rule::Pause, || {
            format!("`{}` is due after {pause:?}; the provider asked for {asked:?}", node.id)
        })?;
        self.tasks[ix].pause = Some((asked, asked));
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
}
