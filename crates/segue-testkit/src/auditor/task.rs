//! Events about a task.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use segue_core::{
    event::{CancelCause, Event, EventKind, SkipReason},
    outcome::{ErrorKind, Loss, TaskError, Usage},
    payload::Payload,
    status::Status,
    time::Timestamp,
};
use serde_json::Value;

use super::{
    Auditor, Rule, Violation,
    join::{Decision, Fate},
};

/// Attempts that engines may lose before a task is given up.
const ENGINE_LOSSES_MAX: u32 = 3;
/// Pauses are computed in floating point and recorded in microseconds.
const ROUNDING: Duration = Duration::from_micros(2);

/// A task, as far as the log tells.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Task {
    pub(super) status: Status,
    /// All attempts so far, over reopenings too: the number of the last one.
    pub(super) attempts: u32,
    /// Attempts of the run's present life that ended and count against the retry policy.
    pub(super) failures: u32,
    pub(super) engine_losses: u32,
    /// When the first attempt of the run's present life began.
    pub(super) first_started: Option<Timestamp>,
    pub(super) started: Timestamp,
    /// The pause before the next attempt ends here.
    pub(super) due: Option<Timestamp>,
    /// The bounds of the last pause.
    pub(super) pause: Option<(Duration, Duration)>,
    pub(super) output: Option<Arc<Value>>,
    pub(super) error: Option<TaskError>,
    /// It failed and counts as succeeded.
    pub(super) continued: bool,
    pub(super) decision: Decision,
    /// What has become of its incoming edges, by their place.
    pub(super) edges: BTreeMap<usize, Fate>,
    /// It ended while the run was being stopped, and nobody has looked at the edges that leave it.
    pub(super) unfollowed: bool,
    pub(super) usage: Usage,
    /// `seq` of the event that ended it.
    pub(super) ended_seq: u64,
}

impl Default for Task {
    fn default() -> Self {
        Self {
            status: Status::Pending,
            attempts: 0,
            failures: 0,
            engine_losses: 0,
            first_started: None,
            started: Timestamp::from_micros(0),
            due: None,
            pause: None,
            output: None,
            error: None,
            continued: false,
            decision: Decision::Open,
            edges: BTreeMap::new(),
            unfollowed: false,
            usage: Usage::default(),
            ended_seq: 0,
        }
    }
}

impl Task {
    pub(super) fn reopen(&mut self) {
        if self.status != Status::Succeeded && !self.continued {
            let edges = std::mem::take(&mut self.edges);
            *self = Self { attempts: self.attempts, usage: self.usage, edges, ..Self::default() };
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.status == Status::Running
    }
}

impl Auditor {
    pub(super) fn task_event(&mut self, event: &Event) -> Result<(), Violation> {
        let ix = self.index_of(event.task_id.as_ref())?;
        let was = self.tasks[ix].status;
        self.check(!was.is_terminal(), Rule::TaskEnded, || {
            format!("{} for `{}`, which is {was}", event.kind.name(), self.node_id(ix))
        })?;
        match &event.kind {
            EventKind::TaskStarted {} => self.task_started(ix, event.attempt)?,
            EventKind::TaskRetrying { error, due, lost, usage } => {
                self.check_alive(ix, event.attempt)?;
                self.check_not_cancelling("a retry")?;
                self.task_retrying(ix, error, *due, *lost)?;
                self.tasks[ix].usage += *usage;
            }
            EventKind::TaskSucceeded { output, usage, .. } => {
                self.check_alive(ix, event.attempt)?;
                let task = &mut self.tasks[ix];
                task.output = output.value().cloned();
                task.usage += *usage;
                self.end(ix, Status::Succeeded);
            }
            EventKind::TaskFailed { error, lost, continue_with, usage } => {
                self.check_not_cancelling("a failure")?;
                self.task_failed(ix, event.attempt, error, *lost)?;
                self.check_stand_in(ix, continue_with.as_ref())?;
                let task = &mut self.tasks[ix];
                task.error = Some(error.clone());
                task.usage += *usage;
                task.continued = continue_with.is_some();
                task.output = continue_with.as_ref().and_then(|output| output.value().cloned());
                self.end(ix, Status::Failed);
            }
            EventKind::TaskSkipped { reason } => self.task_skipped(ix, reason)?,
            EventKind::TaskCancelled { usage } => {
                self.check(self.cancelling.is_some(), Rule::Cancelling, || {
                    format!("`{}` was cancelled although its run is not", self.node_id(ix))
                })?;
                match self.tasks[ix].is_running() {
                    true => self.check_alive(ix, event.attempt)?,
                    false => self.check(event.attempt.is_none(), Rule::Attempt, || {
                        format!("attempt {:?} of `{}` is cancelled and does not run", event.attempt, self.node_id(ix))
                    })?,
                }
                self.tasks[ix].usage += *usage;
                self.end(ix, Status::Cancelled);
            }
            other => return self.broken(Rule::Address, format!("{} names a task", other.name())),
        }
        Ok(())
    }

