//! What an engine is made of, and its start.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock, atomic::AtomicBool},
};

use segue_core::{
    ports::{Adapter, EventBus, LimitStore, MetricsCollector, ModelJournal, RunStore, Secrets, StoreError},
    spec::LimitSpec,
};
use tokio::{sync::Notify, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::EngineConfig,
    dispatch::LocalScheduler,
    engine::Engine,
    inbox,
    lease::{self, LeaseState},
    limits::Limits,
    live::LiveRuns,
    look,
    observe::{NoBus, NoMetrics, ObservedAdapter, ObservedStore, Observer},
    plans::Plans,
    prepare::Prepare,
    registry::{Adapters, HandlerTaken},
    secrets::NoSecrets,
    shared::{Shared, Sweep},
    suspects::Suspects,
};

/// Why an engine cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Two adapters claim one handler.
    #[error(transparent)]
    HandlerTaken(#[from] HandlerTaken),
    /// The store did not take the engine's lease.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Collects what an engine is made of.
pub struct EngineBuilder {
    store: Arc<dyn RunStore>,
    bus: Arc<dyn EventBus>,
    metrics: Arc<dyn MetricsCollector>,
    adapters: Vec<Arc<dyn Adapter>>,
    secrets: Arc<dyn Secrets>,
    journal: Option<Arc<dyn ModelJournal>>,
    preparer: Option<Arc<dyn Prepare>>,
    sweep: Option<Sweep>,
    limits: Option<Arc<dyn LimitStore>>,
    limit_specs: BTreeMap<String, LimitSpec>,
    config: EngineConfig,
}

impl EngineBuilder {
    pub(crate) fn new(store: Arc<dyn RunStore>) -> Self {
        Self {
            store,
            bus: Arc::new(NoBus),
            metrics: Arc::new(NoMetrics),
            adapters: Vec::new(),
            secrets: Arc::new(NoSecrets),
            journal: None,
            preparer: None,
            sweep: None,
            limits: None,
            limit_specs: BTreeMap::new(),
            config: EngineConfig::default(),
        }
    }

    /// Where committed events and progress are published. Without it: nowhere.
    #[must_use]
    pub fn bus(mut self, bus: Arc<dyn EventBus>) -> Self {
        self.bus = bus;
        self
    }

    /// Who measures. Without it: nobody.
    #[must_use]
    pub fn metrics(mut self, metrics: Arc<dyn MetricsCollector>) -> Self {
        self.metrics = metrics;
        self
    }

    /// Adds an adapter.
    #[must_use]
    pub fn adapter(mut self, adapter: Arc<dyn Adapter>) -> Self {
        self.adapters.push(adapter);
        self
    }

    /// Who knows the secrets that workflows refer to. Without it: nobody.
    #[must_use]
    pub fn secrets(mut self, secrets: Arc<dyn Secrets>) -> Self {
        self.secrets = secrets;
        self
    }

    /// Who knows what lost attempts consumed. Without it, what they consumed is not counted.
    #[must_use]
    pub fn journal(mut self, journal: Arc<dyn ModelJournal>) -> Self {
        self.journal = Some(journal);
        self
    }

    /// Who makes what the tasks of claimed runs need, before they begin. Without it, the attempts wait for it in their time.
    #[must_use]
    pub fn prepare(mut self, preparer: Arc<dyn Prepare>) -> Self {
        self.preparer = Some(preparer);
        self
    }

    /// Ends what engines of this machine that are gone have left behind. Called, where it may block, before the first run
    /// of such an engine is taken over: what will be run again shall not be running still.
    #[must_use]
    pub fn sweep(mut self, sweep: impl Fn() + Send + Sync + 'static) -> Self {
        self.sweep = Some(Arc::new(sweep));
        self
    }

    /// Who keeps the slots of named limits, and the limits that all workflows share. It is the store that the engine is
    /// registered in. Without it, tasks that name limits fail.
    #[must_use]
    pub fn limits(mut self, store: Arc<dyn LimitStore>, shared: BTreeMap<String, LimitSpec>) -> Self {
        (self.limits, self.limit_specs) = (Some(store), shared);
        self
    }

    /// How the engine behaves.
    #[must_use]
    pub fn config(mut self, config: EngineConfig) -> Self {
        self.config = config;
        self
    }

    /// Registers the engine in the store and starts its timers, on the tokio runtime that this is called in.
    pub async fn start(self) -> Result<Engine, StartError> {
        let Self { store, bus, metrics, adapters, secrets, journal, preparer, sweep, limits, limit_specs, config } =
            self;
        let observed = adapters
            .into_iter()
            .map(|adapter| -> Arc<dyn Adapter> { Arc::new(ObservedAdapter::new(adapter, metrics.clone())) });
        let adapters = Arc::new(Adapters::new(observed.collect(), &config.concurrency)?);
        let (scheduler, stopped) = (LocalScheduler::new(adapters.clone()), CancellationToken::new());
        let id = config.engine_id.clone();
        let limits = Limits::new(limits, &limit_specs, id, scheduler.clone(), stopped.clone());
        let asked = Instant::now();
        let shared = Arc::new(Shared {
            store: Arc::new(ObservedStore::new(store, metrics.clone())),
            bus,
            scheduler,
            limits,
            observer: Observer { metrics, adapters: adapters.clone() },
            adapters,
            secrets,
            journal,
            preparer,
            lease: LeaseState::new(asked + config.lease_ttl),
            config,
            plans: Plans::default(),
            live: LiveRuns::default(),
            drives: TaskTracker::new(),
            draining: AtomicBool::new(false),
            stopped,
            broken: OnceLock::new(),
            suspects: Suspects::default(),
            sweep,
            swept: Mutex::default(),
            look: Notify::new(),
            neighbours: Mutex::default(),
            unsure_until: Mutex::default(),
        });
        shared.store.renew_engine(&shared.record(), shared.config.lease_ttl).await?;
        shared.config.clock.agree_with(shared.store.now().await?);
        tokio::spawn(lease::keep(shared.clone()));
        // From here on no request is missed, whenever the listener gets its turn.
        let signals = shared.store.request_signals();
        tokio::spawn(inbox::listen(shared.clone(), signals));
        tokio::spawn(look::look_again(shared.clone()));
        tokio::spawn(look::watch_neighbours(shared.clone()));
        Ok(Engine::of(shared))
    }
}
