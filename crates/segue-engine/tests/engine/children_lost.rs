//! Child workflows whose engine dies, leaves, or whose attempt takes too long.

use std::time::Duration;

use segue_core::{
    ids::RunId,
    outcome::{TaskOutcome, Usage},
    ports::{RequestKind, RunStore, StartRun},
    status::Status,
};
use segue_testkit::faults::{Fault, unavailable};
use serde_json::{Value, json};

use crate::support::{World, on_every_store};

on_every_store!(
    an_engine_that_dies_before_the_child_is_created,
    an_engine_that_dies_when_the_child_is_created,
    an_engine_that_dies_while_the_child_runs,
    an_engine_that_dies_after_the_end_of_the_child,
    a_shutdown_leaves_the_child_to_the_next_engine,
    a_cancel_survives_the_death_of_the_engine,
    a_child_that_its_parent_gave_up_ends_itself,
);

fn child() -> Value {
    json!({"id": "child", "nodes": [{"id": "a", "task": "test.task"}]})
}

async fn start(world: &mut World, engine: &segue_engine::Engine) -> RunId {
    world.deploy(engine, child()).await;
    let parent = json!({"id": "parent", "nodes": [{"id": "c", "workflow": {"id": "child"}}]});
    world.start_workflow(engine, parent, StartRun::default()).await.run_id
}

/// The next engine carries both runs to their end, and there is one child.
async fn finish(mut world: World, run: RunId, call: &str) {
    let next = world.engine().await;
    assert_eq!(next.resume(&[run]).await.unwrap(), [run]);
    world.call_of(call).await.succeed(json!("done"));
    world.ended(&next, run, Status::Succeeded).await;
    assert_eq!(world.output(run, "c").await, json!({"a": "done"}));
    assert_eq!(world.store.list_runs(Default::default()).await.unwrap().len(), 2);
    assert!(!world.has_call());
}

async fn an_engine_that_dies_before_the_child_is_created(mut world: World) {
    let dead = world.engine().await;
    world.store.faults.fail_next([Fault::None].into_iter().chain([Fault::Before(unavailable); 100]));
    let run = start(&mut world, &dead).await;
    // The parent is created; the child never is.
    while world.store.faults.left() > 98 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    dead.stop();
    drop(dead);
    world.store.faults.plan_none();
    finish(world, run, "a@1").await;
}

async fn an_engine_that_dies_when_the_child_is_created(mut world: World) {
    let dead = world.engine().await;
    let faults = [Fault::None, Fault::None].into_iter().chain([Fault::Before(unavailable); 100]);
    world.store.faults.fail_next(faults);
    let run = start(&mut world, &dead).await;
    let lost = world.call_of("a@1").await;
    while world.store.faults.left() > 98 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    dead.stop();
    drop(dead);
    lost.answer(TaskOutcome::Cancelled { usage: Usage::default() });
    world.store.faults.plan_none();
    assert!(!world.log(run).await.iter().any(|name| name.starts_with("waiting:c")), "the parent does not know yet");
    finish(world, run, "a@2").await;
}

async fn an_engine_that_dies_while_the_child_runs(mut world: World) {
    let dead = world.engine().await;
    let run = start(&mut world, &dead).await;
    let lost = world.call_of("a@1").await;
    world.child_of(run, "c").await;
    dead.stop();
    drop(dead);
    lost.answer(TaskOutcome::Cancelled { usage: Usage::default() });
    let log = world.store.inner.events(run, 0, 0).await.unwrap().len();
    let store = world.store.clone();
    finish(world, run, "a@2").await;
    let after = store.inner.events(run, 0, 0).await.unwrap();
    assert_eq!(after[log].attempt, Some(1), "an attempt that waits is not lost: {:?}", after[log]);
}

async fn an_engine_that_dies_after_the_end_of_the_child(mut world: World) {
    let dead = world.engine().await;
    let run = start(&mut world, &dead).await;
    let lost = world.call_of("a@1").await;
    let below = world.child_of(run, "c").await;
    dead.stop();
    drop(dead);
    lost.answer(TaskOutcome::Cancelled { usage: Usage::default() });
    // Another engine carries out the child alone.
    let other = world.engine().await;
    assert_eq!(other.resume(&[below]).await.unwrap(), [below]);
    world.call_of("a@2").await.succeed(json!("done"));
    world.ended(&other, below, Status::Succeeded).await;
    other.stop();
    assert_eq!(world.store.get_run(run).await.unwrap().status, Status::Waiting);
    let next = world.engine().await;
    assert_eq!(next.resume(&[run]).await.unwrap(), [run]);
    world.ended(&next, run, Status::Succeeded).await;
    assert_eq!(world.output(run, "c").await, json!({"a": "done"}));
    assert!(!world.has_call());
}

