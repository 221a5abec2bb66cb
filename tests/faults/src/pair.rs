//! Two engines on one database: one is killed, the other takes over.

use std::{
    os::unix::process::ExitStatusExt,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use segue_core::{
    ids::WorkflowId,
    ports::{RunFilter, RunRow, RunStore},
};
use segue_postgres::{PostgresOptions, PostgresStore, PostgresUpkeep};
use segue_testkit::services::{self, Database};
use tokio::runtime::Runtime;

use crate::{
    checks::Judge,
    leftovers::leftovers,
    place::{Ended, Going, PATIENCE, Place, until},
    points::{Fault, Groups, Phase, Point},
    snapshot::{Snapshot, Store},
    strace::Injection,
    workload::Workload,
};

/// The databases that are not in use: one for each that works at the same time.
#[derive(Default)]
pub struct Databases {
    free: Mutex<Vec<Base>>,
    cases: AtomicU32,
}

/// A database, seen from here.
struct Base {
    store: PostgresStore,
    upkeep: PostgresUpkeep,
    url: String,
    _database: Database,
    runtime: Runtime,
}

impl Base {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (database, store) = runtime.block_on(async {
            let database = services::postgres().await;
            let store = PostgresStore::connect(&database.url(), PostgresOptions::default()).await.unwrap();
            (database, store)
        });
        let url = database.url();
        let upkeep = PostgresUpkeep::at(&url, PostgresOptions::default()).unwrap();
        Self { store, upkeep, url, _database: database, runtime }
    }
}

impl Databases {
    /// Lets it go wrong at a point, lets the other engine recover, and judges. Did it come to that point?
    pub fn carry_out(&self, point: &Point<'_>, mutant: Option<&str>) -> (bool, Vec<String>) {
        let base = self.take();
        let number = self.cases.fetch_add(1, Ordering::SeqCst);
        let workload = renamed(point.workload, number);
        let mut pair = Pair::new(point, &workload, &base, mutant);
        let is_hit = pair.carry_out(&point.injection());
        let mut problems = pair.judge.problems();
        problems.extend(leftovers(&pair.place));
        self.free.lock().unwrap().push(base);
        (is_hit, problems)
    }

    fn take(&self) -> Base {
        let free = self.free.lock().unwrap().pop();
        free.unwrap_or_else(Base::new)
    }

    /// How often a thread makes each call where nothing goes wrong.
    pub fn count(&self, workload: &Workload, phase: Phase) -> std::collections::BTreeMap<String, u32> {
        let point = Point { workload, phase, call: String::new(), n: 0, fault: Fault::Kill, commits: 0 };
        let base = self.take();
        let renamed = renamed(workload, self.cases.fetch_add(1, Ordering::SeqCst));
        let mut pair = Pair::new(&point, &renamed, &base, None);
        let calls = crate::points::KILLED_AT.map(str::to_owned).to_vec();
        let log = pair.place.file("calls");
        assert!(!pair.carry_out(&Injection::Watch { calls, log: log.display().to_string() }));
        let counts = crate::strace::most(&std::fs::read_to_string(log).unwrap());
        let problems = pair.judge.problems();
        assert!(problems.is_empty(), "undisturbed: {problems:?}");
        self.free.lock().unwrap().push(base);
        counts
    }

    /// Every kill of an engine, of its heir, and of who submits.
    pub fn kills<'a>(&self, workload: &'a Workload) -> Groups<'a> {
        let mut phases = vec![Phase::Engine, Phase::Heir];
        if workload.name == "linear" {
            phases.push(Phase::Submit);
        }
        let mut groups = Vec::new();
        for phase in phases {
            for (call, most) in self.count(workload, phase) {
                let point = |n| Point { workload, phase, call: call.clone(), n, fault: Fault::Kill, commits: 0 };
                groups.push((1..=most).map(point).collect());
            }
        }
        groups
    }
}

/// The workload under a name that no other case has in its database.
fn renamed(workload: &Workload, number: u32) -> Workload {
    let mut workload = workload.clone();
    workload.document["id"] = format!("{}_{number}", workload.name).into();
    workload
}

/// One case.
struct Pair<'a> {
    phase: Phase,
    workload: &'a Workload,
    base: &'a Base,
    place: Place,
    judge: Judge<'a>,
    /// Effects of the task to cancel at, when it was last cancelled.
    cancelled_at: u32,
}

/// A short lease: who cannot be known to be gone is waited for.
const SERVE: [&str; 8] = ["serve", "--listen", "127.0.0.1:0", "--lease", "2", "--drain", "1", "--json"];

impl<'a> Pair<'a> {
    fn new(point: &Point<'_>, workload: &'a Workload, base: &'a Base, mutant: Option<&str>) -> Self {
        let mut place = Place::bare();
        place.set("SEGUE_STORE", &base.url);
        if let Some(mutant) = mutant {
            place.set("SEGUE_MUTANT", mutant);
        }
        place.write("workflow.json", workload.document.to_string());
        Self { phase: point.phase, workload, base, place, judge: Judge::new(workload), cancelled_at: 0 }
    }

