//! Judges a run by its log alone.
//!
//! The auditor reads a workflow document and the events of one run, and says whether that run could have been. It
//! shares nothing with the kernel: it derives joins, conditions, retries and ends from the document with its own plain
//! logic, going over the whole graph after every event. Where the two disagree, one of them is wrong.
//!
//! Feed it events with [`Auditor::observe`]; say [`Auditor::settled`] after each commit and [`Auditor::finished`] at
//! the end of the log. [`audit`] does all three. Between events it also answers what the run now owes the world:
//! [`Auditor::ready`], [`Auditor::next_due`], [`Auditor::overdue`].

mod condition;
mod ending;
mod graph;
mod join;
mod owed;
mod parts;
mod retry;
mod rows;
mod step;
mod task;
mod tree;
mod wait;

use std::{collections::BTreeMap, fmt};

use segue_core::{
    event::{CancelCause, Event, EventKind, SkipCode},
    ids::TaskId,
    spec::WorkflowSpec,
    status::Status,
    time::Timestamp,
};
use serde_json::Value;

use self::{
    graph::{Graph, MAIN},
    join::Decision,
    tree::{Layer, Parts, Scope, Task},
};

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

/// Where a run stands, as far as its log tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    New,
    Created,
    Live,
    Ended(Status),
}

/// Follows one run.
#[derive(Debug, Clone)]
pub struct Auditor {
    graph: Graph,
    /// All tasks that there have been, also those of earlier iterations.
    tasks: Vec<Task>,
    /// The latest task of each name.
    by_id: BTreeMap<TaskId, usize>,
    /// The workflow's own scope, then one a group that has begun.
    scopes: Vec<Scope>,
    params: Value,
    phase: Phase,
    cancelling: Option<(CancelCause, String)>,
    /// The failure for which the run is being cancelled.
    fatal: Option<usize>,
    /// `run.waiting` is the last word.
    idle: bool,
    /// When the run, or its present life, began: its timeout counts from here.
    began_at: Timestamp,
    seq: u64,
    time: Timestamp,
}

/// Judges a whole log, whether or not the run has ended.
pub fn audit(spec: &WorkflowSpec, events: &[Event]) -> Result<Auditor, Violation> {
    let mut auditor = Auditor::new(spec);
    for event in events {
        // What is committed together has one time: a later one begins another commit.
        if event.time > auditor.time {
            auditor.settled()?;
        }
        auditor.observe(event)?;
    }
    auditor.settled()?;
    Ok(auditor)
}

impl Auditor {
    /// For a run of `spec` of which nothing is known yet.
    pub fn new(spec: &WorkflowSpec) -> Self {
        let graph = Graph::of(spec);
        let mut auditor = Self {
            graph,
            tasks: Vec::new(),
            by_id: BTreeMap::new(),
            scopes: Vec::new(),
            idle: false,
            params: Value::Null,
            phase: Phase::New,
            cancelling: None,
            fatal: None,
            began_at: Timestamp::from_micros(0),
            seq: 0,
            time: Timestamp::from_micros(i64::MIN),
        };
        auditor.open_scope(MAIN, None);
        auditor
    }

    /// Judges the next event and takes it in.
    pub fn observe(&mut self, event: &Event) -> Result<(), Violation> {
        self.seq += 1;
        self.check(event.seq == self.seq, Rule::Seq, || format!("has seq {}", event.seq))?;
        self.check(event.time >= self.time, Rule::Time, || format!("{} after {}", event.time, self.time))?;
        self.time = event.time;
        self.check_phase(&event.kind)?;
        match &event.kind {
            EventKind::RunCreated(created) => {
                self.phase = Phase::Created;
                self.params = created.inputs.value().map_or(Value::Null, |inputs| (**inputs).clone());
            }
            EventKind::RunStarted {} => {
                self.phase = Phase::Live;
                self.began_at = event.time;
            }
            EventKind::RunWaiting {} => {
                self.check(self.is_quiet() && !self.idle, Rule::Idle, || {
                    format!("waits while {:?} run, or for nothing, or says it twice", self.alive())
                })?;
                self.idle = true;
            }
            EventKind::RunCancelling { by, reason } => self.run_cancelling(*by, reason)?,
            EventKind::RunSucceeded { outputs } => self.run_succeeded(outputs)?,
            EventKind::RunFailed { error } => self.run_failed(error)?,
            EventKind::RunCancelled { reason } => self.run_cancelled(reason)?,
            EventKind::RunReopened {} => self.reopen(),
            _ => self.task_event(event)?,
        }
        self.decide();
        self.idle &= self.is_quiet();
        Ok(())
    }

    /// Call it at the end of the log of a run that should have ended.
    pub fn finished(&self) -> Result<(), Violation> {
        match self.phase {
            Phase::Ended(_) => Ok(()),
            _ => self.broken(Rule::End, "the run has not ended".into()),
        }
    }

