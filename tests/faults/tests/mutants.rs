//! The harness is run against bugs that are planted in the program: it must find each of them.
#![allow(clippy::unwrap_used)]

use segue_faults::{
    between::Between,
    campaign::{Plan, Report, Try, carry_out},
    case, jump,
    pair::Databases,
    points::{self, Fault, Groups, Phase, Point},
    program,
    workload::{self, Workload},
};

/// More than enough for each bug that is planted here: they are found within the first dozen.
const TRIES_MAX: usize = 80;

fn must_be_caught(mutant: &str, groups: Groups<'_>) {
    must_be_caught_by(&case::carry_out, mutant, groups);
}

fn must_be_caught_by(attempt: Try<'_>, mutant: &str, groups: Groups<'_>) {
    program::need_bugs();
    let plan = Plan { hits: TRIES_MAX, seed: program::seed(), mutant: Some(mutant.to_owned()), until_caught: true };
    let report: Report = carry_out(groups, &plan, attempt);
    println!(
        "{mutant}: found after {} tries, {:.1} s: {:?}",
        report.total() + report.missed,
        report.took.as_secs_f64(),
        report.problems.first()
    );
    assert!(!report.problems.is_empty(), "{mutant} was not found: {report}");
}

fn kills_in<'a>(workload: &'a Workload, phases: &[Phase], calls: &[&str]) -> Groups<'a> {
    let mut groups = points::kills_in(workload, phases);
    groups.retain(|group| group.first().is_some_and(|point| calls.contains(&point.call.as_str())));
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
fn a_slot_of_a_limit_that_is_not_given_back_is_found() {
    // Two slots for two steps: with more the run would wait for ever.
    let workload = workload::limited(2);
    must_be_caught("LeaksSlots", kills_in(&workload, &[Phase::Submit, Phase::Run], &["fsync"]));
}

/// The last call of all: the engine is as good as undisturbed.
fn at_its_end(workload: &Workload) -> Groups<'_> {
    let call = "exit_group".to_owned();
    vec![vec![Point { workload, phase: Phase::Engine, call, n: 1, fault: Fault::Kill, commits: 0 }]]
}

/// Needs PostgreSQL, as the next one.
#[test]
fn what_is_taken_from_the_living_on_a_database_is_found() {
    let (workload, databases) = (workload::cancel(), Databases::default());
    let attempt = |point: &Point<'_>, mutant: Option<&str>| databases.carry_out(point, mutant);
    must_be_caught_by(&attempt, "ClaimsFromTheLiving", at_its_end(&workload));
}

#[test]
fn an_effect_before_its_intent_on_a_database_is_found() {
    let (workload, databases) = (workload::linear(), Databases::default());
    let point = |n| {
        let call = "sendto".to_owned();
        Point { workload: &workload, phase: Phase::Engine, call, n, fault: Fault::Kill, commits: 0 }
    };
    let attempt = |point: &Point<'_>, mutant: Option<&str>| databases.carry_out(point, mutant);
    must_be_caught_by(&attempt, "DispatchesBeforeCommit", vec![(10..60).map(point).collect()]);
}

#[test]
fn a_commit_that_is_repeated_blindly_is_found() {
    program::need_bugs();
    let problems = Between::on_shared_server().disturbed(Some("RepeatsUnknownCommits"), Between::lose_an_answer);
    println!("{problems:?}");
    assert!(problems.iter().any(|problem| problem.contains("was started 2 times")), "{problems:?}");
}

#[test]
fn a_lease_by_a_clock_that_can_be_set_is_found() {
    program::need_bugs();
    let problems = jump::by(3_600, Some("LeasesByTheWall"));
    println!("{problems:?}");
    assert!(!problems.is_empty());
}

#[test]
fn a_commit_that_failed_and_is_said_to_be_done_is_found() {
    let workload = workload::linear();
    let mut groups = points::failures_in(&workload, &[Phase::Run]);
    groups.retain(|group| group.first().is_some_and(|point| point.call == "fsync"));
    must_be_caught("IgnoresFailedCommits", groups);
}
