//! The wall clock jumps by an hour under a running engine: no timer is lost or early, nobody is taken for dead.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use segue_faults::{
    checks::Judge,
    clock::Clock,
    place::{Place, until},
    snapshot::Snapshot,
    workload,
};

const PAUSE: f64 = 3.0;

fn jumps_by(seconds: i64) {
    let mut place = Place::with_store();
    let workload = workload::chain(12, PAUSE);
    place.write("chain.json", workload.document.to_string());
    place.set("SEGUE_LEASE_SECONDS", "1");
    let clock = Clock::of(&mut place);
    // The clock that is set is the one that the program sees.
    let file = || Snapshot::of_file(&place.file(".segue/segue.db"));
    let started = Instant::now();
    let run = place.start(&["run", "chain.json", "--json"]);
    until("the run waits", || {
        place.segue(&["runs", "show", "@last", "--json"]).stdout.contains("WAITING").then_some(())
    });
    clock.jump(seconds);
    assert!(started.elapsed().as_secs_f64() < PAUSE, "the machine is too slow for this test");
    until("the first step has begun", || (place.effects().of_task("s0") > 0).then_some(()));
    let waited = started.elapsed();
    assert!(waited >= Duration::from_secs_f64(PAUSE), "the timer was early: {waited:?}");
    // Somebody who looks for work now, by the clock that has jumped, must not take the run for left.
    let neighbour = place.segue(&["resume", "--all", "--json"]);
    assert_eq!(neighbour.code(), 0, "{neighbour:#?}");
    let ended = run.wait();
    assert_eq!(ended.code(), 0, "{ended:#?}");
    assert!(started.elapsed() < Duration::from_secs(40), "the timer was late: {:?}", started.elapsed());
    let mut judge = Judge::new(&workload);
    judge.acknowledge(ended.documents());
    judge.ended(&place.effects(), file());
    assert_eq!(judge.problems(), [""; 0]);
}

#[test]
fn an_hour_forward() {
    jumps_by(3_600);
}

#[test]
fn an_hour_back() {
    jumps_by(-3_600);
}
