//! Attempts: dispatched when their start is committed, told to stop when they are no longer owed.

use std::mem;

use segue_core::{
    event::{Event, EventKind, Waiting},
    ids::{TaskId, TaskRunId},
    outcome::{Loss, TaskOutcome},
    ports::Scheduler,
    status::Status,
};

use super::Drive;
use crate::child::ChildHandle;

/// An attempt that was dispatched and whose answer has not been taken.
pub(super) struct InFlight {
    pub(super) attempt: u32,
    pub(super) work: Work,
}

/// Who carries it out.
pub(super) enum Work {
    /// An adapter.
    Adapter(TaskRunId),
    /// Another run.
    Child(ChildHandle),
}

impl InFlight {
    pub(super) const fn as_child(&self) -> Option<&ChildHandle> {
        match &self.work {
            Work::Child(handle) => Some(handle),
            Work::Adapter(_) => None,
        }
    }
}

impl Drive {
    /// Does what committed facts ask for. What is owed is read from the run's state, which is never older than they.
    pub(super) async fn carry_out(&mut self, committed: &[Event]) {
        for event in committed {
            match (&event.kind, &event.task_id, event.attempt) {
                (EventKind::TaskStarted {}, Some(task), Some(attempt)) => {
                    if self.wants(task, attempt) {
                        self.dispatch(task, attempt).await;
                    } else {
                        self.places.take(task);
                    }
                }
                (EventKind::TaskSucceeded { output, .. }, Some(task), Some(attempt)) => {
                    self.keep_in_cache(task, attempt, output).await;
                    self.stop_if_not_owed(task).await;
                }
                (EventKind::RunCancelling { .. }, ..) => self.cancel_what_is_not_owed().await,
                (_, Some(task), _) => self.stop_if_not_owed(task).await,
                (_, None, _) => {}
            }
        }
    }

    /// Is this attempt to run now?
    fn wants(&self, task: &TaskId, attempt: u32) -> bool {
        !self.run.is_stopping() && self.run.task_status(task) == Some((Status::Running, attempt))
    }

    /// Is what is in flight still wanted? An attempt at a child workflow is, while the task waits for the child run.
    pub(super) fn is_owed(&self, task: &TaskId, live: &InFlight) -> bool {
        let awaits = || matches!(self.run.waits_for(task), Some(Waiting::Child { .. }));
        match self.run.task_status(task) {
            _ if self.run.is_stopping() => false,
            Some((Status::Running, attempt)) => attempt == live.attempt,
            Some((Status::Waiting, attempt)) => attempt == live.attempt && live.as_child().is_some() && awaits(),
            _ => false,
        }
    }

    async fn stop_if_not_owed(&self, task: &TaskId) {
        if let Some(live) = self.in_flight.get(task)
            && !self.is_owed(task, live)
        {
            self.stop(live).await;
        }
    }

    async fn cancel_what_is_not_owed(&self) {
        for (task, live) in &self.in_flight {
            if !self.is_owed(task, live) {
                self.stop(live).await;
            }
        }
    }

    async fn stop(&self, live: &InFlight) {
        match &live.work {
            Work::Adapter(id) => self.shared.scheduler.cancel_task(id).await,
            Work::Child(child) if child.is_cancelled() => {}
            Work::Child(child) => child.cancel(),
        }
    }

    /// Nothing goes on here: attempts are told to stop, child runs are left alone. Answers which attempts will still
    /// say that they are over.
    pub(super) async fn let_go(&mut self) -> Vec<TaskId> {
        let mut dying = Vec::new();
        for (task, live) in mem::take(&mut self.in_flight) {
            if let Work::Adapter(id) = &live.work {
                self.shared.scheduler.cancel_task(id).await;
                dying.push(task);
            }
        }
        dying
    }

    /// Stops what runs, to hand it to the next owner. Child runs go on, or are handed on themselves.
    pub(super) async fn hand_back(&mut self) {
        let mut begun = Vec::new();
        for (task, live) in &self.in_flight {
            match &live.work {
                Work::Adapter(id) => self.shared.scheduler.cancel_task(id).await,
                Work::Child(_) if self.wants(task, live.attempt) => begun.push((task.clone(), live.attempt)),
                Work::Child(_) => {}
            }
        }
        for (task, attempt) in begun {
            let outcome = TaskOutcome::lost(Loss::Drained, "its engine was shut down");
            self.completion(&task, attempt)(outcome);
        }
    }

    /// Does an attempt run here? One that waits for a child run can be left at any time.
    pub(super) fn has_work(&self) -> bool {
        let runs = |(task, live): (&TaskId, &InFlight)| match live.work {
            Work::Adapter(_) => true,
            Work::Child(_) => self.run.task_status(task) == Some((Status::Running, live.attempt)),
        };
        self.in_flight.iter().any(runs)
    }
}
