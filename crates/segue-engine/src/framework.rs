//! Orchestrators for one framework: thin, an engine whose nodes are the framework's unless they say otherwise.

use std::{marker::PhantomData, sync::Arc};

use async_trait::async_trait;
use segue_core::{
    ids::{ContentHash, HandlerId, RunId, TaskId, WorkflowId},
    outcome::TaskResult,
    ports::{Adapter, EventBus, Orchestrator, OrchestratorError, RunRow, RunStore, StartRun, Started},
    spec::WorkflowSpec,
};

use crate::{Engine, EngineConfig, Pass, StartError};

/// The adapter of a framework that an orchestrator can be made for.
pub trait Framework: Adapter + Sized + 'static {
    /// Carries out the nodes that name no handler.
    const DEFAULT_HANDLER: &'static str;

    /// The adapters that it brings along for the nodes between its own; `pass` is always there.
    fn companions() -> Vec<Arc<dyn Adapter>>;
}

/// An engine whose nodes are `F`'s unless they name another handler. Everything it promises is the engine's promise.
pub struct FrameworkOrchestrator<F> {
    engine: Engine,
    framework: PhantomData<F>,
}

impl<F: Framework> FrameworkOrchestrator<F> {
    /// Starts an engine on `store` with this adapter, its companions and `pass`.
    pub async fn start(
        store: Arc<dyn RunStore>,
        bus: Arc<dyn EventBus>,
        config: EngineConfig,
        framework: Arc<F>,
    ) -> Result<Self, StartError> {
        let config = EngineConfig { default_handler: HandlerId::new(F::DEFAULT_HANDLER), ..config };
        let builder = Engine::builder(store).bus(bus).config(config).adapter(Arc::new(Pass)).adapter(framework);
        let builder = F::companions().into_iter().fold(builder, |builder, adapter| builder.adapter(adapter));
        Ok(Self { engine: builder.start().await?, framework: PhantomData })
    }

    /// The engine, for what an orchestrator does not promise: waiting for a run, resuming, listening.
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }
}

#[async_trait]
impl<F: Framework> Orchestrator for FrameworkOrchestrator<F> {
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
