//! Two `segue serve` on one store: one is killed, one is frozen, and what people ask reaches whoever has the run.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::support::{PATIENCE, Place, Ran, lives, signal, until};
use nix::sys::signal::Signal;
use segue_core::time::Timestamp;
use segue_testkit::services::{self, Database};
use serde_json::{Value, json};

/// Declares each test once for every store that several engines can share.
macro_rules! on_every_store {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[test] fn $name() { super::$name(super::Site::on_sqlite()); })+
        }
        mod postgres {
            $(#[test] fn $name() { super::$name(super::Site::on_postgres()); })+
        }
    };
}

on_every_store!(
    one_of_two_engines_is_killed_under_load,
    a_frozen_engine_drops_its_runs_and_their_processes,
    what_a_third_process_asks_reaches_the_owner,
);

/// A folder, a store, and engines on it.
struct Site {
    place: Place,
    store: Option<String>,
    /// Kept until the engines are gone.
    _database: Option<(tokio::runtime::Runtime, Database)>,
    engines: Vec<Served>,
}

/// A `segue serve` that has said that it is ready.
struct Served {
    child: Child,
}

impl Drop for Served {
    fn drop(&mut self) {
        // A test that fails leaves it running, perhaps stopped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // Before the database.
        self.engines.clear();
    }
}

impl Site {
    fn on_sqlite() -> Self {
        Self { place: Place::new(), store: None, _database: None, engines: Vec::new() }
    }

    fn on_postgres() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let database = runtime.block_on(services::postgres());
        let store = Some(database.url().to_owned());
        Self { place: Place::new(), store, _database: Some((runtime, database)), engines: Vec::new() }
    }

    fn at(&self, args: &[&str]) -> Vec<String> {
        let store = self.store.iter().flat_map(|store| ["--store".to_owned(), store.clone()]);
        args.iter().map(|arg| (*arg).to_owned()).chain(store).collect()
    }

    fn segue(&self, args: &[&str]) -> Ran {
        let args = self.at(args);
        self.place.segue(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn json(&self, args: &[&str]) -> Value {
        let ran = self.segue(args);
        assert_eq!(ran.code, 0, "{args:?}: {ran:#?}");
        ran.document()
    }

    /// Starts an engine, and waits until it says that it is ready.
    fn serve(&mut self, args: &[&str]) -> usize {
        let args = self.at(&[&["serve", "--listen", "127.0.0.1:0", "--json"], args].concat());
        let log = std::fs::File::create(self.place.file(&format!("engine-{}.log", self.engines.len()))).unwrap();
        let mut command = self.place.command(&args.iter().map(String::as_str).collect::<Vec<_>>());
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (tell, told) = mpsc::channel();
        // Read to the end, so that the engine never waits for a reader.
        thread::spawn(move || stdout.lines().map_while(Result::ok).for_each(|line| drop(tell.send(line))));
        let served = Served { child };
        let ready: Value = serde_json::from_str(&told.recv_timeout(PATIENCE).expect("it is ready")).unwrap();
        assert_eq!(ready["event"], "ready");
        self.engines.push(served);
        self.engines.len() - 1
    }

    fn signal(&self, engine: usize, what: Signal) {
        signal(&self.engines[engine].child, what);
    }

    /// Leaves in good order.
    fn end(&mut self, engine: usize) {
        self.signal(engine, Signal::SIGTERM);
        let child = &mut self.engines[engine].child;
        let status = until("the engine leaves", || child.try_wait().unwrap());
        assert_eq!(status.code(), Some(0), "{}", self.place.read(&format!("engine-{engine}.log")));
    }

    fn submit(&self, file: &str) -> String {
        self.json(&["submit", file, "--json"])["run_id"].as_str().unwrap().to_owned()
    }

    fn show(&self, run: &str) -> Value {
        self.json(&["runs", "show", run, "--json"])
    }

    fn ends(&self, run: &str, status: &str) -> Value {
        let document = until("the run ends", || {
            let document = self.show(run);
            let is_over = ["SUCCEEDED", "FAILED", "CANCELLED"].iter().any(|end| document["status"] == *end);
            is_over.then_some(document)
        });
        assert_eq!(document["status"], status, "{document:#}");
        document
    }

    fn events(&self, run: &str) -> Vec<Value> {
        let ran = self.segue(&["runs", "events", run, "--json"]);
        assert_eq!(ran.code, 0, "{ran:#?}");
        ran.lines_of_json()
    }

    /// When this event was committed.
    fn time_of(&self, run: &str, kind: &str) -> Timestamp {
        until("the event is in the log", || {
            let event = self.events(run).into_iter().find(|event| event["type"] == kind)?;
            Some(serde_json::from_value(event["time"].clone()).unwrap())
        })
    }

    fn lines(&self, name: &str) -> Vec<String> {
        self.place.read(name).lines().map(str::to_owned).collect()
    }
}

/// Says when two attempts of a task are at work at once, takes its time, and leaves the mark of its effect.
const CAREFUL: &str = r#"k=at-$(echo "$SEGUE_IDEMPOTENCY_KEY" | tr / _)
s=$(sed -n 's/^State:[[:space:]]*//p' "/proc/$(cat "$k" 2>/dev/null || echo none)/status" 2>/dev/null)
case "$s" in ''|Z*) ;; *) echo "$SEGUE_IDEMPOTENCY_KEY $s" >> overlaps ;; esac
echo $$ > "$k"; sleep 0.1; rm -f "$k"; echo "$SEGUE_IDEMPOTENCY_KEY" >> effects"#;

