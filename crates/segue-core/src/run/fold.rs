//! From a log back to a run.

use std::sync::Arc;

use super::{
    Run, TaskIx,
    join::Verdict,
    scope::ScopeIx,
    task::{Layer, Parts},
};
use crate::{
    event::{Event, EventKind, Waiting},
    ids::{RunId, TaskId},
    payload::BlobRef,
    plan::{Plan, Work},
    status::Status,
};

/// A log that is not the log of such a run. It is never skipped over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// There is no event at all, or the first is not `run.created`.
    #[error("the log of run {0} does not begin with run.created")]
    NoBeginning(RunId),
    /// An event is missing, or stands twice.
    #[error("the log of run {run_id} has event {found} where {expected} belongs")]
    Gap {
        /// The run.
        run_id: RunId,
        /// The `seq` that belongs there.
        expected: u64,
        /// The `seq` that stands there.
        found: u64,
    },
    /// An event is about a task that the workflow does not have.
    #[error("event {seq} of run {run_id} is about task `{task}`, which its workflow does not have")]
    UnknownTask {
        /// The run.
        run_id: RunId,
        /// The event.
        seq: u64,
        /// The task.
        task: TaskId,
    },
    /// An event cannot follow what is before it.
    #[error("event {seq} of run {run_id} cannot be: {why}")]
    Impossible {
        /// The run.
        run_id: RunId,
        /// The event.
        seq: u64,
        /// Why.
        why: &'static str,
    },
    /// The log belongs to another version of the workflow.
    #[error("run {0} belongs to another version of its workflow")]
    OtherWorkflow(RunId),
}

/// Folds a log event by event, so that the caller can load each large value just before it is needed.
pub struct Fold {
    plan: Arc<Plan>,
    run_id: RunId,
    run: Option<Run>,
}

impl Fold {
    /// Begins.
    pub const fn new(plan: Arc<Plan>, run_id: RunId) -> Self {
        Self { plan, run_id, run: None }
    }

    /// The large value that must be supplied to the event before it is pushed, if a node can still read it.
    pub fn wants(&self, event: &Event) -> Option<BlobRef> {
        let payload = event.kind.payload()?;
        let blob = payload.blob().filter(|_| payload.value().is_none())?;
        if planted!(LoadsTooFewValues) {
            return None;
        }
        let is_read = match (&self.run, &event.task_id) {
            (Some(run), Some(task)) => {
                let decides = matches!(event.kind, EventKind::TaskSignaled { .. });
                run.find(task).is_some_and(|ix| {
                    let task = run.task(ix);
                    decides || task.readers > 0 || task.parent.is_some()
                })
            }
            (_, None) => matches!(event.kind, EventKind::RunCreated(_)),
            (None, Some(_)) => false,
        };
        is_read.then_some(blob)
    }

    /// Folds the next event.
    pub fn push(&mut self, event: &Event) -> Result<(), FoldError> {
        let run_id = self.run_id;
        let Some(run) = &mut self.run else {
            let EventKind::RunCreated(created) = &event.kind else { return Err(FoldError::NoBeginning(run_id)) };
            if event.seq != 1 {
                return Err(FoldError::Gap { run_id, expected: 1, found: event.seq });
            }
            if created.workflow_hash != self.plan.hash() {
                return Err(FoldError::OtherWorkflow(run_id));
            }
            let mut run = Run::empty(self.plan.clone(), run_id, created.clone(), event.time);
            run.apply(event);
            self.run = Some(run);
            return Ok(());
        };
        if event.seq != run.version() + 1 {
            return Err(FoldError::Gap { run_id, expected: run.version() + 1, found: event.seq });
        }
        run.check(event)?;
        run.apply(event);
        Ok(())
    }

    /// The run that the log tells.
    pub fn finish(self) -> Result<Run, FoldError> {
        let run = self.run.ok_or(FoldError::NoBeginning(self.run_id))?;
        if run.state.verdicts.is_empty() {
            Ok(run)
        } else {
            let why = "the skips that it causes are missing";
            Err(FoldError::Impossible { run_id: self.run_id, seq: run.version(), why })
        }
    }
}

impl Run {
    /// Folds a whole log whose large values, where a node can still read them, are in place.
    pub fn fold(plan: Arc<Plan>, run_id: RunId, events: &[Event]) -> Result<Self, FoldError> {
        let mut fold = Fold::new(plan, run_id);
        events.iter().try_for_each(|event| fold.push(event))?;
        fold.finish()
    }

