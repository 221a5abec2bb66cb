//! The storm: thousands of queued runs, and a provider that answers 429 for a minute, with `segue serve` as a process.
//!
//! What is judged: the attempts that try again spread over time instead of coming all at once, the memory of the process
//! does not grow with what is queued, and every run ends.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rusqlite::{Connection, OpenFlags};
use segue_core::{
    event::EventKind,
    ports::{Orchestrator, RunFilter, RunStore, StartRun},
    time::Timestamp,
};
use segue_engine::{Engine, Pass};
use segue_sqlite::{SqliteOptions, SqliteStore};
use segue_testkit::{
    conformance::now,
    provider::{Reply, StubProvider},
};
use serde_json::{Value, json};

use crate::{place::folder, workloads::runtime};

/// In the second half of the storm the second in which most retries are due may exceed the mean one so many times. In the
/// first half come the first tries, as fast as the runs are taken up, and pauses that are still short. Retries that come
/// together leave seconds without any, and exceed the mean six times and more. What is judged is when they are due, as the
/// log has it: when they arrive depends on the machine too.
const PEAK_MAX: f64 = 3.0;
/// A shorter one has no time for pauses to grow.
const SPAN_MIN: Duration = Duration::from_secs(40);
/// The process may have so much memory at most. A thousand runs are live, ten times as many are queued.
const MEMORY_MAX_MB: f64 = 192.0;
/// After the provider is well again all runs must have ended in this time.
const PATIENCE: Duration = Duration::from_secs(600);
const LOOK: Duration = Duration::from_millis(500);

/// What the words say.
struct Wish {
    runs: usize,
    span: Duration,
    retry_after: Option<u32>,
    /// Retries without jitter: all at once.
    herd: bool,
    is_json: bool,
}

impl Wish {
    fn parse(words: &[&str]) -> Result<Self> {
        let mut wish =
            Self { runs: 10_000, span: Duration::from_secs(60), retry_after: None, herd: false, is_json: false };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut number = || words.next().and_then(|n| n.parse::<u32>().ok()).context(format!("{word} N"));
            match *word {
                "--runs" => wish.runs = number()? as usize,
                "--seconds" => wish.span = Duration::from_secs(number()?.into()),
                "--retry-after" => wish.retry_after = Some(number()?),
                "--plant" => {
                    ensure!(words.next() == Some(&"herd"), "a herd is all that can be planted: --plant herd");
                    wish.herd = true;
                }
                "--json" => wish.is_json = true,
                other => {
                    bail!("storm takes --runs N, --seconds N, --retry-after N, --plant herd and --json, not `{other}`")
                }
            }
        }
        ensure!(wish.span >= SPAN_MIN, "a storm lasts {} s at least", SPAN_MIN.as_secs());
        Ok(wish)
    }

    fn workflow(&self) -> Value {
        let mut retry = json!({"max_attempts": 1_000, "initial_interval_seconds": 1, "max_interval_seconds": 30});
        if self.herd {
            retry["jitter"] = json!("none");
        }
        let ask = json!({"model": "gpt-4o-mini", "prompt": "What is tea?"});
        json!({"id": "storm", "nodes": [{"id": "ask", "task": "llm.chat", "inputs": ask, "retry_policy": retry}]})
    }
}

/// What came of it.
struct Weathered {
    /// Requests of each second since the first.
    seconds: Vec<usize>,
    /// Retries that were due in each second since then.
    due: Vec<usize>,
    peak_mb: f64,
    live_most: usize,
    ended: usize,
    succeeded: usize,
    began: Timestamp,
    took: Duration,
}

