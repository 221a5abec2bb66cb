//! The harness is run against bugs that are planted in the program: it must find each of them.
#![allow(clippy::unwrap_used)]

use segue_faults::{
    campaign::{Plan, Report, carry_out},
    case,
    place::Place,
    points::{self, Phase, Point},
    program,
    workload::{self, Workload},
};

/// More than enough for each bug that is planted here: they are found within the first dozen.
const TRIES_MAX: usize = 80;

fn must_be_caught(mutant: &str, groups: Vec<Vec<Point<'_>>>) {
    let known = Place::with_store();
    let mut command = known.command(program::segue(), &["config", "show"]);
    let unknown = command.env("SEGUE_MUTANT", "NoSuchBug").output().unwrap();
    assert_eq!(
        unknown.status.code(),
        Some(2),
        "this program has no bugs to plant; build it with them: cargo build -p segue-cli --features mutants"
    );
    let plan = Plan { hits: TRIES_MAX, seed: program::seed(), mutant: Some(mutant.to_owned()), until_caught: true };
    let report: Report = carry_out(groups, &plan, &case::carry_out);
    println!(
        "{mutant}: found after {} tries, {:.1} s: {:?}",
        report.total() + report.missed,
        report.took.as_secs_f64(),
        report.problems.first()
    );
    assert!(!report.problems.is_empty(), "{mutant} was not found: {report}");
}

fn kills_in<'a>(workload: &'a Workload, phases: &[Phase], calls: &[&str]) -> Vec<Vec<Point<'a>>> {
    let mut groups = points::kills(workload);
    groups.retain(|group| {
        group.first().is_some_and(|point| phases.contains(&point.phase) && calls.contains(&point.call.as_str()))
    });
    groups
}

const WRITES: [&str; 3] = ["fsync", "pwrite64", "clone"];

#[test]
fn an_answer_before_the_commit_is_found() {
    let workload = workload::linear();
    must_be_caught("AnswersBeforeCommit", kills_in(&workload, &[Phase::Submit, Phase::Run], &WRITES));
}

#[test]
fn a_start_that_is_acknowledged_too_early_is_found() {
    let workload = workload::linear();
    must_be_caught("AcksBeforeCommit", kills_in(&workload, &[Phase::Submit, Phase::Run], &WRITES));
}

#[test]
fn an_effect_before_its_intent_is_found() {
    let workload = workload::linear();
    must_be_caught("DispatchesBeforeCommit", kills_in(&workload, &[Phase::Run], &WRITES));
}

#[test]
fn a_state_apart_from_its_events_is_found() {
    let workload = workload::linear();
    must_be_caught("StateApartFromEvents", kills_in(&workload, &[Phase::Run], &["fsync", "pwrite64"]));
}

#[test]
fn what_is_taken_from_the_living_is_found() {
    let workload = workload::cancel();
    must_be_caught("ResetsRunningAtStart", kills_in(&workload, &[Phase::Neighbour], &["exit_group", "epoll_wait"]));
}

#[test]
fn a_commit_that_failed_and_is_said_to_be_done_is_found() {
    let workload = workload::linear();
    let mut groups = points::failures(&workload);
    groups.retain(|group| group.first().is_some_and(|point| point.phase == Phase::Run && point.call == "fsync"));
    must_be_caught("IgnoresFailedCommits", groups);
}
