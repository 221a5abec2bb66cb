//! What the run owes the world, by the auditor's reckoning: the kernel's answers are held against it.

use std::time::Duration;

use segue_core::{
    ids::{NodeId, TaskId},
    status::Status,
    time::Timestamp,
};

use serde_json::Value;

use super::{Auditor, Phase, step::Step, tree::Parts};

impl Auditor {
    /// How many more tasks may run at once.
    pub fn room(&self) -> usize {
        self.graph.max_parallel.map_or(usize::MAX, |most| most.saturating_sub(self.running().count()))
    }

    /// The tasks that could start at `now`, if there is room for them.
    pub fn ready(&self, now: Timestamp) -> Vec<TaskId> {
        if self.phase != Phase::Live || self.stopping {
            return Vec::new();
        }
        let is_due = |ix: usize| self.tasks[ix].due.is_none_or(|due| due <= now);
        let may_start = self.current().filter(|&ix| is_due(ix) && self.step(ix) == Step::Attempt);
        may_start.map(|ix| self.tasks[ix].id.clone()).collect()
    }

    /// The attempts that are under way here.
    pub fn alive(&self) -> Vec<(TaskId, u32)> {
        self.running().map(|ix| (self.tasks[ix].id.clone(), self.tasks[ix].attempts)).collect()
    }

    /// The tasks whose attempt, whose waiting, whose pause between iterations, or whose whole time is over at `now`.
    pub fn overdue(&self, now: Timestamp) -> Vec<TaskId> {
        if self.phase != Phase::Live || self.stopping {
            return Vec::new();
        }
        let late = |ix: &usize| self.ends(*ix).into_iter().flatten().any(|end| end <= now);
        self.current().filter(late).map(|ix| self.tasks[ix].id.clone()).collect()
    }

    /// Is the run's own time over, and the run not yet being stopped?
    pub fn run_overdue(&self, now: Timestamp) -> bool {
        let over = self.run_deadline().is_some_and(|end| end <= now);
        self.phase == Phase::Live && !self.stopping && over
    }

    /// The next moment at which time alone changes something: a limit passes, or a pause ends that has not ended at `now`.
    pub fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        if self.phase != Phase::Live || self.stopping {
            return None;
        }
        let tasks = self.current().flat_map(|ix| {
            let pause = self.tasks[ix].due.filter(|due| *due > now);
            self.ends(ix).into_iter().chain([pause])
        });
        tasks.flatten().chain(self.run_deadline()).min()
    }

    /// Can the run be stopped? It lives, and nobody stops it yet, or stops what it does at its end.
    pub fn is_live(&self) -> bool {
        self.phase == Phase::Live && !self.stopping
    }

    /// Is it being stopped?
    pub fn is_stopping(&self) -> bool {
        self.phase == Phase::Live && self.stopping
    }

    /// The shortest and the longest pause that the task's last retry could have had, before jitter.
    pub fn last_pause(&self, task: &TaskId) -> Option<(Duration, Duration)> {
        self.tasks[self.index_of(Some(task)).ok()?].pause
    }

    /// What an attempt of the task is given now: its inputs, and what it takes as material.
    pub fn given(&self, task: &TaskId) -> Result<(Value, Vec<(NodeId, Value)>), String> {
        let ix = self.index_of(Some(task)).map_err(|violation| violation.to_string())?;
        let node = self.node(ix);
        let inputs = self.scope_of(ix).render(&Value::Object(node.inputs.clone()))?;
        let sources = node.incoming.iter().map(|edge| edge.from).filter(|_| node.takes_material);
        let material = sources.filter_map(|from| {
            let from = self.member(self.tasks[ix].scope, from);
            let output = self.tasks[from].output.as_deref()?;
            Some((self.node_id(from).clone(), output.clone()))
        });
        Ok((inputs, material.collect()))
    }

    /// How many attempts the task has had.
    pub fn attempts(&self, task: &TaskId) -> u32 {
        self.index_of(Some(task)).map_or(0, |ix| self.tasks[ix].attempts)
    }

    /// The names of all tasks that there have been.
    pub fn names(&self) -> Vec<TaskId> {
        self.by_id.keys().cloned().collect()
    }

    /// Does an attempt of it, or its waiting, end by itself at or before `now`?
    pub fn is_overdue(&self, task: &TaskId, now: Timestamp) -> bool {
        self.overdue(now).contains(task)
    }

    /// The moments at which time alone changes something about a task.
    fn ends(&self, ix: usize) -> [Option<Timestamp>; 4] {
        let iteration = match self.step(ix) {
            Step::IterateAt(due) => Some(due),
            _ => None,
        };
        [self.attempt_end(ix), self.open_deadline(ix), self.waits_until(ix), iteration]
    }

    /// When the attempt, or the group, has taken too long.
    pub(super) fn attempt_end(&self, ix: usize) -> Option<Timestamp> {
        let span = self.node(ix).timeout?;
        let is_group = matches!(self.tasks[ix].parts, Parts::Group(_)) && self.tasks[ix].status == Status::Running;
        (self.tasks[ix].is_alive() || is_group).then(|| self.tasks[ix].started.plus(span))
    }

    fn open_deadline(&self, ix: usize) -> Option<Timestamp> {
        self.deadline(ix).filter(|_| !self.tasks[ix].status.is_terminal())
    }
}
