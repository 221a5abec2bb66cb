//! The kernel: what a run means.
//!
//! A [`Run`] is the fold of its events. [`Run::handle`] decides what an input means and returns the new facts;
//! [`Run::apply`] folds one fact and is the only function that changes state; [`Run::owed`] says what the world still
//! has to do for the run. All three are pure: time and chance are arguments, nothing waits, nothing is read.
//!
//! ```text
//! input ──handle──▶ events ──apply──▶ state ──owed──▶ commands ──(the shell, the world)──▶ input
//! ```
//!
//! After a crash the shell folds the log and asks `owed` again: recovery is the normal path. A message about a task
//! carries `(task, attempt)`; one that is late, doubled or reordered is [`Rejected`] and changes nothing.
//!
//! Finishing a task costs its dependents, not the graph: each task counts the outcomes of what it depends on, and every
//! join is a comparison of these counters. Tasks live in one arena, addressed by a number; the nodes of the workflow
//! are its first block, and whatever repeats nodes (instances, iterations) appends blocks of its own.

#[cfg(feature = "mutants")]
pub mod mutants;

/// Is this bug planted? Never in a build without the feature `mutants`.
#[cfg(feature = "mutants")]
macro_rules! planted {
    ($name:ident) => {
        $crate::run::mutants::is_planted($crate::run::mutants::Mutant::$name)
    };
}
#[cfg(not(feature = "mutants"))]
macro_rules! planted {
    ($name:ident) => {
        false
    };
}

mod answer;
mod apply;
mod attempt;
mod budget;
mod decide;
mod failure;
mod fold;
mod handle;
mod identity;
mod input;
mod join;
mod nest;
mod pause;
mod question;
mod reopen;
mod rerun;
mod rounds;
mod rows;
mod scope;
mod stage;
mod stop;
mod task;
#[cfg(test)]
mod tests;
mod values;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use serde_json::{Map, Value};

pub use self::{
    fold::{Fold, FoldError},
    input::{Address, Command, Input, Rejected},
    stage::FINALLY_SECONDS,
    values::Rendered,
};
use self::{
    join::Verdict,
    scope::{Scope, ScopeIx},
    stage::{Stage, Stop},
    task::Task,
};
use crate::{
    event::{Event, EventKind, RunCreated, Waiting},
    ids::{RunId, TaskId},
    outcome::{TaskError, Usage},
    payload::Payload,
    plan::{NodeIx, Plan, PlanNode},
    status::Status,
    time::Timestamp,
};

#[cfg(test)]
thread_local! {
    /// Looks at tasks, for the test of what a run costs.
    static LOOKS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// A task's place in the arena of its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TaskIx(u32);

impl TaskIx {
    const fn index(self) -> usize {
        self.0 as usize
    }
}

/// One execution of a workflow, as its log tells it.
#[derive(Debug, Clone)]
pub struct Run {
    plan: Arc<Plan>,
    id: RunId,
    state: State,
}

/// Everything that the log determines. Two folds of one log are equal.
#[derive(Debug, Clone, PartialEq)]
struct State {
    version: u64,
    phase: Phase,
    stage: Stage,
    /// It is being stopped, or has been.
    stop: Option<Stop>,
    /// What the workflow's own nodes failed with, once they have all ended and another stage follows.
    failure: Option<TaskError>,
    created: RunCreated,
    params: Arc<Map<String, Value>>,
    created_at: Timestamp,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    error: Option<TaskError>,
    usage: Usage,
    /// What had been used when the budget was last granted again.
    granted: Usage,
    /// How often that was.
    grants: u32,
    /// The arena: the workflow's own nodes first, then whatever a group, a `foreach` or a `repeat` adds.
    tasks: Vec<Task>,
    /// The tasks that were added, by id. One that is made again takes the place of the old one.
    added: BTreeMap<TaskId, TaskIx>,
    /// The workflow's own scope, then one a group that has begun.
    scopes: Vec<Scope>,
    /// May start now, in the order of the plan.
    ready: BTreeSet<TaskIx>,
    /// May start at the given time.
    delayed: BTreeSet<(Timestamp, TaskIx)>,
    running: BTreeSet<TaskIx>,
    waiting: BTreeSet<TaskIx>,
    /// Of those that wait: the attempts that wait for another run.
    awaiting: BTreeSet<TaskIx>,
    /// The tasks that began again, each with the fact that last made it do so.
    restarts: BTreeSet<(u64, TaskIx)>,
    /// `run.waiting` is the last word: nothing runs, something waits.
    is_idle: bool,
    timers: BTreeSet<(Timestamp, Timer)>,
    /// Decided by a fact that is in the log, but not recorded yet: skips, and conditions that cannot be evaluated.
    /// Empty between two inputs.
    verdicts: BTreeMap<TaskIx, Verdict>,
    /// Edges that were not taken when their source ended, as (target, source): their condition was false, or could not
    /// be evaluated.
    untaken: BTreeSet<(TaskIx, TaskIx)>,
    /// Those of them whose condition could not be evaluated.
    broken: BTreeMap<(TaskIx, TaskIx), Box<TaskError>>,
}

/// Where a run stands.
#[derive(Debug, Clone, PartialEq)]
enum Phase {
    Created,
    Live,
    /// Nothing new starts; the stage ends when nothing runs any more.
    Stopping,
    Ended(Status),
}

/// What happens when a timer is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// The attempt has taken too long.
    Attempt(TaskIx),
    /// The task has taken too long, over all its attempts.
    Deadline(TaskIx),
    /// The waiting is over.
    Wait(TaskIx),
    /// The pause before the next iteration is over.
    Iterate(TaskIx),
    /// The run has.
    Run,
    /// The `finally` nodes of a run that is being stopped have.
    Finally,
}