const RUNS: usize = 12;
const STEPS: usize = 3;

fn one_of_two_engines_is_killed_under_load(mut site: Site) {
    let nodes: Vec<Value> = (0..STEPS)
        .map(|n| {
            let depends_on: Vec<String> = n.checked_sub(1).map(|before| format!("s{before}")).into_iter().collect();
            let inputs = json!({ "argv": ["sh", "-c", CAREFUL] });
            json!({ "id": format!("s{n}"), "task": "process.run", "depends_on": depends_on, "inputs": inputs })
        })
        .collect();
    site.place.write("steps.json", &json!({ "id": "steps", "nodes": nodes }).to_string());
    // Longer than this test waits for anything: that the engine is gone must be seen by other signs than its lease.
    for _ in 0..2 {
        site.serve(&["--lease", "600"]);
    }
    let runs: Vec<String> = (0..RUNS).map(|_| site.submit("steps.json")).collect();
    until("both are at work", || (site.lines("effects").len() >= RUNS / 2).then_some(()));
    site.signal(0, Signal::SIGKILL);
    let killed = Instant::now();
    for run in &runs {
        site.ends(run, "SUCCEEDED");
    }
    println!("the other engine ended everything {:?} after the kill", killed.elapsed());
    assert_eq!(site.lines("overlaps"), Vec::<String>::new(), "attempts of one task were at work at once");
    let mut effects: BTreeMap<String, usize> = BTreeMap::new();
    for key in site.lines("effects") {
        *effects.entry(key).or_default() += 1;
    }
    assert_eq!(effects.len(), RUNS * STEPS, "a key a task, over all its attempts");
    for event in runs.iter().flat_map(|run| site.events(run)) {
        let attempt = event["attempt"].as_u64().unwrap_or_default();
        assert!(attempt <= 2, "{event}");
        if event["type"] == "task.succeeded" {
            let key = format!("{}/{}", event["run_id"].as_str().unwrap(), event["task_id"].as_str().unwrap());
            assert!(effects[&key] as u64 <= attempt, "{key} ran again after its success was recorded");
        }
    }
    site.end(1);
}

fn a_frozen_engine_drops_its_runs_and_their_processes(mut site: Site) {
    let script = "if mkdir once 2>/dev/null; then echo $$ > first; exec sleep 600; fi; echo second >> effects";
    let nodes = json!([
        { "id": "a", "task": "process.run", "inputs": { "argv": ["sh", "-c", script] } },
        { "id": "b", "task": "pass", "depends_on": ["a"] },
    ]);
    site.place.write("long.json", &json!({ "id": "long", "nodes": nodes }).to_string());
    let frozen = site.serve(&["--lease", "2"]);
    let run = site.submit("long.json");
    let first: u32 = until("the first attempt is at work", || site.place.read("first").trim().parse().ok());
    let other = site.serve(&["--lease", "2"]);
    site.signal(frozen, Signal::SIGSTOP);
    let began = Instant::now();
    site.ends(&run, "SUCCEEDED");
    println!("a run was taken from a frozen engine and ended after {:?} (its lease: 2 s)", began.elapsed());
    assert!(lives(first), "what a frozen engine has started runs on until it wakes");

    site.signal(frozen, Signal::SIGCONT);
    until("what the frozen engine had started is gone", || (!lives(first)).then_some(()));
    let log = site.events(&run);
    assert_eq!(log.iter().filter(|event| event["type"] == "run.succeeded").count(), 1);
    assert_eq!(site.lines("effects"), ["second"]);
    let by_log = log.iter().filter(|event| event["type"] == "task.started" && event["task_id"] == "a");
    assert_eq!(by_log.count(), 2);
    // It is an engine like any other again.
    site.end(other);
    let more = site.submit("long.json");
    site.ends(&more, "SUCCEEDED");
    site.end(frozen);
}