    fn end(&mut self, ix: usize, status: Status) {
        let task = &mut self.tasks[ix];
        task.status = status;
        task.due = None;
        task.ended_seq = self.seq;
        if self.cancelling.is_none() {
            self.follow_edges(ix);
        } else {
            self.tasks[ix].unfollowed = status == Status::Succeeded;
        }
    }

    /// The event is about the attempt that runs now.
    fn check_alive(&self, ix: usize, attempt: Option<u32>) -> Result<(), Violation> {
        let task = &self.tasks[ix];
        self.check(task.is_running() && attempt == Some(task.attempts), Rule::Attempt, || {
            let id = self.node_id(ix);
            format!("attempt {attempt:?} of `{id}` ends, which is {} after {} attempts", task.status, task.attempts)
        })
    }

    fn check_not_cancelling(&self, what: &str) -> Result<(), Violation> {
        self.check(self.cancelling.is_none(), Rule::Cancelling, || format!("{what} in a run that is being cancelled"))
    }

    fn task_started(&mut self, ix: usize, attempt: Option<u32>) -> Result<(), Violation> {
        let (task, id) = (&self.tasks[ix], self.node_id(ix));
        self.check(!task.is_running(), Rule::Attempt, || format!("`{id}` starts while an attempt is alive"))?;
        self.check(attempt == Some(task.attempts + 1), Rule::Attempt, || {
            format!("attempt {attempt:?} of `{id}` starts after {} attempts", task.attempts)
        })?;
        self.check_not_cancelling("a start")?;
        self.check(task.decision == Decision::Run, Rule::Ready, || format!("`{id}` starts: {:?}", task.decision))?;
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
        let id = self.node_id(ix).clone();
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
        let (node, task) = (&self.graph.nodes[ix], &self.tasks[ix]);
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
        let (node, deadline) = (&self.graph.nodes[ix], self.deadline(ix));
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
        let node = self.graph.nodes[ix].clone();
        let late = self.deadline(ix).is_some_and(|deadline| self.time >= deadline);
        if !self.tasks[ix].is_running() {
            let broken = matches!(self.tasks[ix].decision, Decision::Broken(_));
            let last = self.tasks[ix].due.map(|_| self.tasks[ix].attempts);
            self.check(attempt == last, Rule::Attempt, || {
                format!("`{}` fails between attempts: {attempt:?} instead of {last:?}", node.id)
            })?;
            let has_other_error = node.continue_with.is_some() && error.kind == ErrorKind::InvalidInput;
            let fits = (late && has_other_error)
                || (broken && error.kind == ErrorKind::InvalidInput)
                || (late && error.kind == ErrorKind::Timeout);
            return self.check(fits, Rule::Attempt, || format!("`{}` fails while it does not run: {error}", node.id));
        }
        self.check_alive(ix, attempt)?;
        // Where the stand-in output cannot be evaluated, that is the error.
        let has_other_error = node.continue_with.is_some() && error.kind == ErrorKind::InvalidInput;
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
                    || failures >= node.retry.backoff.attempts_max
                    || !node.retry.is_for(error)
            }
        };
        self.check(reason, Rule::Retry, || format!("`{}` gives up although it could be retried: {error}", node.id))
    }

    fn check_stand_in(&self, ix: usize, continue_with: Option<&Payload>) -> Result<(), Violation> {
        let node = &self.graph.nodes[ix];
        let given = continue_with.map(|output| output.value().map_or(Value::Null, |value| (**value).clone()));
        let expected = node.continue_with.as_ref().map(|output| self.scope().render(output)).transpose();
        // A stand-in that cannot be evaluated is none: the task simply fails.
        let expected = expected.unwrap_or(None);
        self.check(given == expected, Rule::ContinueWith, || {
            format!("`{}` goes on with {given:?}, not with {expected:?}", node.id)
        })
    }

    fn task_skipped(&mut self, ix: usize, reason: &SkipReason) -> Result<(), Violation> {
        let (task, id) = (&self.tasks[ix], self.node_id(ix));
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

    /// The end of the task's time, once it has started.
    pub(super) fn deadline(&self, ix: usize) -> Option<Timestamp> {
        let span = self.graph.nodes[ix].deadline?;
        Some(self.tasks[ix].first_started?.plus(span))
    }

    /// The tasks that run now.
    pub(super) fn running(&self) -> impl Iterator<Item = usize> {
        (0..self.tasks.len()).filter(|&ix| self.tasks[ix].is_running())
    }

    pub(super) fn cause(&self) -> Option<CancelCause> {
        self.cancelling.as_ref().map(|(cause, _)| *cause)
    }
}
