//! The engine: an orchestrator on a run store.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use async_trait::async_trait;
use segue_core::{
    ids::{ContentHash, EngineId, NodeId, RunId, TaskId, WorkflowId},
    outcome::TaskResult,
    plan::{Plan, version_json},
    ports::{
        EventBus, Orchestrator, OrchestratorError, RequestKind, RunRow, RunStore, StartRun, Started, StoreError,
        WorkflowVersion,
    },
    spec::{CheckOptions, Diagnostic, Severity, WorkflowSpec, check},
    status::Status,
};
use tokio::sync::OnceCell;

use crate::{
    builder::EngineBuilder, dispatch::LocalScheduler, live::End, plans::Deployed, registry::Adapters, rerun,
    shared::Shared, shutdown, start,
};

/// How an engine stands at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineState {
    /// It takes no more work: it leaves, or has stopped.
    pub draining: bool,
    /// The store has confirmed its lease, and the lease has not ended since.
    pub lease_valid: bool,
    /// Runs that it drives.
    pub runs_live: usize,
}

/// Runs workflows: keeps their state in a [`RunStore`], carries out their tasks through
/// [`Adapter`](segue_core::ports::Adapter)s.
///
/// An engine that is dropped stops at once, as if it had been killed; [`Orchestrator::shutdown`] leaves in good order.
pub struct Engine {
    shared: Arc<Shared>,
    over: OnceCell<()>,
}

impl Engine {
    /// Begins an engine on `store`.
    pub fn builder(store: Arc<dyn RunStore>) -> EngineBuilder {
        EngineBuilder::new(store)
    }

    pub(crate) fn of(shared: Arc<Shared>) -> Self {
        Self { shared, over: OnceCell::new() }
    }

    /// The store, measured.
    pub fn store(&self) -> &Arc<dyn RunStore> {
        &self.shared.store
    }

    /// The bus.
    pub fn bus(&self) -> &Arc<dyn EventBus> {
        &self.shared.bus
    }

    /// The adapters, by handler.
    pub fn adapters(&self) -> &Adapters {
        &self.shared.adapters
    }

    /// The scheduler: what runs in this process.
    pub fn scheduler(&self) -> &LocalScheduler {
        &self.shared.scheduler
    }

    /// Its name among those that share the store.
    pub fn id(&self) -> &EngineId {
        &self.shared.config.engine_id
    }

    /// How it stands now.
    pub fn state(&self) -> EngineState {
        EngineState {
            draining: self.shared.draining.load(Ordering::Acquire) || self.shared.stopped.is_cancelled(),
            lease_valid: self.shared.lease.is_valid(),
            runs_live: self.shared.live.len(),
        }
    }

    /// Waits until it has stopped: by a shutdown that is over, or because it gave up.
    pub async fn stopped(&self) {
        self.shared.stopped.cancelled().await;
    }

    /// Why the engine gave up, if it did: the store cannot be used.
    pub fn failure(&self) -> Option<&str> {
        self.shared.broken.get().map(String::as_str)
    }

    /// As [`Orchestrator::start_run`], but carries nothing out: the run is recorded, and belongs to whoever claims it.
    pub async fn submit(&self, workflow: ContentHash, start: StartRun) -> Result<Started, OrchestratorError> {
        start::submit(&self.shared, workflow, start).await
    }

    /// Takes over these runs (none named: all) if nobody drives them, because they were handed back or their engine is
    /// gone, and drives them on. Returns those that were taken.
    pub async fn resume(&self, runs: &[RunId]) -> Result<Vec<RunId>, OrchestratorError> {
        self.shared.admit()?;
        Ok(self.shared.claim(runs.to_vec(), usize::MAX).await?)
    }

    /// Puts a request into a run's inbox, wherever the run is driven. Durable when it returns.
    pub async fn request(&self, run: RunId, kind: RequestKind) -> Result<(), OrchestratorError> {
        self.shared.store.post_request(run, kind).await?;
        self.shared.deliver(run).await;
        Ok(())
    }

    /// Reopens a run that failed or was cancelled, and drives it on here unless another engine is faster: what
    /// succeeded keeps its result, the rest runs.
    pub async fn reopen(&self, run: RunId) -> Result<(), OrchestratorError> {
        self.shared.admit()?;
        let status = self.shared.store.get_run(run).await?.status;
        if !matches!(status, Status::Failed | Status::Cancelled) {
            let why = format!("run {run} is {status}; only a run that is FAILED or CANCELLED can be retried");
            return Err(OrchestratorError::Conflict(why));
        }
        if let Some(mut handle) = self.shared.live.get(run) {
            // It has ended and is about to be left: only then can it be taken up again.
            let _ = handle.end.wait_for(Option::is_some).await;
        }
        self.request(run, RequestKind::Reopen).await?;
        self.shared.claim(vec![run], 1).await?;
        Ok(())
    }

