//! What follows from the end of a task: counters, joins, conditions.

use super::{
    Phase, Run, TaskIx,
    join::{Decision, EdgeEnd, Verdict},
    scope::{Scope, ScopeIx},
};
use crate::{event::SkipCode, status::Status};

impl Run {
    /// A task whose result stays reads nothing any more. Values without readers are dropped. (A task that failed or was
    /// cancelled may still read: the run can be reopened.)
    fn release_reads(&mut self, ix: TaskIx) {
        if !self.task(ix).is_kept() {
            return;
        }
        let plan = self.plan.clone();
        let node = plan.node(self.task(ix).node);
        if node.is_in_loop {
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
    pub(super) fn tell(&mut self, ix: TaskIx) {
        if self.state.phase != Phase::Live {
            return;
        }
        if !self.is_member(ix) {
            self.task_mut(ix).told = true;
            self.part_ended(ix);
            return;
        }
        if self.goes_round(ix) {
            self.state.verdicts.insert(ix, Verdict::Again);
            return;
        }
        self.pass_on(ix);
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
        let Scope { open: 0, owner: Some(owner), .. } = *self.scope(scope) else { return };
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
            let untaken = match when.map(|when| self.is_true(when, ix)) {
                None | Some(Ok(true)) => None,
                Some(Ok(false)) => Some(None),
                Some(Err(error)) => {
                    let place = format!("the condition of the edge from `{}`", self.task_id(ix));
                    Some(Some(Box::new(self.no_answer(to, &place, &error))))
                }
            };
            let end = if untaken.is_some() { EdgeEnd::Skipped } else { self.edge_end(ix) };
            self.state.untaken.extend(untaken.map(|why| ((to, ix), why)));
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
        let edges = self.state.untaken.range((ix, TaskIx(0))..=(ix, TaskIx(u32::MAX)));
        if let Some(why) = edges.filter_map(|(_, why)| why.as_deref()).next() {
            let verdict = Verdict::Fail(why.clone());
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