pub fn run(words: &[&str]) -> Result<()> {
    let wish = Wish::parse(words)?;
    let program = std::env::var_os("SEGUE_BIN").map(PathBuf::from).context("SEGUE_BIN names no program")?;
    let folder = folder()?;
    let at = folder.path().join("segue.db");
    submit(&wish, &program, folder.path(), &at)?;
    let provider = StubProvider::start();
    provider.always(Reply::rate_limited(wish.retry_after));
    let mut serving = Serving::start(&program, folder.path(), &at, &provider)?;
    let mut weathered = weather(&wish, &provider, &mut serving, &at)?;
    serving.leave()?;
    weathered.due = due(&at, weathered.began, weathered.seconds.len())?;
    tell(&wish, &weathered)
}

/// Records the runs: the first as a person does it, the others from this process, which carries none of them out.
fn submit(wish: &Wish, program: &Path, folder: &Path, at: &Path) -> Result<()> {
    let document = folder.join("storm.json");
    fs::write(&document, wish.workflow().to_string())?;
    let mut command = segue(program, folder, at);
    let output = command.arg("submit").arg(&document).output()?;
    ensure!(output.status.success(), "segue submit: {}", String::from_utf8_lossy(&output.stderr));
    runtime()?.block_on(async {
        let store = Arc::new(SqliteStore::open(at, SqliteOptions::default())?);
        let first = store.list_runs(RunFilter::default()).await?.pop().context("the first run is there")?;
        let engine = Arc::new(Engine::builder(store).adapter(Arc::new(Pass)).start().await?);
        let mut all = tokio::task::JoinSet::new();
        for _ in 1..wish.runs {
            let engine = engine.clone();
            all.spawn(async move { engine.submit(first.workflow_hash, StartRun::default()).await });
        }
        while let Some(submitted) = all.join_next().await {
            submitted??;
        }
        engine.shutdown().await;
        anyhow::Ok(())
    })
}

fn segue(program: &Path, folder: &Path, at: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).env("SEGUE_STORE", format!("sqlite:{}", at.display())).stdin(Stdio::null());
    command
}

/// `segue serve`.
struct Serving(Child);

impl Serving {
    fn start(program: &Path, folder: &Path, at: &Path, provider: &StubProvider) -> Result<Self> {
        let mut command = segue(program, folder, at);
        command.args(["serve", "--listen", "127.0.0.1:0", "--json", "--log-format", "json"]);
        command.env("OPENAI_BASE_URL", provider.base_url()).env("OPENAI_API_KEY", "sk-of-the-storm");
        command.stdout(Stdio::piped()).stderr(fs::File::create(folder.join("serve.log"))?);
        let mut own = Self(command.spawn()?);
        let mut line = String::new();
        BufReader::new(own.0.stdout.take().context("its stdout")?).read_line(&mut line)?;
        let told = || fs::read_to_string(folder.join("serve.log")).unwrap_or_default();
        ensure!(line.contains("\"ready\""), "segue serve is not ready: {line}{}", told());
        Ok(own)
    }

