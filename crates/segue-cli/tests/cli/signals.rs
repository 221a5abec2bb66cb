//! Ctrl-C, SIGTERM, and a cancel from another process.

use std::time::{Duration, Instant};

use crate::support::{Place, end_of, lives, signal, until};
use nix::sys::signal::Signal;

/// One task that writes its pid and waits for good. Its child would outlive it if it were let.
const WAITS: &str = "id: waits\nnodes:\n  - id: a\n    task: process.run\n    inputs: { argv: [sh, -c, 'sleep 600 & echo $$ $! >> pids; wait'] }\n  - { id: b, task: pass, depends_on: [a] }\n";

/// What a cancel may take: the default grace period and a moment of a busy machine.
const BOUND: Duration = Duration::from_secs(15);

fn pids(place: &Place) -> Vec<u32> {
    until("the task runs", || {
        let text = place.read("pids");
        let pids: Vec<u32> = text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
        (text.ends_with('\n') && pids.len() >= 2).then_some(pids)
    })
}

fn all_gone(pids: &[u32]) {
    until("what the task started has ended", || pids.iter().all(|pid| !lives(*pid)).then_some(()));
}

#[test]
fn ctrl_c_cancels_and_waits() {
    let place = Place::new();
    place.write("waits.yaml", WAITS);
    let child = place.spawn(&["run", "waits.yaml"]);
    let pids = pids(&place);
    let asked = Instant::now();
    signal(&child, Signal::SIGINT);
    let ran = end_of(child);
    assert_eq!(ran.code, 5, "{ran:#?}");
    assert!(asked.elapsed() < BOUND, "it took {:?}", asked.elapsed());
    assert!(ran.stderr.contains("cancelling run ") && ran.stderr.contains("Ctrl-C again"), "{ran:#?}");
    assert!(ran.stderr.contains("run.cancelled"), "{ran:#?}");
    all_gone(&pids);
    let shown = place.json(&["runs", "show", "@last", "--json"]);
    assert_eq!(shown["tasks"]["a"]["status"], "CANCELLED");
    assert_eq!(shown["tasks"]["b"]["status"], "CANCELLED");
}

/// A task that ignores SIGTERM makes the cancel wait for its grace period: time for a second Ctrl-C.
#[test]
fn ctrl_c_twice_leaves_at_once_and_says_how_to_go_on() {
    let place = Place::new();
    let stubborn = "id: stubborn\nnodes:\n  - id: a\n    task: process.run\n    inputs: { argv: [sh, -c, 'trap \"\" TERM INT; echo $$ $$ >> pids; test -e go && exit; while :; do sleep 0.05; done'] }\n";
    place.write("stubborn.yaml", stubborn);
    place.write("segue.toml", "grace_seconds = 60");
    let child = place.spawn(&["run", "stubborn.yaml", "--json"]);
    let first = pids(&place);
    signal(&child, Signal::SIGINT);
    until("the first Ctrl-C is in the log", || {
        place.events("@last").iter().any(|event| event["type"] == "run.cancelling").then_some(())
    });
    let asked = Instant::now();
    signal(&child, Signal::SIGINT);
    let ran = end_of(child);
    assert_eq!(ran.code, 130, "{ran:#?}");
    // It did not wait for the grace period of a minute.
    assert!(asked.elapsed() < Duration::from_secs(30), "it took {:?}", asked.elapsed());
    assert!(ran.stderr.contains("go on with: segue resume "), "{ran:#?}");
    all_gone(&first);

    // The cancel is in the log: whoever goes on ends the run.
    let ran = place.segue(&["resume", "--all"]);
    assert_eq!(ran.code, 5, "{ran:#?}");
}

#[test]
fn sigterm_hands_the_run_back() {
    let place = Place::new();
    place.write("gate.yaml", "id: gate\nnodes:\n  - id: a\n    task: process.run\n    inputs: { argv: [sh, -c, 'echo $$ $$ >> pids; while [ ! -e go ]; do sleep 0.02; done'] }\n");
    place.write("segue.toml", "drain_seconds = 0.2");
    let child = place.spawn(&["run", "gate.yaml"]);
    let first = pids(&place);
    signal(&child, Signal::SIGTERM);
    let ran = end_of(child);
    assert_eq!(ran.code, 130, "{ran:#?}");
    assert!(ran.stderr.contains("go on with: segue resume "), "{ran:#?}");
    all_gone(&first);
    place.write("go", "");
    let ran = place.segue(&["resume", "@last", "--json"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_eq!(ran.document()["tasks"]["a"]["status"], "SUCCEEDED");
}

#[test]
fn a_cancel_from_another_process_is_heard() {
    let place = Place::new();
    place.write("waits.yaml", WAITS);
    let child = place.spawn(&["run", "waits.yaml", "--json"]);
    let pids = pids(&place);
    let asked = Instant::now();
    let ran = place.segue(&["runs", "cancel", "@last", "--reason", "enough", "--json"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_eq!(ran.document()["status"], "CANCELLED");
    let ran = end_of(child);
    assert_eq!(ran.code, 5, "{ran:#?}");
    assert!(asked.elapsed() < BOUND, "it took {:?}", asked.elapsed());
    all_gone(&pids);
    let events = place.events("@last");
    let cancelling = events.iter().find(|event| event["type"] == "run.cancelling").unwrap();
    assert_eq!(cancelling["data"]["reason"], "enough");
    let again = place.segue(&["runs", "cancel", "@last"]);
    assert_eq!(again.code, 0, "asking again is no error: {again:#?}");
}

/// The owner was killed: whoever cancels takes the run over and ends it.
#[test]
fn a_run_without_an_owner_is_cancelled_too() {
    let place = Place::new();
    place.write("waits.yaml", WAITS);
    let mut child = place.spawn(&["run", "waits.yaml"]);
    let pids = pids(&place);
    child.kill().unwrap();
    child.wait().unwrap();
    let ran = place.segue(&["runs", "cancel", "@last", "--json"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    // A killed process cannot end what it started; the next one does.
    all_gone(&pids);
    assert_eq!(ran.document()["status"], "CANCELLED");
    let started = place.events("@last").iter().filter(|event| event["type"] == "task.started").count();
    assert_eq!(started, 1, "a cancelled run starts nothing");
}

/// Watching is not owning: Ctrl-C leaves the run alone.
#[test]
fn a_watcher_leaves_without_a_trace() {
    let place = Place::new();
    place.write("waits.yaml", WAITS);
    let child = place.spawn(&["run", "waits.yaml"]);
    pids(&place);
    let watcher = place.spawn(&["runs", "watch", "@last", "--json"]);
    signal_when_ready(&watcher);
    let ran = end_of(watcher);
    assert_eq!(ran.code, 130, "{ran:#?}");
    assert_eq!(place.json(&["runs", "show", "@last", "--json"])["status"], "RUNNING");
    signal(&child, Signal::SIGINT);
    assert_eq!(end_of(child).code, 5);
}

/// A process catches SIGINT once its mask in `/proc` says so.
fn signal_when_ready(child: &std::process::Child) {
    until("the program listens to Ctrl-C", || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
        (u64::from_str_radix(mask.trim(), 16).ok()? & 0b10 != 0).then_some(())
    });
    signal(child, Signal::SIGINT);
}
