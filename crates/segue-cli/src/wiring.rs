//! What a process is made of: the only place that names concrete backends.
//!
//! Here: engine, adapters, the way to models. [`pythons`]: adapters that need Python. [`stores`]: where runs are kept. [`bus`]: where events are published to.

mod bus;
mod pythons;
mod stores;

use std::{path::Path, sync::Arc, time::Duration};

use segue_core::{
    ids::{HandlerId, RunId},
    ports::{Adapter, EventBus, MetricsCollector, ModelJournal, Orchestrator, RunStore},
    spec::{Diagnostic, WorkflowSpec},
};
use segue_crewai::{CrewaiAdapter, CrewaiOptions, CrewaiRemote, RemoteOptions};
use segue_engine::{Engine, EngineConfig, Pass, StartError};
use segue_gateway::{CHAT, ChatAdapter, Gateway, GatewayError, GatewayOptions, SharedLimits};
use segue_http::HttpAdapter;
use segue_langchain::{LangchainAdapter, LanggraphRemote};
use segue_server::PrometheusMetrics;
use segue_worker::{
    contain::sweep_dead_engines,
    environment::Explanation,
    process::ProcessAdapter,
    python::{PythonAdapter, RuntimeOptions},
};

pub(crate) use self::{
    bus::{Bus, open_store_and_bus, open_stores_and_bus},
    stores::{Stores, must_exist, open_or_create_store, open_store, open_store_and_limits, upkeep},
};
use self::{pythons::Pythons, stores::open_stores};
use crate::{
    answers::Answers,
    chaos,
    config::Settings,
    exit::Exit,
    failure::{Failure, Outcome},
    logs,
    rehearsing::Rehearsing,
};

/// A process that carries out runs.
pub(crate) struct Session {
    pub(crate) settings: Settings,
    pub(crate) store: Arc<dyn RunStore>,
    pub(crate) bus: Arc<dyn EventBus>,
    /// The same bus, to be left in good order.
    own_bus: Bus,
    pub(crate) engine: Arc<Engine>,
    pythons: Arc<Pythons>,
    gateway: Arc<Gateway>,
}

/// What a session is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Purpose {
    /// Tell people what takes long before a run begins.
    pub(crate) quiet: bool,
}

/// An engine that carries out what others submit.
pub(crate) struct Serving {
    /// Takes what is measured.
    pub(crate) metrics: Arc<PrometheusMetrics>,
    /// Every run is a rehearsal, whatever it was started as.
    pub(crate) rehearsal: bool,
    /// Who answers in the place of providers.
    pub(crate) answers: Answers,
}

/// How often an engine that serves looks for runs that nobody drives. Most it hears of before that.
const CLAIM_EVERY: Duration = Duration::from_secs(1);

impl Session {
    /// Opens the store and starts an engine on it, with all adapters.
    pub(crate) async fn start(settings: Settings, purpose: Purpose) -> Outcome<Self> {
        Self::start_with(settings, purpose, Answers::default()).await
    }

    /// As [`Session::start`], with those who answer in the place of providers.
    pub(crate) async fn start_with(settings: Settings, purpose: Purpose, answers: Answers) -> Outcome<Self> {
        Self::open(settings, purpose, answers, None).await
    }

    /// As [`Session::start`], with an engine that looks for work by itself.
    pub(crate) async fn start_serving(settings: Settings, serving: Serving) -> Outcome<Self> {
        let answers = serving.answers.clone();
        Self::open(settings, Purpose { quiet: true }, answers, Some(serving)).await
    }

