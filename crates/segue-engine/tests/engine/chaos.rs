//! Everything at once, from a seed: several engines on one store, each with a way to it that fails before and after, late,
//! for a while; engines that die, attempts that fail, panic, hang and answer late, cancels. Whatever happens, what was
//! accepted is kept, nothing runs without a record or beside itself for long, the log is one that could have been, and
//! when the world becomes kind everything ends.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use fastrand::Rng;
use segue_core::{
    event::EventKind,
    ids::{ContentHash, RunId},
    outcome::{ErrorKind, Loss, TaskOutcome, Usage},
    ports::{Orchestrator, OrchestratorError, RunFilter, StartRun, StoreError},
    spec::WorkflowSpec,
    status::Status,
};
use segue_engine::{Engine, EngineConfig, own_proof};
use segue_testkit::faults::{FaultStore, Weather};
use serde_json::{Value, json};

use crate::support::{Call, World, settle};

/// Short, so that leases are lost and taken often.
const LEASE: Duration = Duration::from_secs(2);
/// Longer than anything takes in a kind world.
const PATIENCE: Duration = Duration::from_secs(600);

/// What a seed has come to.
#[derive(Default)]
pub struct Played {
    pub succeeded: usize,
    pub taken_over: usize,
    pub unknown_starts: usize,
}

/// Plays a seed on a runtime of its own. Panics where a promise is broken; the seed replays it.
pub fn play(seed: u64) -> Played {
    // The engine's own draws follow it too.
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let played = async { Chaos::new(seed).go().await };
        tokio::time::timeout(Duration::from_secs(3_600), played).await.expect("a seed comes to its end")
    })
}

