//! An adapter whose every attempt is a rehearsal, whatever its run was started as.

use std::sync::Arc;

use async_trait::async_trait;
use segue_core::{
    outcome::{TaskError, TaskOutcome},
    ports::{Adapter, Invocation},
    spec::{Diagnostic, TaskNode, WorkflowSpec},
};
use serde_json::{Map, Value};

/// Wraps an adapter.
pub(crate) struct Rehearsing(pub(crate) Arc<dyn Adapter>);

#[async_trait]
impl Adapter for Rehearsing {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn handlers(&self) -> &[&'static str] {
        self.0.handlers()
    }

    fn translate_workflow(&self, workflow: &WorkflowSpec) -> Vec<Diagnostic> {
        self.0.translate_workflow(workflow)
    }

    fn translate_task(&self, node: &TaskNode) -> Result<Value, TaskError> {
        self.0.translate_task(node)
    }

    fn concurrency(&self, hints: &Map<String, Value>) -> Option<u32> {
        self.0.concurrency(hints)
    }

    fn is_immediate(&self) -> bool {
        self.0.is_immediate()
    }

    async fn execute(&self, invocation: Invocation) -> TaskOutcome {
        self.0.execute(Invocation { rehearsal: true, ..invocation }).await
    }

    async fn shutdown(&self) {
        self.0.shutdown().await;
    }
}
