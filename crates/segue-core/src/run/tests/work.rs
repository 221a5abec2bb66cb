//! What a run costs: four times the tasks may cost four times the looks at tasks, and not more.
//!
//! Looks are counted where the kernel reaches into its arena, so that the result does not depend on the machine.

use super::*;
use crate::run::LOOKS;

const SMALL: u64 = 200;
/// Four times the tasks, and a little for what grows with the number's length.
const GROWTH_MAX: f64 = 4.6;

/// A run whose every attempt ends as `outcome` says: the looks that it took.
fn looks(document: Value, outcome: impl Fn(&str) -> TaskOutcome) -> u64 {
    let spec: WorkflowSpec = serde_json::from_value(document).expect("a workflow");
    let plan = Arc::new(Plan::compile(&spec, &HandlerId::from("pass")).expect("a plan"));
    let created = RunCreated::new(plan.hash(), Payload::new(json!({})));
    let mut now = Timestamp::from_micros(1_000_000);
    let before = LOOKS.get();
    let (mut run, _) = Run::create(plan, RunId::from_bytes([7; 16]), created, now);
    while !run.status().is_terminal() {
        let ready = run.ready(now).next().cloned();
        let is_asked = |(task, waiting): (&TaskId, &Waiting)| waiting.due().is_none().then(|| task.clone());
        let asked = run.waiting().next().and_then(is_asked);
        if let Some(task) = ready {
            run.handle(Input::TaskAccepted { task: task.clone() }, now).expect("ready");
            let attempt = run.task_status(&task).map_or(0, |(_, attempt)| attempt);
            let outcome = outcome(task.as_str());
            run.handle(Input::TaskEnded { task, attempt, outcome, jitter: 0.5 }, now).expect("it runs");
        } else if let Some(task) = asked {
            let data = json!({ "decision": "reject" });
            run.handle(Input::Signal { to: Address::Task(task), data, request: None }, now).expect("it waits");
        } else {
            now = run.wake_at(now).expect("a run that does nothing waits for a time");
            run.handle(Input::Woke { jitter: 0.5 }, now).expect("waking is never refused");
        }
    }
    if run.status() == Status::Failed {
        run.handle(Input::Reopen, now).expect("it failed");
        run.handle(Input::Cancel { reason: "enough".into() }, now).expect("it runs");
    }
    LOOKS.get() - before
}

fn well(_: &str) -> TaskOutcome {
    TaskOutcome::success(json!(1))
}

fn badly(task: &str) -> TaskOutcome {
    if task.starts_with('x') { TaskOutcome::failure(ErrorKind::Auth, "no") } else { well(task) }
}

#[track_caller]
fn grows_with_its_tasks(document: impl Fn(u64) -> Value, outcome: impl Fn(&str) -> TaskOutcome) {
    let (few, many) = (looks(document(SMALL), &outcome), looks(document(4 * SMALL), &outcome));
    #[allow(clippy::cast_precision_loss)]
    let growth = many as f64 / few as f64;
    assert!(growth < GROWTH_MAX, "{few} looks for {SMALL}, {many} for four times as many");
}

fn many(n: u64, node: impl Fn(u64) -> Value) -> Vec<Value> {
    (0..n).map(node).collect()
}

fn ids(n: u64) -> Vec<String> {
    (0..n).map(|i| format!("x{i}")).collect()
}

#[test]
fn wide_and_long_graphs() {
    grows_with_its_tasks(|n| json!({ "id": "w", "nodes": many(n, |i| json!({ "id": format!("n{i}") })) }), well);
    grows_with_its_tasks(
        |n| {
            let before = |i: u64| if i == 0 { vec![] } else { vec![format!("n{}", i - 1)] };
            json!({ "id": "w", "nodes": many(n, |i| json!({ "id": format!("n{i}"), "depends_on": before(i) })) })
        },
        well,
    );
}

#[test]
fn many_failures_that_one_node_handles_or_each_one_of_its_own() {
    for policy in ["finish", "cancel"] {
        grows_with_its_tasks(
            |n| {
                let mut nodes = many(n, |i| json!({ "id": format!("x{i}") }));
                nodes.push(json!({ "id": "end", "depends_on": ids(n), "join": "all_done" }));
                json!({ "id": "w", "nodes": nodes, "on_failure": policy })
            },
            badly,
        );
    }
    grows_with_its_tasks(
        |n| {
            let mut nodes = many(n, |i| json!({ "id": format!("x{i}") }));
            nodes.extend(many(n, |i| {
                let when = if i % 2 == 0 { "true" } else { "false" };
                json!({ "id": format!("h{i}"), "depends_on": [format!("x{i}")], "join": "any_failure", "when": when })
            }));
            json!({ "id": "w", "nodes": nodes })
        },
        badly,
    );
}

#[test]
fn many_conditions_on_the_edges_to_one_node() {
    grows_with_its_tasks(
        |n| {
            let mut nodes = many(n, |i| json!({ "id": format!("n{i}") }));
            nodes.push(json!({ "id": "end", "join": "all_done" }));
            let edges = many(n, |i| json!({ "from": format!("n{i}"), "to": "end", "when": "false" }));
            json!({ "id": "w", "nodes": nodes, "edges": edges })
        },
        well,
    );
}

#[test]
fn many_instances_of_anything() {
    let of = |n: u64, more: Value| {
        let mut node = json!({ "id": "x", "foreach": (0..n).collect::<Vec<_>>(), "parallelism": 8 });
        node.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        json!({ "id": "w", "nodes": [node] })
    };
    grows_with_its_tasks(|n| of(n, json!({})), well);
    grows_with_its_tasks(|n| of(n, json!({})), badly);
    grows_with_its_tasks(|n| of(n, json!({ "on_failure": { "action": "continue" } })), badly);
    grows_with_its_tasks(|n| of(n, json!({ "on_failure": { "action": "pause" } })), badly);
    grows_with_its_tasks(|n| of(n, json!({ "retry_policy": { "retry_on": ["auth"], "max_attempts": 2 } })), badly);
    grows_with_its_tasks(|n| of(n, json!({ "group": { "nodes": [{ "id": "a" }, { "id": "b" }] } })), badly);
    grows_with_its_tasks(|n| of(n, json!({ "parallelism": 1_000_000, "approval": { "title": "?" } })), well);
    grows_with_its_tasks(|n| of(n, json!({ "parallelism": 1_000_000, "wait": { "seconds": 5 } })), well);
}

#[test]
fn many_rounds_and_iterations() {
    let group = json!({ "nodes": [{ "id": "a" }, { "id": "b" }] });
    grows_with_its_tasks(
        |n| json!({ "id": "w", "nodes": [{ "id": "r", "repeat": { "max_iterations": n }, "group": group }] }),
        well,
    );
    grows_with_its_tasks(
        |n| {
            json!({ "id": "w",
                "nodes": [{ "id": "a" }, { "id": "b", "depends_on": ["a"] }, { "id": "c", "depends_on": ["b"] }],
                "edges": [{ "from": "c", "to": "a", "max_iterations": n, "on_exhausted": "continue" }] })
        },
        well,
    );
}