    /// May this event follow? Checks what [`Run::apply`] relies on.
    fn check(&self, event: &Event) -> Result<(), FoldError> {
        let impossible = |why| Err(FoldError::Impossible { run_id: self.id, seq: event.seq, why });
        if let Some(task) = &event.task_id {
            let Some(ix) = self.find(task) else {
                return Err(FoldError::UnknownTask { run_id: self.id, seq: event.seq, task: task.clone() });
            };
            let status = self.task(ix).status;
            let (layer, node) = (self.task(ix).layer, self.node_of(ix));
            return match &event.kind {
                kind if kind.name().starts_with("run.") => impossible("an event of a run names a task"),
                _ if self.status().is_terminal() => impossible("the run has ended"),
                EventKind::LoopIterated { .. } if status == Status::Succeeded && node.loop_back.is_some() => Ok(()),
                _ if status.is_terminal() => impossible("the task has ended"),
                EventKind::TaskStarted {} if status == Status::Running => impossible("the task runs already"),
                EventKind::TaskStarted {} if !starts_so(layer, &node.work, event.attempt) => {
                    impossible("such a task does not start so")
                }
                EventKind::TaskStarted {}
                    if event.attempt.is_some_and(|n| n != self.task(ix).attempt.saturating_add(1)) =>
                {
                    impossible("attempts are counted one by one")
                }
                EventKind::LoopIterated { .. } if layer != Layer::Repeat => impossible("the task has no `repeat`"),
                EventKind::LoopIterated { .. } if status == Status::Waiting => {
                    impossible("the task waits for a decision")
                }
                EventKind::LoopIterated { iteration } if !self.is_next(ix, *iteration) => {
                    impossible("another iteration is due, or one still runs")
                }
                EventKind::TaskRetrying { .. } if !self.is_alive(ix) => impossible("the task does not run"),
                EventKind::TaskSucceeded { reused_from: None, .. } if status == Status::Pending => {
                    impossible("the task has not begun")
                }
                EventKind::TaskMapped { n } if !run_maps(self.state.verdicts.get(&ix), *n) => {
                    impossible("`foreach` has other items")
                }
                EventKind::TaskWaiting(waiting) if !waits_so(layer, &node.work, waiting) => {
                    impossible("such a task does not wait so")
                }
                EventKind::TaskWaiting(Waiting::Child { .. } | Waiting::Question { .. })
                    if status != Status::Running =>
                {
                    impossible("the task does not run")
                }
                EventKind::TaskWaiting(waiting) if status == Status::Waiting && !self.may_ask_again(ix, waiting) => {
                    impossible("the task waits already")
                }
                EventKind::TaskSignaled { .. } if status != Status::Waiting => impossible("the task does not wait"),
                _ => Ok(()),
            };
        }
        match &event.kind {
            kind if !kind.name().starts_with("run.") => impossible("an event of a task names none"),
            EventKind::RunCreated(_) => impossible("the run exists already"),
            EventKind::RunReopened {} if !self.status().is_terminal() => impossible("the run has not ended"),
            EventKind::RunReopened {} => Ok(()),
            EventKind::RunCancelling { .. } if self.is_stopping() => impossible("the run is being stopped already"),
            _ if self.status().is_terminal() => impossible("the run has ended"),
            kind if kind.ends_run() && !(self.state.running.is_empty() && self.state.awaiting.is_empty()) => {
                impossible("a task still runs")
            }
            kind if kind.ends_run() && self.scope(ScopeIx::ROOT).open > 0 => impossible("a task has not ended"),
            _ => Ok(()),
        }
    }

    /// What waits asks something else only if the waiting has failed, and a person is to say what that means.
    fn may_ask_again(&self, ix: TaskIx, waiting: &Waiting) -> bool {
        let is_paused = matches!(self.task(ix).waiting, Some(Waiting::Failure { .. }));
        matches!(waiting, Waiting::Failure { .. }) && !is_paused
    }

    /// Iterations of a `repeat` follow one another.
    fn is_next(&self, ix: TaskIx, iteration: u32) -> bool {
        match &self.task(ix).parts {
            Some(Parts::Iteration { current, number, .. }) => {
                self.task(*current).status.is_terminal() && iteration == number.saturating_add(1)
            }
            _ => iteration == 1,
        }
    }
}

/// Is this what `foreach` has come to?
fn run_maps(verdict: Option<&Verdict>, n: u32) -> bool {
    matches!(verdict, Some(Verdict::Map(items)) if items.len() == n as usize)
}

/// A group starts without an attempt, work with one; nothing else starts.
fn starts_so(layer: Layer, work: &Work, attempt: Option<u32>) -> bool {
    match work {
        _ if layer != Layer::Work => false,
        Work::Group(_) => attempt.is_none(),
        Work::Attempts | Work::Child(_) => attempt.is_some(),
        Work::Approval(_) | Work::Wait(_) => false,
    }
}

/// Only an approval asks, and only a wait waits; what fails, asks or runs another workflow is another matter.
fn waits_so(layer: Layer, work: &Work, waiting: &Waiting) -> bool {
    match waiting {
        Waiting::Approval { .. } => layer == Layer::Work && matches!(work, Work::Approval(_)),
        Waiting::Time { .. } | Waiting::Event { .. } => layer == Layer::Work && matches!(work, Work::Wait(_)),
        Waiting::Child { .. } | Waiting::Failure { .. } | Waiting::Question { .. } => true,
    }
}
