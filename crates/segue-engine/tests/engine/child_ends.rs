//! `docs/reference/semantics.md`: what the end of a child run means for the task that waits for it. Each row is played.

use std::{fs, path::Path};

use segue_core::{
    event::EventKind,
    ids::RunId,
    outcome::{ErrorKind, TaskOutcome, Usage},
    ports::{Orchestrator, StartRun},
};
use segue_engine::Engine;
use serde_json::{Value, json};

use crate::support::World;

/// The rows of the table, without the marks of code.
fn rows() -> Vec<Vec<String>> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/semantics.md");
    let text = fs::read_to_string(page).unwrap();
    let (_, section) = text.split_once("\n## Child workflows\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let lines = section.lines().filter(|line| line.starts_with("| ")).skip(2);
    lines.map(|line| line.trim_matches('|').split(" | ").map(|cell| cell.trim().replace('`', "")).collect()).collect()
}

fn no_key() -> TaskOutcome {
    TaskOutcome::failure(ErrorKind::Auth, "no key")
}

/// A run of a task that runs another workflow, and perhaps of one beside it.
async fn start(world: &mut World, engine: &Engine, more: Value, beside: Option<Value>) -> RunId {
    let mut node = json!({ "id": "c", "workflow": { "id": "child" } });
    node.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    world.deploy(engine, json!({ "id": "child", "nodes": [{ "id": "a", "task": "test.task" }] })).await;
    let mut nodes = vec![node];
    nodes.extend(beside);
    let parent = json!({ "id": "parent", "nodes": nodes });
    world.start_workflow(engine, parent, StartRun::default()).await.run_id
}

/// Answers the child's task once it has been told to stop.
async fn stops(world: &mut World) {
    let call = world.call_of("a@1").await;
    call.cancelled().await;
    call.answer(TaskOutcome::Cancelled { usage: Usage::default() });
}

/// Lets happen what the row says; gives the run.
async fn play(world: &mut World, engine: &Engine, row: &str) -> RunId {
    let more = match row {
        row if row.ends_with("on_failure: continue") => json!({ "on_failure": { "action": "continue" } }),
        row if row.contains("once more") => json!({ "retry_policy": { "max_attempts": 2, "retry_on": ["auth"] } }),
        row if row.contains("timeout_seconds") => {
            json!({ "timeout_seconds": 20, "retry_policy": { "max_attempts": 1 } })
        }
        row if row.contains("deadline_seconds") => json!({ "deadline_seconds": 20 }),
        row if row.contains("detach") => json!({ "workflow": { "id": "child", "detach": true } }),
        _ => json!({}),
    };
    if row == "waits for somebody" {
        world.deploy(engine, json!({ "id": "child", "nodes": [{ "id": "a", "approval": { "title": "?" } }] })).await;
        let parent = json!({ "id": "parent", "nodes": [{ "id": "c", "workflow": { "id": "child" } }] });
        return world.start_workflow(engine, parent, StartRun::default()).await.run_id;
    }
    if row.starts_with("would be the 33rd") {
        let again = json!({ "id": "again", "nodes": [{ "id": "c", "workflow": { "id": "again" } }] });
        return world.start_workflow(engine, again, StartRun::default()).await.run_id;
    }
    // It keeps a run that does not wait for its child from ending.
    let beside = row.starts_with("goes on").then(|| json!({ "id": "beside", "wait": { "event": "never" } }));
    let run = start(world, engine, more, beside).await;
    match row {
        "succeeds" => world.call_of("a@1").await.succeed(json!(1)),
        "fails" | "fails, and the task says on_failure: continue" | "fails, but the task says detach: true" => {
            world.call_of("a@1").await.answer(no_key());
        }
        "fails, and the task may try once more: it is reopened, and succeeds" => {
            world.call_of("a@1").await.answer(no_key());
            world.call_of("a@2").await.succeed(json!(1));
        }
        "is cancelled by somebody" => {
            let below = world.child_of(run, "c").await;
            engine.cancel_run(below, "not this").await.unwrap();
            stops(world).await;
        }
        "is cancelled, because the run is" => {
            world.child_of(run, "c").await;
            engine.cancel_run(run, "enough").await.unwrap();
            stops(world).await;
        }
        row if row.starts_with("is cancelled, because the task's ") => stops(world).await,
        "goes on when the run is cancelled, as the task says detach: true" => {
            let call = world.call_of("a@1").await;
            engine.cancel_run(run, "enough").await.unwrap();
            assert!(!call.invocation.cancel.is_cancelled());
            call.succeed(json!(1));
        }
        other => panic!("no such row: {other}"),
    }
    run
}

/// The status of the task, and the kind of the error with which it failed.
async fn said_of_task(world: &World, run: RunId) -> String {
    let result = world.store.inner.get_task_result(run, &"c".into()).await.unwrap();
    let events = world.store.inner.events(run, 0, 0).await.unwrap();
    let failed = events.iter().rev().find_map(|event| match &event.kind {
        EventKind::TaskFailed { error, .. } => Some(format!(", {}", error.kind)),
        _ => None,
    });
    format!("{}{}", result.status, failed.unwrap_or_default())
}

#[tokio::test(start_paused = true)]
async fn child_workflows() {
    let rows = rows();
    assert_eq!(rows.len(), 12);
    for row in rows {
        let mut world = World::in_memory();
        let engine = world.engine().await;
        let run = play(&mut world, &engine, &row[0]).await;
        let status = [row[2].as_str()].map(|name| serde_json::from_value(json!(name)).unwrap())[0];
        world.reaches(run, status).await;
        assert_eq!(said_of_task(&world, run).await, row[1], "{row:?}: {:?}", world.log(run).await);
    }
}