    /// Has the run ended, and how?
    pub fn ended(&self) -> Option<Status> {
        match self.phase {
            Phase::Ended(status) => Some(status),
            _ => None,
        }
    }

    fn check_phase(&self, kind: &EventKind) -> Result<(), Violation> {
        let (rule, ok) = match (self.phase, kind) {
            (Phase::New, kind) => (Rule::Begin, matches!(kind, EventKind::RunCreated(_))),
            (Phase::Created, kind) => (Rule::Begin, matches!(kind, EventKind::RunStarted {})),
            (Phase::Live, kind) => (
                Rule::Begin,
                !matches!(kind, EventKind::RunCreated(_) | EventKind::RunStarted {} | EventKind::RunReopened {}),
            ),
            (Phase::Ended(status), EventKind::RunReopened {}) => {
                (Rule::AfterEnd, matches!(status, Status::Failed | Status::Cancelled))
            }
            (Phase::Ended(_), _) => (Rule::AfterEnd, false),
        };
        self.check(ok, rule, || format!("{} in a run that is {:?}", kind.name(), self.phase))
    }

    /// The run starts over with what has not succeeded.
    fn reopen(&mut self) {
        self.phase = Phase::Live;
        self.cancelling = None;
        self.fatal = None;
        self.idle = false;
        self.began_at = self.time;
        self.revive(&self.scopes[MAIN].tasks.clone());
    }

    /// Of these tasks, and what is inside them, all that has no result that stays starts over; what has parts goes on
    /// with those that are left. An instance that has parts does so when it is its turn.
    fn revive(&mut self, tasks: &[usize]) {
        let mut members = Vec::new();
        for &ix in tasks {
            self.revive_task(ix, &mut members);
        }
        // What was found about the edges of a task that keeps its result stays found. Nobody looked at those of a task
        // that succeeded while the run was being stopped.
        for &ix in &members {
            let (scope, incoming) = (self.tasks[ix].scope, self.node(ix).incoming.clone());
            let edges = self.tasks[ix].edges.clone().into_iter();
            let kept = edges.filter(|(at, _)| self.tasks[self.member(scope, incoming[*at].from)].status.is_terminal());
            self.tasks[ix].edges = kept.collect();
        }
        for &ix in &members {
            if std::mem::take(&mut self.tasks[ix].unfollowed) {
                self.tasks[ix].again = self.round(ix, &self.output(ix)) == step::Round::Again;
                if !self.tasks[ix].again {
                    self.follow_edges(ix);
                }
            }
        }
    }

    fn revive_task(&mut self, ix: usize, members: &mut Vec<usize>) {
        if self.is_member(ix) {
            members.push(ix);
        }
        if self.tasks[ix].is_kept() {
            return;
        }
        if self.tasks[ix].parts == Parts::None {
            self.tasks[ix].reset();
            self.tasks[ix].decision = if self.is_iteration(ix) { Decision::Run } else { Decision::Open };
            return;
        }
        let now = self.time;
        let task = &mut self.tasks[ix];
        task.status = Status::Running;
        (task.error, task.first_started, task.started, task.decision) = (None, Some(now), now, Decision::Run);
        for part in self.parts(ix) {
            let task = &self.tasks[part];
            if task.layer == Layer::Map || task.is_kept() || task.parts == Parts::None || !self.is_instance(part) {
                self.revive_task(part, members);
            } else {
                let task = &mut self.tasks[part];
                (task.status, task.error, task.decision) = (Status::Pending, None, Decision::Open);
            }
        }
    }

    fn index_of(&self, task: Option<&TaskId>) -> Result<usize, Violation> {
        match task.and_then(|id| self.by_id.get(id)) {
            Some(&ix) => Ok(ix),
            None => Err(self.violation(Rule::Address, format!("task {task:?} is none of the workflow's"))),
        }
    }

    fn check(&self, ok: bool, rule: Rule, message: impl FnOnce() -> String) -> Result<(), Violation> {
        if ok { Ok(()) } else { self.broken(rule, message()) }
    }

    fn broken<T>(&self, rule: Rule, message: String) -> Result<T, Violation> {
        Err(self.violation(rule, message))
    }

    fn violation(&self, rule: Rule, message: String) -> Violation {
        Violation { seq: self.seq, rule, message }
    }

    /// How many tasks were skipped by which rule: shows what a simulation covers.
    pub fn skips(&self) -> BTreeMap<SkipCode, usize> {
        let mut skips = BTreeMap::new();
        for task in self.current().map(|ix| &self.tasks[ix]) {
            if let (Status::Skipped, Decision::Skip(code, _)) = (task.status, &task.decision) {
                *skips.entry(*code).or_insert(0) += 1;
            }
        }
        skips
    }
}
