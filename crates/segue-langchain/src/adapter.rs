//! The adapter: checks what a node says, and hands it over.

use std::path::Path;

use async_trait::async_trait;
use segue_core::{
    ids::HandlerId,
    outcome::{ErrorKind, TaskError, TaskOutcome, Usage},
    ports::{Adapter, Invocation},
    spec::{Diagnostic, TaskNode, WorkflowSpec},
};
use segue_worker::{
    environment::{Explanation, Framework},
    pool::Workers,
    protocol::ZygoteHello,
    python::{Hints, Runtime, RuntimeOptions, Work},
};
use serde_json::{Map, Value, json};

use crate::{
    hints::{self, HINTS},
    inputs::{self, GRAPH, RUNNABLE},
};

/// What every worker of LangChain is told: report to nobody, and instantiate nothing that a checkpoint merely names.
const SETTINGS: [(&str, &str); 5] = [
    ("LANGSMITH_TRACING", "false"),
    ("LANGCHAIN_TRACING_V2", "false"),
    ("LANGGRAPH_CLI_NO_ANALYTICS", "1"),
    ("LANGGRAPH_STRICT_MSGPACK", "true"),
    ("ANONYMIZED_TELEMETRY", "false"),
];

/// Carries out `langchain.runnable` and `langgraph.graph`. Starts and makes nothing before it is needed.
pub struct LangchainAdapter {
    runtime: Runtime,
    has_models: bool,
}

impl LangchainAdapter {
    /// An adapter with these options.
    pub fn new(options: RuntimeOptions) -> Self {
        let has_models = options.models.is_some();
        Self { runtime: Runtime::new(Framework::LANGCHAIN, &SETTINGS, options), has_models }
    }

    /// Makes the environments that a workflow's nodes will need, which may take minutes, so that it does not happen in
    /// the time of a task. `default_handler` is that of nodes that name none.
    pub async fn prepare(
        &self,
        workflow: &WorkflowSpec,
        default_handler: &HandlerId,
        base_dir: Option<&Path>,
    ) -> Result<(), TaskError> {
        self.runtime.prepare(workflow, default_handler, self.handlers(), base_dir).await
    }

    /// Which Python a workflow in this folder would get, and why. Makes nothing.
    pub async fn explain(&self, base_dir: Option<&Path>) -> Explanation {
        self.runtime.explain(base_dir).await
    }

    /// Starts a worker with the environment that is there or makes one, and tells the versions in it.
    pub async fn probe(&self, base_dir: Option<&Path>) -> Result<ZygoteHello, TaskError> {
        self.runtime.probe(base_dir).await
    }

    /// What its worker processes do at this moment.
    pub fn workers(&self) -> Workers {
        self.runtime.workers()
    }

    async fn carry_out(&self, invocation: &Invocation) -> Result<TaskOutcome, TaskError> {
        let none = Map::new();
        let given = invocation.inputs.as_object().unwrap_or(&none);
        let hints = Hints::of(&invocation.hints, HINTS);
        let problems = inputs::problems(invocation.handler.as_str(), given, false).into_iter();
        if let Some(problem) = problems.chain(hints::problems(hints)).next() {
            return Err(problem.into_error());
        }
        if invocation.rehearsal && !self.has_models {
            return Err(TaskError::new(ErrorKind::InvalidInput, "this engine has no rehearsal model"));
        }
        let work = Work {
            hints,
            for_the_worker: hints.only(&hints::FOR_THE_WORKER),
            may_stream: hints::streams_messages(hints),
        };
        self.runtime.carry_out(invocation, work).await
    }
}

#[async_trait]
impl Adapter for LangchainAdapter {
    fn name(&self) -> &'static str {
        HINTS
    }

    fn handlers(&self) -> &[&'static str] {
        &[RUNNABLE, GRAPH]
    }

    fn translate_workflow(&self, workflow: &WorkflowSpec) -> Vec<Diagnostic> {
        inputs::diagnose(workflow)
    }

    fn translate_task(&self, node: &TaskNode) -> Result<Value, TaskError> {
        let handler = node.spec.task.as_ref().map_or(RUNNABLE, HandlerId::as_str);
        let hints = Hints::of(&node.spec.hints, HINTS);
        let problems = inputs::problems(handler, &node.spec.inputs, true).into_iter().chain(hints::problems(hints));
        if let Some(problem) = { problems }.next() {
            return Err(problem.into_error());
        }
        let target = node.spec.inputs.get(inputs::target_key(handler));
        Ok(json!({ handler: target, "hints": hints.only(&hints::FOR_THE_WORKER) }))
    }

    async fn execute(&self, invocation: Invocation) -> TaskOutcome {
        if invocation.cancel.is_cancelled() {
            return TaskOutcome::Cancelled { usage: Usage::default() };
        }
        match self.carry_out(&invocation).await {
            Ok(outcome) => outcome,
            Err(error) => TaskOutcome::Failed { error, usage: Usage::default() },
        }
    }

    async fn shutdown(&self) {
        self.runtime.shutdown().await;
    }
}
