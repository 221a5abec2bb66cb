//! Failures: which of them nothing takes care of.
//!
//! Each scope keeps the failures of its members that nothing handles, or may still handle, in the order in which they
//! happened. A member that failed counts the dependents that may handle it: each that is skipped is one less.

use super::{Run, TaskIx, scope::ScopeIx};
use crate::{
    outcome::{ErrorKind, TaskError},
    status::Status,
};

impl Run {
    /// The first failure in a scope that nothing takes care of, whatever comes.
    pub(super) fn unhandled_failure(&self, scope: ScopeIx) -> Option<TaskError> {
        let &(_, ix) = self.scope(scope).failures.first().filter(|_| !planted!(ReportsFailureAsSuccess))?;
        let id = &self.node_of(ix).id;
        let mut error = match &self.task(ix).error {
            Some(error) => error.clone(),
            None => TaskError::new(
                ErrorKind::Join,
                format!(
                    "`{id}` waits for all its dependencies to succeed (join: all_success), but some were skipped; \
                     use join: no_failure to merge branches"
                ),
            ),
        };
        error.node = Some(id.clone());
        Some(error)
    }

    /// A member has failed, and its dependents know. The failure of a part is its whole's own affair.
    pub(super) fn weigh(&mut self, ix: TaskIx) {
        let counts = !self.task(ix).continues || planted!(ContinueCountsAsFailure);
        if !self.is_member(ix) || self.task(ix).status != Status::Failed || !counts {
            return;
        }
        let handlers = self.handlers_of(ix);
        self.task_mut(ix).handlers = handlers;
        if handlers == 0 { self.note_failure(ix) } else { self.forget_failure(ix) }
    }

    /// Dependents that have taken care of the failure of a task, or may still do so.
    fn handlers_of(&self, ix: TaskIx) -> u32 {
        let dependents = self.node_of(ix).dependents.iter();
        let handlers = dependents.filter(|edge| {
            let to = self.sibling(ix, edge.to);
            let handles = self.plan.node(edge.to).join.handles_failure() && self.task(to).status != Status::Skipped;
            handles && !self.state.untaken.contains(&(to, ix))
        });
        super::index(handlers.count())
    }

    /// A member has been skipped: it handles nothing any more.
    pub(super) fn stop_handling(&mut self, ix: TaskIx) {
        let plan = self.plan.clone();
        let node = plan.node(self.task(ix).node);
        if !self.is_member(ix) || !node.join.handles_failure() {
            return;
        }
        for edge in &node.incoming {
            let from = self.sibling(ix, edge.from);
            let counts = self.task(from).handlers > 0 && self.task(from).status == Status::Failed;
            if counts && !self.state.untaken.contains(&(ix, from)) {
                self.task_mut(from).handlers -= 1;
                if self.task(from).handlers == 0 {
                    self.note_failure(from);
                }
            }
        }
    }

    /// A member may handle failures again.
    pub(super) fn weigh_dependencies(&mut self, ix: TaskIx) {
        let plan = self.plan.clone();
        let node = plan.node(self.task(ix).node);
        if node.join.handles_failure() {
            for edge in &node.incoming {
                self.weigh(self.sibling(ix, edge.from));
            }
        }
    }

    /// A failure may fail the whole scope.
    pub(super) fn note_failure(&mut self, ix: TaskIx) {
        if self.is_member(ix) {
            let (scope, at) = (self.task(ix).scope, self.task(ix).result_seq.unwrap_or_default());
            self.scope_mut(scope).failures.insert((at, ix));
        }
    }

    pub(super) fn forget_failure(&mut self, ix: TaskIx) {
        if self.is_member(ix) {
            let (scope, at) = (self.task(ix).scope, self.task(ix).result_seq.unwrap_or_default());
            self.scope_mut(scope).failures.remove(&(at, ix));
        }
    }
}
