//! An adapter, watched.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use segue_core::{
    outcome::{TaskError, TaskOutcome},
    ports::{Adapter, Invocation},
    spec::{Diagnostic, TaskNode, WorkflowSpec},
};
use serde_json::{Map, Value};
use tokio::time::{MissedTickBehavior, interval};

use super::{
    ledger::{About, Attempt, Entry},
    moments::Moments,
};

/// The adapters whose attempts workers carry out.
const WITH_WORKERS: [&str; 3] = ["crewai", "langchain", "python"];

/// How often to look for a worker that is to be killed.
const LOOK: Duration = Duration::from_millis(5);

/// Writes down which attempts are carried out. Each start of one in a worker is a moment.
pub(super) struct ChaosAdapter {
    inner: Arc<dyn Adapter>,
    moments: Arc<Moments>,
}

impl ChaosAdapter {
    pub(super) const fn new(inner: Arc<dyn Adapter>, moments: Arc<Moments>) -> Self {
        Self { inner, moments }
    }

    /// Kills the workers as soon as there are any.
    async fn kill_workers(&self, moment: u64) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            if self.moments.kill_workers(moment) {
                return;
            }
        }
    }
}

#[async_trait]
impl Adapter for ChaosAdapter {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn handlers(&self) -> &[&'static str] {
        self.inner.handlers()
    }

    fn translate_workflow(&self, workflow: &WorkflowSpec) -> Vec<Diagnostic> {
        self.inner.translate_workflow(workflow)
    }

    fn translate_task(&self, node: &TaskNode) -> Result<Value, TaskError> {
        self.inner.translate_task(node)
    }

    fn concurrency(&self, hints: &Map<String, Value>) -> Option<u32> {
        self.inner.concurrency(hints)
    }

    fn is_immediate(&self) -> bool {
        self.inner.is_immediate()
    }

    async fn execute(&self, invocation: Invocation) -> TaskOutcome {
        let context = &invocation.context;
        let attempt = Attempt {
            run: context.run_id,
            task: context.task_id.to_string(),
            attempt: context.attempt,
            key: context.idempotency_key(),
        };
        self.moments.note(Entry::Began(attempt.clone()));
        let moment = WITH_WORKERS
            .contains(&self.inner.name())
            .then(|| self.moments.come(About::Start, format!("start of {}", attempt.task)))
            .filter(|n| self.moments.wants_workers(*n));
        let execution = self.inner.execute(invocation);
        let outcome = match moment {
            None => execution.await,
            Some(moment) => {
                tokio::pin!(execution);
                tokio::select! {
                    outcome = &mut execution => outcome,
                    () = self.kill_workers(moment) => execution.await,
                }
            }
        };
        self.moments.note(Entry::Ended(attempt));
        outcome
    }

    async fn shutdown(&self) {
        self.inner.shutdown().await;
    }
}
