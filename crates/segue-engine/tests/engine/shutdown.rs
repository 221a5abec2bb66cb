//! Leaving in good order.

use std::{sync::Arc, time::Duration};

use segue_core::{
    outcome::{ErrorKind, TaskOutcome, Usage},
    ports::{Orchestrator, OrchestratorError, StartRun},
    status::Status,
};
use segue_engine::{EngineConfig, own_proof};
use serde_json::json;

use crate::support::{World, on_every_store};

on_every_store!(
    what_runs_may_finish_and_nothing_new_starts,
    what_does_not_finish_is_handed_back,
    a_shutdown_without_work_is_short,
    an_attempt_that_never_ends_does_not_hold_the_engine,
);

fn nodes() -> serde_json::Value {
    json!([
        {"id": "a", "task": "test.task", "retry_policy": {"max_attempts": 1}},
        {"id": "b", "task": "test.task", "depends_on": ["a"]},
    ])
}

async fn what_runs_may_finish_and_nothing_new_starts(mut world: World) {
    let mut config = world.config();
    config.proof = own_proof();
    let engine = Arc::new(world.engine_with(config).await);
    let run = world.start(&engine, nodes()).await;
    let call = world.call_of("a@1").await;
    let leaving = tokio::spawn({
        let engine = engine.clone();
        async move { engine.shutdown().await }
    });
    while engine.resume(&[]).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let spec = serde_json::from_value(json!({"id": "w", "nodes": nodes()})).unwrap();
    assert!(matches!(engine.deploy_workflow(&spec).await, Err(OrchestratorError::ShuttingDown)));
    assert!(!call.invocation.cancel.is_cancelled());
    call.succeed(json!("finished"));
    leaving.await.unwrap();
    assert_eq!(world.journal.lines().last().unwrap(), "shutdown");
    assert_eq!(world.log(run).await.last().unwrap(), "succeeded:a@1");
    assert!(!world.has_call());

    let next = world.engine().await;
    assert_eq!(next.resume(&[]).await.unwrap(), [run], "given back, though its engine's process lives");
    world.call_of("b@1").await.succeed(json!(2));
    world.ended(&next, run, Status::Succeeded).await;
}

async fn what_does_not_finish_is_handed_back(mut world: World) {
    let engine = Arc::new(world.engine().await);
    let run = world.start(&engine, nodes()).await;
    let call = world.call_of("a@1").await;
    let leaving = tokio::spawn({
        let engine = engine.clone();
        async move { engine.shut_down_within(Duration::from_millis(20)).await }
    });
    call.cancelled().await;
    call.answer(TaskOutcome::failure(ErrorKind::Exit, "killed"));
    leaving.await.unwrap();
    assert_eq!(world.log(run).await.last().unwrap(), "retrying:a@1");
    assert_eq!(engine.scheduler().places_taken(), 0);

    let next = world.engine().await;
    assert_eq!(next.resume(&[run]).await.unwrap(), [run]);
    // It costs no attempt of its policy, which allows only one.
    world.call_of("a@2").await.succeed(json!(1));
    world.call_of("b@1").await.succeed(json!(2));
    world.ended(&next, run, Status::Succeeded).await;
}

async fn a_shutdown_without_work_is_short(mut world: World) {
    let engine = world.engine().await;
    let began = world.clock.now();
    engine.shutdown().await;
    assert!(world.clock.now().since(began) < Duration::from_secs(1));
    let spec = serde_json::from_value(json!({"id": "w", "nodes": nodes()})).unwrap();
    assert!(engine.deploy_workflow(&spec).await.is_err());
    assert!(engine.start_run(segue_core::ids::ContentHash::of(b""), StartRun::default()).await.is_err());
    engine.shutdown().await;
}

async fn an_attempt_that_never_ends_does_not_hold_the_engine(mut world: World) {
    let config = EngineConfig { grace: Duration::from_millis(10), ..world.config() };
    let engine = world.engine_with(config).await;
    let run = world.start(&engine, nodes()).await;
    let call = world.call_of("a@1").await;
    engine.shut_down_within(Duration::ZERO).await;
    assert!(call.invocation.cancel.is_cancelled());
    assert_eq!(engine.scheduler().places_taken(), 1, "its work is not over, and the place not free");
    call.answer(TaskOutcome::Cancelled { usage: Usage::default() });

    let next = world.engine().await;
    assert_eq!(next.resume(&[]).await.unwrap(), [run]);
    world.call_of("a@2").await.succeed(json!(1));
    world.call_of("b@1").await.succeed(json!(2));
    world.ended(&next, run, Status::Succeeded).await;
}