    async fn open(settings: Settings, purpose: Purpose, answers: Answers, serving: Option<Serving>) -> Outcome<Self> {
        let stores = chaos::around(open_stores(&settings).await?)?;
        let own_bus = Bus::open(&settings, &stores)?;
        let Stores { runs: store, journal, checkpoints, limits, .. } = stores;
        // An attempt that will be run again shall not still be running: engines that were killed leave their processes.
        // Nothing else is under way here yet: it may block.
        sweep();
        let bus = own_bus.port();
        let (providers, models) = (settings.models.provider_options(), settings.models.model_options());
        let Answers { script, cassette, .. } = answers;
        let metrics = serving.as_ref().map(|serving| serving.metrics.clone() as Arc<dyn MetricsCollector>);
        let mut config = engine_config(&settings);
        config.claim_every = serving.is_some().then_some(CLAIM_EVERY);
        let shared = SharedLimits { store: limits.clone(), engine: config.engine_id.clone() };
        let options = GatewayOptions {
            providers,
            models,
            script,
            cassette,
            metrics,
            limits: Some(shared),
            ..GatewayOptions::new(journal.clone())
        };
        let gateway = Arc::new(start_gateway(options).await?);
        let pythons = Arc::new(Pythons::new(&settings, gateway.clone(), checkpoints, purpose.quiet));
        let crewai_remote = CrewaiRemote::new(RemoteOptions { journal: Some(journal.clone()), ..Default::default() });
        let adapters: [Arc<dyn Adapter>; 9] = [
            Arc::new(Pass),
            Arc::new(ProcessAdapter),
            Arc::new(HttpAdapter::default()),
            Arc::new(LanggraphRemote::default()),
            Arc::new(crewai_remote),
            pythons.crewai.clone(),
            pythons.langchain.clone(),
            pythons.python.clone(),
            Arc::new(ChatAdapter::new(Some(gateway.clone()))),
        ];
        let mut builder = Engine::builder(store.clone())
            .bus(bus.clone())
            .config(config)
            .prepare(pythons.clone())
            .sweep(sweep)
            .secrets(Arc::new(settings.secrets.clone()))
            .limits(limits.clone(), settings.limits.specs())
            .journal(journal);
        if let Some(serving) = &serving {
            builder = builder.metrics(serving.metrics.clone());
        }
        for adapter in adapters.map(chaos::watched) {
            builder = builder.adapter(match &serving {
                Some(serving) if serving.rehearsal => Arc::new(Rehearsing(adapter)),
                _ => adapter,
            });
        }
        let engine = builder.start().await.map_err(|error| match error {
            StartError::Store(error) => Failure::from(error),
            StartError::HandlerTaken(error) => Failure::internal(error.to_string()),
        })?;
        let engine = Arc::new(engine);
        logs::of_engine(engine.id());
        Ok(Self { settings, store, bus, own_bus, engine, pythons, gateway })
    }

    /// Makes what a workflow's tasks will need and what takes long: Python environments.
    pub(crate) async fn prepare(&self, workflow: &WorkflowSpec, base_dir: &Path) -> Outcome<()> {
        self.pythons.make(workflow, Some(base_dir)).await.map_err(|error| {
            Failure::new(Exit::Invalid, error.message).help("`segue doctor` shows which Python is chosen, and why")
        })
    }

    /// Measures what the workers do at this moment.
    pub(crate) fn measure(&self, metrics: Arc<PrometheusMetrics>) -> Arc<dyn Fn() + Send + Sync> {
        let pythons = self.pythons.clone();
        Arc::new(move || pythons.measure(&*metrics))
    }

    /// Takes a run over if no living process owns it. Says whether this process carries it out now.
    pub(crate) async fn take_over(&self, run: RunId) -> Outcome<bool> {
        Ok(self.engine.resume(&[run]).await?.contains(&run))
    }

    /// The bus on which a run's events may be told, that this process carries out or another.
    pub(crate) fn bus_for(&self, is_ours: bool) -> Option<&dyn EventBus> {
        (is_ours || self.own_bus.reaches_others()).then_some(&*self.bus)
    }

    /// Ends everything that this process started.
    pub(crate) async fn end(self) {
        self.engine.shutdown().await;
        self.gateway.shutdown().await;
        self.own_bus.flush().await;
    }
}

/// Ends what engines of this machine that are gone have left behind.
fn sweep() {
    let ended = sweep_dead_engines();
    if ended > 0 {
        tracing::info!(ended, "ended processes that engines which are gone had left behind");
    }
}

/// Starts the way to models.
pub(crate) async fn start_gateway(options: GatewayOptions) -> Outcome<Gateway> {
    Gateway::start(options).await.map_err(|error| match error {
        GatewayError::Listen(_) => Failure::new(Exit::Internal, format!("the model gateway cannot start: {error}"))
            .help("allow this process to listen on 127.0.0.1"),
        GatewayError::Provider { .. } => {
            Failure::invalid(error.to_string()).help("`segue config show --origin` says where it is configured")
        }
    })
}

