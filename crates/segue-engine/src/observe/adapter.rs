//! An adapter, measured.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use async_trait::async_trait;
use segue_core::{
    outcome::{TaskError, TaskOutcome},
    ports::{Adapter, Invocation, MetricsCollector},
    spec::{Diagnostic, TaskNode, WorkflowSpec},
    status::Status,
};
use serde_json::{Map, Value};
use tokio::time::Instant;
use tracing::Instrument;

/// Counts and times the attempts of an adapter, each in a span with its run, task and attempt.
pub struct ObservedAdapter {
    inner: Arc<dyn Adapter>,
    metrics: Arc<dyn MetricsCollector>,
    running: AtomicI64,
}

impl ObservedAdapter {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn Adapter>, metrics: Arc<dyn MetricsCollector>) -> Self {
        Self { inner, metrics, running: AtomicI64::new(0) }
    }

    fn running(&self, change: i64) -> Running<'_> {
        self.report(change);
        Running(self)
    }

    fn report(&self, change: i64) {
        let running = self.running.fetch_add(change, Ordering::AcqRel) + change;
        self.metrics.set("segue_tasks_running", &[("adapter", self.name())], running);
    }
}

/// Counts an attempt as running for as long as it lives, whether it ends, panics or is dropped.
struct Running<'a>(&'a ObservedAdapter);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.report(-1);
    }
}

#[async_trait]
impl Adapter for ObservedAdapter {
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
        let span = tracing::info_span!(
            "attempt",
            run_id = %context.run_id,
            task_id = %context.task_id,
            attempt = context.attempt,
            handler = %invocation.handler,
        );
        let began = Instant::now();
        let outcome = {
            let _running = self.running(1);
            self.inner.execute(invocation).instrument(span).await
        };
        let adapter = ("adapter", self.name());
        self.metrics.add("segue_tasks_total", &[adapter, ("status", status_of(&outcome))], 1);
        self.metrics.observe("segue_task_duration_seconds", &[adapter], began.elapsed());
        outcome
    }

    async fn shutdown(&self) {
        self.inner.shutdown().await;
    }
}

const fn status_of(outcome: &TaskOutcome) -> &'static str {
    match outcome {
        TaskOutcome::Succeeded { .. } => Status::Succeeded.as_str(),
        TaskOutcome::Failed { .. } => Status::Failed.as_str(),
        TaskOutcome::Cancelled { .. } => Status::Cancelled.as_str(),
        TaskOutcome::Lost { .. } => "LOST",
        TaskOutcome::Waiting { .. } => Status::Waiting.as_str(),
    }
}
