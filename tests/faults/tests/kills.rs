//! The program is killed at every n-th system call, and keeps what it has acknowledged.

use segue_faults::{
    campaign::{Plan, carry_out},
    points, program, workload,
};

#[test]
fn kills_over_sqlite_lose_and_repeat_nothing() {
    let plan = Plan { hits: program::hits_wanted(100), seed: program::seed(), ..Plan::default() };
    let workloads = workload::all();
    let report = carry_out(workloads.iter().flat_map(points::kills).collect(), &plan);
    println!("{report}");
    assert!(report.problems.is_empty(), "{report}");
    assert!(report.total() >= plan.hits, "too few kills: {report}");
}
