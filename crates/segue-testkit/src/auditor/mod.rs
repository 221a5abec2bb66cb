//! Judges a run by its log alone.
//!
//! The auditor reads a workflow document and the events of one run, and says whether that run could have been. It
//! shares nothing with the kernel: it derives joins, conditions, retries and ends from the document with its own plain
//! logic, going over the whole graph after every event. Where the two disagree, one of them is wrong.
//!
//! Feed it events with [`Auditor::observe`]; say [`Auditor::settled`] after each commit and [`Auditor::finished`] at
//! the end of the log. [`audit`] does all three. Between events it also answers what the run now owes the world:
//! [`Auditor::ready`], [`Auditor::next_due`], [`Auditor::overdue`].

mod attempt;
mod child;
mod condition;
mod ending;
mod failure;
mod graph;
mod join;
mod owed;
mod parts;
mod pause;
mod question;
mod reopen;
mod retry;
mod reuse;
mod rows;
mod rule;
mod schema;
mod scope;
mod stage;
mod step;
mod task;
mod tree;
mod wait;

use std::collections::BTreeMap;

use segue_core::{
    event::{CancelCause, Event, EventKind, SkipCode},
    ids::{ContentHash, RunId, TaskId, WorkflowId},
    spec::WorkflowSpec,
    status::Status,
    time::Timestamp,
};
use serde_json::Value;

pub use self::rule::{Rule, Violation};
use self::{graph::Graph, join::Decision, scope::Scope, stage::Stage, tree::Task};

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
    /// The scopes that the workflow itself has, then one a group that has begun.
    scopes: Vec<Scope>,
    params: Value,
    /// The versions of child workflows, where the run is pinned to them.
    workflows: BTreeMap<WorkflowId, ContentHash>,
    /// The run whose results this one takes over.
    rerun_of: Option<RunId>,
    created_at: Timestamp,
    phase: Phase,
    stage: Stage,
    /// The workflow's own nodes have come to a failure, and it was not because the run was being stopped.
    has_failed: bool,
    /// The first `run.cancelling`.
    cancelling: Option<(CancelCause, String)>,
    /// Nothing new starts. Not while the `finally` nodes of a run run that is being stopped.
    stopping: bool,
    /// So long these may run.
    finally_until: Option<Timestamp>,
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
            workflows: BTreeMap::new(),
            rerun_of: None,
            created_at: Timestamp::from_micros(0),
            phase: Phase::New,
            stage: Stage::Main,
            has_failed: false,
            cancelling: None,
            stopping: false,
            finally_until: None,
            fatal: None,
            began_at: Timestamp::from_micros(0),
            seq: 0,
            time: Timestamp::from_micros(i64::MIN),
        };
        auditor.open_stages();
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
                (self.workflows, self.rerun_of) = (created.workflows.clone(), created.rerun_of);
                self.created_at = event.time;
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
        self.advance();
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
