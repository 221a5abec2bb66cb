//! Cancels and retries, from here and from elsewhere.

use segue_core::{
    outcome::{ErrorKind, TaskOutcome, Usage},
    ports::{Orchestrator, OrchestratorError, RequestKind, RunStore},
    status::Status,
};
use serde_json::json;

use crate::support::{World, on_every_store};

on_every_store!(
    a_cancel_ends_what_runs_and_starts_nothing_more,
    a_cancel_from_another_handle_reaches_the_owner,
    a_cancel_of_an_ended_run_is_no_error,
    a_second_cancel_changes_nothing,
    a_failed_run_goes_on_after_a_retry,
    a_retry_of_a_living_run_is_a_conflict,
    a_success_that_comes_before_the_cancel_counts,
);

fn nodes() -> serde_json::Value {
    json!([{"id": "a", "task": "test.task"}, {"id": "b", "task": "pass", "depends_on": ["a"]}])
}

fn cancel() -> RequestKind {
    RequestKind::Cancel { reason: "enough".to_owned() }
}

async fn a_cancel_ends_what_runs_and_starts_nothing_more(mut world: World) {
    let engine = world.engine().await;
    let run = world.start(&engine, nodes()).await;
    let call = world.call_of("a@1").await;
    engine.cancel_run(run, "enough").await.unwrap();
    call.cancelled().await;
    assert!(engine.get_run_status(run).await.unwrap().cancelling);
    call.answer(TaskOutcome::Cancelled { usage: Usage::default() });
    world.ended(&engine, run, Status::Cancelled).await;
    assert!(!world.log(run).await.contains(&"started:b@1".to_owned()));
    assert!(world.store.pending_requests(run).await.unwrap().is_empty());
    assert_eq!(engine.scheduler().places_taken(), 0);
}

async fn a_cancel_from_another_handle_reaches_the_owner(mut world: World) {
    let engine = world.engine().await;
    let run = world.start(&engine, nodes()).await;
    let call = world.call_of("a@1").await;
    world.store.inner.post_request(run, cancel()).await.unwrap();
    call.cancelled().await;
    call.answer(TaskOutcome::Cancelled { usage: Usage::default() });
    world.ended(&engine, run, Status::Cancelled).await;
    assert!(world.store.pending_requests(run).await.unwrap().is_empty());
}

async fn a_cancel_of_an_ended_run_is_no_error(mut world: World) {
    let engine = world.engine().await;
    let run = world.start(&engine, json!([{"id": "a", "task": "pass"}])).await;
    world.ended(&engine, run, Status::Succeeded).await;
    engine.cancel_run(run, "late").await.unwrap();
    world.ended(&engine, run, Status::Succeeded).await;
    let unknown = "01998e3c-0000-7000-8000-00000000002a".parse().unwrap();
    assert!(matches!(engine.cancel_run(unknown, "who").await, Err(OrchestratorError::NotFound(_))));
}

async fn a_second_cancel_changes_nothing(mut world: World) {
    let engine = world.engine().await;
    let run = world.start(&engine, nodes()).await;
    let call = world.call_of("a@1").await;
    engine.request(run, cancel()).await.unwrap();
    call.cancelled().await;
    engine.request(run, cancel()).await.unwrap();
    engine.cancel_run(run, "again").await.unwrap();
    call.answer(TaskOutcome::Cancelled { usage: Usage::default() });
    world.ended(&engine, run, Status::Cancelled).await;
    let log = world.log(run).await;
    assert_eq!(log.iter().filter(|name| *name == "run.cancelling").count(), 1);
}

async fn a_failed_run_goes_on_after_a_retry(mut world: World) {
    let engine = world.engine().await;
    let nodes = json!([
        {"id": "a", "task": "test.task"},
        {"id": "b", "task": "test.task", "depends_on": ["a"]},
    ]);
    let run = world.start(&engine, nodes).await;
    world.call_of("a@1").await.succeed(json!("kept"));
    world.call_of("b@1").await.answer(TaskOutcome::failure(ErrorKind::Auth, "no key"));
    world.ended(&engine, run, Status::Failed).await;

    engine.reopen(run).await.unwrap();
    world.call_of("b@2").await.succeed(json!("now"));
    world.ended(&engine, run, Status::Succeeded).await;
    assert_eq!(world.output(run, "a").await, json!("kept"));
    assert!(world.store.pending_requests(run).await.unwrap().is_empty());
}

async fn a_retry_of_a_living_run_is_a_conflict(mut world: World) {
    let engine = world.engine().await;
    let run = world.start(&engine, nodes()).await;
    let call = world.call_of("a@1").await;
    assert!(matches!(engine.reopen(run).await, Err(OrchestratorError::Conflict(_))));
    // One that comes through the inbox all the same is dismissed.
    engine.request(run, RequestKind::Reopen).await.unwrap();
    call.succeed(json!(1));
    world.ended(&engine, run, Status::Succeeded).await;
    assert!(matches!(engine.reopen(run).await, Err(OrchestratorError::Conflict(_))));
}

async fn a_success_that_comes_before_the_cancel_counts(mut world: World) {
    let engine = world.engine().await;
    let run = world.start(&engine, json!([{"id": "a", "task": "test.task"}])).await;
    let call = world.call_of("a@1").await;
    engine.cancel_run(run, "enough").await.unwrap();
    call.cancelled().await;
    call.succeed(json!("done in spite of it"));
    world.ended(&engine, run, Status::Cancelled).await;
    assert_eq!(world.output(run, "a").await, json!("done in spite of it"));
}
