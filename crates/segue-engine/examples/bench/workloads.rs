//! The workloads: every task is a `pass`, so that what is measured is the engine and the store.

use std::{str::FromStr, sync::Arc, time::Instant};

use anyhow::{Result, bail, ensure};
use segue_core::{
    ids::ContentHash,
    memory::MemoryStore,
    ports::{Orchestrator, RunStore, StartRun},
    spec::WorkflowSpec,
    status::Status,
};
use segue_engine::{Clock, Engine, Pass};
use segue_sqlite::{SqliteOptions, SqliteStats, SqliteStore};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{
    disk::Limit,
    measure::{Stopwatch, memory_mb},
};

/// In the order in which they run. `W4x10` is `W4` with ten times the nodes.
pub const NAMES: [&str; 8] = ["W1", "W2", "W3", "W4", "W4x10", "W5", "W7", "W8"];

/// Where the state is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Sqlite,
    Memory,
}

impl Place {
    pub const ALL: [Self; 2] = [Self::Sqlite, Self::Memory];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Memory => "memory",
        }
    }
}

impl FromStr for Place {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|place| place.as_str() == text).ok_or_else(|| anyhow::anyhow!("no store `{text}`"))
    }
}

/// Only below it is a disk for sure: `/tmp` may be memory.
const FOLDER: &str = "target";

/// A store in a folder of its own.
pub struct Store {
    pub port: Arc<dyn RunStore>,
    sqlite: Option<Arc<SqliteStore>>,
    folder: TempDir,
}

impl Store {
    pub fn open(place: Place) -> Result<Self> {
        std::fs::create_dir_all(FOLDER)?;
        let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(FOLDER)?;
        Ok(match place {
            Place::Sqlite => {
                let store = Arc::new(SqliteStore::open(&folder.path().join("segue.db"), SqliteOptions::default())?);
                Self { port: store.clone(), sqlite: Some(store), folder }
            }
            Place::Memory => {
                let clock = Clock::start();
                Self { port: Arc::new(MemoryStore::new(Arc::new(move || clock.now()))), sqlite: None, folder }
            }
        })
    }

    fn stats(&self) -> SqliteStats {
        self.sqlite.as_ref().map(|store| store.stats()).unwrap_or_default()
    }

    fn limit(&self, commits: u64) -> Result<Option<Limit>> {
        self.sqlite.as_ref().map(|_| Limit::measure(self.folder.path(), commits)).transpose()
    }
}

pub fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

pub fn spec(nodes: Vec<Value>) -> WorkflowSpec {
    serde_json::from_value(json!({"id": "bench", "nodes": nodes})).expect("a workflow of the bench")
}

/// Workloads of any size, run only when they are named: `map-100000` (instances of one node), `wide-100000` (nodes that
/// depend on nothing), `chain-1000`. What a task costs must not grow with their number.
pub fn sized(name: &str) -> Option<(&str, usize)> {
    let (kind, size) = name.split_once('-')?;
    Some((kind, size.parse().ok()?)).filter(|(kind, _)| ["map", "wide", "chain"].contains(kind))
}

struct Load {
    nodes: Vec<Value>,
    inputs: Map<String, Value>,
    runs: usize,
    live: usize,
}

