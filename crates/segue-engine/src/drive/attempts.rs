//! Attempts: dispatched when their start is committed, told to stop when they are no longer owed.

use segue_core::{
    event::{Event, EventKind},
    ids::{TaskId, TaskRunId},
    outcome::{ErrorKind, TaskError, TaskOutcome, Usage},
    ports::{Completion, ExecutionContext, Invocation, Scheduler},
    run::Rendered,
    status::Status,
};
use std::{path::PathBuf, sync::Arc};

use super::{Drive, accept::Grant};
use crate::{dispatch::NotScheduled, live::Message, progress::BusProgress, secrets::Redacted};

/// An attempt that was dispatched and whose answer has not been taken.
pub(super) struct InFlight {
    pub(super) attempt: u32,
    id: TaskRunId,
}

impl Drive {
    /// Does what committed facts ask for. What is owed is read from the run's state, which is never older than they.
    pub(super) async fn carry_out(&mut self, committed: &[Event]) {
        for event in committed {
            match (&event.kind, &event.task_id) {
                (EventKind::TaskStarted {}, Some(task)) => {
                    let attempt = event.attempt.expect("an attempt that begins has a number");
                    if self.is_owed(task, attempt) {
                        self.dispatch(task, attempt).await;
                    } else {
                        self.places.take(task);
                    }
                }
                (EventKind::RunCancelling { .. }, _) => self.cancel_all().await,
                (_, Some(task)) => self.stop_if_not_owed(task).await,
                (_, None) => {}
            }
        }
    }

    fn is_owed(&self, task: &TaskId, attempt: u32) -> bool {
        !self.run.is_stopping() && self.run.task_status(task) == Some((Status::Running, attempt))
    }

    async fn stop_if_not_owed(&self, task: &TaskId) {
        if let Some(live) = self.in_flight.get(task)
            && !self.is_owed(task, live.attempt)
        {
            self.shared.scheduler.cancel_task(&live.id).await;
        }
    }

    pub(super) async fn cancel_all(&self) {
        for live in self.in_flight.values() {
            self.shared.scheduler.cancel_task(&live.id).await;
        }
    }

    async fn dispatch(&mut self, task: &TaskId, attempt: u32) {
        let done = self.completion(task, attempt);
        let slot = match self.places.take(task) {
            Some(Grant::Place(slot)) => slot,
            Some(Grant::Never(why)) => return done(TaskOutcome::failure(ErrorKind::Load, why.to_string())),
            None => return done(TaskOutcome::failure(ErrorKind::Load, "there is no place for it")),
        };
        let rendered = self.run.render(task).map(|rendered| self.invocation(task, attempt, rendered));
        let (invocation, done) = match rendered.and_then(|invocation| self.with_secrets(invocation, done)) {
            Ok(complete) => complete,
            Err(error) => {
                let outcome = TaskOutcome::Failed { error, usage: Usage::default() };
                return self.completion(task, attempt)(outcome);
            }
        };
        match self.shared.scheduler.schedule_task(slot, invocation, done).await {
            Ok(id) => {
                self.in_flight.insert(task.clone(), InFlight { attempt, id });
            }
            Err(why) => {
                let error = TaskError::new(ErrorKind::Load, why.to_string());
                self.completion(task, attempt)(TaskOutcome::Failed { error, usage: Usage::default() });
            }
        }
        // A workflow of ten thousand immediate tasks must not keep a thread from everybody else.
        tokio::task::coop::consume_budget().await;
    }

    /// Puts in the secrets that the node names; what comes back passes through the hand that takes them out.
    fn with_secrets(
        &self,
        mut invocation: Invocation,
        done: Completion,
    ) -> Result<(Invocation, Completion), TaskError> {
        let node = self.run.node(&invocation.context.task_id).expect("an owed task has a node");
        let given = self.deployed.secrets.give(&node.id, &invocation.inputs, &*self.shared.secrets)?;
        let Some((inputs, redactor)) = given else { return Ok((invocation, done)) };
        let redactor = Arc::new(redactor);
        invocation.inputs = inputs;
        invocation.progress = Arc::new(Redacted { inner: invocation.progress, redactor: redactor.clone() });
        Ok((invocation, Box::new(move |outcome| done(redactor.outcome(outcome)))))
    }

    fn completion(&self, task: &TaskId, attempt: u32) -> Completion {
        let (sender, task) = (self.handle.sender.clone(), task.clone());
        Box::new(move |outcome| {
            // A run that has left takes no answers: they would be stale wherever it is.
            let _ = sender.send(Message::Ended { task, attempt, outcome });
        })
    }

    fn invocation(&self, task: &TaskId, attempt: u32, rendered: Rendered) -> Invocation {
        let node = self.run.node(task).expect("an owed task has a node");
        let created = self.run.created();
        let workflow_id = self.run.plan().workflow_id().clone();
        Invocation {
            handler: node.handler.clone(),
            name: node.name.clone(),
            description: node.description.clone(),
            inputs: rendered.inputs,
            material: rendered.material,
            hints: node.hints.clone(),
            context: ExecutionContext {
                workflow_id: workflow_id.clone(),
                run_id: self.run.id(),
                task_id: task.clone(),
                attempt,
                now: self.now(),
                values: self.run.params().clone(),
            },
            base_dir: created.base_dir.as_ref().map(PathBuf::from),
            rehearsal: created.rehearsal,
            timeout: node.timeout,
            grace: self.shared.config.grace,
            cancel: Arc::new(NotScheduled),
            progress: Arc::new(BusProgress {
                bus: self.shared.bus.clone(),
                clock: self.shared.config.clock.clone(),
                workflow_id,
                run_id: self.run.id(),
                task_id: task.clone(),
                attempt,
                seq: self.seq.clone(),
            }),
        }
    }
}
