//! The soak: minutes of W3 on SQLite, killed again and again. What is kept must not grow: memory, the file, the slots.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use segue_core::{
    ports::{Orchestrator, RunFilter, RunStore, StartRun},
    spec::LimitSpec,
    status::Status,
    time::Timestamp,
};
use segue_engine::{Engine, EngineConfig, Pass};
use serde_json::json;

use crate::{
    place::{Lasting, Place, reopen},
    shapes::{diamond, spec},
    workloads::runtime,
};

/// Runs at once.
const LIVE: usize = 64;
/// Slots of the named limit that a task of each run takes.
const SLOTS: u32 = 16;
/// Runs that ended longer ago are removed.
const KEPT: Duration = Duration::from_secs(5);
/// How often old runs are removed.
const SWEEP: Duration = Duration::from_secs(2);
/// How often the process is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// Lives of the process; all but the last end with SIGKILL.
const LIVES: u32 = 12;
/// By how much the last third may exceed what was reached before: noise, and the page cache of the allocator.
const GROWTH: f64 = 1.25;
/// A file whose presence tells the process to come to an end.
const STOP: &str = "stop";

/// One life of the process.
#[derive(Debug, Default, Clone, Copy)]
struct Life {
    rss_mb: f64,
    file_mb: f64,
    runs: u64,
}

pub fn run(words: &[&str]) -> Result<()> {
    let mut total = Duration::from_secs(600);
    let mut is_json = false;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--short" => total = Duration::from_secs(60),
            "--json" => is_json = true,
            "--minutes" => {
                let minutes: f64 = words.next().context("--minutes N")?.parse().context("--minutes N")?;
                total = Duration::from_secs_f64(minutes * 60.0);
            }
            other => bail!("soak takes --short, --minutes N and --json, not `{other}`"),
        }
    }
    let runtime = runtime()?;
    let store = runtime.block_on(Lasting::make(Place::Sqlite))?;
    let mut lives = Vec::new();
    for n in 1..=LIVES {
        let life = live(&store, total / LIVES, n == LIVES)?;
        if is_json {
            println!("{}", json!({"life": n, "peak_rss_mb": life.rss_mb, "file_mb": life.file_mb, "runs": life.runs}));
        } else {
            println!(
                "life {n:2}: {:5.1} MB of memory, {:5.1} MB of file, {} runs",
                life.rss_mb, life.file_mb, life.runs
            );
        }
        lives.push(life);
    }
    runtime.block_on(judge(&store, &lives, is_json))
}

/// Starts the process, looks at it, and ends it: by SIGKILL, or at last by asking.
fn live(store: &Lasting, span: Duration, is_last: bool) -> Result<Life> {
    let folder = store.folder.path();
    let progress = folder.join("progress");
    let _ = fs::remove_file(&progress);
    let mut process = Command::new(std::env::current_exe()?)
        .args(["--soaked", "sqlite", &store.at])
        .arg(folder)
        .stdin(Stdio::null())
        .spawn()?;
    let began = Instant::now();
    let mut life = Life::default();
    while began.elapsed() < span {
        std::thread::sleep(LOOK);
        ensure!(process.try_wait()?.is_none(), "the process ended by itself");
        life.look(&process, folder, &progress);
    }
    if is_last {
        fs::write(folder.join(STOP), "")?;
        let status = process.wait()?;
        ensure!(status.success(), "the last process ended with {status}");
    } else {
        process.kill()?;
        process.wait()?;
    }
    Ok(life)
}

impl Life {
    fn look(&mut self, process: &Child, folder: &Path, progress: &PathBuf) {
        let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap_or_default();
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
        self.rss_mb = self.rss_mb.max(rss.unwrap_or(0.0) / 1024.0);
        let files = fs::read_dir(folder).into_iter().flatten().flatten();
        let of_store = files.filter(|file| file.file_name().to_string_lossy().starts_with("segue.db"));
        let bytes: u64 = of_store.filter_map(|file| Some(file.metadata().ok()?.len())).sum();
        self.file_mb = self.file_mb.max(bytes as f64 / f64::from(1 << 20));
        let runs = fs::read_to_string(progress).ok().and_then(|text| text.trim().parse().ok());
        self.runs = runs.unwrap_or(self.runs);
    }
}