async fn a_shutdown_leaves_the_child_to_the_next_engine(mut world: World) {
    let leaving = world.engine().await;
    let run = start(&mut world, &leaving).await;
    let call = world.call_of("a@1").await;
    let below = world.child_of(run, "c").await;
    let leave = leaving.shut_down_within(Duration::from_millis(20));
    let answer = async {
        call.cancelled().await;
        call.answer(TaskOutcome::Cancelled { usage: Usage::default() });
    };
    tokio::join!(leave, answer);
    assert!(!world.store.get_run(below).await.unwrap().cancelling, "the child is handed on, not cancelled");
    assert!(world.store.pending_requests(below).await.unwrap().is_empty());
    finish(world, run, "a@2").await;
}

async fn a_cancel_survives_the_death_of_the_engine(mut world: World) {
    let dead = world.engine().await;
    let run = start(&mut world, &dead).await;
    let hung = world.call_of("a@1").await;
    let below = world.child_of(run, "c").await;
    dead.stop();
    drop(dead);
    hung.answer(TaskOutcome::Cancelled { usage: Usage::default() });
    world.store.post_request(run, RequestKind::Cancel { reason: "enough".into() }).await.unwrap();
    let next = world.engine().await;
    assert_eq!(next.resume(&[run]).await.unwrap(), [run]);
    // The child may have begun again before it was told.
    let ended = world.ended_answering(&next, run, Status::Cancelled).await;
    assert!(ended.error.is_none());
    world.ended(&next, below, Status::Cancelled).await;
}

/// The parent's task was given up, and its engine died before it could say so.
async fn a_child_that_its_parent_gave_up_ends_itself(mut world: World) {
    let dead = world.engine().await;
    let run = start(&mut world, &dead).await;
    let lost = world.call_of("a@1").await;
    let below = world.child_of(run, "c").await;
    dead.stop();
    drop(dead);
    lost.answer(TaskOutcome::Cancelled { usage: Usage::default() });
    let (clock, config) = (world.clock.clone(), world.config());
    let writer = segue_engine::Engine::builder(world.store.clone()).config(config.clone()).start().await.unwrap();
    let claim = segue_core::ports::ClaimRequest {
        engine_id: config.engine_id,
        limit: 1,
        runs: vec![run],
        dead: world.store.engines().await.unwrap().into_iter().map(|engine| engine.engine_id).collect(),
    };
    let lease = world.store.claim(claim).await.unwrap()[0];
    let outcome = TaskOutcome::failure(segue_core::outcome::ErrorKind::Auth, "given up");
    segue_engine::update_task_result(&*world.store, lease, &"c".into(), 1, outcome, clock.now()).await.unwrap();
    drop(writer);
    let next = world.engine().await;
    assert_eq!(next.resume(&[below]).await.unwrap(), [below]);
    world.ended_answering(&next, below, Status::Cancelled).await;
}

/// The time of an attempt passes: the child run is cancelled, and the next attempt goes on with it.
#[tokio::test(start_paused = true)]
async fn an_attempt_that_takes_too_long_cancels_its_child() {
    let mut world = World::in_memory();
    let engine = world.engine().await;
    world.deploy(&engine, child()).await;
    let parent = json!({"id": "parent", "nodes": [{
        "id": "c", "workflow": {"id": "child"}, "timeout_seconds": 20, "retry_policy": {"max_attempts": 2},
    }]});
    let run = world.start_workflow(&engine, parent, StartRun::default()).await.run_id;
    let slow = world.call_of("a@1").await;
    let below = world.child_of(run, "c").await;
    slow.cancelled().await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(!world.log(run).await.contains(&"started:c@2".to_owned()), "the first has not come to its end");
    slow.answer(TaskOutcome::Cancelled { usage: Usage::default() });
    let again = world.call_of("a@2").await;
    assert_eq!(again.invocation.context.run_id, below);
    again.succeed(json!("in time"));
    world.ended(&engine, run, Status::Succeeded).await;
    world.ended(&engine, below, Status::Succeeded).await;
}

/// The time of the whole run passes.
#[tokio::test(start_paused = true)]
async fn a_run_that_takes_too_long_cancels_its_children() {
    let mut world = World::in_memory();
    let engine = world.engine().await;
    world.deploy(&engine, child()).await;
    let parent = json!({"id": "parent", "timeout_seconds": 20, "nodes": [
        {"id": "c", "workflow": {"id": "child"}},
        {"id": "d", "workflow": {"id": "child"}, "deadline_seconds": 10, "on_failure": {"action": "continue"}},
    ]});
    let run = world.start_workflow(&engine, parent, StartRun::default()).await.run_id;
    let (one, two) = (world.call_of("a@1").await, world.call_of("a@1").await);
    let (c, d) = (world.child_of(run, "c").await, world.child_of(run, "d").await);
    let (one, two) = if one.invocation.context.run_id == c { (one, two) } else { (two, one) };
    two.cancelled().await;
    two.answer(TaskOutcome::Cancelled { usage: Usage::default() });
    world.ended(&engine, d, Status::Cancelled).await;
    assert!(!one.invocation.cancel.is_cancelled());
    one.cancelled().await;
    one.answer(TaskOutcome::Cancelled { usage: Usage::default() });
    world.ended(&engine, run, Status::Failed).await;
    world.ended(&engine, c, Status::Cancelled).await;
}
