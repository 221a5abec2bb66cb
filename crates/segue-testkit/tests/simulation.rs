//! Tens of thousands of simulated runs.
//!
//! `SEGUE_SIM_RUNS=5000000` plays that many; `SEGUE_SIM_SEED=7` replays one; `SEGUE_SIM_FROM=1000000` begins there.
#![allow(clippy::unwrap_used)]

use std::{
    env,
    panic::{self, AssertUnwindSafe},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use segue_testkit::sim::{Coverage, Failure, simulate, smallest_of};

const RUNS: u64 = 50_000;
/// Seeds that once found something.
const REGRESSIONS: &str = include_str!("seeds.txt");

/// What every ordinary simulation must reach, and at least how often in a thousand runs.
const REACHED: &[(&str, u64)] = &[
    ("run.created", 1_000),
    ("run.started", 1_000),
    ("run.succeeded", 50),
    ("run.failed", 50),
    ("run.cancelled", 20),
    ("run.cancelling", 20),
    ("run.reopened", 20),
    ("task.started", 1_000),
    ("task.retrying", 500),
    ("task.succeeded", 500),
    ("task.failed", 200),
    ("task.skipped", 200),
    ("task.cancelled", 50),
    ("cancelling.request", 20),
    ("cancelling.deadline", 5),
    ("cancelling.failure", 5),
    ("skip.when", 20),
    ("skip.not_reached", 5),
    ("skip.upstream_failed", 20),
    ("skip.nothing_failed", 5),
    ("skip.join_never_holds", 5),
    ("continued", 20),
    ("broken condition", 2),
    ("quarantined", 1),
    ("input", 10_000),
    ("rejected", 500),
    ("crash before commit", 50),
    ("crash after commit", 50),
    ("lost with its engine", 50),
    ("drain", 20),
    ("lost.engine", 20),
    ("lost.worker", 20),
    ("lost.drained", 5),
    ("timeout", 20),
    ("large value", 5),
    ("run.waiting", 100),
    ("task.mapped", 100),
    ("mapped to nothing", 10),
    ("iteration", 100),
    ("round", 20),
    ("group", 100),
    ("concluded", 100),
    ("exhausted", 10),
    ("failed with its parts", 10),
    ("too late", 50),
    ("waiting.approval", 100),
    ("waiting.time", 50),
    ("waiting.event", 50),
    ("task.signaled", 100),
    ("rejected by a person", 20),
    ("waiting.failure", 80),
    ("waiting.question", 30),
    ("waiting.child", 100),
    ("child started", 100),
    ("child reopened", 10),
    ("child found again", 30),
    ("child detached", 20),
    ("child given up", 8),
    ("child cancelled with its parent", 2),
    ("child awaited by another engine", 15),
    ("answer misfits", 60),
    ("answer refused", 10),
    ("rerun", 40),
    ("reused", 40),
    ("loop not taken over", 4),
    ("reused loop", 1),
    ("on_failure nodes", 20),
    ("finally nodes", 100),
    ("finally after a cancel", 20),
    ("finally after a timeout", 5),
    ("finally stopped by a second cancel", 2),
    ("finally out of time", 2),
    ("decided: retry", 20),
    ("decided: continue", 15),
    ("decided: fail", 15),
    // At least ten thousand times each in the fifty thousand runs of every build.
    ("race cancel/completion", 400),
    ("race timeout/completion", 400),
    ("race answer/timeout", 400),
    ("race answer/timeout: answer first", 40),
];

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Plays a seed; a panic is a failure that only its replay can tell.
fn play(seed: u64) -> Result<Coverage, String> {
    match panic::catch_unwind(AssertUnwindSafe(|| simulate(seed))) {
        Ok(result) => result.map_err(|failure| smallest(failure).to_string()),
        Err(_) => Err(format!("seed {seed} panics; replay: SEGUE_SIM_SEED={seed} cargo test -p segue-testkit")),
    }
}

fn smallest(failure: Box<Failure>) -> Box<Failure> {
    panic::catch_unwind(AssertUnwindSafe(|| smallest_of(&failure, 3_000))).ok().flatten().unwrap_or(failure)
}

#[test]
fn runs_survive_a_hostile_world() {
    if let Some(seed) = number("SEGUE_SIM_SEED") {
        let coverage = simulate(seed).unwrap_or_else(|failure| panic!("{failure}"));
        println!("seed {seed} keeps all rules: {coverage:?}");
        return;
    }
    let (from, runs) = (number("SEGUE_SIM_FROM").unwrap_or(1), number("SEGUE_SIM_RUNS").unwrap_or(RUNS));
    let (next, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let (total, failures) = (Mutex::new(Coverage::default()), Mutex::new(Vec::new()));
    let worker = || {
        let mut mine = Coverage::default();
        while !failed.load(Ordering::Relaxed) {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= runs {
                break;
            }
            match play(from.wrapping_add(n)) {
                Ok(coverage) => mine.add(&coverage),
                Err(failure) => {
                    failed.store(true, Ordering::Relaxed);
                    failures.lock().unwrap().push(failure);
                }
            }
        }
        total.lock().unwrap().add(&mine);
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(worker);
        }
    });
    if let Some(failure) = failures.into_inner().unwrap().first() {
        panic!("{failure}");
    }
    let total = total.into_inner().unwrap();
    for (what, count) in total.iter() {
        println!("{count:>10} {what}");
    }
    for (what, per_thousand) in REACHED {
        let expected = per_thousand * runs / 1_000 / 2;
        assert!(total.count(what) >= expected, "`{what}`: {} times in {runs} runs", total.count(what));
    }
}

#[test]
fn seeds_that_once_found_something_find_nothing() {
    for line in REGRESSIONS.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let seed = line.split_whitespace().next().unwrap().parse().unwrap();
        simulate(seed).unwrap_or_else(|failure| panic!("{failure}"));
    }
}

#[test]
fn a_seed_is_always_the_same_run() {
    for seed in [3, 99, 12_345] {
        assert_eq!(simulate(seed).unwrap(), simulate(seed).unwrap());
    }
}
