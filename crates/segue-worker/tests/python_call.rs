//! `python.call` with the real worker: many functions in one process, some of them bad neighbours. Needs a python3.
#![allow(clippy::unwrap_used)]

mod common;

use std::{fs, path::Path, sync::Arc, time::Duration};

use common::{runs, unique};
use futures_util::future::join_all;
use segue_core::{
    outcome::{ErrorKind, Loss, TaskOutcome},
    ports::Adapter,
};
use segue_testkit::conformance::adapter::{AdapterCases, Case, Controls, check_adapter};
use segue_worker::{
    pool::PoolOptions,
    python::{CALL, PythonAdapter, RuntimeOptions},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);

/// Who does not end is given up soon.
fn quick() -> PoolOptions {
    PoolOptions { guest_grace_min: Duration::from_millis(500), ..PoolOptions::default() }
}

/// An adapter, and a project with the bad neighbours in it.
struct Project {
    adapter: Arc<PythonAdapter>,
    folder: TempDir,
}

impl Project {
    fn new() -> Self {
        Self::with(quick())
    }

    fn with(pool: PoolOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let code = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/code/villain_code.py");
        fs::copy(code, folder.path().join("villain_code.py")).unwrap();
        let options = RuntimeOptions { pool, ..RuntimeOptions::new(folder.path().join(".segue")) };
        Self { adapter: Arc::new(PythonAdapter::new(options)), folder }
    }

    fn case(&self, function: &str, with: Value) -> Case {
        let mut inputs = with;
        inputs["call"] = json!(format!("villain_code:{function}"));
        Case { base_dir: Some(self.folder.path().to_owned()), ..Case::new(CALL, inputs) }
    }

    fn isolated(&self, function: &str, with: Value) -> Case {
        self.case(function, with).with_hints(json!({ "python": { "isolation": "process" } }))
    }

    async fn run(&self, function: &str, with: Value) -> TaskOutcome {
        self.execute(&self.case(function, with)).await
    }

    async fn execute(&self, case: &Case) -> TaskOutcome {
        timeout(PATIENCE, self.adapter.execute(case.invocation("task", 1).0)).await.unwrap()
    }

    /// Begins one, and waits until it says that it is ready.
    async fn begin(&self, function: &str, with: Value) -> (tokio::task::JoinHandle<TaskOutcome>, Controls) {
        let (invocation, controls) = self.case(function, with).invocation("begun", 1);
        let adapter = self.adapter.clone();
        let running = tokio::spawn(async move { adapter.execute(invocation).await });
        timeout(PATIENCE, controls.progress.wait_for("ready")).await.unwrap();
        (running, controls)
    }
}

async fn ends(running: tokio::task::JoinHandle<TaskOutcome>) -> TaskOutcome {
    timeout(PATIENCE, running).await.unwrap().unwrap()
}

fn output(outcome: TaskOutcome) -> Value {
    match outcome {
        TaskOutcome::Succeeded { output, .. } => (**output.value().unwrap()).clone(),
        other => panic!("{other:?}"),
    }
}