    /// Runs an ended run once more, as a run of its own: the same version, inputs and versions of child workflows. What
    /// succeeded is taken over, except the nodes `from` and everything below them, and except what depends on something
    /// that runs again.
    pub async fn rerun(&self, run: RunId, from: &[NodeId]) -> Result<Started, OrchestratorError> {
        rerun::rerun(&self.shared, run, from).await
    }

    /// Waits until a run has ended, wherever it is driven, and returns its row. A run that nobody drives does not end.
    pub async fn wait(&self, run: RunId) -> Result<RunRow, OrchestratorError> {
        // How often to look at a run that another process drives.
        const PAUSE: Duration = Duration::from_millis(200);
        loop {
            if let Some(mut handle) = self.shared.live.get(run) {
                let end = handle.end.wait_for(Option::is_some).await.map(|end| end.clone());
                match end.ok().flatten() {
                    Some(End::Ended(row)) => return Ok(*row),
                    Some(End::Unusable(why)) => return Err(StoreError::Broken(why).into()),
                    Some(End::Left) | None => {}
                }
            }
            let row = self.shared.store.get_run(run).await?;
            if row.status.is_terminal() {
                return Ok(row);
            }
            if self.shared.live.get(run).is_none() {
                self.shared.admit()?;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// As [`Orchestrator::shutdown`], with another drain time than the configured one.
    pub async fn shut_down_within(&self, drain: Duration) {
        self.over.get_or_init(|| shutdown::shut_down(&self.shared, drain)).await;
    }

    /// Stops at once: attempts are told to end, nothing is handed back. The runs are taken over when this process is
    /// gone, or its lease has ended.
    pub fn stop(&self) {
        self.shared.stop();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if !self.over.initialized() {
            self.shared.stop();
        }
    }
}

#[async_trait]
impl Orchestrator for Engine {
    async fn deploy_workflow(&self, workflow: &WorkflowSpec) -> Result<ContentHash, OrchestratorError> {
        self.shared.admit()?;
        let options = CheckOptions {
            handlers: self.shared.adapters.handlers(),
            default_handler: Some(self.shared.config.default_handler.clone()),
            limits: Some(self.shared.limits.names()),
        };
        let mut problems = check(workflow, &options);
        problems.extend(self.shared.adapters.check(workflow));
        if problems.iter().any(|problem| problem.severity == Severity::Error) {
            return Err(OrchestratorError::Invalid(problems));
        }
        let plan = Plan::compile(workflow, &self.shared.config.default_handler)
            .map_err(|error| OrchestratorError::Invalid(vec![Diagnostic::error("workflow", "", error.to_string())]))?;
        let (hash, spec_json) = version_json(workflow);
        let workflow_id = workflow.id.clone();
        self.shared.store.put_workflow(WorkflowVersion { hash, workflow_id, spec_json }).await?;
        self.shared.plans.keep(hash, Deployed::new(workflow.clone(), plan));
        Ok(hash)
    }

    async fn start_run(&self, workflow: ContentHash, start: StartRun) -> Result<Started, OrchestratorError> {
        start::start(&self.shared, workflow, start).await
    }

    async fn get_run_status(&self, run: RunId) -> Result<RunRow, OrchestratorError> {
        Ok(self.shared.store.get_run(run).await?)
    }

    async fn cancel_run(&self, run: RunId, reason: &str) -> Result<(), OrchestratorError> {
        let row = self.shared.store.get_run(run).await?;
        if row.status.is_terminal() {
            return Ok(());
        }
        self.request(run, RequestKind::Cancel { reason: reason.to_owned() }).await
    }

    async fn get_task_result(&self, run: RunId, task: &TaskId) -> Result<TaskResult, OrchestratorError> {
        Ok(self.shared.store.get_task_result(run, task).await?)
    }

    async fn workflow_id(&self, workflow: ContentHash) -> Result<WorkflowId, OrchestratorError> {
        Ok(self.shared.deployed(workflow).await?.plan.workflow_id().clone())
    }

    async fn shutdown(&self) {
        self.shut_down_within(self.shared.config.drain).await;
    }
}
