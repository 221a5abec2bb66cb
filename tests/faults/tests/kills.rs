//! The program is killed at every n-th system call, and keeps what it has acknowledged.
#![allow(clippy::unwrap_used)]

use segue_faults::{
    campaign::{Plan, carry_out},
    case,
    pair::Databases,
    points, program, workload,
};

#[test]
fn kills_over_sqlite_lose_and_repeat_nothing() {
    let plan = Plan { hits: program::hits_wanted(100), seed: program::seed(), ..Plan::default() };
    let workloads = workload::all();
    let report = carry_out(points::of_all(&workloads, &points::kills), &plan, &case::carry_out);
    println!("{report}");
    assert!(report.problems.is_empty(), "{report}");
    assert!(report.total() >= plan.hits, "too few kills: {report}");
}

/// Needs PostgreSQL: `cargo xtask services -- cargo test -p segue-faults`.
#[test]
fn kills_of_one_of_two_engines_over_postgres_lose_and_repeat_nothing() {
    let plan = Plan { hits: program::hits_wanted(100), seed: program::seed(), ..Plan::default() };
    let databases = Databases::default();
    let workloads = workload::all();
    let groups = points::of_all(&workloads, &|workload| databases.kills(workload));
    let report = carry_out(groups, &plan, &|point, mutant| databases.carry_out(point, mutant));
    println!("{report}");
    assert!(report.problems.is_empty(), "{report}");
    assert!(report.total() >= plan.hits, "too few kills: {report}");
}
