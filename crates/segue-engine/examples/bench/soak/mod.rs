//! The soak: minutes of W3 on SQLite, killed again and again. What is kept must not grow: memory, open files, the database,
//! its log, the slots of limits.
//!
//! Half of the time belongs to lives of the process that end with SIGKILL, the other half to one long life: a slow leak of
//! memory shows only in a process that lives. At the end everything has been removed that may be, and what is still there
//! is counted, row by row.
//!
//! * [`process`]: what is killed, and the growth that can be planted in it. [`gauge`]: what is read of it from outside.
//! * [`verdict`]: what may grow by how much. Speed is no part of it: a busy machine makes fewer runs, not another verdict.

mod gauge;
mod process;
mod verdict;

use std::{
    fs,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use segue_core::{ports::RunFilter, status::Status, time::Timestamp};
use serde_json::json;

pub use self::process::soaked;
use self::{
    gauge::{Gauge, Sample, rows},
    process::{Plant, STOP},
    verdict::{Left, Lives, judge},
};
use crate::{
    place::{Lasting, Place, reopen},
    workloads::runtime,
};

/// How often the process is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// Lives that end with SIGKILL. They share half of the time.
const KILLS: u32 = 11;

/// What the words say.
struct Wish {
    total: Duration,
    is_json: bool,
    plant: Option<Plant>,
}

impl Wish {
    fn parse(words: &[&str]) -> Result<Self> {
        let mut wish = Self { total: Duration::from_secs(600), is_json: false, plant: None };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--short" => wish.total = Duration::from_secs(60),
                "--json" => wish.is_json = true,
                "--minutes" => {
                    let minutes: f64 = words.next().context("--minutes N")?.parse().context("--minutes N")?;
                    wish.total = Duration::from_secs_f64(minutes * 60.0);
                }
                "--plant" => wish.plant = Some(words.next().context("--plant WHAT")?.parse()?),
                other => bail!("soak takes --short, --minutes N, --plant WHAT and --json, not `{other}`"),
            }
        }
        Ok(wish)
    }
}

pub fn run(words: &[&str]) -> Result<()> {
    let wish = Wish::parse(words)?;
    let runtime = runtime()?;
    let store = runtime.block_on(Lasting::make(Place::Sqlite))?;
    // The tables.
    drop(runtime.block_on(reopen(store.place, &store.at))?);
    if let Some(plant) = wish.plant {
        plant.in_database(&store.at)?;
    }
    let mut lives = Lives::default();
    for n in 1..=KILLS {
        let samples = live(&store, wish.total / 2 / KILLS, wish.plant, false)?;
        tell(&wish, &format!("life {n}"), &samples);
        lives.killed.push(samples);
    }
    lives.last = live(&store, wish.total / 2, wish.plant, true)?;
    tell(&wish, "last life", &lives.last);
    let left = runtime.block_on(leave(&store))?;
    let judged = judge(&lives, &left);
    for line in &judged {
        match wish.is_json {
            true => println!("{}", line.json()),
            false => println!("{line}"),
        }
    }
    let grows: Vec<&str> = judged.iter().filter(|line| !line.holds()).map(|line| line.name.as_str()).collect();
    if wish.is_json {
        println!(
            "{}",
            json!({"workload": "soak", "store": "sqlite", "kills": KILLS, "runs": lives.runs(), "flat": grows.is_empty(),
                   "grows": grows})
        );
    } else {
        let verdict = if grows.is_empty() { "flat".to_owned() } else { format!("GROWING: {}", grows.join(", ")) };
        println!("{} runs, {KILLS} kills: {verdict}", lives.runs());
    }
    ensure!(grows.is_empty(), "something grows");
    Ok(())
}

/// Starts the process, looks at it, and ends it: by SIGKILL, or at last by asking.
fn live(store: &Lasting, span: Duration, plant: Option<Plant>, is_last: bool) -> Result<Vec<Sample>> {
    let folder = store.folder.path();
    let _ = fs::remove_file(folder.join(process::PROGRESS));
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--soaked", &store.at]).arg(folder).args(plant.map(Plant::name)).stdin(Stdio::null());
    let mut process = command.spawn()?;
    let samples = look(store, &mut process, span);
    if is_last {
        fs::write(folder.join(STOP), "")?;
        let status = process.wait()?;
        ensure!(status.success(), "the last process ended with {status}");
    } else {
        process.kill()?;
        process.wait()?;
    }
    samples
}

/// The connection that looks is closed before the process ends: whoever comes next finds what a killed one leaves.
fn look(store: &Lasting, process: &mut Child, span: Duration) -> Result<Vec<Sample>> {
    let gauge = Gauge::open(store, process.id())?;
    let began = Instant::now();
    let mut samples = Vec::new();
    while began.elapsed() < span {
        std::thread::sleep(LOOK);
        ensure!(process.try_wait()?.is_none(), "the process ended by itself");
        samples.push(gauge.read()?);
    }
    Ok(samples)
}

fn tell(wish: &Wish, life: &str, samples: &[Sample]) {
    let most = Sample::most(samples);
    if wish.is_json {
        println!("{}", most.json(life));
    } else {
        println!("{life}: at most {most}");
    }
}

/// Is everything over? Removes all that has ended, and counts what is left.
async fn leave(store: &Lasting) -> Result<Left> {
    let (port, limits) = reopen(store.place, &store.at).await?;
    let runs = port.list_runs(RunFilter::default()).await?;
    ensure!(runs.iter().all(|run| run.status == Status::Succeeded), "every run succeeds");
    let owners = port.engines().await?.len();
    let later = port.now().await?.as_micros() + 1_000_000;
    port.collect_garbage(Timestamp::from_micros(later)).await?;
    drop((port, limits));
    rows(&store.at, owners)
}
