//! Runs that take over results of earlier ones.

use segue_core::{
    event::EventKind,
    ids::RunId,
    outcome::{ErrorKind, TaskOutcome},
    ports::{OrchestratorError, RunStore},
    status::Status,
};
use serde_json::{Value, json};

use crate::support::{World, on_every_store};

on_every_store!(
    a_rerun_keeps_what_succeeded,
    a_rerun_from_a_node_runs_all_that_is_below_it,
    a_live_run_is_not_run_again
);

fn nodes() -> Value {
    json!([
        {"id": "a", "task": "test.task"},
        {"id": "b", "task": "test.task", "depends_on": ["a"]},
        {"id": "side", "task": "pass"},
        {"id": "no", "task": "pass", "when": "false"},
        {"id": "end", "task": "test.task", "inputs": {"b": "{{ nodes.b.output }}"}, "depends_on": ["b", "side", "no"]},
    ])
}

async fn reused(world: &World, run: RunId, of: RunId) -> Vec<String> {
    let events = world.store.events(run, 0, 0).await.unwrap();
    let EventKind::RunCreated(created) = &events[0].kind else { panic!("a log begins with run.created") };
    assert_eq!(created.rerun_of, Some(of));
    let from = |event: &segue_core::event::Event| match &event.kind {
        EventKind::TaskSucceeded { reused_from: Some(from), .. } if *from == of => {
            Some(event.task_id.clone()?.to_string())
        }
        _ => None,
    };
    events.iter().filter_map(from).collect()
}

async fn a_rerun_keeps_what_succeeded(mut world: World) {
    let engine = world.engine().await;
    let run = world.start(&engine, nodes()).await;
    world.call_of("a@1").await.succeed(json!(1));
    let big = json!("x".repeat(100_000));
    world.call_of("b@1").await.succeed(big.clone());
    world.call_of("end@1").await.answer(TaskOutcome::failure(ErrorKind::Auth, "no key"));
    world.ended(&engine, run, Status::Failed).await;

    let again = engine.rerun(run, &[]).await.unwrap();
    assert!(again.is_new && again.run_id != run);
    world.know(again.run_id, json!({"id": "w", "nodes": nodes()}));
    let call = world.call_of("end@1").await;
    assert_eq!(*call.invocation.inputs, json!({"b": big}));
    call.succeed(json!(3));
    world.ended(&engine, again.run_id, Status::Succeeded).await;
    let mut kept = reused(&world, again.run_id, run).await;
    kept.sort();
    assert_eq!(kept, ["a", "b", "side"]);
    assert!(!world.has_call());
}

async fn a_rerun_from_a_node_runs_all_that_is_below_it(mut world: World) {
    let engine = world.engine().await;
    let run = world.start(&engine, nodes()).await;
    for task in ["a@1", "b@1", "end@1"] {
        world.call_of(task).await.succeed(json!(task));
    }
    world.ended(&engine, run, Status::Succeeded).await;
    let unknown = engine.rerun(run, &["nobody".into()]).await;
    assert!(matches!(unknown, Err(OrchestratorError::NotFound(_))), "{unknown:?}");

    let again = engine.rerun(run, &["b".into()]).await.unwrap().run_id;
    world.know(again, json!({"id": "w", "nodes": nodes()}));
    world.call_of("b@1").await.succeed(json!("anew"));
    let call = world.call_of("end@1").await;
    assert_eq!(*call.invocation.inputs, json!({"b": "anew"}));
    call.succeed(json!(1));
    world.ended(&engine, again, Status::Succeeded).await;
    let mut kept = reused(&world, again, run).await;
    kept.sort();
    assert_eq!(kept, ["a", "side"]);
}

async fn a_live_run_is_not_run_again(mut world: World) {
    let engine = world.engine().await;
    let run = world.start(&engine, json!([{"id": "a", "task": "test.task"}])).await;
    let call = world.call_of("a@1").await;
    assert!(matches!(engine.rerun(run, &[]).await, Err(OrchestratorError::Conflict(_))));
    call.succeed(json!(1));
    world.ended(&engine, run, Status::Succeeded).await;
}