fn load(name: &str) -> Result<Load> {
    let one = |nodes| Load { nodes, inputs: Map::new(), runs: 1, live: 1 };
    Ok(match name {
        "W1" => one(chain(1_000, |_| json!({}))),
        "W2" => one(fan(1_000)),
        "W3" => Load { runs: 1_000, live: 64, ..one(diamond()) },
        "W4" => one(layers(100, 100)),
        "W4x10" => one(layers(1_000, 100)),
        "W5" => Load { runs: 200, ..one(vec![pass("only", &[], json!({"x": 1}))]) },
        "W8" => {
            let data = |previous: Option<String>| match previous {
                Some(node) => json!({"data": format!("{{{{ nodes.{node}.output.data }}}}")}),
                None => json!({"data": "{{ params.data }}"}),
            };
            let inputs = Map::from_iter([("data".to_owned(), Value::String("x".repeat(1 << 20)))]);
            Load { inputs, ..one(chain(100, data)) }
        }
        other => match sized(other) {
            Some(("map", size)) => {
                let items: Vec<usize> = (0..size).collect();
                let each = json!({
                    "id": "each", "task": "pass", "inputs": {"x": "{{ item }}"},
                    "foreach": "params.data", "parallelism": 1_000,
                });
                Load { inputs: Map::from_iter([("data".to_owned(), json!(items))]), ..one(vec![each]) }
            }
            Some(("wide", size)) => one((0..size).map(|n| pass(&format!("n{n}"), &[], json!({}))).collect()),
            Some(("chain", size)) => one(chain(size, |_| json!({}))),
            _ => bail!("there is no workload `{other}`"),
        },
    })
}

fn pass(id: &str, depends_on: &[String], inputs: Value) -> Value {
    json!({"id": id, "task": "pass", "depends_on": depends_on, "inputs": inputs})
}

fn chain(length: usize, inputs: impl Fn(Option<String>) -> Value) -> Vec<Value> {
    let id = |n: usize| format!("n{n}");
    (0..length)
        .map(|n| {
            let previous = n.checked_sub(1).map(id);
            pass(&id(n), previous.as_slice(), inputs(previous.clone()))
        })
        .collect()
}

fn fan(width: usize) -> Vec<Value> {
    let middle: Vec<String> = (0..width).map(|n| format!("n{n}")).collect();
    let mut nodes = vec![pass("first", &[], json!({})), pass("last", &middle, json!({}))];
    nodes.extend(middle.iter().map(|id| pass(id, &["first".to_owned()], json!({}))));
    nodes
}

fn diamond() -> Vec<Value> {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let mut nodes = vec![pass("a", &[], json!({"x": 1})), pass("e", &names(&["b", "c", "d"]), json!({}))];
    nodes.extend(["b", "c", "d"].map(|id| pass(id, &names(&["a"]), json!({"x": "{{ nodes.a.output.x }}"}))));
    nodes
}

fn layers(depth: usize, width: usize) -> Vec<Value> {
    let id = |layer: usize, n: usize| format!("l{layer}n{}", n % width);
    let node = |layer: usize, n: usize| {
        let before: Vec<String> = match layer {
            0 => Vec::new(),
            _ => (0..3).map(|step| id(layer - 1, n + step)).collect(),
        };
        pass(&id(layer, n), &before, json!({}))
    };
    (0..depth).flat_map(|layer| (0..width).map(move |n| (layer, n))).map(|(layer, n)| node(layer, n)).collect()
}

/// Rounds of each workload, the disk's limit measured before, between and after them. Other programs disturb the disk;
/// the best round beside the best limit is what can be compared.
const ROUNDS: usize = 3;

/// One round of a workload.
struct Round {
    wall: f64,
    cpu: f64,
    commits: u64,
    fsyncs: u64,
    latencies: Vec<f64>,
}

/// Runs one workload on one store and says what it cost.
pub fn run(name: &str, place: Place) -> Result<Value> {
    let load = load(name)?;
    let instances = sized(name).filter(|(kind, _)| *kind == "map").map(|(_, size)| size);
    let tasks = instances.unwrap_or(load.nodes.len()) * load.runs;
    let mut spec = spec(load.nodes.clone());
    spec.params = load.inputs.keys().map(|key| (key.clone(), json!({}))).collect();
    let store = Store::open(place)?;
    let runtime = runtime()?;

    let deploying = Stopwatch::start()?;
    let engine = runtime.block_on(Engine::builder(store.port.clone()).adapter(Arc::new(Pass)).start())?;
    let hash = runtime.block_on(engine.deploy_workflow(&spec))?;
    drop(spec);
    let deploy_cpu = deploying.cpu()?;

    let engine = Arc::new(engine);
    let mut limit = store.limit(limit_commits(load.runs, tasks))?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push(round(&runtime, &engine, &store, hash, &load)?);
        let again = store.limit(limit_commits(load.runs, tasks))?;
        limit = limit.zip(again).map(|(best, again)| best.better(again));
    }
    let runs = runtime.block_on(async {
        engine.shutdown().await;
        store.port.list_runs(Default::default()).await
    })?;
    ensure!(runs.iter().all(|run| run.status == Status::Succeeded), "every run succeeds");
    let best = rounds.iter().min_by(|a, b| a.wall.total_cmp(&b.wall)).expect("there is a round");
    let mut line = describe(name, place, tasks, best, limit)?;
    line["more"]["deploy_cpu_s"] = json!(deploy_cpu);
    Ok(line)
}

