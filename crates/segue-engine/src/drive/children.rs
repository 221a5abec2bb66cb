//! Child workflows, as the run sees them that starts them.

use segue_core::{
    event::{ParentLink, Waiting},
    ids::TaskId,
    outcome::{ErrorKind, TaskError},
    run::{Input, Rendered},
};
use serde_json::Value;

use super::{
    Drive,
    attempts::{InFlight, Work},
};
use crate::{
    child::{Birth, ChildHandle, ChildTask, DEPTH_MAX, Stage},
    pins::pin_of,
};

impl Drive {
    /// Begins an attempt at a child workflow whose start is committed.
    pub(super) fn begin_child(&mut self, task: &TaskId, attempt: u32, rendered: &Rendered) -> Result<(), TaskError> {
        let birth = self.birth(task, rendered)?;
        self.follow_child(task.clone(), attempt, Stage::Begin(Box::new(birth)));
        Ok(())
    }

    fn birth(&self, task: &TaskId, rendered: &Rendered) -> Result<Birth, TaskError> {
        let created = self.run.created();
        let child = self.run.node(task).and_then(|node| node.child()).expect("a child's task has a child's node");
        let depth = created.parent.as_ref().map_or(0, |parent| parent.depth) + 1;
        if depth > DEPTH_MAX {
            let message = format!("{DEPTH_MAX} runs are above this one already; workflows start one another too deep");
            return Err(TaskError::new(ErrorKind::Limit, message));
        }
        let workflow = *created.workflows.get(&pin_of(child)).ok_or_else(|| {
            let message = format!("the version of workflow `{}` was not recorded when the run was started", child.id);
            TaskError::new(ErrorKind::Load, message)
        })?;
        let inputs = match &*rendered.inputs {
            Value::Object(inputs) => inputs.clone(),
            _ => Default::default(),
        };
        Ok(Birth {
            key: self.run.effect_key(task),
            workflow_id: child.id.clone(),
            workflow,
            inputs,
            base_dir: created.base_dir.clone(),
            rehearsal: created.rehearsal,
            workflows: created.workflows.clone(),
            parent: ParentLink { run_id: self.run.id(), task_id: task.clone(), depth },
            detach: child.detach,
        })
    }

    fn follow_child(&mut self, task: TaskId, attempt: u32, stage: Stage) {
        let whose = (self.run.id(), task.clone(), attempt);
        let handle = ChildTask::spawn(self.shared.clone(), whose, self.handle.sender.clone(), stage);
        self.in_flight.insert(task, InFlight { attempt, work: Work::Child(handle) });
    }

    /// The child run is under way: from here on the attempt holds nothing but the wish to know how it ends.
    pub(super) fn child_waits(&mut self, task: TaskId, attempt: u32, waiting: Waiting) {
        self.feed(Input::TaskWaits { task, attempt, waiting });
    }

    /// Follows every child run whose end this run waits for: after a claim all of them, later those that nobody
    /// follows.
    pub(super) fn follow_awaited(&mut self) {
        let awaited: Vec<_> = self
            .run
            .awaiting()
            .filter(|(task, ..)| !self.in_flight.contains_key(*task))
            .map(|(task, attempt, child)| (task.clone(), attempt, child))
            .collect();
        for (task, attempt, child) in awaited {
            self.follow_child(task.clone(), attempt, Stage::Follow(child));
            self.cancel_child_if_not_owed(&task);
        }
    }

    fn cancel_child_if_not_owed(&self, task: &TaskId) {
        if let Some(live) = self.in_flight.get(task)
            && !self.is_owed(task, live)
            && let Some(child) = live.as_child()
            && !child.is_cancelled()
        {
            child.cancel();
        }
    }

    /// Somebody asks again to stop a run that is being stopped: its child runs hear it too.
    pub(super) fn cancel_children_again(&self) {
        let children = self.in_flight.values().filter_map(InFlight::as_child);
        children.filter(|child| child.is_cancelled()).for_each(ChildHandle::cancel);
    }
}
