//! The kernel alone: inputs in, events out, no store and no clock.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use segue_core::{
    event::{Event, RunCreated},
    ids::{HandlerId, RunId, TaskId},
    outcome::TaskOutcome,
    payload::Payload,
    plan::Plan,
    run::{Input, Run},
    spec::WorkflowSpec,
    status::Status,
    time::Timestamp,
};
use serde_json::{Value, json};

/// One node after the other.
pub fn chain(size: usize, slower: bool) -> Result<()> {
    to_its_end(chain_of(size)?, slower).map(drop)
}

/// One node, `size` after it, one after those.
pub fn fan(size: usize, slower: bool) -> Result<()> {
    let middle: Vec<String> = (0..size).map(|n| format!("n{n}")).collect();
    let mut nodes =
        vec![json!({"id": "first", "task": "pass"}), json!({"id": "last", "task": "pass", "depends_on": middle})];
    nodes.extend(middle.iter().map(|id| json!({"id": id, "task": "pass", "depends_on": ["first"]})));
    to_its_end(plan(nodes)?, slower).map(drop)
}

/// The log of a chain, read again.
pub fn fold(size: usize, slower: bool) -> Result<()> {
    let plan = chain_of(size)?;
    let (run, log) = to_its_end(plan.clone(), false)?;
    // Ten times, so that the writing does not count for much.
    for _ in 0..if slower { 20 } else { 10 } {
        ensure!(Run::fold(plan.clone(), run.id(), &log)?.status() == Status::Succeeded);
    }
    Ok(())
}

fn chain_of(size: usize) -> Result<Arc<Plan>> {
    let node = |n: usize| match n {
        0 => json!({"id": "n0", "task": "pass", "inputs": {"x": 0}}),
        n => {
            let before = format!("n{}", n - 1);
            let inputs = json!({"x": format!("{{{{ nodes.{before}.output.x + 1 }}}}")});
            json!({"id": format!("n{n}"), "task": "pass", "depends_on": [before], "inputs": inputs})
        }
    };
    plan((0..size).map(node).collect())
}

fn plan(nodes: Vec<Value>) -> Result<Arc<Plan>> {
    let spec: WorkflowSpec = serde_json::from_value(json!({"id": "work", "nodes": nodes}))?;
    Ok(Arc::new(Plan::compile(&spec, &HandlerId::from("pass"))?))
}

/// As an engine drives it: what is ready is accepted, rendered, answered; each batch has its rows.
fn to_its_end(plan: Arc<Plan>, slower: bool) -> Result<(Run, Vec<Event>)> {
    let created = RunCreated::new(plan.hash(), Payload::new(json!({})));
    let now = Timestamp::from_micros(1_700_000_000_000_000);
    let (mut run, mut log) = Run::create(plan, RunId::from_bytes([7; 16]), created, now);
    while !run.status().is_terminal() {
        let ready: Vec<TaskId> = run.ready(now).take(run.room()).cloned().collect();
        ensure!(!ready.is_empty(), "it has not ended, and nothing can start");
        let mut batch = Vec::new();
        for task in &ready {
            batch.extend(run.handle(Input::TaskAccepted { task: task.clone() }, now)?);
        }
        for task in ready {
            let rendered = run.render(&task)?;
            if slower {
                drop(run.clone());
            }
            let outcome = TaskOutcome::success(Value::clone(&rendered.inputs));
            let attempt = run.task_status(&task).context("it was accepted")?.1;
            batch.extend(run.handle(Input::TaskEnded { task, attempt, outcome, jitter: 0.0 }, now)?);
        }
        std::hint::black_box((run.run_row(), run.task_rows(&batch)));
        log.extend(batch);
    }
    ensure!(run.status() == Status::Succeeded);
    Ok((run, log))
}
