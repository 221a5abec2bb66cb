//! Each promise is seen broken, and what is allowed is not.

use super::*;
use crate::chaos::plan::Side::{After, Before, Workers};

const RUN: RunId = RunId::from_bytes([7; 16]);

fn ledger(entries: Vec<Entry>) -> Vec<Line> {
    entries.into_iter().zip(1..).map(|(entry, at)| Line { at: at * 1_000, entry }).collect()
}

fn attempt(n: u32) -> Attempt {
    Attempt { run: RUN, task: "a".into(), attempt: n, key: "7/a".into() }
}

fn recorded(name: &str, n: u32) -> Entry {
    let fact = Fact { seq: 1, name: name.into(), task: Some("a".into()), attempt: Some(n) };
    Entry::Acknowledged { run: RUN, facts: vec![fact] }
}

fn killed(side: Side) -> Entry {
    Entry::Killed(Kill { moment: 1, side })
}

fn repeats(entries: Vec<Entry>) -> (usize, u64) {
    let mut findings = Findings::default();
    findings.repeated(&ledger(entries));
    (findings.broken.len(), findings.in_flight)
}

#[test]
fn what_succeeded_on_record_may_not_run_again() {
    use Entry::{Began, Ended};
    let done = || vec![recorded("task.started", 1), Began(attempt(1)), Ended(attempt(1))];
    let twice = [done(), vec![recorded("task.succeeded", 1), killed(After), Began(attempt(2))]].concat();
    assert_eq!(repeats(twice), (1, 0));
    let in_flight = [done(), vec![killed(Before), Began(attempt(2)), recorded("task.succeeded", 2)]].concat();
    assert_eq!(repeats(in_flight), (0, 1), "its success was on the way");
    let own = [done(), vec![recorded("task.retrying", 1), killed(After), Began(attempt(2))]].concat();
    assert_eq!(repeats(own), (0, 0), "it failed by itself, and that was on record");
    let of_worker =
        vec![Began(attempt(1)), killed(Workers), Ended(attempt(1)), recorded("task.retrying", 1), Began(attempt(2))];
    assert_eq!(repeats(of_worker), (0, 1));
}

fn pays(calls: &[&str], expected: u64) -> (usize, u64) {
    let call = || "7/a hash 0".to_owned();
    let entries = calls.iter().map(|word| match *word {
        "paid" => Entry::Paid { call: call() },
        "kept" => Entry::Kept { call: call() },
        _ => killed(Before),
    });
    let mut findings = Findings::default();
    let expected = BTreeMap::from([("a hash 0".to_owned(), expected)]);
    findings.paid(&ledger(entries.collect()), &expected, |call| call["7/".len()..].to_owned());
    (findings.broken.len(), findings.paid_again)
}

#[test]
fn an_answer_that_is_kept_is_paid_once() {
    assert_eq!(pays(&["paid", "kept", "killed"], 1), (0, 0));
    assert_eq!(pays(&["paid", "kept", "killed", "paid", "kept"], 1), (1, 0));
    assert_eq!(pays(&["paid", "killed", "paid", "kept"], 1), (0, 1), "the record was on its way");
    assert_eq!(pays(&["paid", "killed", "paid", "kept", "killed", "paid", "kept"], 1), (1, 1));
    assert_eq!(pays(&["paid", "kept", "paid", "kept"], 2), (0, 0), "the workflow itself asks twice");
}

#[test]
fn what_was_durable_is_in_the_log() {
    let mut findings = Findings::default();
    findings.lost(&ledger(vec![recorded("task.succeeded", 1)]), &Results::default());
    let promises: Vec<Promise> = findings.broken.iter().map(|broken| broken.promise).collect();
    assert_eq!(promises, [Promise::NothingLost]);
}

#[test]
fn recovery_is_counted_from_the_new_process_to_its_first_record() {
    let entries = vec![
        Entry::Spawned,
        recorded("task.started", 1),
        killed(After),
        Entry::Spawned,
        Entry::Moment { n: 1, about: crate::chaos::ledger::About::Commit, label: String::new() },
        recorded("task.retrying", 1),
        recorded("task.succeeded", 2),
    ];
    assert_eq!(recoveries(&ledger(entries)), [Duration::from_millis(2)]);
}
