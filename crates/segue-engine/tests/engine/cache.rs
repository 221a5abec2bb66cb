//! Results that are used again.

use std::time::Duration;

use segue_core::{
    event::EventKind,
    ids::RunId,
    outcome::{ErrorKind, TaskOutcome},
    ports::{RunStore, StartRun},
    status::Status,
};
use serde_json::{Value, json};

use crate::support::{World, on_every_store};

on_every_store!(a_result_is_used_again_by_other_runs, what_differs_is_not_shared);

fn workflow(cache: Value) -> Value {
    json!({"id": "w", "params": {"x": {}}, "nodes": [
        {"id": "a", "task": "test.task", "inputs": {"x": "{{ params.x }}"}, "cache": cache},
    ]})
}

fn with(x: Value) -> StartRun {
    StartRun { inputs: [("x".to_owned(), x)].into_iter().collect(), ..StartRun::default() }
}

async fn warnings(world: &World, run: RunId) -> Vec<String> {
    let events = world.store.events(run, 0, 0).await.unwrap();
    let found = events.into_iter().find_map(|event| match event.kind {
        EventKind::TaskSucceeded { warnings, .. } => Some(warnings),
        _ => None,
    });
    found.unwrap()
}

async fn a_result_is_used_again_by_other_runs(mut world: World) {
    let engine = world.engine().await;
    let first = world.start_workflow(&engine, workflow(json!({})), with(json!(1))).await.run_id;
    world.call_of("a@1").await.answer(TaskOutcome::failure(ErrorKind::Auth, "no key"));
    world.ended(&engine, first, Status::Failed).await;
    // A failure is not kept.
    engine.reopen(first).await.unwrap();
    let big = json!({"big": "x".repeat(100_000)});
    world.call_of("a@2").await.succeed(big.clone());
    world.ended(&engine, first, Status::Succeeded).await;

    let second = world.start_workflow(&engine, workflow(json!({})), with(json!(1))).await.run_id;
    world.ended(&engine, second, Status::Succeeded).await;
    assert!(!world.has_call());
    assert_eq!(world.output(second, "a").await, big);
    assert_eq!(warnings(&world, second).await, [format!("from the cache: run {first}, task a")]);
    assert_eq!(engine.scheduler().places_taken(), 0);
}

async fn what_differs_is_not_shared(mut world: World) {
    let engine = world.engine().await;
    let keyed = workflow(json!({"key": "{{ params.x.k }}"}));
    let rehearsal = || StartRun { rehearsal: true, ..with(json!({"k": 1})) };
    for (workflow, start, is_called) in [
        (workflow(json!({})), with(json!({"k": 1})), true),
        (workflow(json!({})), with(json!({"k": 2})), true),
        (workflow(json!({})), with(json!({"k": 1})), false),
        (keyed.clone(), with(json!({"k": 1, "other": 1})), true),
        (keyed.clone(), with(json!({"k": 1, "other": 2})), false),
        (workflow(json!({})), rehearsal(), true),
        (workflow(json!({})), rehearsal(), false),
    ] {
        let run = world.start_workflow(&engine, workflow, start).await.run_id;
        if is_called {
            world.call_of("a@1").await.succeed(json!(1));
        }
        world.ended(&engine, run, Status::Succeeded).await;
    }
    assert!(!world.has_call());
}

#[tokio::test(start_paused = true)]
async fn a_result_is_used_for_its_time() {
    let mut world = World::in_memory();
    let engine = world.engine().await;
    for (pause, is_called) in [(0, true), (50, false), (50, true)] {
        tokio::time::sleep(Duration::from_secs(pause)).await;
        let run = world.start_workflow(&engine, workflow(json!({"ttl_seconds": 90})), with(json!(1))).await.run_id;
        if is_called {
            world.call_of("a@1").await.succeed(json!(pause));
        }
        world.ended(&engine, run, Status::Succeeded).await;
    }
}