    /// The most memory so far.
    fn peak_mb(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let kb = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next());
        Ok(kb.context("no VmHWM")?.parse::<f64>()? / 1024.0)
    }

    fn leave(mut self) -> Result<()> {
        kill(Pid::from_raw(self.0.id().try_into()?), Signal::SIGTERM)?;
        let status = self.0.wait()?;
        ensure!(status.success(), "segue serve ended with {status}");
        Ok(())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Where it has left already there is nothing to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// From the first request on: the storm, and then until all runs have ended.
fn weather(wish: &Wish, provider: &StubProvider, serving: &mut Serving, at: &Path) -> Result<Weathered> {
    let db = Connection::open_with_flags(at, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    db.busy_timeout(Duration::from_secs(5))?;
    let count = |which: &str| -> Result<usize> {
        Ok(db.query_row(&format!("SELECT count(*) FROM runs WHERE {which}"), [], |row| row.get(0))?)
    };
    let (began, began_at) = (Instant::now(), now());
    let (mut is_well, mut live_most) = (false, 0);
    while count("live = 1")? > 0 {
        ensure!(serving.0.try_wait()?.is_none(), "segue serve ended by itself");
        std::thread::sleep(LOOK);
        live_most = live_most.max(count("owner IS NOT NULL")?);
        if !is_well && began.elapsed() >= wish.span {
            provider.always(Reply::text("Tea is a leaf in water."));
            is_well = true;
        }
        if began.elapsed() > wish.span + PATIENCE {
            break;
        }
    }
    let took = began.elapsed();
    let mut seconds = vec![0; took.as_secs() as usize + 1];
    for at in provider.arrivals() {
        let second = at.saturating_duration_since(began).as_secs() as usize;
        seconds[second.min(took.as_secs() as usize)] += 1;
    }
    let (ended, succeeded) = (count("live = 0")?, count("status = 'SUCCEEDED'")?);
    let (due, peak_mb) = (Vec::new(), serving.peak_mb()?);
    Ok(Weathered { seconds, due, peak_mb, live_most, ended, succeeded, began: began_at, took })
}

/// How many retries were due in each of so many seconds since then.
fn due(at: &Path, since: Timestamp, seconds: usize) -> Result<Vec<usize>> {
    runtime()?.block_on(async {
        let store = SqliteStore::open(at, SqliteOptions::default())?;
        let mut due_in = vec![0; seconds];
        for run in store.list_runs(RunFilter::default()).await? {
            for event in store.events(run.run_id, 0, 0).await? {
                if let EventKind::TaskRetrying { due, .. } = event.kind
                    && let Some(count) = due_in.get_mut(due.since(since).as_secs() as usize)
                {
                    *count += 1;
                }
            }
        }
        Ok(due_in)
    })
}

fn tell(wish: &Wish, weathered: &Weathered) -> Result<()> {
    let Weathered { seconds, due, peak_mb, live_most, ended, succeeded, took, .. } = weathered;
    let storm = wish.span.as_secs() as usize;
    let most = |part: &[usize]| part.iter().copied().max().unwrap_or_default();
    let (first, again) = seconds[..storm].split_at(storm / 2);
    let due = &due[storm / 2..storm];
    let mean = due.iter().sum::<usize>() as f64 / due.len() as f64;
    let peak = most(due) as f64;
    let mut wrong = Vec::new();
    // A handful of requests is no herd, however they come.
    if peak > (mean * PEAK_MAX).max(32.0) {
        wrong.push("the retries come together");
    }
    if *peak_mb > MEMORY_MAX_MB {
        wrong.push("too much memory");
    }
    if *ended < wish.runs || *succeeded < wish.runs {
        wrong.push("not every run has succeeded");
    }
    let after = most(&seconds[storm..]);
    if wish.is_json {
        println!(
            "{}",
            json!({"workload": "storm", "runs": wish.runs, "succeeded": succeeded, "ended": ended, "seconds": took.as_secs_f64(),
                   "requests": seconds.iter().sum::<usize>(), "requests_by_second": seconds, "first_half_peak": most(first), "second_half_peak": most(again),
                   "due_mean": mean, "due_peak": peak, "after_peak": after, "peak_rss_mb": peak_mb,
                   "live_most": live_most, "passed": wrong.is_empty(), "wrong": wrong})
        );
    } else {
        println!(
            "requests a second while all are refused: in the first half at most {}, in the second {}; {after} afterwards; \
             retries due a second in the second half: {mean:.1} on average, {peak} at most",
            most(first),
            most(again)
        );
        println!(
            "{succeeded} of {} runs succeeded after {:.1} s and {} requests; at most {live_most} owned at once; \
             {peak_mb:.1} MB of memory at most (VmHWM)",
            wish.runs,
            took.as_secs_f64(),
            seconds.iter().sum::<usize>()
        );
        println!("{}", if wrong.is_empty() { "passed".to_owned() } else { format!("FAILED: {}", wrong.join(", ")) });
    }
    ensure!(wrong.is_empty(), "the storm was not weathered");
    Ok(())
}
