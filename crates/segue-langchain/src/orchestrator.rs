//! An orchestrator for chains and graphs.

use std::sync::Arc;

use async_trait::async_trait;
use segue_core::{
    ids::{ContentHash, HandlerId, RunId, TaskId, WorkflowId},
    outcome::TaskResult,
    ports::{EventBus, Orchestrator, OrchestratorError, RunRow, RunStore, StartRun, Started},
    spec::WorkflowSpec,
};
use segue_engine::{Engine, EngineConfig, Pass, StartError};
use segue_worker::process::ProcessAdapter;

use crate::{LangchainAdapter, RUNNABLE};

/// An engine whose nodes are runnables of LangChain unless they name another handler. Thin: everything it promises is the
/// engine's promise.
pub struct LangChainOrchestrator {
    engine: Engine,
}

impl LangChainOrchestrator {
    /// Starts an engine on `store`, with `langchain.runnable` as default handler, and `pass` and `process.run` beside it.
    pub async fn start(
        store: Arc<dyn RunStore>,
        bus: Arc<dyn EventBus>,
        config: EngineConfig,
        langchain: Arc<LangchainAdapter>,
    ) -> Result<Self, StartError> {
        let config = EngineConfig { default_handler: HandlerId::new(RUNNABLE), ..config };
        let builder = Engine::builder(store).bus(bus).config(config);
        let builder = builder.adapter(Arc::new(Pass)).adapter(Arc::new(ProcessAdapter)).adapter(langchain);
        Ok(Self { engine: builder.start().await? })
    }

    /// The engine, for what an orchestrator does not promise: waiting for a run, resuming, listening.
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }
}

#[async_trait]
impl Orchestrator for LangChainOrchestrator {
    async fn deploy_workflow(&self, workflow: &WorkflowSpec) -> Result<ContentHash, OrchestratorError> {
        self.engine.deploy_workflow(workflow).await
    }

    async fn start_run(&self, workflow: ContentHash, start: StartRun) -> Result<Started, OrchestratorError> {
        self.engine.start_run(workflow, start).await
    }

    async fn get_run_status(&self, run: RunId) -> Result<RunRow, OrchestratorError> {
        self.engine.get_run_status(run).await
    }

    async fn cancel_run(&self, run: RunId, reason: &str) -> Result<(), OrchestratorError> {
        self.engine.cancel_run(run, reason).await
    }

    async fn get_task_result(&self, run: RunId, task: &TaskId) -> Result<TaskResult, OrchestratorError> {
        self.engine.get_task_result(run, task).await
    }

    async fn workflow_id(&self, workflow: ContentHash) -> Result<WorkflowId, OrchestratorError> {
        self.engine.workflow_id(workflow).await
    }

    async fn shutdown(&self) {
        self.engine.shutdown().await;
    }
}
