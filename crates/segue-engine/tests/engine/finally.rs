//! What runs at the end of a run, however it ends, and not when its engine merely leaves.

use std::time::Duration;

use segue_core::{
    ids::RunId,
    outcome::{ErrorKind, TaskOutcome, Usage},
    ports::{Orchestrator, StartRun},
    status::Status,
};
use segue_engine::Engine;
use serde_json::json;

use crate::support::{World, on_every_store};

on_every_store!(
    a_cancel_lets_the_end_run,
    a_further_cancel_stops_the_end_too,
    a_shutdown_does_not_begin_the_end,
    an_end_that_has_begun_goes_on_in_the_next_engine,
    a_failure_is_handled_before_the_end,
);

async fn start(world: &mut World, engine: &Engine) -> RunId {
    let workflow = json!({
        "id": "w",
        "nodes": [{"id": "a", "task": "test.task", "retry_policy": {"max_attempts": 1}}],
        "on_failure": [{"id": "handle", "task": "test.task", "inputs": {"why": "{{ error.message }}"}}],
        "finally": [{"id": "end", "task": "test.task", "inputs": {"status": "{{ run.status }}"}}],
    });
    world.start_workflow(engine, workflow, StartRun::default()).await.run_id
}

async fn a_cancel_lets_the_end_run(mut world: World) {
    let engine = world.engine().await;
    let run = start(&mut world, &engine).await;
    let call = world.call_of("a@1").await;
    engine.cancel_run(run, "enough").await.unwrap();
    call.cancelled().await;
    call.answer(TaskOutcome::Cancelled { usage: Usage::default() });
    let end = world.call_of("end@1").await;
    assert_eq!(*end.invocation.inputs, json!({"status": "CANCELLED"}));
    assert!(!end.invocation.cancel.is_cancelled());
    end.succeed(json!("cleaned up"));
    world.ended(&engine, run, Status::Cancelled).await;
    assert_eq!(world.output(run, "end").await, json!("cleaned up"));
}

async fn a_further_cancel_stops_the_end_too(mut world: World) {
    let engine = world.engine().await;
    let run = start(&mut world, &engine).await;
    let call = world.call_of("a@1").await;
    engine.cancel_run(run, "enough").await.unwrap();
    call.cancelled().await;
    call.answer(TaskOutcome::Cancelled { usage: Usage::default() });
    let end = world.call_of("end@1").await;
    engine.cancel_run(run, "now").await.unwrap();
    end.cancelled().await;
    end.answer(TaskOutcome::Cancelled { usage: Usage::default() });
    world.ended(&engine, run, Status::Cancelled).await;
}

async fn a_shutdown_does_not_begin_the_end(mut world: World) {
    let leaving = world.engine().await;
    let run = start(&mut world, &leaving).await;
    let call = world.call_of("a@1").await;
    let leave = leaving.shut_down_within(Duration::from_millis(20));
    let answer = async {
        call.cancelled().await;
        call.answer(TaskOutcome::Cancelled { usage: Usage::default() });
    };
    tokio::join!(leave, answer);
    assert_eq!(world.log(run).await.last().unwrap(), "retrying:a@1");
    assert!(!world.has_call());

    let next = world.engine().await;
    next.resume(&[run]).await.unwrap();
    world.call_of("a@2").await.succeed(json!(1));
    let end = world.call_of("end@1").await;
    assert_eq!(*end.invocation.inputs, json!({"status": "SUCCEEDED"}));
    end.succeed(json!(2));
    world.ended(&next, run, Status::Succeeded).await;
}

async fn an_end_that_has_begun_goes_on_in_the_next_engine(mut world: World) {
    let dead = world.engine().await;
    let run = start(&mut world, &dead).await;
    let call = world.call_of("a@1").await;
    dead.cancel_run(run, "enough").await.unwrap();
    call.cancelled().await;
    call.answer(TaskOutcome::Cancelled { usage: Usage::default() });
    let lost = world.call_of("end@1").await;
    dead.stop();
    drop(dead);
    lost.answer(TaskOutcome::Cancelled { usage: Usage::default() });
    let next = world.engine().await;
    next.resume(&[run]).await.unwrap();
    world.call_of("end@2").await.succeed(json!(1));
    world.ended(&next, run, Status::Cancelled).await;
}

async fn a_failure_is_handled_before_the_end(mut world: World) {
    let engine = world.engine().await;
    let run = start(&mut world, &engine).await;
    world.call_of("a@1").await.answer(TaskOutcome::failure(ErrorKind::Auth, "no key"));
    let handle = world.call_of("handle@1").await;
    assert_eq!(*handle.invocation.inputs, json!({"why": "no key"}));
    handle.succeed(json!(1));
    world.call_of("end@1").await.succeed(json!(2));
    world.ended(&engine, run, Status::Failed).await;
}