/// Is everything over, and is nothing larger than it was?
async fn judge(store: &Lasting, lives: &[Life], is_json: bool) -> Result<()> {
    let (port, limits) = reopen(store.place, &store.at).await?;
    let runs = port.list_runs(RunFilter::default()).await?;
    ensure!(runs.iter().all(|run| run.status == Status::Succeeded), "every run succeeds");
    let engines = port.engines().await?;
    let mut held = 0;
    if let Some(limits) = limits {
        for engine in &engines {
            held += limits.held(&engine.engine_id).await?.len();
        }
    }
    let third = lives.len() / 3;
    // The first life fills caches.
    let (before, last) = (&lives[1..lives.len() - third], &lives[lives.len() - third..]);
    let most = |lives: &[Life], of: fn(&Life) -> f64| lives.iter().map(of).fold(0.0, f64::max);
    let rss = [most(before, |life| life.rss_mb), most(last, |life| life.rss_mb)];
    let file = [most(before, |life| life.file_mb), most(last, |life| life.file_mb)];
    let runs: u64 = lives.iter().map(|life| life.runs).sum();
    // The file holds the runs of some seconds, and a machine that is less busy makes more of them.
    let pace = [most(before, |life| life.runs as f64), most(last, |life| life.runs as f64)];
    let file_max = file[0] * GROWTH * (pace[1] / pace[0].max(1.0)).max(1.0);
    let is_flat = rss[1] <= rss[0] * GROWTH && file[1] <= file_max && held == 0 && engines.is_empty();
    if is_json {
        println!(
            "{}",
            json!({"workload": "soak", "store": "sqlite", "kills": lives.len() - 1, "runs": runs, "peak_rss_mb": rss,
                   "file_mb": file, "slots_held": held, "engines_left": engines.len(), "flat": is_flat})
        );
    } else {
        println!(
            "{runs} runs, {} kills; memory {:.1} -> {:.1} MB, file {:.1} -> {:.1} MB, {held} slots and {} engines left: {}",
            lives.len() - 1,
            rss[0],
            rss[1],
            file[0],
            file[1],
            engines.len(),
            if is_flat { "flat" } else { "GROWING" }
        );
    }
    ensure!(is_flat, "something grows");
    Ok(())
}

/// The process that is killed: goes on with what others have left, and keeps [`LIVE`] runs going until it is told to stop.
pub fn soaked(place: Place, at: &str, folder: &Path) -> Result<()> {
    runtime()?.block_on(async {
        let (store, limits) = reopen(place, at).await?;
        let limit: LimitSpec = serde_json::from_value(json!({"concurrent": SLOTS}))?;
        let config = EngineConfig { claim_every: Some(Duration::from_secs(1)), ..EngineConfig::default() };
        let mut builder = Engine::builder(store.clone()).adapter(Arc::new(Pass)).config(config);
        if let Some(limits) = limits {
            builder = builder.limits(limits, [("bench".to_owned(), limit)].into());
        }
        let engine = Arc::new(builder.start().await?);
        let mut nodes = diamond();
        nodes[0]["limits"] = json!(["bench"]);
        let hash = engine.deploy_workflow(&spec(nodes)).await?;
        engine.resume(&[]).await?;
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut workers = tokio::task::JoinSet::new();
        for _ in 0..LIVE {
            let (engine, stop, done) = (engine.clone(), stop.clone(), done.clone());
            workers.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let started = engine.start_run(hash, StartRun::default()).await?;
                    engine.wait(started.run_id).await?;
                    done.fetch_add(1, Ordering::Relaxed);
                }
                anyhow::Ok(())
            });
        }
        let mut swept = Instant::now();
        while !folder.join(STOP).exists() {
            tokio::time::sleep(LOOK).await;
            fs::write(folder.join("progress"), done.load(Ordering::Relaxed).to_string())?;
            if swept.elapsed() > SWEEP {
                sweep(&*store).await?;
                swept = Instant::now();
            }
        }
        stop.store(true, Ordering::Relaxed);
        while let Some(worker) = workers.join_next().await {
            worker??;
        }
        let live =
            RunFilter { statuses: vec![Status::Pending, Status::Running, Status::Waiting], ..RunFilter::default() };
        while !store.list_runs(live.clone()).await?.is_empty() {
            tokio::time::sleep(LOOK).await;
        }
        engine.shutdown().await;
        anyhow::Ok(())
    })
}

async fn sweep(store: &dyn RunStore) -> Result<()> {
    let age = i64::try_from(KEPT.as_micros()).context("a short time")?;
    store.collect_garbage(Timestamp::from_micros(store.now().await?.as_micros() - age)).await?;
    Ok(())
}