fn what_a_third_process_asks_reaches_the_owner(mut site: Site) {
    let nodes = json!([
        { "id": "ask", "approval": { "title": "go on?" } },
        { "id": "paid", "wait": { "event": "paid" }, "depends_on": ["ask"] },
        { "id": "long", "task": "process.run", "depends_on": ["paid"], "inputs": { "argv": ["sleep", "600"] } },
    ]);
    site.place.write("asks.json", &json!({ "id": "asks", "nodes": nodes }).to_string());
    for _ in 0..2 {
        site.serve(&[]);
    }
    let run = site.submit("asks.json");
    until("the run waits", || (site.show(&run)["status"] == "WAITING").then_some(()));
    let mut took = Vec::new();
    let mut ask = |args: &[&str], heard: &str| {
        let posted = now();
        let ran = site.segue(args);
        assert!([0, 6].contains(&ran.code), "{ran:#?}");
        took.push((heard.to_owned(), site.time_of(&run, heard).since(posted)));
    };
    ask(&["approve", &run, "ask", "--no-wait"], "task.signaled");
    until("it waits for the payment", || (site.show(&run)["tasks"]["paid"]["status"] == "WAITING").then_some(()));
    ask(&["signal", &run, "paid", "--data", "{}", "--no-wait"], "task.started");
    until("the task is at work", || (site.show(&run)["tasks"]["long"]["status"] == "RUNNING").then_some(()));
    ask(&["runs", "cancel", &run], "run.cancelling");
    site.ends(&run, "CANCELLED");
    // The start of the program that asks is in it, and whatever else this machine has to do.
    println!("from the start of the command to the owner's commit: {took:?}");
    assert!(took.iter().all(|(_, took)| *took < Duration::from_secs(20)), "{took:?}");
    for engine in 0..2 {
        site.end(engine);
    }
}

/// The database goes away while tasks are at work, and comes back: what they came to is kept and recorded, nothing runs
/// again, and whoever wants to start something meanwhile is told.
#[test]
fn a_database_that_is_away_is_waited_for() {
    let mut server = services::PostgresServer::start().expect("a server of its own");
    let mut site = Site::on_sqlite();
    site.store = Some(server.url());
    let script = "echo $$ >> begun; until [ -e go ]; do sleep 0.05; done; echo done >> effects";
    let nodes = json!([
        { "id": "a", "task": "process.run", "inputs": { "argv": ["sh", "-c", script] } },
        { "id": "b", "task": "process.run", "depends_on": ["a"], "inputs": { "argv": ["sh", "-c", "echo b >> second"] } },
    ]);
    site.place.write("two.json", &json!({ "id": "two", "nodes": nodes }).to_string());
    site.serve(&[]);
    let runs: Vec<String> = (0..3).map(|_| site.submit("two.json")).collect();
    until("all are at work", || (site.lines("begun").len() == runs.len()).then_some(()));
    server.stop_immediate().expect("the server is gone");
    site.place.write("go", "");
    until("all have come to their end", || (site.lines("effects").len() == runs.len()).then_some(()));
    let refused = site.segue(&["submit", "two.json"]);
    assert_eq!(refused.code, 8, "{refused:#?}");
    assert_eq!(site.lines("second"), Vec::<String>::new(), "nothing is dispatched without a record");

    server.restart().expect("the server is back");
    for run in &runs {
        site.ends(run, "SUCCEEDED");
        let again = site.events(run).into_iter().find(|event| event["attempt"].as_u64().is_some_and(|n| n > 1));
        assert_eq!(again, None, "nothing was run again");
    }
    assert_eq!(site.lines("second").len(), runs.len());
    site.end(0);
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap())
}
