//! The process that is killed.

use std::{
    fs::{self, File},
    path::Path,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rusqlite::Connection;
use segue_core::{
    ports::{Orchestrator, RunFilter, RunStore, StartRun},
    spec::LimitSpec,
    status::Status,
    time::Timestamp,
};
use segue_engine::{Engine, EngineConfig, Pass};
use serde_json::json;

use super::LOOK;
use crate::{
    place::{Place, reopen},
    shapes::{diamond, spec},
    workloads::runtime,
};

/// Runs at once.
const LIVE: usize = 64;
/// Slots of the named limit that a task of each run takes.
pub const SLOTS: u32 = 16;
/// Runs that ended longer ago are removed.
pub const KEPT: Duration = Duration::from_secs(3);
/// How often old runs are removed.
pub const SWEEP: Duration = Duration::from_secs(1);
/// A file whose presence tells the process to come to an end.
pub const STOP: &str = "stop";
/// A file with the number of runs that the process has ended.
pub const PROGRESS: &str = "progress";

/// Growth that is planted, to see that the verdict finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// 16 KB a run.
    Memory,
    /// A file that stays open, four times a second.
    Files,
    /// One of eight tasks' rows stays when its run is removed.
    Rows,
    /// Old runs are not removed.
    Retention,
    /// A reader that never ends, so that the log cannot begin again.
    Log,
    /// Slots that nobody gives back.
    Slots,
}

const PLANTS: [(&str, Plant); 6] = [
    ("memory", Plant::Memory),
    ("files", Plant::Files),
    ("rows", Plant::Rows),
    ("retention", Plant::Retention),
    ("log", Plant::Log),
    ("slots", Plant::Slots),
];

impl FromStr for Plant {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match PLANTS.iter().find(|(name, _)| *name == text) {
            Some((_, plant)) => Ok(*plant),
            None => {
                bail!("nothing is called `{text}` that can be planted; {}", PLANTS.map(|(name, _)| name).join(", "))
            }
        }
    }
}

impl Plant {
    pub fn name(self) -> &'static str {
        PLANTS.iter().find(|(_, plant)| *plant == self).expect("all have a name").0
    }

    /// What of it is in the database.
    pub fn in_database(self, at: &str) -> Result<()> {
        let sql = match self {
            Self::Rows => {
                "CREATE TRIGGER planted BEFORE DELETE ON tasks WHEN random() % 8 = 0 BEGIN SELECT RAISE(IGNORE); END"
            }
            Self::Slots => {
                "CREATE TRIGGER planted BEFORE DELETE ON limit_slots WHEN random() % 64 = 0 \
                 BEGIN SELECT RAISE(IGNORE); END"
            }
            _ => return Ok(()),
        };
        Ok(Connection::open(at)?.execute_batch(sql)?)
    }
}

/// What grows of a plant in this process.
#[derive(Default)]
struct Leaks {
    files: Vec<File>,
    reader: Option<Connection>,
}

impl Leaks {
    fn grow(&mut self, plant: Option<Plant>, at: &str) -> Result<()> {
        match plant {
            Some(Plant::Files) => self.files.push(File::open(at)?),
            Some(Plant::Log) if self.reader.is_none() => {
                let db = Connection::open(at)?;
                db.execute_batch("BEGIN; SELECT count(*) FROM runs")?;
                self.reader = Some(db);
            }
            _ => {}
        }
        Ok(())
    }
}

/// Goes on with what others have left, and keeps [`LIVE`] runs going until it is told to stop.
pub fn soaked(at: &str, folder: &Path, plant: Option<&str>) -> Result<()> {
    let plant = plant.map(str::parse::<Plant>).transpose()?;
    runtime()?.block_on(async {
        let (store, limits) = reopen(Place::Sqlite, at).await?;
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
                let mut leaked: Vec<Vec<u8>> = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let started = engine.start_run(hash, StartRun::default()).await?;
                    engine.wait(started.run_id).await?;
                    done.fetch_add(1, Ordering::Relaxed);
                    leaked.extend((plant == Some(Plant::Memory)).then(|| vec![1; 16 << 10]));
                }
                anyhow::Ok(())
            });
        }
        let (mut leaks, mut swept) = (Leaks::default(), Instant::now());
        while !folder.join(STOP).exists() {
            tokio::time::sleep(LOOK).await;
            fs::write(folder.join(PROGRESS), done.load(Ordering::Relaxed).to_string())?;
            leaks.grow(plant, at)?;
            if swept.elapsed() > SWEEP && plant != Some(Plant::Retention) {
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
