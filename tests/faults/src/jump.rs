//! A run, and a clock that jumps under it: no timer is lost or early, nobody is taken for dead.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use crate::{
    campaign::text_of,
    checks::Judge,
    clock::Clock,
    place::{Ended, Place, until},
    snapshot::Snapshot,
    workload,
};

/// How long the run waits: long enough for a jump and a look in between. A slower machine gets more time.
const PAUSES: [f64; 4] = [3.0, 6.0, 12.0, 24.0];
/// A timer that is so much later than it should was lost.
const LATE: Duration = Duration::from_secs(40);

/// Lets the wall clock jump by so many seconds while a run waits, with a bug that is planted or none; says what is broken.
pub fn by(seconds: i64, mutant: Option<&str>) -> Vec<String> {
    // A wait that is given up panics.
    let jumped = |pause| catch_unwind(AssertUnwindSafe(|| carry_out(seconds, mutant, pause)));
    let jumped =
        PAUSES.into_iter().find_map(|pause| jumped(pause).unwrap_or_else(|panic| Some(vec![text_of(&*panic)])));
    jumped.unwrap_or_else(|| vec!["the machine is too slow for a look within the longest pause".to_owned()])
}

/// `None`: the pause was over before everything had happened that was to happen in it.
fn carry_out(seconds: i64, mutant: Option<&str>, pause: f64) -> Option<Vec<String>> {
    let mut place = Place::with_store();
    let workload = workload::chain(12, pause);
    place.write("chain.json", workload.document.to_string());
    if let Some(mutant) = mutant {
        place.set("SEGUE_MUTANT", mutant);
    }
    let clock = Clock::of(&mut place);
    let started = Instant::now();
    let run = place.start(&["run", "chain.json", "--json"]);
    until("the run waits", || {
        place.segue(&["runs", "show", "@last", "--json"]).stdout.contains("WAITING").then_some(())
    });
    clock.jump(seconds);
    // Before the engine has renewed its lease by the new time, and after: nobody takes it for dead by the clock.
    let before = place.segue(&["resume", "--all", "--json"]);
    let took = |looked: &Ended| {
        let took = format!("{} took the run of a living engine", looked.what);
        (!looked.documents().is_empty()).then_some(took)
    };
    if let Some(took) = took(&before) {
        return Some(vec![took]);
    }
    if started.elapsed() >= Duration::from_secs_f64(pause) {
        return None;
    }
    until("the first step has begun", || (place.effects().of_task("s0") > 0).then_some(()));
    let mut judge = Judge::new(&workload);
    let waited = started.elapsed();
    if waited < Duration::from_secs_f64(pause) {
        judge.complain(format!("the timer was early: {waited:?}"));
    }
    if waited > Duration::from_secs_f64(pause) + LATE {
        judge.complain(format!("the timer was late: {waited:?}"));
    }
    let after = place.segue(&["resume", "--all", "--json"]);
    if let Some(took) = took(&after) {
        judge.complain(took);
    }
    for ended in [before, after, run.wait()] {
        if ended.code() != 0 {
            judge.complain(format!("{} ended with {}: {}", ended.what, ended.code(), ended.stderr.trim()));
        }
        judge.acknowledge(ended.documents());
    }
    judge.ended(&place.effects(), Snapshot::of_file(&place.file(".segue/segue.db")));
    Some(judge.problems())
}