/// Keeps nothing: for a look.
pub(crate) fn no_journal() -> Arc<dyn ModelJournal> {
    stores::nowhere()
}

fn engine_config(settings: &Settings) -> EngineConfig {
    let limit = u32::try_from(settings.max_parallel_tasks).unwrap_or(u32::MAX);
    EngineConfig {
        lease_ttl: settings.lease,
        grace: settings.grace,
        drain: settings.drain,
        live_max: settings.max_live_runs,
        default_handler: HandlerId::new(settings.default_task.as_str()),
        concurrency: adapters()
            .iter()
            .filter(|adapter| !adapter.is_immediate())
            .map(|adapter| (adapter.name().to_owned(), limit))
            .collect(),
        ..EngineConfig::default()
    }
}

/// The adapters, to look at workflows with; they start nothing.
fn adapters() -> Vec<Box<dyn Adapter>> {
    // Nothing is ever made or kept there by an adapter that only looks.
    vec![
        Box::new(Pass),
        Box::new(ProcessAdapter),
        Box::new(HttpAdapter::default()),
        Box::new(LanggraphRemote::default()),
        Box::new(CrewaiRemote::default()),
        Box::new(CrewaiAdapter::new(CrewaiOptions::new("."))),
        Box::new(LangchainAdapter::new(RuntimeOptions::new("."))),
        Box::new(PythonAdapter::new(RuntimeOptions::new("."))),
        Box::new(ChatAdapter::new(None)),
    ]
}

/// The handlers that there are.
pub(crate) fn handlers() -> Vec<HandlerId> {
    adapters().iter().flat_map(|adapter| adapter.handlers().iter().copied().map(HandlerId::from)).collect()
}

/// What the adapters find wrong with a workflow.
pub(crate) fn translate_workflow(workflow: &WorkflowSpec) -> Vec<Diagnostic> {
    adapters().iter().flat_map(|adapter| adapter.translate_workflow(workflow)).collect()
}

/// Which Python tasks of these kinds would get in the current folder, and why.
pub(crate) async fn explain_python(settings: &Settings) -> [(&'static str, Explanation); 3] {
    let folder = std::env::current_dir().ok();
    let folder = folder.as_deref();
    let crewai = CrewaiAdapter::new(CrewaiOptions::new(&settings.home));
    let langchain = LangchainAdapter::new(RuntimeOptions::new(&settings.home));
    let python = PythonAdapter::new(RuntimeOptions::new(&settings.home));
    [
        ("crewai", crewai.explain(folder).await),
        ("langchain", langchain.explain(folder).await),
        ("python", python.explain(folder).await),
    ]
}

/// Refuses a workflow whose agents would find no model. Only what is certain: a crew of the user's own may bring a
/// model along, and a hint or a `.env` file may name a key.
pub(crate) fn needs_provider(workflow: &WorkflowSpec, base_dir: &Path, settings: &Settings) -> Outcome<()> {
    let defaults = workflow.defaults.as_ref();
    let default = defaults.and_then(|own| own.task.as_ref()).map_or(settings.default_task.as_str(), HandlerId::as_str);
    let has_hints = |hints: &serde_json::Map<String, serde_json::Value>| hints.contains_key("crewai");
    if defaults.is_some_and(|own| has_hints(&own.hints)) || base_dir.join(".env").exists() {
        return Ok(());
    }
    let lost = workflow.every_node().into_iter().map(|(_, node)| node).find(|node| {
        let handler = node.spec.task.as_ref().map_or(default, HandlerId::as_str);
        let asks = handler == CHAT || handler == segue_crewai::AGENT && !has_hints(&node.spec.hints);
        node.has_handler() && asks
    });
    match lost {
        Some(node) if settings.models.has_no_provider() => Err(Failure::invalid(format!(
            "`{}` asks a model, and no model provider is set up",
            node.id
        ))
        .help("run it with --rehearse: the built-in model answers; no key, no cost")
        .help(
            "or set OPENAI_API_KEY (and OPENAI_BASE_URL for a server of your own), or name [providers] in segue.toml",
        )),
        _ => Ok(()),
    }
}
