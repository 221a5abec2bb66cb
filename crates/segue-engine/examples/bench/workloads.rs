//! Running a workload: every task is a `pass`, so that what is measured is the engine and the store.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use anyhow::{Result, ensure};
use segue_core::{
    ids::ContentHash,
    ports::{Orchestrator, StartRun},
    status::Status,
};
use segue_engine::Engine;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{
    disk::Limit,
    measure::{Stopwatch, memory_mb},
    place::{Place, Store},
    shapes::{Load, load},
};

/// In the order in which they run. `W4x10` is `W4` with ten times the nodes.
pub const NAMES: [&str; 9] = ["W1", "W2", "W3", "W4", "W4x10", "W5", "W6", "W7", "W8"];

/// Rounds of each workload, the disk's limit measured before, between and after them. Other programs disturb the disk;
/// the best round beside the best limit is what can be compared.
const ROUNDS: usize = 3;

pub fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// One round of a workload.
struct Round {
    wall: f64,
    /// Of this process.
    cpu: f64,
    /// Of the database's.
    server_cpu: f64,
    commits: u64,
    fsyncs: u64,
    latencies: Vec<f64>,
}

/// Engines at work.
struct Fleet {
    engines: Vec<Arc<Engine>>,
    hash: ContentHash,
    load: Load,
}

/// Runs one workload on one store and says what it cost.
pub fn run(name: &str, place: Place) -> Result<Value> {
    let load = load(name)?.shared_by(place.engines());
    let tasks = load.tasks_of_run * load.runs;
    let runtime = runtime()?;
    let store = runtime.block_on(Store::open(place))?;

    let deploying = Stopwatch::start()?;
    let engines: Vec<Arc<Engine>> = runtime.block_on(store.engines())?.into_iter().map(Arc::new).collect();
    let hash = runtime.block_on(engines[0].deploy_workflow(&load.spec()))?;
    let deploy_cpu = deploying.cpu()?;

    let commits = limit_commits(load.runs, tasks);
    let fleet = Arc::new(Fleet { engines, hash, load });
    let mut limit = store.limit(commits)?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push(round(&runtime, &fleet, &store)?);
        let again = store.limit(commits)?;
        limit = limit.zip(again).map(|(best, again)| best.better(again));
    }
    let runs = runtime.block_on(async {
        for engine in &fleet.engines {
            engine.shutdown().await;
        }
        store.ports[0].list_runs(Default::default()).await
    })?;
    ensure!(runs.iter().all(|run| run.status == Status::Succeeded), "every run succeeds");
    let best = rounds.iter().min_by(|a, b| a.wall.total_cmp(&b.wall)).expect("there is a round");
    let mut line = describe(name, place, tasks, best, limit)?;
    line["more"]["deploy_cpu_s"] = json!(deploy_cpu);
    drop(runtime.enter());
    Ok(line)
}

fn round(runtime: &Runtime, fleet: &Arc<Fleet>, store: &Store) -> Result<Round> {
    let (before, server) = (store.stats(), store.server_cpu()?);
    let watch = Stopwatch::start()?;
    let latencies = runtime.block_on(all(fleet))?;
    let (wall, cpu, after) = (watch.wall(), watch.cpu()?, store.stats());
    let server_cpu = store.server_cpu()? - server;
    let (commits, fsyncs) = (after.commits - before.commits, after.fsyncs - before.fsyncs);
    Ok(Round { wall, cpu, server_cpu, commits, fsyncs, latencies })
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
    if matches!(place, Place::Postgres(_)) {
        more["of_that_database_s"] = json!(round.server_cpu * 1e3 / tasks as f64);
    }
    let is_sqlite = place == Place::Sqlite;
    Ok(json!({
        "workload": name,
        "store": place.to_string(),
        "tasks": tasks,
        "seconds": round.wall,
        "tasks_per_s": rate,
        "cpu_s_per_1000_tasks": (round.cpu + round.server_cpu) * 1e3 / tasks as f64,
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

/// Runs all of them, the engines in turn: how long each took.
async fn all(fleet: &Arc<Fleet>) -> Result<Vec<f64>> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..fleet.load.live {
        let (fleet, next) = (fleet.clone(), next.clone());
        workers.spawn(async move {
            let mut latencies = Vec::new();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= fleet.load.runs {
                    return anyhow::Ok(latencies);
                }
                let engine = &fleet.engines[n % fleet.engines.len()];
                let began = Instant::now();
                let start = StartRun { inputs: fleet.load.inputs.clone(), ..StartRun::default() };
                let started = engine.start_run(fleet.hash, start).await?;
                engine.wait(started.run_id).await?;
                latencies.push(began.elapsed().as_secs_f64());
            }
        });
    }
    let mut latencies = Vec::with_capacity(fleet.load.runs);
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