fn loss(outcome: TaskOutcome) -> String {
    match outcome {
        TaskOutcome::Lost { by: Loss::Worker, message, .. } => message,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_every_promise_of_an_adapter() {
    let project = Project::new();
    let mark = unique("python-call");
    let given = json!({ "mark": mark });
    check_adapter(AdapterCases {
        adapter: project.adapter.clone(),
        succeeds: (project.case("answer", json!({ "value": { "a": [1.5] } })), json!({ "a": [1.5] })),
        fails: vec![
            (project.case("fail", json!({})), ErrorKind::User),
            (project.case("leave", json!({})), ErrorKind::User),
            (project.case("leave_async", json!({})), ErrorKind::User),
            (project.case("strange", json!({})), ErrorKind::Output),
            (project.case("large", json!({ "size": 70 << 20 })), ErrorKind::Output),
            (project.case("no_such_function", json!({})), ErrorKind::Load),
            (project.case("answer", json!({})), ErrorKind::InvalidInput),
            (
                Case { inputs: json!({ "call": "no colon" }), ..project.case("answer", json!({})) },
                ErrorKind::InvalidInput,
            ),
            (project.isolated("leave", json!({})), ErrorKind::User),
        ],
        is_lost: ["segfault", "kill", "exit"].map(|how| project.isolated("die", json!({ "how": how }))).to_vec(),
        endless: vec![
            project.case("wait", given.clone()),
            project.case("hang", given.clone()),
            project.case("swallow", given.clone()),
            project.isolated("wait", given.clone()),
            Case { grace: Duration::from_millis(100), ..project.isolated("hang", given) },
        ],
        tells_context: Some(project.case("tell", json!({}))),
        counts_to: Some((project.case("count", json!({ "to": 300 })), 300)),
        is_anything_left: Box::new(move || runs(&mark)),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_share_one_process_and_one_may_have_its_own() {
    let project = Project::new();
    let shared = output(project.run("pid", json!({})).await);
    let all = join_all((0..40).map(|_| project.run("pid", json!({})))).await;
    assert!(all.into_iter().all(|outcome| output(outcome) == shared));
    let own = output(project.execute(&project.isolated("pid", json!({}))).await);
    assert_ne!(own, shared);
    project.adapter.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_of_a_host_costs_a_small_part_of_a_process() {
    let project = Project::new();
    let (shared, isolated) =
        (project.case("answer_async", json!({ "value": 1 })), project.isolated("answer_async", json!({ "value": 1 })));
    // Warm.
    output(project.execute(&shared).await);
    output(project.execute(&isolated).await);
    let time = async |case: &Case, count: u32| {
        let begun = std::time::Instant::now();
        for outcome in join_all((0..count).map(|_| project.execute(case))).await {
            assert_eq!(output(outcome), 1);
        }
        begun.elapsed() / count
    };
    let (of_shared, of_isolated) = (time(&shared, 400).await, time(&isolated, 10).await);
    let a_second = 1.0 / of_shared.as_secs_f64();
    eprintln!("{a_second:.0} a second in one host; {of_shared:?} each, {of_isolated:?} in a process of its own");
    assert!(of_shared * 4 < of_isolated, "{of_shared:?} against {of_isolated:?}");
    project.adapter.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_or_forges_or_floods_harms_no_neighbour() {
    let project = Project::new();
    let host = output(project.run("pid", json!({})).await);
    let (neighbour, controls) = project.begin("nap", json!({ "seconds": 3600 })).await;
    for function in ["leave", "leave_async", "fail"] {
        assert!(matches!(project.run(function, json!({})).await, TaskOutcome::Failed { .. }));
    }
    assert_eq!(output(project.run("forge", json!({})).await), "real");
    assert_eq!(output(project.run("flood", json!({ "megabytes": 40 })).await), 40);
    assert_eq!(output(project.run("pid", json!({})).await), host, "the host lives on");
    assert!(!neighbour.is_finished());
    controls.cancel.cancel();
    assert!(matches!(ends(neighbour).await, TaskOutcome::Cancelled { .. }));
    project.adapter.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_host_loses_what_was_in_it_and_is_replaced() {
    let project = Project::new();
    for how in ["segfault", "kill", "exit"] {
        let (neighbour, _) = project.begin("nap", json!({ "seconds": 3600 })).await;
        let message = loss(project.run("die", json!({ "how": how })).await);
        assert!(message.contains("the Python worker is gone"), "{message}");
        loss(ends(neighbour).await);
        assert_eq!(output(project.run("answer", json!({ "value": how })).await), how);
    }
    project.adapter.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_whose_loop_is_blocked_is_killed() {
    let lag_max = Duration::from_secs(2);
    let project = Project::with(PoolOptions { lag_leave: lag_max / 2, lag_max, ..quick() });
    let (neighbour, _) = project.begin("nap", json!({ "seconds": 3600 })).await;
    let (blocking, _) = project.begin("block", json!({ "seconds": 3600 })).await;
    for lost in [loss(ends(blocking).await), loss(ends(neighbour).await)] {
        assert!(lost.contains("was blocked for") && lost.contains("isolation: process"), "{lost}");
    }
    assert_eq!(output(project.run("answer", json!({ "value": 1 })).await), 1);
    project.adapter.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_ended_ends_with_its_host_after_the_neighbours() {
    let project = Project::new();
    let mark = unique("dirty");
    let (host, _) = project.begin("nap", json!({ "seconds": 5 })).await;
    let (hanging, controls) = project.begin("hang", json!({ "mark": mark })).await;
    let first = output(project.run("pid", json!({})).await);
    controls.cancel.cancel();
    // New attempts are given to another host as soon as the grace is over.
    let mut other = first.clone();
    while other == first {
        other = output(project.run("pid", json!({})).await);
    }
    assert!(runs(&mark) && !hanging.is_finished(), "its neighbour is not through");
    assert_eq!(output(ends(host).await), first, "the neighbour finishes in peace");
    assert!(matches!(ends(hanging).await, TaskOutcome::Cancelled { .. }));
    assert!(!runs(&mark), "nothing is left");
    project.adapter.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dirty_host_does_not_live_for_ever_for_its_neighbours() {
    let project = Project::with(PoolOptions { dirty_max: Duration::from_secs(1), ..quick() });
    let mark = unique("dirty-long");
    let (neighbour, _) = project.begin("nap", json!({ "seconds": 3600 })).await;
    let (hanging, controls) = project.begin("hang", json!({ "mark": mark })).await;
    controls.cancel.cancel();
    assert!(matches!(ends(hanging).await, TaskOutcome::Cancelled { .. }));
    assert!(loss(ends(neighbour).await).contains("had to be ended"));
    project.adapter.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_is_replaced_after_so_many_attempts_without_losing_one() {
    let project = Project::with(PoolOptions {
        guests_total_max: 10,
        idle_max: Duration::from_millis(100),
        ..PoolOptions::default()
    });
    let (long, _) = project.begin("nap", json!({ "seconds": 3 })).await;
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 2 {
        seen.extend(output(project.run("pid", json!({})).await).as_u64());
    }
    assert!(seen.contains(&output(ends(long).await).as_u64().unwrap()), "it has ended in the host it began in");
    project.adapter.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn code_that_has_changed_is_loaded_anew() {
    let project = Project::new();
    let file = project.folder.path().join("changing.py");
    let case = Case { inputs: json!({ "call": "./changing.py:value" }), ..project.case("answer", json!({})) };
    fs::write(&file, "def value(): return 'before'\n").unwrap();
    assert_eq!(output(project.execute(&case).await), "before");
    fs::write(&file, "def value(): return 'after, and longer'\n").unwrap();
    let seen = async {
        while output(project.execute(&case).await) != "after, and longer" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, seen).await.unwrap();
    project.adapter.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_gets_what_is_named_and_nothing_else() {
    let project = Project::new();
    // Cargo sets these for every test.
    for isolation in ["shared", "process"] {
        let hints = json!({ "python": { "isolation": isolation, "env": ["CARGO_PKG_NAME"] } });
        let case = project.case("environment", json!({})).with_hints(hints);
        let seen = output(project.execute(&case).await);
        assert_eq!(seen["CARGO_PKG_NAME"], env!("CARGO_PKG_NAME"));
        assert!(seen.get("CARGO_MANIFEST_DIR").is_none() && seen.get("SEGUE_WORKER_TOKEN").is_none(), "{seen}");
    }
    let place = output(project.run("where", json!({})).await);
    assert_eq!(fs::canonicalize(place.as_str().unwrap()).unwrap(), fs::canonicalize(project.folder.path()).unwrap());
    project.adapter.shutdown().await;
}
