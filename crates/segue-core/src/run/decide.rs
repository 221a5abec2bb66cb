//! What follows from the end of a task: counters, joins, conditions.

use super::{
    Phase, Run, TaskIx,
    join::{Decision, EdgeEnd, Verdict},
    scope::{Scope, ScopeIx},
};
use crate::{event::SkipCode, outcome::TaskError, status::Status, time::Timestamp};

impl Run {
    /// A task whose result stays reads nothing any more. Values without readers are dropped. (A task that failed or was
    /// cancelled may still read: the run can be reopened.)
    fn release_reads(&mut self, ix: TaskIx) {
        if !self.task(ix).is_kept() {
            return;
        }
        let plan = self.plan.clone();
        let node = plan.node(self.task(ix).node);
        if node.reads_again {
            return;
        }
        for &read in &node.reads {
            let read = self.sibling(ix, read);
            let task = self.task_mut(read);
            task.readers -= 1;
            if task.readers == 0 {
                task.output = None;
            }
        }
    }

    /// `ix` has ended: adds its outcome to the counters of each dependent and decides those that it decides, or sends the
    /// loop round that it ends. While the run is being stopped nobody is told; reopening makes up for it.
    pub(super) fn tell(&mut self, ix: TaskIx, now: Timestamp) {
        if self.state.phase != Phase::Live {
            self.close_stopped(ix);
            return;
        }
        if !self.is_member(ix) {
            self.task_mut(ix).told = true;
            self.part_ended(ix, now);
            return;
        }
        if self.goes_round(ix) {
            self.state.verdicts.insert(ix, Verdict::Again);
            return;
        }
        self.pass_on(ix);
    }

    /// While the run is being stopped: a task of several parts has ended when they have.
    pub(super) fn close_stopped(&mut self, ix: TaskIx) {
        let Some(whole) = self.parent(ix).filter(|_| self.state.phase == Phase::Stopping) else { return };
        if self.task(whole).status == Status::Running && !self.has_open_parts(whole) {
            self.state.verdicts.insert(whole, Verdict::Cancel);
        }
    }

    /// Lets the dependents of a task know how it ended.
    pub(super) fn pass_on(&mut self, ix: TaskIx) {
        self.count_for_dependents(ix);
        let plan = self.plan.clone();
        for edge in &plan.node(self.task(ix).node).dependents {
            self.decide(self.sibling(ix, edge.to));
        }
        self.close_scope(self.task(ix).scope);
    }

    /// Decides every task of a scope that waits for nothing.
    pub(super) fn begin_scope(&mut self, scope: ScopeIx) {
        for ix in self.scope(scope).members() {
            if self.node_of(ix).incoming.is_empty() {
                self.decide(ix);
            }
        }
    }

    /// The group of a scope has ended when all its members have.
    pub(super) fn close_scope(&mut self, scope: ScopeIx) {
        let Scope { open, owner: Some(owner), .. } = *self.scope(scope) else { return };
        if open > usize::from(planted!(GroupsEndEarly)) {
            return;
        }
        // What ends a loop that goes round has not ended for good.
        let again = |(ix, verdict): (&TaskIx, &Verdict)| *verdict == Verdict::Again && self.task(*ix).scope == scope;
        if self.state.verdicts.iter().any(again) {
            return;
        }
        if self.task(owner).status == Status::Running {
            self.state.verdicts.insert(owner, Verdict::Conclude);
        }
    }

    pub(super) fn count_for_dependents(&mut self, ix: TaskIx) {
        self.task_mut(ix).told = true;
        if planted!(DropsValuesTooEarly) {
            self.task_mut(ix).output = None;
        }
        let plan = self.plan.clone();
        for edge in &plan.node(self.task(ix).node).dependents {
            let to = self.sibling(ix, edge.to);
            let is_asked = self.task(ix).status != Status::Skipped && !planted!(IgnoresEdgeConditions);
            let when = edge.when.as_ref().filter(|_| is_asked);
            let is_taken = match when.map(|when| self.is_true(when, ix)) {
                None => true,
                Some(Ok(holds)) => holds,
                Some(Err(error)) => {
                    let place = format!("the condition of the edge from `{}`", self.task_id(ix));
                    let error = Box::new(self.no_answer(to, &place, &error));
                    self.state.broken.insert((to, ix), error);
                    false
                }
            };
            let end = if is_taken { self.edge_end(ix) } else { EdgeEnd::Skipped };
            self.state.untaken.extend((!is_taken).then_some((to, ix)));
            self.task_mut(to).counts.add(end);
        }
        self.release_reads(ix);
    }

    pub(super) fn edge_end(&self, ix: TaskIx) -> EdgeEnd {
        match self.task(ix).status {
            Status::Succeeded => EdgeEnd::Succeeded,
            Status::Failed if self.task(ix).continues => EdgeEnd::Succeeded,
            Status::Failed => EdgeEnd::Failed,
            _ => EdgeEnd::Skipped,
        }
    }

    /// Looks at a task's join, and at its condition once the join holds. A task is decided once: what comes later (an edge
    /// whose condition cannot be evaluated, after `any_success` has fired) changes nothing.
    pub(super) fn decide(&mut self, ix: TaskIx) {
        let task = self.task(ix);
        let untouched = task.status == Status::Pending && task.due.is_none();
        if !untouched || self.state.verdicts.contains_key(&ix) || self.state.ready.contains(&ix) {
            return;
        }
        if let Some((_, why)) = self.state.broken.range((ix, TaskIx(0))..=(ix, TaskIx(u32::MAX))).next() {
            let verdict = Verdict::Fail(TaskError::clone(why));
            self.state.verdicts.insert(ix, verdict);
            return;
        }
        match self.task(ix).counts.decide(self.node_of(ix).join) {
            Decision::Waits => {}
            Decision::Skips(code) => {
                let reason = self.skip_reason(ix, code);
                self.state.verdicts.insert(ix, Verdict::Skip(reason));
            }
            Decision::Fires => self.decide_condition(ix),
        }
    }

    fn decide_condition(&mut self, ix: TaskIx) {
        let plan = self.plan.clone();
        let Some(when) = &plan.node(self.task(ix).node).when else {
            self.enter(ix);
            return;
        };
        match self.is_true(when, ix) {
            Ok(true) => self.enter(ix),
            Ok(false) => {
                let reason = self.skip_reason(ix, SkipCode::When);
                self.state.verdicts.insert(ix, Verdict::Skip(reason));
            }
            Err(error) => {
                let verdict = Verdict::Fail(self.no_answer(ix, "`when`", &error));
                self.state.verdicts.insert(ix, verdict);
            }
        }
    }
}
