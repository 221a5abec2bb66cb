//! Reopening: what has no result that stays starts over, or goes on where it was.

use super::{
    Run, TaskIx,
    join::{Counts, EdgeEnd, Verdict},
    scope::ScopeIx,
    stage::Stage,
    task::{Layer, Parts},
};
use crate::{plan::Work, status::Status, time::Timestamp};

impl Run {
    /// An ended run goes on. Costs the run's tasks once.
    pub(super) fn reopen(&mut self, now: Timestamp) {
        let state = &mut self.state;
        (state.finished_at, state.error, state.stop, state.failure) = (None, None, None, None);
        state.stage = Stage::Main;
        self.go_live(now);
        for scope in self.top_scopes().filter(|&scope| scope != ScopeIx::ROOT && !planted!(ReopenKeepsTheEnd)) {
            self.rewind(scope);
        }
        self.revive(self.scope(ScopeIx::ROOT).members().collect(), now);
    }

    /// The nodes of a later stage run again from their beginning: they belong to the end of the run.
    fn rewind(&mut self, scope: ScopeIx) {
        let plan = self.plan.clone();
        for ix in self.scope(scope).members() {
            self.forget_edges(ix);
            let node = plan.node(self.task(ix).node);
            self.task_mut(ix).reset(node);
            self.note_restart(ix);
        }
        let scope = self.scope_mut(scope);
        scope.open = scope.len as usize;
        scope.failures.clear();
    }

    /// Of these tasks and what is inside them, all that has no result that stays starts over; a task of several parts
    /// goes on with those that have none. They are all members of one scope, or one task of any kind.
    pub(super) fn revive(&mut self, tasks: Vec<TaskIx>, now: Timestamp) {
        let (mut open, mut members, mut untold) = (Vec::new(), Vec::new(), Vec::new());
        let mut left: Vec<(TaskIx, bool)> = tasks.into_iter().map(|ix| (ix, true)).collect();
        while let Some((ix, is_asked)) = left.pop() {
            members.extend(self.is_member(ix).then_some(ix));
            if self.stays(ix) {
                untold.extend((self.is_member(ix) && !self.task(ix).told).then_some(ix));
                continue;
            }
            let is_instance = matches!(&self.task(ix).parent, Some(whole) if self.task(*whole).layer == Layer::Map);
            if is_instance && !is_asked && self.task(ix).parts.is_some() {
                self.suspend(ix);
                continue;
            }
            open.push(ix);
            left.extend(self.parts_of(ix).into_iter().map(|part| (part, false)));
        }
        open.sort_unstable();
        for &ix in &open {
            self.start_over(ix, now);
        }
        for ix in members {
            self.recount(ix);
        }
        untold.sort_unstable();
        for ix in untold {
            // Nobody has looked at the loop that it ends, either.
            if self.goes_round(ix) && !planted!(ReopenForgetsLoops) {
                self.state.verdicts.insert(ix, Verdict::Again);
            } else {
                self.count_for_dependents(ix);
            }
        }
        for &ix in &open {
            if self.is_member(ix) && self.task(ix).status == Status::Pending {
                self.decide(ix);
            }
        }
        for &ix in &open {
            self.go_on(ix, now);
        }
    }

    fn stays(&self, ix: TaskIx) -> bool {
        self.task(ix).is_kept() && !(planted!(ReopenRunsSuccessesAgain) && self.task(ix).attempt > 0)
    }

    /// An instance of several parts goes on when it is its turn.
    fn suspend(&mut self, ix: TaskIx) {
        let task = self.task_mut(ix);
        (task.status, task.finished_at, task.error, task.told) = (Status::Pending, None, None, false);
        self.note_restart(ix);
    }

    fn start_over(&mut self, ix: TaskIx, now: Timestamp) {
        self.note_restart(ix);
        let plan = self.plan.clone();
        if self.is_member(ix) {
            self.forget_failure(ix);
            self.forget_edges(ix);
            if self.task(ix).status.is_terminal() {
                let scope = self.task(ix).scope;
                self.scope_mut(scope).open += 1;
            }
        }
        if self.task(ix).parts.is_none() {
            let node = plan.node(self.task(ix).node);
            self.task_mut(ix).reset(node);
            self.task_mut(ix).attempt *= u32::from(!planted!(ReopenForgetsAttempts));
            return;
        }
        let task = self.task_mut(ix);
        (task.finished_at, task.error, task.deadline_at, task.told) = (None, None, None, false);
        task.handlers = 0;
        self.begin(ix, now);
        if self.task(ix).layer == Layer::Work && matches!(plan.node(self.task(ix).node).work, Work::Group(_)) {
            self.time_group(ix, now);
        }
    }

    /// A task of several parts goes on with those that are left.
    fn go_on(&mut self, ix: TaskIx, now: Timestamp) {
        let left: Vec<TaskIx> = match &self.task(ix).parts {
            Some(Parts::Instances { .. }) => self.parts_of(ix).into_iter().filter(|&part| !self.stays(part)).collect(),
            _ => Vec::new(),
        };
        match &mut self.task_mut(ix).parts {
            Some(Parts::Group(scope)) => {
                let scope = *scope;
                self.close_scope(scope);
            }
            Some(Parts::Instances { queue, live, open, .. }) => {
                (*live, *open) = (0, left.len());
                *queue = left.into();
                self.begin_instances(ix, now);
            }
            Some(Parts::Iteration { current, .. }) => {
                let current = *current;
                match self.task(current).status {
                    Status::Pending => self.enter(current),
                    _ if self.task(current).is_kept() => self.part_ended(current, now),
                    _ => {}
                }
            }
            None => {}
        }
    }

    /// Counts what is known of a task's dependencies: those that have ended and whose result stays.
    pub(super) fn recount(&mut self, ix: TaskIx) {
        let plan = self.plan.clone();
        let incoming = &plan.node(self.task(ix).node).incoming;
        let mut counts = Counts::of(incoming.len());
        for edge in incoming {
            let from = self.sibling(ix, edge.from);
            if !self.task(from).told {
                continue;
            }
            let untaken = self.state.untaken.contains(&(ix, from));
            counts.add(if untaken { EdgeEnd::Skipped } else { self.edge_end(from) });
        }
        self.task_mut(ix).counts = counts;
    }

    /// Nothing is known of the edges that lead from a task which starts over.
    pub(super) fn forget_edges(&mut self, ix: TaskIx) {
        if !self.task(ix).told {
            return;
        }
        let plan = self.plan.clone();
        for edge in &plan.node(self.task(ix).node).dependents {
            let to = self.sibling(ix, edge.to);
            self.state.untaken.remove(&(to, ix));
            self.state.broken.remove(&(to, ix));
        }
    }
}
