//! W6: the process is killed in the middle of W1, and another one goes on.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use segue_core::{
    outcome::{TaskError, TaskOutcome},
    ports::{Adapter, Invocation, Orchestrator, StartRun},
    spec::TaskNode,
    status::Status,
};
use segue_engine::Engine;
use serde_json::{Value, json};

use crate::{
    place::{Lasting, Place, reopen},
    shapes::load,
    workloads::runtime,
};

/// Tasks of W1 that are done when the process is killed, one round each.
const KILLED_AT: [usize; 3] = [250, 500, 750];

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A `pass` that writes down when it was carried out.
struct Noted(File);

#[async_trait]
impl Adapter for Noted {
    fn name(&self) -> &'static str {
        "noted"
    }

    fn handlers(&self) -> &[&'static str] {
        &["pass"]
    }

    fn is_immediate(&self) -> bool {
        true
    }

    fn translate_task(&self, _: &TaskNode) -> Result<Value, TaskError> {
        Ok(Value::Null)
    }

    async fn execute(&self, invocation: Invocation) -> TaskOutcome {
        let line = format!("{} {}\n", micros(), invocation.context.task_id);
        (&self.0).write_all(line.as_bytes()).expect("the disk has room");
        TaskOutcome::success(Value::Null)
    }
}

fn micros() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros()
}

/// The process that is killed, and the one that goes on: starts W1 where nothing was started, and sees it to its end.
pub fn victim(place: Place, at: &str, effects: &Path) -> Result<()> {
    let runtime = runtime()?;
    runtime.block_on(async {
        let (store, _) = reopen(place, at).await?;
        let noted = Noted(OpenOptions::new().append(true).create(true).open(effects)?);
        let engine = Engine::builder(store.clone()).adapter(Arc::new(noted)).start().await?;
        let run = match store.list_runs(Default::default()).await?.first() {
            Some(row) => {
                engine.resume(&[row.run_id]).await?;
                row.run_id
            }
            None => {
                let hash = engine.deploy_workflow(&load("W1")?.spec()).await?;
                engine.start_run(hash, StartRun::default()).await?.run_id
            }
        };
        ensure!(engine.wait(run).await?.status == Status::Succeeded);
        engine.shutdown().await;
        anyhow::Ok(())
    })
}

/// What one round has shown.
struct Round {
    /// Tasks that were carried out more than once.
    twice: usize,
    /// From the start of the second process to its first task that had not been carried out before.
    first_new_task: f64,
}

pub fn run(place: Place) -> Result<Value> {
    let runtime = runtime()?;
    let rounds = KILLED_AT.iter().map(|killed_at| {
        let store = runtime.block_on(Lasting::make(place))?;
        let round = round(&store, *killed_at);
        drop(store);
        round
    });
    let rounds = rounds.collect::<Result<Vec<Round>>>()?;
    let mut waits: Vec<f64> = rounds.iter().map(|round| round.first_new_task).collect();
    waits.sort_by(f64::total_cmp);
    Ok(json!({
        "workload": "W6",
        "store": place.to_string(),
        "tasks": 1_000,
        "more": {
            "tasks_twice_max": rounds.iter().map(|round| round.twice).max(),
            "in_flight": 1,
            "first_new_task_s": waits[waits.len() / 2],
            "first_new_task_s_max": waits[waits.len() - 1],
        },
    }))
}

fn round(store: &Lasting, killed_at: usize) -> Result<Round> {
    let effects = store.folder.path().join("effects");
    let mut first = spawn(store, &effects)?;
    let began = Instant::now();
    while noted(&effects).len() < killed_at {
        ensure!(first.try_wait()?.is_none(), "it ended before it was killed");
        ensure!(began.elapsed() < PATIENCE, "it does not get on");
        std::thread::sleep(Duration::from_micros(200));
    }
    first.kill()?;
    first.wait()?;
    let before = noted(&effects);
    let restarted = micros();
    let status = spawn(store, &effects)?.wait()?;
    ensure!(status.success(), "the second process ended with {status}");

    let all = noted(&effects);
    let mut times = BTreeMap::<&str, usize>::new();
    all.iter().for_each(|(_, task)| *times.entry(task).or_default() += 1);
    ensure!(times.len() == 1_000, "{} of 1,000 tasks were carried out", times.len());
    let is_new = |task: &str| !before.iter().any(|(_, known)| known == task);
    let (at, _) = all[before.len()..].iter().find(|(_, task)| is_new(task)).context("something was left to do")?;
    let twice = times.values().filter(|times| **times > 1).count();
    Ok(Round { twice, first_new_task: at.saturating_sub(restarted) as f64 / 1e6 })
}

fn spawn(store: &Lasting, effects: &PathBuf) -> Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--victim", &store.place.to_string(), &store.at]).arg(effects);
    Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?)
}

/// When which task was carried out. A line that a kill cut off is none.
fn noted(effects: &Path) -> Vec<(u128, String)> {
    let text = fs::read_to_string(effects).unwrap_or_default();
    let lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    lines
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(at, task)| Some((at.parse().ok()?, task.to_owned())))
        .collect()
}