fn round(runtime: &Runtime, engine: &Arc<Engine>, store: &Store, hash: ContentHash, load: &Load) -> Result<Round> {
    let before = store.stats();
    let watch = Stopwatch::start()?;
    let latencies = runtime.block_on(all(engine, hash, &load.inputs, load.runs, load.live))?;
    let (wall, cpu, after) = (watch.wall(), watch.cpu()?, store.stats());
    Ok(Round { wall, cpu, commits: after.commits - before.commits, fsyncs: after.fsyncs - before.fsyncs, latencies })
}

fn describe(name: &str, place: Place, tasks: usize, round: &Round, limit: Option<Limit>) -> Result<Value> {
    let rate = tasks as f64 / round.wall;
    let fresh = limit.map(|limit| limit.fresh);
    let mut more = json!({});
    if let Some(limit) = limit {
        more["ratio_to_grown_log"] = json!(rate / limit.grown);
    }
    if name == "W5" {
        let p50 = quantile(&round.latencies, 50);
        more["p50_ms"] = json!(p50 * 1e3);
        more["p99_ms"] = json!(quantile(&round.latencies, 99) * 1e3);
        more["p50_in_limit_commits"] = json!(fresh.map(|limit| p50 * limit));
    }
    let is_sqlite = place == Place::Sqlite;
    Ok(json!({
        "workload": name,
        "store": place.as_str(),
        "tasks": tasks,
        "seconds": round.wall,
        "tasks_per_s": rate,
        "cpu_s_per_1000_tasks": round.cpu * 1e3 / tasks as f64,
        "commits": is_sqlite.then_some(round.commits),
        "fsyncs": is_sqlite.then_some(round.fsyncs),
        "peak_rss_mb": memory_mb("VmHWM")?,
        "limit_per_s": fresh,
        "ratio": fresh.map(|limit| rate / limit),
        "more": more,
    }))
}

/// As many commits as the workload makes, within reason.
fn limit_commits(runs: usize, tasks: usize) -> u64 {
    (if runs == 1 { tasks } else { runs * 2 }).clamp(200, 1_000) as u64
}

async fn all(
    engine: &Arc<Engine>,
    hash: ContentHash,
    inputs: &Map<String, Value>,
    runs: usize,
    live: usize,
) -> Result<Vec<f64>> {
    let next = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..live {
        let (engine, next, inputs) = (engine.clone(), next.clone(), inputs.clone());
        workers.spawn(async move {
            let mut latencies = Vec::new();
            while next.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < runs {
                let began = Instant::now();
                let start = StartRun { inputs: inputs.clone(), ..StartRun::default() };
                let started = engine.start_run(hash, start).await?;
                engine.wait(started.run_id).await?;
                latencies.push(began.elapsed().as_secs_f64());
            }
            anyhow::Ok(latencies)
        });
    }
    let mut latencies = Vec::with_capacity(runs);
    while let Some(worker) = workers.join_next().await {
        latencies.extend(worker??);
    }
    Ok(latencies)
}

fn quantile(latencies: &[f64], percent: usize) -> f64 {
    let mut sorted = latencies.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}
