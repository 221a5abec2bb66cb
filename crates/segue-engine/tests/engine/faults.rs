//! Stores that fail before a commit, after it, for a while, or for good.

use std::time::Duration;

use segue_core::{
    outcome::TaskOutcome,
    ports::{ClaimRequest, Orchestrator, OrchestratorError, StartRun, StoreError},
    status::Status,
};
use segue_engine::{Engine, update_task_result};
use segue_testkit::faults::{Fault, unavailable};
use serde_json::json;

use crate::support::{World, settle};

fn two_steps() -> serde_json::Value {
    json!([{"id": "a", "task": "test.task"}, {"id": "b", "task": "test.task", "depends_on": ["a"]}])
}

/// Runs two steps while the commit between them suffers these faults.
async fn with_faults(faults: impl IntoIterator<Item = Fault>) -> Vec<String> {
    let mut world = World::in_memory();
    let engine = world.engine().await;
    let run = world.start(&engine, two_steps()).await;
    let call = world.call_of("a@1").await;
    world.store.faults.fail_next(faults);
    call.succeed(json!(1));
    world.call_of("b@1").await.succeed(json!(2));
    world.ended(&engine, run, Status::Succeeded).await;
    world.assert_dispatched_after_commit();
    assert!(!world.has_call());
    world.log(run).await
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_did_not_happen_is_repeated() {
    let log = with_faults([Fault::Before(unavailable), Fault::Before(unavailable)]).await;
    assert_eq!(log.len(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_happened_all_the_same_is_not_repeated() {
    let log = with_faults([Fault::After(unavailable)]).await;
    assert_eq!(log.iter().filter(|name| *name == "started:b@1").count(), 1);
    assert_eq!(log.len(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_is_waited_out() {
    let log = with_faults([Fault::Before(|| StoreError::Full("injected".into())); 5]).await;
    assert_eq!(log.len(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_keeps_completions_and_nothing_is_dispatched() {
    let mut world = World::in_memory();
    let engine = world.engine().await;
    let nodes = json!([
        {"id": "a", "task": "test.task"},
        {"id": "b", "task": "test.task"},
        {"id": "c", "task": "test.task", "depends_on": ["a"]},
    ]);
    let run = world.start(&engine, nodes).await;
    let (a, b) = (world.call_of("a@1").await, world.call_of("b@1").await);
    world.store.faults.set_away(true);
    a.succeed(json!(1));
    tokio::time::sleep(Duration::from_secs(120)).await;
    b.succeed(json!(2));
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(!world.has_call(), "dispatched without a record");
    let refused =
        engine.deploy_workflow(&serde_json::from_value(json!({"id": "x", "nodes": two_steps()})).unwrap()).await;
    assert!(matches!(refused, Err(OrchestratorError::Store(StoreError::Unavailable(_)))));

    world.store.faults.set_away(false);
    world.call_of("c@1").await.succeed(json!(3));
    world.ended(&engine, run, Status::Succeeded).await;
    assert_eq!(world.output(run, "b").await, json!(2));
    assert!(world.log(run).await.iter().all(|name| !name.contains("@2")), "nothing was run again");
}

#[tokio::test(start_paused = true)]
async fn a_broken_store_stops_the_engine() {
    let mut world = World::in_memory();
    let engine = world.engine().await;
    let run = world.start(&engine, two_steps()).await;
    let call = world.call_of("a@1").await;
    let other = world.start(&engine, json!([{"id": "z", "task": "test.task"}])).await;
    let hung = world.call_of("z@1").await;
    world.store.faults.fail_next([Fault::Before(|| StoreError::Broken("injected".into()))]);
    call.succeed(json!(1));
    hung.cancelled().await;
    hung.succeed(json!(1));
    for run in [run, other] {
        let end = engine.wait(run).await;
        assert!(matches!(end, Err(OrchestratorError::Store(StoreError::Broken(_)))), "{end:?}");
    }
    assert_eq!(engine.failure(), Some("injected"));
    assert!(matches!(engine.resume(&[]).await, Err(OrchestratorError::Store(StoreError::Broken(_)))));
    assert!(!world.has_call());
    engine.shutdown().await;
    assert_eq!(engine.scheduler().places_taken(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_creation_whose_answer_is_lost_is_found_again() {
    let mut world = World::in_memory();
    let engine = world.engine().await;
    world.store.faults.fail_next([Fault::After(unavailable)]);
    let run = world.start(&engine, two_steps()).await;
    world.call_of("a@1").await.succeed(json!(1));
    world.call_of("b@1").await.succeed(json!(2));
    world.ended(&engine, run, Status::Succeeded).await;
}

#[tokio::test(start_paused = true)]
async fn a_creation_that_did_not_happen_leaves_nothing() {
    let mut world = World::in_memory();
    let engine = world.engine().await;
    let spec = serde_json::from_value(json!({"id": "w", "nodes": two_steps()})).unwrap();
    let hash = engine.deploy_workflow(&spec).await.unwrap();
    world.store.faults.fail_next([Fault::Before(unavailable), Fault::Before(|| StoreError::Full("injected".into()))]);
    for _ in 0..2 {
        let refused = engine.start_run(hash, StartRun::default()).await;
        assert!(matches!(refused, Err(OrchestratorError::Store(_))), "{refused:?}");
    }
    settle().await;
    assert!(!world.has_call());
    assert_eq!(engine.scheduler().places_taken(), 0);
}

/// Somebody with a newer lease answers the attempt that runs here.
async fn steal(world: &World, run: segue_core::ids::RunId, engine: &Engine) {
    let claim = ClaimRequest { engine_id: "engine-1".into(), limit: 1, runs: vec![run], dead: vec!["engine-1".into()] };
    let lease = world.store.inner.claim(claim).await.unwrap()[0];
    let (outcome, now) = (TaskOutcome::success(json!("theirs")), world.clock.now());
    update_task_result(&**engine.store(), lease, &"a".into(), 1, outcome, now).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn after_a_conflict_the_log_decides() {
    let mut world = World::in_memory();
    let engine = world.engine().await;
    let run = world.start(&engine, two_steps()).await;
    let call = world.call_of("a@1").await;
    steal(&world, run, &engine).await;
    call.succeed(json!("ours"));
    world.call_of("b@1").await.succeed(json!(2));
    world.ended(&engine, run, Status::Succeeded).await;
    assert_eq!(world.output(run, "a").await, json!("theirs"));
    assert_eq!(engine.scheduler().places_taken(), 0);
}
