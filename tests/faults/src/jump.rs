//! A run, and a clock that jumps under it: no timer is lost or early, nobody is taken for dead.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use crate::{
    campaign::text_of,
    checks::Judge,
    clock::Clock,
    place::{Place, until},
    snapshot::Snapshot,
    workload,
};

const PAUSE: f64 = 3.0;
/// A timer that is later than this was lost.
const LATE: Duration = Duration::from_secs(40);

/// Lets the wall clock jump by so many seconds while a run waits, with a bug that is planted or none; says what is broken.
pub fn by(seconds: i64, mutant: Option<&str>) -> Vec<String> {
    // A wait that is given up panics.
    catch_unwind(AssertUnwindSafe(|| carry_out(seconds, mutant))).unwrap_or_else(|panic| vec![text_of(&*panic)])
}

fn carry_out(seconds: i64, mutant: Option<&str>) -> Vec<String> {
    let mut place = Place::with_store();
    let workload = workload::chain(12, PAUSE);
    place.write("chain.json", workload.document.to_string());
    place.set("SEGUE_LEASE_SECONDS", "1");
    if let Some(mutant) = mutant {
        place.set("SEGUE_MUTANT", mutant);
    }
    let clock = Clock::of(&mut place);
    let started = Instant::now();
    let run = place.start(&["run", "chain.json", "--json"]);
    until("the run waits", || {
        place.segue(&["runs", "show", "@last", "--json"]).stdout.contains("WAITING").then_some(())
    });
    // The clock that is set is the one that the program sees.
    clock.jump(seconds);
    assert!(started.elapsed().as_secs_f64() < PAUSE, "the machine is too slow for this test");
    until("the first step has begun", || (place.effects().of_task("s0") > 0).then_some(()));
    let mut judge = Judge::new(&workload);
    let waited = started.elapsed();
    if waited < Duration::from_secs_f64(PAUSE) {
        judge.complain(format!("the timer was early: {waited:?}"));
    }
    // Somebody who looks for work now, by the clock that has jumped, must not take the run for left.
    for ended in [place.segue(&["resume", "--all", "--json"]), run.wait()] {
        if ended.code() != 0 {
            judge.complain(format!("{} ended with {}: {}", ended.what, ended.code(), ended.stderr.trim()));
        }
        judge.acknowledge(ended.documents());
    }
    let took = started.elapsed();
    if took > LATE {
        judge.complain(format!("the timer was late: {took:?}"));
    }
    judge.ended(&place.effects(), Snapshot::of_file(&place.file(".segue/segue.db")));
    judge.problems()
}
