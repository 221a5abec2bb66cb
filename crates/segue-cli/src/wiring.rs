//! What a process is made of: the only place that names concrete backends.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use segue_core::{
    ids::{HandlerId, RunId},
    memory::{MemoryBus, MemoryStore},
    ports::{Adapter, EventBus, Orchestrator, RunStore},
    spec::{Diagnostic, WorkflowSpec},
};
use segue_engine::{Clock, Engine, EngineConfig, Pass, StartError};
use segue_sqlite::{SqliteOptions, SqliteStore, Synchronous};
use segue_worker::process::ProcessAdapter;

use crate::{
    config::{Settings, StoreUrl},
    exit::Exit,
    failure::{Failure, Outcome},
};

/// A process that carries out runs.
pub(crate) struct Session {
    pub(crate) settings: Settings,
    pub(crate) store: Arc<dyn RunStore>,
    pub(crate) bus: Arc<dyn EventBus>,
    pub(crate) engine: Engine,
}

impl Session {
    /// Opens the store and starts an engine on it, with all adapters.
    pub(crate) async fn start(settings: Settings) -> Outcome<Self> {
        let store = open_or_create_store(&settings)?;
        let bus: Arc<dyn EventBus> = Arc::new(MemoryBus::default());
        let mut builder = Engine::builder(store.clone()).bus(bus.clone()).config(engine_config(&settings));
        for adapter in adapters(&settings) {
            builder = builder.adapter(adapter);
        }
        let engine = builder.start().await.map_err(|error| match error {
            StartError::Store(error) => Failure::from(error),
            StartError::HandlerTaken(error) => Failure::internal(error.to_string()),
        })?;
        Ok(Self { settings, store, bus, engine })
    }

    /// Takes a run over if no living process owns it. Says whether this process carries it out now.
    pub(crate) async fn take_over(&self, run: RunId) -> Outcome<bool> {
        Ok(self.engine.resume(&[run]).await?.contains(&run))
    }

    /// Ends everything that this process started.
    pub(crate) async fn end(self) {
        self.engine.shutdown().await;
    }
}

fn engine_config(settings: &Settings) -> EngineConfig {
    let limit = u32::try_from(settings.max_parallel_tasks).unwrap_or(u32::MAX);
    EngineConfig {
        grace: settings.grace,
        drain: settings.drain,
        default_handler: HandlerId::new(settings.default_task.as_str()),
        concurrency: ["process", "crewai"].into_iter().map(|name| (name.to_owned(), limit)).collect::<BTreeMap<_, _>>(),
        ..EngineConfig::default()
    }
}

fn adapters(_settings: &Settings) -> Vec<Arc<dyn Adapter>> {
    vec![Arc::new(Pass), Arc::new(ProcessAdapter)]
}

/// The handlers that there are.
pub(crate) fn handlers() -> Vec<HandlerId> {
    let adapters: [&dyn Adapter; 2] = [&Pass, &ProcessAdapter];
    adapters.into_iter().flat_map(|adapter| adapter.handlers().iter().copied().map(HandlerId::from)).collect()
}

/// What the adapters find wrong with a workflow.
pub(crate) fn translate_workflow(workflow: &WorkflowSpec) -> Vec<Diagnostic> {
    let adapters: [&dyn Adapter; 2] = [&Pass, &ProcessAdapter];
    adapters.into_iter().flat_map(|adapter| adapter.translate_workflow(workflow)).collect()
}

/// The store, made if it is not there.
pub(crate) fn open_or_create_store(settings: &Settings) -> Outcome<Arc<dyn RunStore>> {
    match &settings.store {
        StoreUrl::Memory => {
            let clock = Clock::start();
            Ok(Arc::new(MemoryStore::new(Arc::new(move || clock.now()))))
        }
        StoreUrl::Sqlite(path) => open_sqlite(path, settings),
    }
}

fn open_sqlite(path: &Path, settings: &Settings) -> Outcome<Arc<dyn RunStore>> {
    let synchronous = if settings.synchronous_full { Synchronous::Full } else { Synchronous::Normal };
    let options = SqliteOptions { synchronous, ..SqliteOptions::default() };
    Ok(Arc::new(SqliteStore::open(path, options)?))
}

/// The store, to be read: one that is not there is not made.
pub(crate) fn open_store(settings: &Settings) -> Outcome<Arc<dyn RunStore>> {
    must_exist(settings)?;
    open_or_create_store(settings)
}

/// Refuses where there is no store to read, before one would be made.
pub(crate) fn must_exist(settings: &Settings) -> Outcome<()> {
    match &settings.store {
        StoreUrl::Memory => Err(Failure::usage("runs of `memory:` are gone with their process")
            .help("name the store with --store sqlite:PATH, or leave it out for the default")),
        StoreUrl::Sqlite(path) if !path.exists() => {
            Err(Failure::new(Exit::NotFound, format!("there is no store at {}", path.display())).help(
                "the first `segue run` makes it; --store names another, `segue config show --origin` says why this one",
            ))
        }
        StoreUrl::Sqlite(_) => Ok(()),
    }
}

/// The variables by which a model provider is named to the frameworks.
pub(crate) const PROVIDER_VARIABLES: [&str; 2] = ["OPENAI_API_KEY", "OPENAI_BASE_URL"];