    fn snapshot(&self) -> Result<Snapshot, String> {
        let id = self.workload.document["id"].as_str();
        let Base { store, upkeep, .. } = self.base;
        let snapshot = Snapshot::of_workflow(Store { runs: store, limits: store, upkeep }, id);
        self.base.runtime.block_on(snapshot).map_err(|error| error.to_string())
    }

    /// Was somebody killed?
    fn carry_out(&mut self, injection: &Injection) -> bool {
        // What was killed before in this database may still have its lease.
        let before = self.snapshot().unwrap_or_default();
        self.judge.forget(&before.engines);
        let was_killed = match self.phase {
            Phase::Submit => {
                let engine = self.place.start(&SERVE);
                let submitted = self.place.start_traced(injection, &Self::SUBMIT).wait();
                self.judge.acknowledge(submitted.documents());
                self.submit();
                self.see_to_its_end();
                self.leave(engine);
                submitted.was_killed()
            }
            Phase::Heir => {
                self.submit();
                let mut engine = self.place.start(&SERVE);
                self.until_it_works(&mut engine);
                engine.signal(Signal::SIGKILL);
                engine.wait();
                self.look(None);
                self.traced_engine(injection)
            }
            _ => {
                self.submit();
                self.traced_engine(injection)
            }
        };
        let effects = self.place.effects();
        let snapshot = self.snapshot();
        self.judge.ended(&effects, snapshot);
        was_killed
    }

    const SUBMIT: [&'static str; 5] = ["submit", "workflow.json", "--idempotency-key", "once", "--json"];

    fn submit(&mut self) {
        let submitted = self.place.segue(&Self::SUBMIT);
        if submitted.code() != 0 {
            self.judge.complain(format!("submit ended with {}: {}", submitted.code(), submitted.stderr.trim()));
        }
        self.judge.acknowledge(submitted.documents());
    }

    /// An engine is disturbed while it works. When it does, or is gone, another one is started, which goes on.
    fn traced_engine(&mut self, injection: &Injection) -> bool {
        let mut engine = self.place.start_traced(injection, &SERVE);
        self.until_it_works(&mut engine);
        let other = self.place.start(&SERVE);
        let mut engine = Some(engine);
        let mut was_killed = false;
        let started = Instant::now();
        while !self.is_over() {
            self.cancel_where_it_is_to_be();
            if engine.as_mut().is_some_and(Going::has_ended) {
                was_killed |= engine.take().map(Going::wait).is_some_and(|ended| ended.was_killed());
                self.look(Some(other.pid()));
            }
            if started.elapsed() > PATIENCE {
                self.judge
                    .complain(format!("the run has not ended within {PATIENCE:?}; the heir said: {}", other.said()));
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        if let Some(engine) = engine {
            was_killed |= self.leave(engine).was_killed();
        }
        self.leave(other);
        was_killed
    }

    fn look(&mut self, heir: Option<u32>) {
        let before = self.place.effects();
        let snapshot = self.snapshot();
        let after = self.place.effects();
        self.judge.survived(&before, snapshot, after, heir);
    }

    /// Waits until an engine has done something, or is gone.
    fn until_it_works(&mut self, engine: &mut Going) {
        until("the engine works", || {
            (engine.has_ended() || !self.place.effects().0.is_empty() || self.is_over()).then_some(())
        });
    }

    fn is_over(&self) -> bool {
        self.runs().iter().any(|run| run.status.is_terminal())
    }

    fn runs(&self) -> Vec<RunRow> {
        let workflow_id = self.workload.document["id"].as_str().map(WorkflowId::from);
        let runs = self.base.store.list_runs(RunFilter { workflow_id, ..RunFilter::default() });
        self.base.runtime.block_on(runs).unwrap_or_default()
    }

    fn see_to_its_end(&mut self) {
        let started = Instant::now();
        while !self.is_over() {
            self.cancel_where_it_is_to_be();
            assert!(started.elapsed() < PATIENCE, "the run has not ended within {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn cancel_where_it_is_to_be(&mut self) {
        let Some(task) = self.workload.cancel_at else { return };
        let seen = self.place.effects().of_task(task);
        if seen > self.cancelled_at {
            self.cancelled_at = seen;
            let run = self.runs()[0].run_id.to_string();
            let ended = self.place.segue(&["runs", "cancel", &run, "--json"]);
            self.judge.acknowledge(ended.documents());
            if ![0, 5].contains(&ended.code()) {
                self.judge.complain(format!("{} ended with {}: {}", ended.what, ended.code(), ended.stderr.trim()));
            }
        }
    }

    /// An engine is asked to leave, and does.
    fn leave(&mut self, mut engine: Going) -> Ended {
        let was_ready = engine.printed().contains("ready");
        engine.leave();
        let ended = engine.wait();
        self.judge.hear(&ended.stderr);
        // The run was over before it was ready: then nobody listened to the signal yet.
        let was_early = !was_ready && ended.status.signal() == Some(Signal::SIGTERM as i32);
        if !ended.was_killed() && !was_early && ended.code() != 0 {
            self.judge.complain(format!("{} left with {}: {}", ended.what, ended.code(), ended.stderr.trim()));
        }
        ended
    }
}
