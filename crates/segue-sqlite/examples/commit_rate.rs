//! How fast are durable commits, alone and merged, beside the disk's own limit (one-row commits with plain SQLite)?
//!
//!     cargo run --release -p segue-sqlite --example commit_rate [-- FOLDER]
#![allow(clippy::unwrap_used)]

use std::{path::Path, sync::Arc, time::Instant};

use futures_util::future::join_all;
use segue_core::{event::EventKind, ids::EngineId, outcome::Usage, payload::Payload, ports::RunStore};
use segue_sqlite::{SqliteOptions, SqliteStore};
use segue_testkit::conformance::{
    block_on,
    run_store::{Live, engine},
};
use serde_json::json;

const COMMITS: u32 = 2_000;

fn main() {
    let folder = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    for _ in 0..3 {
        plain(Path::new(&folder));
        block_on(chain(Path::new(&folder)));
        block_on(many(Path::new(&folder), 64));
    }
}

/// Wall time and processor time since the beginning of a measurement.
struct Watch(Instant, f64);

impl Watch {
    fn start() -> Self {
        Self(Instant::now(), cpu_seconds())
    }

    fn report(&self, what: &str, commits: u32) {
        let micros = |seconds: f64| seconds * 1e6 / f64::from(commits);
        let (wall, cpu) = (self.0.elapsed().as_secs_f64(), cpu_seconds() - self.1);
        let rate = f64::from(commits) / wall;
        println!("{what}: {rate:.0}/s, {:.0} µs a commit, of them {:.0} µs CPU", micros(wall), micros(cpu));
    }
}

/// Of this process, to a hundredth of a second.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    let ticks: f64 = after_name.split_whitespace().skip(11).take(2).map(|field| field.parse::<f64>().unwrap()).sum();
    ticks / 100.0
}

fn plain(folder: &Path) {
    let folder = tempfile::tempdir_in(folder).unwrap();
    let db = rusqlite::Connection::open(folder.path().join("plain.db")).unwrap();
    db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE t (body TEXT)").unwrap();
    let begun = Watch::start();
    for n in 0..COMMITS {
        db.prepare_cached("INSERT INTO t VALUES (?1)").unwrap().execute([format!("row {n}")]).unwrap();
    }
    begun.report("plain one-row commits", COMMITS);
}

/// The step of a chain: one task's end and the next one's start.
async fn step(store: &Arc<dyn RunStore>, live: &mut Live, n: u32) {
    let (this, next) = (format!("step_{n:04}"), format!("step_{:04}", n + 1));
    let output = Payload::new(json!({"n": n}));
    let success = EventKind::TaskSucceeded { output, usage: Usage::default(), warnings: Vec::new(), reused_from: None };
    let commit = live.next(vec![(Some(&this), success), (Some(&next), EventKind::TaskStarted {})]);
    store.commit(commit.clone()).await.unwrap();
    live.row = commit.run;
    // Of the rows only the newest are needed here: a kernel would not search either.
    live.tasks = commit.tasks;
}

fn open(folder: &Path) -> (tempfile::TempDir, Arc<SqliteStore>) {
    let folder = tempfile::tempdir_in(folder).unwrap();
    let store = SqliteStore::open(&folder.path().join("segue.db"), SqliteOptions::default()).unwrap();
    (folder, Arc::new(store))
}

async fn chain(folder: &Path) {
    let (_folder, sqlite) = open(folder);
    let store: Arc<dyn RunStore> = sqlite.clone();
    let owner = engine(&store, "bench", std::time::Duration::from_secs(3_600)).await;
    let run = async move {
        let mut live = Live::create(&store, 1, &owner).await;
        let begun = Watch::start();
        for n in 0..COMMITS {
            step(&store, &mut live, n).await;
        }
        begun
    };
    // On a worker thread of the runtime, as an engine's loop would be.
    let begun = tokio::spawn(run).await.unwrap();
    begun.report("one chain", COMMITS);
    println!("  {:?}", sqlite.stats());
}

async fn many(folder: &Path, runs: u32) {
    let (_folder, sqlite) = open(folder);
    let store: Arc<dyn RunStore> = sqlite.clone();
    let owner: EngineId = engine(&store, "bench", std::time::Duration::from_secs(3_600)).await;
    let begun = Watch::start();
    let chains = (0..runs).map(|n| {
        let (store, owner) = (store.clone(), owner.clone());
        tokio::spawn(async move {
            let mut live = Live::create(&store, n, &owner).await;
            for n in 0..200 {
                step(&store, &mut live, n).await;
            }
        })
    });
    join_all(chains).await;
    begun.report("64 chains", runs * 201);
    println!("  {:?}", sqlite.stats());
}
