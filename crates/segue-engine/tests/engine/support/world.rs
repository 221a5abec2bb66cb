//! Everything a test needs: a store, an adapter, engines, and the judge of what they leave behind.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use segue_core::{
    event::{EventKind, Waiting},
    ids::{ContentHash, EngineId, RunId},
    memory::{MemoryBus, MemoryMetrics, MemoryStore, Sample},
    outcome::{TaskOutcome, Usage},
    ports::{Deployment, LimitStore, Orchestrator, OwnerProof, RunRow, RunStore, Secrets, StartRun, Started},
    spec::{LimitSpec, WorkflowSpec},
    status::Status,
    time::Timestamp,
};
use segue_engine::{
    Clock, Engine, EngineBuilder, EngineConfig, NoSecrets, Pass, Prepare, StartError, own_proof, read_run,
};
use segue_sqlite::{SqliteOptions, SqliteStore};
use segue_testkit::{
    auditor,
    faults::{FaultLimits, FaultStore, Faults, Journal, Weather, names},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::scripted::{Call, Scripted};

pub struct World {
    pub store: Arc<FaultStore>,
    /// The slots of limits, as they are.
    pub limits: Arc<dyn LimitStore>,
    /// What happens to engines that ask for them.
    pub limit_faults: Arc<Faults>,
    /// The limits of the configuration.
    pub limit_specs: BTreeMap<String, LimitSpec>,
    pub bus: Arc<MemoryBus>,
    pub metrics: Arc<MemoryMetrics>,
    pub journal: Arc<Journal>,
    pub clock: Clock,
    calls: mpsc::UnboundedReceiver<Call>,
    sender: mpsc::UnboundedSender<Call>,
    specs: BTreeMap<RunId, WorkflowSpec>,
    deployed: BTreeMap<ContentHash, WorkflowSpec>,
    engines: u32,
    /// Nothing takes longer; what does is stuck. On paused time an hour is nothing.
    patience: Duration,
    folder: Option<TempDir>,
}

impl World {
    pub fn in_memory() -> Self {
        let clock = Clock::start();
        let own = clock.clone();
        let store = Arc::new(MemoryStore::new(Arc::new(move || own.now())));
        Self::on(store.clone(), store, clock, None)
    }

    /// On a store whose clock the test sets: so many microseconds from the world's.
    pub fn in_memory_off_by(micros: Arc<AtomicI64>) -> Self {
        let clock = Clock::start();
        let own = clock.clone();
        let shifted = move || Timestamp::from_micros(own.now().as_micros() + micros.load(Ordering::Acquire));
        let store = Arc::new(MemoryStore::new(Arc::new(shifted)));
        Self::on(store.clone(), store, clock, None)
    }

    pub fn on_sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("segue.db"), SqliteOptions::default()).unwrap();
        let store = Arc::new(store);
        Self::on(store.clone(), store, Clock::start(), Some(folder))
    }

    fn on(store: Arc<dyn RunStore>, limits: Arc<dyn LimitStore>, clock: Clock, folder: Option<TempDir>) -> Self {
        let journal = Arc::new(Journal::default());
        let (sender, calls) = mpsc::unbounded_channel();
        Self {
            store: Arc::new(FaultStore::new(store, Arc::new(Faults::calm()), journal.clone())),
            limits,
            limit_faults: Arc::new(Faults::calm()),
            limit_specs: BTreeMap::new(),
            bus: Arc::default(),
            metrics: Arc::default(),
            journal,
            clock,
            calls,
            sender,
            specs: BTreeMap::new(),
            deployed: BTreeMap::new(),
            engines: 0,
            patience: Duration::from_secs(if folder.is_some() { 20 } else { 3600 }),
            folder,
        }
    }

    /// A configuration for the next engine. It has the proof of a process that is gone: stopped, it counts as dead.
    pub fn config(&mut self) -> EngineConfig {
        self.engines += 1;
        let engine_id = EngineId::new(format!("engine-{}", self.engines));
        let proof = OwnerProof { pid: u32::MAX, ..own_proof() };
        EngineConfig { engine_id, proof, clock: self.clock.clone(), ..EngineConfig::default() }
    }

    pub async fn engine(&mut self) -> Engine {
        let config = self.config();
        self.engine_with(config).await
    }

    /// An engine that others can see to be alive.
    pub async fn engine_that_lives(&mut self) -> Engine {
        let config = EngineConfig { proof: own_proof(), ..self.config() };
        self.engine_with(config).await
    }

    pub async fn engine_with(&mut self, config: EngineConfig) -> Engine {
        self.engine_knowing(config, Arc::new(NoSecrets)).await
    }

    pub async fn engine_knowing(&mut self, config: EngineConfig, secrets: Arc<dyn Secrets>) -> Engine {
        self.builder(&self.store, config).secrets(secrets).start().await.unwrap()
    }

    /// An engine that makes what tasks need before they begin.
    pub async fn engine_preparing(&mut self, config: EngineConfig, preparer: Arc<dyn Prepare>) -> Engine {
        self.builder(&self.store, config).prepare(preparer).start().await.unwrap()
    }

    /// The way to the store that one engine has for itself, with faults of its own.
    pub fn way_to_store(&self, seed: u64, weather: Weather) -> Arc<FaultStore> {
        let faults = Arc::new(Faults::seeded(seed, weather));
        Arc::new(FaultStore::new(self.store.inner.clone(), faults, self.journal.clone()))
    }

    /// An engine that reaches the store by a way of its own, which may fail already.
    pub async fn engine_by(&self, way: &Arc<FaultStore>, config: EngineConfig) -> Result<Engine, StartError> {
        self.builder(way, config).start().await
    }

    fn builder(&self, store: &Arc<FaultStore>, config: EngineConfig) -> EngineBuilder {
        let (calls, journal) = (self.sender.clone(), self.journal.clone());
        let scripted = Scripted { engine: config.engine_id.clone(), calls, journal };
        let limits = Arc::new(FaultLimits::new(self.limits.clone(), self.limit_faults.clone()));
        Engine::builder(store.clone())
            .bus(self.bus.clone())
            .metrics(self.metrics.clone())
            .adapter(Arc::new(Pass))
            .adapter(Arc::new(scripted))
            .limits(limits, self.limit_specs.clone())
            .config(config)
    }

    /// Deploys a workflow of these nodes and starts it.
    pub async fn start(&mut self, engine: &Engine, nodes: Value) -> RunId {
        self.start_workflow(engine, json!({"id": "w", "nodes": nodes}), StartRun::default()).await.run_id
    }

    pub async fn start_workflow(&mut self, engine: &Engine, workflow: Value, start: StartRun) -> Started {
        let spec: WorkflowSpec = serde_json::from_value(workflow).unwrap();
        let hash = engine.deploy_workflow(&spec).await.unwrap();
        let started = engine.start_run(hash, start).await.unwrap();
        self.specs.insert(started.run_id, spec);
        started
    }

    /// Puts a workflow into service, for others to start it as their child.
    pub async fn deploy(&mut self, engine: &Engine, workflow: Value) -> ContentHash {
        let spec: WorkflowSpec = serde_json::from_value(workflow).unwrap();
        let hash = engine.deploy_workflow(&spec).await.unwrap();
        let (workflow_id, deployed_at) = (spec.id.clone(), self.clock.now());
        self.store.deploy(Deployment { workflow_id, hash, deployed_at, base_dir: None }).await.unwrap();
        self.deployed.insert(hash, spec);
        hash
    }

    /// The run that a task waits for, or waited for last.
    pub async fn child_of(&mut self, run: RunId, task: &str) -> RunId {
        loop {
            let events = self.store.inner.events(run, 0, 0).await.unwrap();
            let child = events.iter().rev().find_map(|event| match &event.kind {
                EventKind::TaskWaiting(Waiting::Child { run_id, .. }) if event.task_id == Some(task.into()) => {
                    Some(*run_id)
                }
                _ => None,
            });
            let Some(child) = child else {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            };
            let row = self.store.inner.get_run(child).await.unwrap();
            let spec = self.deployed[&row.workflow_hash].clone();
            self.specs.insert(child, spec);
            return child;
        }
    }

    /// Waits until the run has this status.
    pub async fn reaches(&self, run: RunId, status: Status) {
        let reached = async {
            while self.store.inner.get_run(run).await.unwrap().status != status {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(self.patience, reached).await.unwrap_or_else(|_| panic!("{run} is {status}"));
    }

    /// Remembers the workflow of a run that was started elsewhere, to judge it.
    pub fn know(&mut self, run: RunId, workflow: Value) {
        self.know_spec(run, serde_json::from_value(workflow).unwrap());
    }

    /// As [`World::know`].
    pub fn know_spec(&mut self, run: RunId, spec: WorkflowSpec) {
        self.specs.insert(run, spec);
    }

    /// The next attempt that asks for an answer.
    pub async fn call(&mut self) -> Call {
        tokio::time::timeout(self.patience, self.calls.recv()).await.expect("an attempt is dispatched").unwrap()
    }

    /// The next attempt, which must be this one.
    pub async fn call_of(&mut self, name: &str) -> Call {
        let call = self.call().await;
        assert_eq!(call.name(), name);
        call
    }

    /// An attempt that has asked already.
    pub fn try_call(&mut self) -> Option<Call> {
        self.calls.try_recv().ok()
    }

    /// Is there an attempt that has asked already?
    pub fn has_call(&mut self) -> bool {
        !self.calls.is_empty()
    }

    /// Waits for the run's end and judges its log.
    pub async fn ended(&self, engine: &Engine, run: RunId, status: Status) -> RunRow {
        let row = tokio::time::timeout(self.patience, engine.wait(run)).await.expect("the run ends").unwrap();
        assert_eq!(row.status, status, "{:?}", row.error);
        self.judge(run).await;
        row
    }

    /// As [`World::ended`]; whatever asks meanwhile is told that it was cancelled.
    pub async fn ended_answering(&mut self, engine: &Engine, run: RunId, status: Status) -> RunRow {
        let end = tokio::time::timeout(self.patience, engine.wait(run));
        tokio::pin!(end);
        loop {
            tokio::select! {
                row = &mut end => {
                    assert_eq!(row.expect("the run ends").unwrap().status, status);
                    return self.ended(engine, run, status).await;
                }
                Some(call) = self.calls.recv() => {
                    call.cancelled().await;
                    call.answer(TaskOutcome::Cancelled { usage: Usage::default() });
                }
            }
        }
    }

    /// The rows say what the log says, and the log is one that could have been.
    pub async fn judge(&self, run: RunId) {
        let mut events = self.store.inner.events(run, 0, 0).await.unwrap();
        for payload in events.iter_mut().filter_map(|event| event.kind.payload_mut()) {
            if let Some(blob) = payload.blob() {
                let json = self.store.inner.blob(blob).await.unwrap();
                payload.supply(Arc::new(serde_json::from_slice(&json).unwrap()));
            }
        }
        let row = self.store.inner.get_run(run).await.unwrap();
        let mut rows = self.store.inner.list_tasks(run).await.unwrap();
        let folded = read_run(&*self.store.inner, run).await.unwrap();
        assert_eq!(row, folded.run_row());
        let mut expected = folded.all_task_rows();
        // A task that never changed has no row.
        expected.retain(|task| rows.iter().any(|row| row.task_id == task.task_id) || task.status != Status::Pending);
        rows.sort_by(|a, b| a.task_id.cmp(&b.task_id));
        expected.sort_by(|a, b| a.task_id.cmp(&b.task_id));
        assert_eq!(rows, expected);
        let auditor = auditor::audit(&self.specs[&run], &events).unwrap();
        auditor.check_rows(&row, &rows).unwrap();
    }

    pub async fn log(&self, run: RunId) -> Vec<String> {
        names(&self.store.inner.events(run, 0, 0).await.unwrap())
    }

    pub async fn output(&self, run: RunId, task: &str) -> Value {
        let result = self.store.inner.get_task_result(run, &task.into()).await.unwrap();
        (**result.output.unwrap().value().unwrap()).clone()
    }

    pub fn count(&self, name: &str, labels: &[(&'static str, &str)]) -> u64 {
        value_of(&self.metrics.snapshot().counters, name, labels)
    }

    pub fn gauge(&self, name: &str, labels: &[(&'static str, &str)]) -> i64 {
        value_of(&self.metrics.snapshot().gauges, name, labels)
    }

    /// The files of the store.
    pub fn files(&self) -> Vec<PathBuf> {
        let folder = self.folder.iter().flat_map(|folder| std::fs::read_dir(folder.path()).unwrap());
        folder.map(|file| file.unwrap().path()).collect()
    }

    /// Commits, as the store saw them.
    pub fn commits(&self) -> Vec<String> {
        self.journal.lines().into_iter().filter(|line| line.starts_with("commit")).collect()
    }

    /// No task was executed again after its success was recorded.
    pub fn assert_nothing_ran_after_its_success(&self) {
        let lines = self.journal.lines();
        for (at, line) in lines.iter().enumerate() {
            if let Some(task) = line.strip_prefix("execute ").and_then(|name| name.split('@').next()) {
                let succeeded = format!("succeeded:{task}@");
                let is_recorded = |line: &String| {
                    line.starts_with("commit") && line.split(' ').any(|word| word.starts_with(&succeeded))
                };
                assert!(!lines[..at].iter().any(is_recorded), "{task} ran again: {lines:#?}");
            }
        }
    }

    /// Every attempt was executed after the commit that recorded its start.
    pub fn assert_dispatched_after_commit(&self) {
        let lines = self.journal.lines();
        for (at, line) in lines.iter().enumerate() {
            if let Some(name) = line.strip_prefix("execute ") {
                let started = format!("started:{name}");
                let is_recorded =
                    |line: &String| line.starts_with("commit") && line.split(' ').any(|word| *word == started);
                assert!(lines[..at].iter().any(is_recorded), "{name} ran before its start was recorded: {lines:#?}");
            }
        }
    }
}

fn value_of<T: Copy>(samples: &[Sample<T>], name: &str, labels: &[(&'static str, &str)]) -> T {
    let labels: Vec<_> = labels.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
    let sample = samples.iter().find(|sample| sample.name == name && sample.labels == labels);
    sample.unwrap_or_else(|| panic!("{name} {labels:?} was measured")).value
}

/// Lets everything that can happen now happen, without letting time pass.
pub async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}
