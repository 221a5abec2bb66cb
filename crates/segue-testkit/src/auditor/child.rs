//! Child workflows: an attempt that waits for another run.

use segue_core::{
    ids::{ContentHash, RunId, TaskId, WorkflowId},
    spec::ChildSpec,
};

use super::{Auditor, Rule, Violation, graph::Work};

impl Auditor {
    /// `task.waiting` of an attempt at a child workflow: from now on it holds no place. All attempts of a task are at
    /// one and the same run.
    pub(super) fn child_waiting(
        &mut self,
        ix: usize,
        attempt: Option<u32>,
        child: RunId,
        (workflow, version): (&WorkflowId, ContentHash),
    ) -> Result<(), Violation> {
        self.check_alive(ix, attempt)?;
        let id = self.tasks[ix].id.clone();
        self.check(!self.tasks[ix].is_awaiting(), Rule::Child, || format!("`{id}` waits for `{child}` already"))?;
        let is_asked_for = matches!(&self.node(ix).work, Work::Child(spec) if spec.id == *workflow && !spec.detach);
        self.check(is_asked_for, Rule::Child, || format!("`{id}` waits for a run of `{workflow}`"))?;
        let is_pinned = match &self.node(ix).work {
            Work::Child(ChildSpec { version: Some(digits), .. }) => version.to_string().starts_with(digits),
            _ => self.workflows.get(workflow).is_none_or(|pinned| *pinned == version),
        };
        self.check(is_pinned, Rule::Child, || format!("`{id}` waits for version {version} of `{workflow}`"))?;
        let known = self.tasks[ix].child;
        self.check(known.is_none_or(|known| known == child), Rule::Child, || {
            format!("`{id}` waits for `{child}` after it has waited for {known:?}")
        })?;
        self.tasks[ix].child = Some(child);
        Ok(())
    }

    /// Can an attempt of this task be at a run that it waits for?
    pub fn may_await(&self, task: &TaskId) -> bool {
        let is_child = |ix| matches!(&self.node(ix).work, Work::Child(child) if !child.detach);
        self.index_of(Some(task)).is_ok_and(|ix| is_child(ix) && self.tasks[ix].is_running())
    }

    /// The attempts that wait for another run.
    pub fn awaiting(&self) -> Vec<(TaskId, u32, RunId)> {
        let awaiting = self.current().map(|ix| &self.tasks[ix]).filter(|task| task.is_awaiting());
        awaiting.filter_map(|task| Some((task.id.clone(), task.attempts, task.child?))).collect()
    }

    /// The tasks of which an attempt has not ended, here or in another run.
    pub(super) fn under_way(&self) -> impl Iterator<Item = usize> {
        self.current().filter(|&ix| self.tasks[ix].is_alive())
    }
}