struct Chaos {
    rng: Rng,
    world: World,
    /// No engine loses its lease, and none dies.
    is_mild: bool,
    weather: Weather,
    engines: Vec<(Engine, Arc<FaultStore>)>,
    specs: BTreeMap<ContentHash, WorkflowSpec>,
    /// Runs whose start was accepted at the first try.
    clean: BTreeSet<RunId>,
    accepted: BTreeSet<RunId>,
    cancelled: BTreeSet<RunId>,
    played: Played,
    held: Vec<Call>,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let is_mild = rng.bool();
        let weather = if is_mild { Weather::drawn(&mut rng).mild() } else { Weather::drawn(&mut rng) };
        Self {
            rng,
            world: World::in_memory(),
            is_mild,
            weather,
            engines: Vec::new(),
            specs: BTreeMap::new(),
            clean: BTreeSet::new(),
            accepted: BTreeSet::new(),
            cancelled: BTreeSet::new(),
            played: Played::default(),
            held: Vec::new(),
        }
    }

    async fn go(mut self) -> Played {
        for _ in 0..self.rng.usize(1..=3) {
            self.add_engine().await;
        }
        for n in 0..self.rng.usize(1..=2) {
            self.start_a_run(n).await;
        }
        for _ in 0..self.rng.usize(20..80) {
            let pause = if self.rng.u8(..10) == 0 { 3_000 } else { 40 };
            tokio::time::sleep(Duration::from_millis(self.rng.u64(1..=pause))).await;
            self.hear();
            self.disturb().await;
        }
        self.calm_down().await;
        self.assert_requests_are_heard().await;
        self.end_well().await;
        self.judge().await;
        self.played
    }

    /// For so long that others take what it has, while nobody answers anything. Then it is back, and must know.
    async fn cut_off_one_that_works(&mut self) {
        self.hear();
        let busy = self.held.iter().find(|call| !call.invocation.cancel.is_cancelled()).map(|call| call.engine.clone());
        let Some(at) = self.engines.iter().position(|(engine, _)| Some(engine.id()) == busy.as_ref()) else { return };
        self.set_weather(Weather::CALM);
        self.engines[at].1.faults.set_away_until(tokio::time::Instant::now() + LEASE * 3);
        tokio::time::sleep(LEASE * 3).await;
        self.calm_down().await;
        self.set_weather(self.weather);
    }

    /// After a while without faults and answers every engine knows what is its own.
    async fn calm_down(&mut self) {
        self.set_weather(Weather::CALM);
        tokio::time::sleep(LEASE * 3).await;
        self.hear();
        self.assert_nothing_runs_twice_at_once();
    }

    fn set_weather(&self, weather: Weather) {
        self.engines.iter().for_each(|(_, way)| way.faults.set_weather(weather));
    }

    async fn add_engine(&mut self) {
        let way = self.world.way_to_store(self.rng.u64(..), self.weather);
        // Alive as far as others can see: only its lease says when it is gone.
        let config = EngineConfig {
            proof: own_proof(),
            lease_ttl: LEASE,
            claim_every: Some(Duration::from_millis(500)),
            ..self.world.config()
        };
        loop {
            if let Ok(engine) = self.world.engine_by(&way, config.clone()).await {
                return self.engines.push((engine, way));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Starts a run: again and again until it is accepted, each time as another one unless it has a key.
    async fn start_a_run(&mut self, number: usize) {
        let key = self.rng.bool().then(|| format!("key-{number}"));
        let start = StartRun { idempotency_key: key.clone(), ..StartRun::default() };
        let nodes = nodes(&mut self.rng);
        for n in 0.. {
            let which = self.rng.usize(..self.engines.len());
            let prefix = if key.is_some() { format!("r{number}") } else { format!("r{number}x{n}") };
            let workflow = json!({"id": "w", "nodes": named(&nodes, &prefix)});
            let engine = &self.engines[which].0;
            let started = match deployed(engine, workflow, &mut self.specs).await {
                Ok(hash) if self.rng.u8(..3) == 0 => engine.submit(hash, start.clone()).await,
                Ok(hash) => engine.start_run(hash, start.clone()).await,
                Err(error) => Err(error),
            };
            match started {
                Ok(started) => {
                    let row = self.world.store.inner.get_run(started.run_id).await;
                    assert!(row.is_ok(), "accepted, and not in the store");
                    self.accepted.insert(started.run_id);
                    if n == 0 {
                        self.clean.insert(started.run_id);
                    }
                    return;
                }
                Err(OrchestratorError::Store(StoreError::Unavailable(_) | StoreError::Full(_))) => {
                    self.played.unknown_starts += 1;
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Takes the attempts that have asked for an answer.
    fn hear(&mut self) {
        while let Some(call) = self.world.try_call() {
            self.held.push(call);
        }
    }

    async fn disturb(&mut self) {
        match self.rng.u32(..100) {
            0..55 => self.answer(),
            55..60 if !self.is_mild => self.replace_an_engine().await,
            60..63 => {
                let runs: Vec<_> = self.accepted.iter().copied().collect();
                let (run, by) = (runs[self.rng.usize(..runs.len())], self.rng.usize(..self.engines.len()));
                if self.engines[by].0.cancel_run(run, "chaos").await.is_ok() {
                    self.cancelled.insert(run);
                }
            }
            63..66 if !self.is_mild => {
                // As if frozen, or cut off, for longer than its lease.
                let until = tokio::time::Instant::now() + LEASE * self.rng.u32(1..10);
                self.engines[self.rng.usize(..self.engines.len())].1.faults.set_away_until(until);
            }
            66..70 if !self.is_mild => self.cut_off_one_that_works().await,
            _ => {}
        }
    }

    async fn replace_an_engine(&mut self) {
        self.played.taken_over += 1;
        let (engine, _way) = self.engines.swap_remove(self.rng.usize(..self.engines.len()));
        if self.rng.bool() {
            engine.stop();
        } else {
            // In good order, as far as attempts that nobody answers allow.
            engine.shut_down_within(Duration::from_millis(1)).await;
        }
        self.add_engine().await;
    }

    fn answer(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let call = self.held.swap_remove(self.rng.usize(..self.held.len()));
        match self.rng.u32(..100) {
            0..75 => call.succeed(json!("done")),
            75..88 => call.answer(TaskOutcome::failure(ErrorKind::Connection, "chaos")),
            88..91 => call.answer(TaskOutcome::failure(ErrorKind::Auth, "chaos")),
            91..95 => call.answer(TaskOutcome::Cancelled { usage: Usage::default() }),
            // A panic in the adapter.
            _ => drop(call),
        }
    }

    /// Signals may be lost; the inbox is read all the same.
    async fn assert_requests_are_heard(&self) {
        for run in &self.cancelled {
            let row = self.world.store.inner.get_run(*run).await.unwrap();
            assert!(row.cancelling || row.status.is_terminal(), "{run} has not heard that it is to stop");
        }
    }

    /// Whoever has lost a run has told its attempts to stop.
    fn assert_nothing_runs_twice_at_once(&self) {
        let mut wanted = BTreeMap::new();
        for call in self.held.iter().filter(|call| !call.invocation.cancel.is_cancelled()) {
            let context = &call.invocation.context;
            let by: &mut Vec<_> = wanted.entry((context.run_id, context.task_id.clone())).or_default();
            by.push(format!("{} on {}", call.name(), call.engine));
            assert_eq!(by.len(), 1, "{by:?} are wanted at once");
        }
    }

    /// Everybody answers; every run in the store ends, whether or not its start was told to have failed.
    async fn end_well(&mut self) {
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            self.hear();
            for call in self.held.drain(..) {
                call.succeed(json!("kind"));
            }
            let rows = self.world.store.inner.list_runs(RunFilter::default()).await.unwrap();
            let open: Vec<_> = rows.iter().filter(|row| !row.status.is_terminal()).map(|row| row.run_id).collect();
            if open.is_empty() {
                break;
            }
            assert!(tokio::time::Instant::now() < until, "{open:?} never end: {:#?}", self.world.journal.lines());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn judge(&mut self) {
        // What timed out or was told to stop may still wait for an answer, or not even have asked for it.
        settle().await;
        self.hear();
        self.held.drain(..).for_each(|call| call.succeed(json!("late")));
        for (engine, _) in &self.engines {
            engine.shutdown().await;
            assert_eq!(engine.scheduler().places_taken(), 0);
        }
        let rows = self.world.store.inner.list_runs(RunFilter::default()).await.unwrap();
        let known = self.accepted.len() + self.played.unknown_starts;
        assert!(rows.len() <= known, "{} starts were tried, and there are {} runs", known, rows.len());
        for row in rows {
            self.world.know_spec(row.run_id, self.specs[&row.workflow_hash].clone());
            self.world.judge(row.run_id).await;
            self.played.succeeded += usize::from(row.status == Status::Succeeded);
            if self.is_mild && self.clean.contains(&row.run_id) {
                self.assert_no_attempt_was_lost(row.run_id).await;
            }
        }
        self.world.assert_dispatched_after_commit();
        self.world.assert_nothing_ran_after_its_success();
    }

    async fn assert_no_attempt_was_lost(&self, run: RunId) {
        for event in self.world.store.inner.events(run, 0, 0).await.unwrap() {
            if let EventKind::TaskRetrying { lost, .. } | EventKind::TaskFailed { lost, .. } = &event.kind {
                assert_ne!(*lost, Some(Loss::Engine), "{event:?}, and no engine was lost");
            }
        }
    }
}

async fn deployed(
    engine: &Engine,
    workflow: Value,
    specs: &mut BTreeMap<ContentHash, WorkflowSpec>,
) -> Result<ContentHash, OrchestratorError> {
    let spec: WorkflowSpec = serde_json::from_value(workflow).unwrap();
    let hash = engine.deploy_workflow(&spec).await?;
    specs.insert(hash, spec);
    Ok(hash)
}

/// A random graph: tasks that are answered here, some with a time limit, and some that are immediate.
fn nodes(rng: &mut Rng) -> Vec<Value> {
    let width = rng.usize(2..8);
    (0..width)
        .map(|n| {
            let depends_on: Vec<usize> = (0..n).filter(|_| rng.u32(..3) == 0).collect();
            let task = if rng.u32(..4) == 0 { "pass" } else { "test.task" };
            let join = if rng.u32(..4) == 0 { "all_done" } else { "no_failure" };
            let mut node = json!({
                "id": n, "task": task, "depends_on": depends_on, "join": join,
                "retry_policy": {"max_attempts": 4, "initial_interval_seconds": 0.01},
            });
            if rng.u32(..4) == 0 {
                node["timeout_seconds"] = json!(0.05);
            }
            if rng.u32(..4) == 0 {
                node["hints"] = json!({"test": {"concurrency": 1}});
            }
            node
        })
        .collect()
}

/// The graph with names of its own: the journal tells tasks apart by them.
fn named(nodes: &[Value], prefix: &str) -> Value {
    let name = |n: &Value| json!(format!("{prefix}n{n}"));
    let named = nodes.iter().map(|node| {
        let mut node = node.clone();
        node["id"] = name(&node["id"]);
        node["depends_on"] = node["depends_on"].as_array().unwrap().iter().map(name).collect();
        node
    });
    named.collect()
}