impl Run {
    /// A new run and its first facts: it exists, it began. `created.inputs` are the params, complete and checked.
    pub fn create(plan: Arc<Plan>, id: RunId, created: RunCreated, now: Timestamp) -> (Self, Vec<Event>) {
        let mut run = Self::empty(plan, id, created.clone(), now);
        let mut events = Vec::with_capacity(2);
        run.record(&mut events, now, EventKind::RunCreated(created));
        run.record(&mut events, now, EventKind::RunStarted {});
        run.settle(&mut events, now);
        (run, events)
    }

    fn empty(plan: Arc<Plan>, id: RunId, created: RunCreated, created_at: Timestamp) -> Self {
        let mut tasks = Vec::new();
        let mut scopes = Vec::new();
        for block in plan.top_blocks() {
            let (scope, first) = (ScopeIx::top(block), plan.block(block).first);
            scopes.push(Scope::new(block, first.0, plan.block(block).len, None));
            for at in first.index()..first.index() + plan.block(block).len {
                let node = plan.node(NodeIx(index(at)));
                let mut task = Task::new(node.task_id.clone(), NodeIx(index(at)), node, plan.readers[at]);
                task.scope = scope;
                tasks.push(task);
            }
        }
        let state = State {
            version: 0,
            phase: Phase::Created,
            stage: Stage::Main,
            stop: None,
            failure: None,
            params: params_of(&created.inputs),
            created,
            created_at,
            started_at: None,
            finished_at: None,
            error: None,
            usage: Usage::default(),
            granted: Usage::default(),
            grants: 0,
            tasks,
            added: BTreeMap::new(),
            scopes,
            ready: BTreeSet::new(),
            delayed: BTreeSet::new(),
            running: BTreeSet::new(),
            waiting: BTreeSet::new(),
            awaiting: BTreeSet::new(),
            restarts: BTreeSet::new(),
            is_idle: false,
            timers: BTreeSet::new(),
            verdicts: BTreeMap::new(),
            untaken: BTreeSet::new(),
            broken: BTreeMap::new(),
        };
        Self { plan, id, state }
    }

    /// The run's id.
    pub const fn id(&self) -> RunId {
        self.id
    }

    /// What it executes.
    pub const fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// How it was started.
    pub const fn created(&self) -> &RunCreated {
        &self.state.created
    }

    /// The values of the workflow's params.
    pub const fn params(&self) -> &Arc<Map<String, Value>> {
        &self.state.params
    }

    /// `seq` of its last event.
    pub const fn version(&self) -> u64 {
        self.state.version
    }

    /// Where it stands.
    pub fn status(&self) -> Status {
        match &self.state.phase {
            Phase::Created => Status::Pending,
            Phase::Live if self.state.is_idle => Status::Waiting,
            Phase::Live | Phase::Stopping => Status::Running,
            Phase::Ended(status) => *status,
        }
    }

    /// Is what runs being stopped? Then it is no longer owed, and its end is awaited. Not while the `finally` nodes of a
    /// run that is being stopped run.
    pub const fn is_stopping(&self) -> bool {
        matches!(self.state.phase, Phase::Stopping)
    }

    /// The node of a task.
    pub fn node(&self, task: &TaskId) -> Option<&PlanNode> {
        self.find(task).map(|ix| self.plan.node(self.task(ix).node))
    }

    /// Where a task stands, and the attempts it has had.
    pub fn task_status(&self, task: &TaskId) -> Option<(Status, u32)> {
        self.find(task).map(|ix| (self.task(ix).status, self.task(ix).attempt))
    }

    /// May this task be what kills engines? One more that dies over it, and it is in quarantine.
    pub fn is_suspect(&self, task: &TaskId) -> bool {
        self.find(task).is_some_and(|ix| self.task(ix).engine_losses + 1 >= task::ENGINE_LOSSES_MAX)
    }

