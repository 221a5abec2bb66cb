//! Dispatching an attempt: rendered, given its secrets, carried to whoever carries it out.

use std::{path::PathBuf, sync::Arc};

use segue_core::{
    ids::TaskId,
    outcome::{ErrorKind, TaskError, TaskOutcome, Usage},
    ports::{Completion, ExecutionContext, Invocation, Scheduler, Slot},
    run::Rendered,
};

use super::{
    Drive,
    accept::Grant,
    attempts::{InFlight, Work},
};
use crate::{dispatch::NotScheduled, limits::LimitSlot, live::Message, progress::BusProgress, secrets::Redacted};

impl Drive {
    /// Carries out an attempt whose start is committed.
    pub(super) async fn dispatch(&mut self, task: &TaskId, attempt: u32) {
        let granted = match self.places.take(task) {
            Some(Grant::Never(why)) => Err(TaskError::new(ErrorKind::Load, why.to_string())),
            Some(Grant::NoLimit(why)) => Err(why),
            None => Err(TaskError::new(ErrorKind::Load, "there is no place for it")),
            Some(Grant::Place(slot)) => Ok((Some(slot), None)),
            Some(Grant::Limited(slot, limits)) => Ok((Some(slot), Some(limits))),
            Some(Grant::Child) => Ok((None, None)),
        };
        let begun = match granted {
            Ok((place, limits)) => self.begin(task, attempt, place, limits).await,
            Err(error) => Err(error),
        };
        if let Err(error) = begun {
            self.completion(task, attempt)(TaskOutcome::Failed { error, usage: Usage::default() });
        }
        // A workflow of ten thousand immediate tasks must not keep a thread from everybody else.
        tokio::task::coop::consume_budget().await;
    }

    async fn begin(
        &mut self,
        task: &TaskId,
        attempt: u32,
        place: Option<Box<dyn Slot>>,
        limits: Option<Arc<LimitSlot>>,
    ) -> Result<(), TaskError> {
        let rendered = self.run.render(task)?;
        if let Some(outcome) = self.cached(task, attempt, &rendered).await? {
            drop(place);
            self.completion(task, attempt)(outcome);
            return Ok(());
        }
        let Some(slot) = place else { return self.begin_child(task, attempt, &rendered) };
        let done = self.completion(task, attempt);
        let (invocation, done) = self.with_secrets(self.invocation(task, attempt, rendered), done)?;
        let (slot, done) = match &limits {
            Some(limits) if !self.still_holds(limits).await => {
                done(limits.lost_outcome());
                return Ok(());
            }
            Some(limits) => Self::under_limits(slot, limits.clone(), done),
            None => (slot, done),
        };
        let id = self
            .shared
            .scheduler
            .schedule_task(slot, invocation, done)
            .await
            .map_err(|why| TaskError::new(ErrorKind::Load, why.to_string()))?;
        if let Some(limits) = limits {
            limits.runs_as(&id);
        }
        self.in_flight.insert(task.clone(), InFlight { attempt, work: Work::Adapter(id) });
        Ok(())
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

    pub(super) fn completion(&self, task: &TaskId, attempt: u32) -> Completion {
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
                effect_key: self.run.effect_key(task),
                answers_since: self.run.answers_since(task),
                values: self.run.params().clone(),
            },
            base_dir: created.base_dir.as_ref().map(PathBuf::from),
            resume: self.run.resume_of(task).cloned(),
            budgets: self.run.budgets(task),
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
