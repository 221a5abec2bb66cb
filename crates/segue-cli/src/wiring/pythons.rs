//! The adapters that need Python: their environments, made before tasks begin, and their workers, counted.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use segue_core::{
    ids::HandlerId,
    outcome::TaskError,
    ports::{Adapter as _, CheckpointStore, MetricsCollector, ModelAccess},
    spec::WorkflowSpec,
};
use segue_crewai::{CrewaiAdapter, CrewaiOptions, Prepare as CrewaiPrepare};
use segue_engine::Prepare;
use segue_langchain::LangchainAdapter;
use segue_worker::{
    environment::OnProgress,
    pool::PoolOptions,
    python::{PythonAdapter, RuntimeOptions},
};

use crate::{config::Settings, live::BuildProgressLine};

/// All of them.
pub(super) struct Pythons {
    pub(super) crewai: Arc<CrewaiAdapter>,
    pub(super) langchain: Arc<LangchainAdapter>,
    pub(super) python: Arc<PythonAdapter>,
    /// The handler of nodes that name none.
    pub(super) default_handler: HandlerId,
}

impl Pythons {
    /// They ask models through `models`, and keep their graphs' states in `checkpoints`. `quiet`: nobody watches.
    pub(super) fn new(
        settings: &Settings,
        models: Arc<dyn ModelAccess>,
        checkpoints: Arc<dyn CheckpointStore>,
        quiet: bool,
    ) -> Self {
        let runtime = || runtime_options(settings, models.clone(), checkpoints.clone(), quiet);
        Self {
            crewai: Arc::new(CrewaiAdapter::new(crewai_options(settings, models.clone(), quiet))),
            langchain: Arc::new(LangchainAdapter::new(runtime())),
            python: Arc::new(PythonAdapter::new(runtime())),
            default_handler: HandlerId::new(settings.default_task.as_str()),
        }
    }

    /// Makes the environments that a workflow's tasks need.
    pub(super) async fn make(&self, workflow: &WorkflowSpec, base_dir: Option<&Path>) -> Result<(), TaskError> {
        let default_handler = &self.default_handler;
        self.crewai.prepare(CrewaiPrepare { workflow, default_handler, base_dir }).await?;
        self.langchain.prepare(workflow, default_handler, base_dir).await?;
        self.python.prepare(workflow, default_handler, base_dir).await
    }

    /// Measures what the workers do at this moment.
    pub(super) fn measure(&self, metrics: &dyn MetricsCollector) {
        for (adapter, workers) in [
            (self.crewai.name(), self.crewai.workers()),
            (self.langchain.name(), self.langchain.workers()),
            (self.python.name(), self.python.workers()),
        ] {
            for (state, number) in workers.by_state() {
                let number = i64::try_from(number).unwrap_or(i64::MAX);
                metrics.set("segue_workers", &[("adapter", adapter), ("state", state)], number);
            }
        }
    }
}

#[async_trait]
impl Prepare for Pythons {
    async fn prepare(&self, workflow: &WorkflowSpec, base_dir: Option<&Path>) {
        if let Err(error) = self.make(workflow, base_dir).await {
            tracing::warn!(workflow_id = %workflow.id, error = %error.message, "what tasks need could not be made before they begin");
        }
    }
}

fn crewai_options(settings: &Settings, models: Arc<dyn ModelAccess>, quiet: bool) -> CrewaiOptions {
    CrewaiOptions {
        pool: PoolOptions { attempts_max: settings.max_parallel_tasks, ..PoolOptions::default() },
        models: Some(models),
        on_build: on_build(quiet),
        ..CrewaiOptions::new(&settings.home)
    }
}

fn runtime_options(
    settings: &Settings,
    models: Arc<dyn ModelAccess>,
    checkpoints: Arc<dyn CheckpointStore>,
    quiet: bool,
) -> RuntimeOptions {
    let most = settings.max_parallel_tasks;
    RuntimeOptions {
        pool: PoolOptions { attempts_max: most, guests_max: most, ..PoolOptions::default() },
        models: Some(models),
        checkpoints: Some(checkpoints),
        on_build: on_build(quiet),
        ..RuntimeOptions::new(&settings.home)
    }
}

fn on_build(quiet: bool) -> OnProgress {
    let progress = BuildProgressLine::default();
    Arc::new(move |step| if quiet { tracing::info!("{step}") } else { progress.show(&step) })
}
