//! Budgets: what is left of them, and what a task does that has met the end of one.

use super::{Run, TaskIx};
use crate::{
    event::Waiting,
    ids::TaskId,
    outcome::{ErrorKind, TaskError, Usage},
    payload::Payload,
    ports::{Budget, BudgetScope},
    spec::{BudgetSpec, FailureAction},
};

impl Run {
    /// The budgets that bound the task's attempts: the run's and its own.
    pub fn budgets(&self, task: &TaskId) -> Vec<Budget> {
        let Some(ix) = self.find(task) else { return Vec::new() };
        let of = |scope, spec: Option<BudgetSpec>, used: Usage, granted: Usage, grants| {
            spec.map(|spec| Budget {
                scope,
                tokens: spec.tokens,
                cost_nanousd: spec.cost_nanousd(),
                grants,
                spent: used.since(granted),
            })
        };
        let (state, task) = (&self.state, self.task(ix));
        let run = of(BudgetScope::Run, self.plan.budget, state.usage, state.granted, state.grants);
        let own = of(BudgetScope::Task, self.node_of(ix).budget, task.usage, task.granted, task.grants);
        run.into_iter().chain(own).collect()
    }

    /// What `on_exceeded` says about a failure; `None`: it is a failure like others. The node's own budget is asked first.
    pub(super) fn on_exceeded(&self, ix: TaskIx, error: &TaskError) -> Option<FailureAction> {
        let budget = self.node_of(ix).budget.or(self.plan.budget).filter(|_| error.kind == ErrorKind::Budget)?;
        Some(budget.on_exceeded).filter(|action| *action != FailureAction::Fail)
    }

    /// Who lets a task try again that has met the end of its budget grants the same once more.
    pub(super) fn grant(&mut self, ix: TaskIx, data: &Payload) {
        let is_budget =
            matches!(&self.task(ix).waiting, Some(Waiting::Failure { error, .. }) if error.kind == ErrorKind::Budget);
        let again = data.value().is_some_and(|data| data.get("decision").is_some_and(|decision| decision == "retry"));
        if is_budget && again {
            self.state.granted = self.state.usage;
            self.state.grants += 1;
            let task = self.task_mut(ix);
            task.granted = task.usage;
            task.grants += 1;
        }
    }
}
