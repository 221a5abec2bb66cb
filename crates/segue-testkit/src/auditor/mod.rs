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
mod rows;
mod task;

use std::{collections::BTreeMap, fmt};

use segue_core::{
    event::{CancelCause, Event, EventKind, SkipCode},
    ids::{NodeId, TaskId},
    spec::WorkflowSpec,
    status::Status,
    time::Timestamp,
};
use serde_json::Value;

use self::{graph::Graph, join::Decision, task::Task};

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
    tasks: Vec<Task>,
    params: Value,
    phase: Phase,
    cancelling: Option<(CancelCause, String)>,
    /// The failure for which the run is being cancelled.
    fatal: Option<usize>,
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
        let tasks = vec![Task::default(); graph.nodes.len()];
        Self {
            graph,
            tasks,
            params: Value::Null,
            phase: Phase::New,
            cancelling: None,
            fatal: None,
            began_at: Timestamp::from_micros(0),
            seq: 0,
            time: Timestamp::from_micros(i64::MIN),
        }
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
                self.check(self.running().next().is_none(), Rule::End, || "waits while a task runs".into())?;
            }
            EventKind::RunCancelling { by, reason } => self.run_cancelling(*by, reason)?,
            EventKind::RunSucceeded { outputs } => self.run_succeeded(outputs)?,
            EventKind::RunFailed { error } => self.run_failed(error)?,
            EventKind::RunCancelled { reason } => self.run_cancelled(reason)?,
            EventKind::RunReopened {} => self.reopen(),
            _ => self.task_event(event)?,
        }
        self.decide();
        Ok(())
    }

    /// Call it where a commit ends: nothing that follows from its events may be left for later.
    pub fn settled(&self) -> Result<(), Violation> {
        if self.phase == Phase::Created {
            return self.broken(Rule::Settled, "the run was created and not started".into());
        }
        if self.phase != Phase::Live {
            return Ok(());
        }
        for (node, task) in self.graph.nodes.iter().zip(&self.tasks) {
            let idle = matches!(task.status, Status::Pending);
            match &task.decision {
                _ if !idle => {}
                _ if self.cancelling.is_some() => {
                    return self.broken(Rule::Settled, format!("`{}` was not cancelled with its run", node.id));
                }
                Decision::Skip(code, _) => {
                    return self.broken(Rule::Settled, format!("`{}` was not skipped: {code:?}", node.id));
                }
                Decision::Broken(why) => {
                    return self.broken(Rule::Settled, format!("`{}` did not fail: {why}", node.id));
                }
                Decision::Open | Decision::Run => {}
            }
        }
        if self.tasks.iter().all(|task| task.status.is_terminal()) {
            return self.broken(Rule::Settled, "all tasks have ended and the run has not".into());
        }
        if self.cancelling.is_none() && self.graph.cancel_on_failure && self.first_failure().is_some() {
            return self.broken(Rule::Settled, "a failure that nothing handles did not cancel the run".into());
        }
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
        self.began_at = self.time;
        for task in &mut self.tasks {
            task.reopen();
        }
        // What was found about the edges of a task that keeps its result stays found. Nobody looked at those of a task
        // that succeeded while the run was being stopped.
        for ix in 0..self.tasks.len() {
            let node = &self.graph.nodes[ix];
            let kept = |at: &usize| self.tasks[node.incoming[*at].from].status.is_terminal();
            let edges = self.tasks[ix].edges.clone().into_iter().filter(|(at, _)| kept(at)).collect();
            self.tasks[ix].edges = edges;
        }
        for ix in 0..self.tasks.len() {
            if std::mem::take(&mut self.tasks[ix].unfollowed) {
                self.follow_edges(ix);
            }
        }
    }

    fn index_of(&self, task: Option<&TaskId>) -> Result<usize, Violation> {
        let known = task.and_then(|id| self.graph.nodes.iter().position(|node| node.id.as_str() == id.as_str()));
        match known {
            Some(ix) => Ok(ix),
            None => Err(self.violation(Rule::Address, format!("task {task:?} is none of the workflow's"))),
        }
    }

    fn node_id(&self, ix: usize) -> &NodeId {
        &self.graph.nodes[ix].id
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
        for task in &self.tasks {
            if let (Status::Skipped, Decision::Skip(code, _)) = (task.status, &task.decision) {
                *skips.entry(*code).or_insert(0) += 1;
            }
        }
        skips
    }
}
