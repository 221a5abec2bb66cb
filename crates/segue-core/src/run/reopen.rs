//! Reopening: what has no result that stays starts over, or goes on where it was.

use super::{
    Run, TaskIx,
    join::{Counts, EdgeEnd},
    task::Parts,
};
use crate::{status::Status, time::Timestamp};

impl Run {
    /// What has no result that stays starts over; a task of several parts goes on with those that have none. Costs the
    /// run's tasks once.
    pub(super) fn reopen(&mut self, now: Timestamp) {
        self.state.finished_at = None;
        self.state.error = None;
        self.go_live(now);
        let open: Vec<TaskIx> = self.arena().filter(|&ix| self.is_reopened(ix)).collect();
        for &ix in &open {
            self.start_over(ix, now);
        }
        let told: Vec<bool> = self.state.tasks.iter().map(|task| task.told).collect();
        self.state.untaken.retain(|(_, from), _| told[from.index()]);
        for ix in self.arena() {
            if self.is_member(ix) {
                self.recount(ix);
            }
        }
        for ix in self.arena() {
            if self.is_member(ix) && self.task(ix).is_kept() && !told[ix.index()] && self.is_current(ix) {
                self.count_for_dependents(ix);
            }
        }
        for &ix in &open {
            if self.is_member(ix) && self.task(ix).status == Status::Pending {
                self.decide(ix);
            }
        }
        for &ix in &open {
            self.go_on(ix);
        }
    }

    /// Is it, and all that it is part of, without a result that stays?
    fn is_reopened(&self, ix: TaskIx) -> bool {
        let is_over = !self.task(ix).is_kept() || (planted!(ReopenRunsSuccessesAgain) && self.task(ix).attempt > 0);
        is_over && self.is_current(ix)
    }

    /// Is it a part of what is being reopened, and not of an earlier round, or of something whose result stays?
    fn is_current(&self, ix: TaskIx) -> bool {
        let mut part = ix;
        while let Some(whole) = self.parent(part) {
            let holds = match &self.task(whole).parts {
                Some(Parts::Group(scope)) => self.task(part).scope == *scope,
                Some(Parts::Instances { items, first, .. }) => {
                    (first.0..first.0 + super::index(items.len())).contains(&part.0)
                }
                Some(Parts::Iteration { current, .. }) => *current == part,
                None => false,
            };
            if !holds || self.task(whole).is_kept() {
                return false;
            }
            part = whole;
        }
        true
    }

    fn start_over(&mut self, ix: TaskIx, now: Timestamp) {
        let plan = self.plan.clone();
        if self.is_member(ix) {
            let scope = self.task(ix).scope;
            self.scope_mut(scope).open += 1;
            self.scope_mut(scope).failures.clear();
        }
        if self.task(ix).parts.is_none() {
            let node = plan.node(self.task(ix).node);
            self.task_mut(ix).reset(node);
            self.task_mut(ix).attempt *= u32::from(!planted!(ReopenForgetsAttempts));
            return;
        }
        let task = self.task_mut(ix);
        (task.finished_at, task.error, task.deadline_at, task.told) = (None, None, None, false);
        self.begin(ix, now);
    }

    /// A task of several parts goes on with those that are left.
    fn go_on(&mut self, ix: TaskIx) {
        match self.task(ix).parts.clone() {
            Some(Parts::Group(scope)) => self.close_scope(scope),
            Some(Parts::Instances { items, first, .. }) => {
                let parts = (first.0..first.0 + super::index(items.len())).map(TaskIx);
                let left: std::collections::VecDeque<TaskIx> =
                    parts.filter(|&part| !self.task(part).is_kept()).collect();
                let open = left.len();
                self.task_mut(ix).parts = Some(Parts::Instances { items, first, queue: left, live: 0, open });
                self.begin_instances(ix);
            }
            Some(Parts::Iteration { current, .. }) if self.task(current).is_kept() => self.part_ended(current),
            Some(Parts::Iteration { current, .. }) if self.task(current).status == Status::Pending => {
                self.enter(current)
            }
            _ => {}
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
            let untaken = self.state.untaken.contains_key(&(ix, from));
            counts.add(if untaken { EdgeEnd::Skipped } else { self.edge_end(from) });
        }
        self.task_mut(ix).counts = counts;
    }
}