    /// What the world owes this run at `now`, from state alone. A run that is being stopped is owed nothing but the end
    /// of what runs; an ended one nothing at all.
    pub fn owed(&self, now: Timestamp) -> impl Iterator<Item = Command<'_>> {
        let live = self.state.phase == Phase::Live;
        let execute = self.running().filter(move |_| live).map(|(task, attempt)| Command::Execute { task, attempt });
        let awaits = self.awaiting().filter(move |_| live || planted!(AwaitsChildrenOfStoppedRuns));
        let awaits = awaits.map(|(task, attempt, child)| Command::Await { task, attempt, child });
        let accept = self.ready(now).take(self.room()).map(|task| Command::Accept { task });
        execute.chain(awaits).chain(accept).chain(self.wake_at(now).map(Command::WakeAt))
    }

    /// The tasks that are ready and due at `now`, in order. Any [`Run::room`] of them may be accepted: one for which there
    /// is no place elsewhere does not hold up those behind it.
    pub fn ready(&self, now: Timestamp) -> impl Iterator<Item = &TaskId> {
        self.ready_nodes(now).map(|(task, _)| task)
    }

    /// As [`Run::ready`], each task with its node.
    pub fn ready_nodes(&self, now: Timestamp) -> impl Iterator<Item = (&TaskId, &PlanNode)> {
        let all = if self.room() > 0 { usize::MAX } else { 0 };
        let due = self
            .state
            .delayed
            .iter()
            .take_while(move |(time, _)| *time <= now || planted!(StartsBeforeDue))
            .map(|&(_, ix)| ix);
        due.chain(self.state.ready.iter().copied()).take(all).map(|ix| (self.task_id(ix), self.node_of(ix)))
    }

    /// The attempts that have begun and not ended, also while the run is being stopped.
    pub fn running(&self) -> impl Iterator<Item = (&TaskId, u32)> {
        self.state.running.iter().map(|&ix| (self.task_id(ix), self.task(ix).attempt))
    }

    /// The attempts that wait for another run, also while this one is being stopped.
    pub fn awaiting(&self) -> impl Iterator<Item = (&TaskId, u32, RunId)> {
        self.state.awaiting.iter().filter_map(|&ix| match self.task(ix).waiting {
            Some(Waiting::Child { run_id, .. }) => Some((self.task_id(ix), self.task(ix).attempt, run_id)),
            _ => None,
        })
    }

    /// Is an attempt under way, here or in another run?
    fn is_alive(&self, ix: TaskIx) -> bool {
        self.state.running.contains(&ix) || self.state.awaiting.contains(&ix)
    }

    /// When the run wants to be woken: the next timer, or the next retry that is not due yet.
    pub fn wake_at(&self, now: Timestamp) -> Option<Timestamp> {
        let timer = self.state.timers.first().map(|&(time, _)| time);
        let later = (Bound::Excluded((now, TaskIx(u32::MAX))), Bound::Unbounded);
        let retry =
            if planted!(WakesInThePast) { self.state.delayed.first() } else { self.state.delayed.range(later).next() };
        let retry = retry.map(|&(time, _)| time);
        timer.into_iter().chain(retry).min()
    }

    /// How many more tasks may be accepted: what `max_parallel_nodes` leaves; none unless the run is live.
    pub fn room(&self) -> usize {
        match self.plan.max_parallel {
            _ if self.state.phase != Phase::Live => 0,
            Some(most) if !planted!(ForgetsMaxParallel) => most.saturating_sub(self.state.running.len()),
            _ => usize::MAX,
        }
    }

    fn find(&self, task: &TaskId) -> Option<TaskIx> {
        let own = self.plan.by_id.get(task.as_str()).filter(|&&node| self.plan.is_top(node));
        own.map(|node| TaskIx(node.0)).or_else(|| self.state.added.get(task).copied())
    }

    fn task(&self, ix: TaskIx) -> &Task {
        #[cfg(test)]
        LOOKS.set(LOOKS.get() + 1);
        &self.state.tasks[ix.index()]
    }

    fn task_mut(&mut self, ix: TaskIx) -> &mut Task {
        #[cfg(test)]
        LOOKS.set(LOOKS.get() + 1);
        &mut self.state.tasks[ix.index()]
    }

    fn node_of(&self, ix: TaskIx) -> &PlanNode {
        self.plan.node(self.task(ix).node)
    }

    fn task_id(&self, ix: TaskIx) -> &TaskId {
        &self.task(ix).id
    }

    /// The task of `node` in the scope of `beside`; both are of one block.
    fn sibling(&self, beside: TaskIx, node: NodeIx) -> TaskIx {
        self.scope_of(beside).member(&self.plan, node)
    }
}

/// Two runs are equal if their logs mean the same.
impl PartialEq for Run {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.plan.hash == other.plan.hash && self.state == other.state
    }
}

fn params_of(inputs: &Payload) -> Arc<Map<String, Value>> {
    match inputs.value().map(|value| &**value) {
        Some(Value::Object(params)) => Arc::new(params.clone()),
        _ => Arc::default(),
    }
}

fn index(at: usize) -> u32 {
    u32::try_from(at).expect("a run has fewer than 2^32 tasks")
}
