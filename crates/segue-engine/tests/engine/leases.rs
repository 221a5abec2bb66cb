//! Several engines, one store.

use std::time::Duration;

use segue_core::{
    ids::RunId,
    outcome::{ErrorKind, TaskOutcome, Usage},
    ports::{Orchestrator, RequestKind, StartRun},
    status::Status,
};
use segue_engine::{Engine, EngineConfig, own_proof};
use serde_json::json;

use crate::support::{World, on_every_store, settle};

on_every_store!(
    the_runs_of_a_dead_engine_go_on,
    nobody_takes_the_runs_of_a_living_engine,
    a_task_that_kills_three_engines_is_quarantined,
    others_outlive_a_task_that_kills_its_engine,
    a_cancel_survives_its_engine,
    a_submitted_run_belongs_to_whoever_claims_it,
    an_engine_that_looks_for_work_finds_it,
);

fn one() -> serde_json::Value {
    json!([{"id": "a", "task": "test.task"}, {"id": "b", "task": "test.task", "depends_on": ["a"]}])
}

async fn the_runs_of_a_dead_engine_go_on(mut world: World) {
    let dead = world.engine().await;
    let run = world.start(&dead, one()).await;
    world.call_of("a@1").await.succeed(json!({"big": "x".repeat(100_000)}));
    let lost = world.call_of("b@1").await;
    let key = lost.invocation.context.idempotency_key();
    dead.stop();
    lost.cancelled().await;

    let next = world.engine().await;
    assert_eq!(next.resume(&[]).await.unwrap(), [run]);
    let again = world.call_of("b@2").await;
    assert_eq!(again.invocation.context.idempotency_key(), key);
    lost.succeed(json!("the dead do not speak"));
    again.succeed(json!("alive"));
    world.ended(&next, run, Status::Succeeded).await;
    assert_eq!(world.output(run, "b").await, json!("alive"));
    let log = world.log(run).await;
    assert_eq!(log.iter().filter(|name| *name == "succeeded:a@1").count(), 1, "what was done stays done");
    assert!(next.resume(&[]).await.unwrap().is_empty());
}

async fn a_submitted_run_belongs_to_whoever_claims_it(mut world: World) {
    let clerk = world.engine().await;
    let workflow = json!({"id": "w", "nodes": one()});
    let hash = clerk.deploy_workflow(&serde_json::from_value(workflow.clone()).unwrap()).await.unwrap();
    let start = StartRun { idempotency_key: Some("k".into()), ..StartRun::default() };
    let submitted = clerk.submit(hash, start.clone()).await.unwrap();
    assert_eq!(clerk.submit(hash, start).await.unwrap().run_id, submitted.run_id);
    world.know(submitted.run_id, workflow);
    settle().await;
    assert!(!world.has_call());

    let worker = world.engine().await;
    assert_eq!(worker.resume(&[]).await.unwrap(), [submitted.run_id]);
    world.call_of("a@1").await.succeed(json!(1));
    world.call_of("b@1").await.succeed(json!(2));
    world.ended(&clerk, submitted.run_id, Status::Succeeded).await;
}

async fn an_engine_that_looks_for_work_finds_it(mut world: World) {
    let config = EngineConfig { claim_every: Some(Duration::from_millis(20)), ..world.config() };
    let worker = world.engine_with(config).await;
    let clerk = world.engine().await;
    let workflow = json!({"id": "w", "nodes": [{"id": "a", "task": "test.task"}]});
    let hash = clerk.deploy_workflow(&serde_json::from_value(workflow.clone()).unwrap()).await.unwrap();
    let run = clerk.submit(hash, StartRun::default()).await.unwrap().run_id;
    world.know(run, workflow);
    world.call_of("a@1").await.answer(TaskOutcome::failure(ErrorKind::Auth, "no key"));
    world.ended(&worker, run, Status::Failed).await;
    // Asked to go on by somebody who carries nothing out.
    clerk.request(run, RequestKind::Reopen).await.unwrap();
    world.call_of("a@2").await.succeed(json!(1));
    world.ended(&worker, run, Status::Succeeded).await;
}

async fn nobody_takes_the_runs_of_a_living_engine(mut world: World) {
    let mut config = world.config();
    config.proof = own_proof();
    let alive = world.engine_with(config).await;
    let run = world.start(&alive, one()).await;
    let call = world.call_of("a@1").await;
    let other = world.engine().await;
    assert!(other.resume(&[]).await.unwrap().is_empty());
    assert!(other.resume(&[run]).await.unwrap().is_empty());
    call.succeed(json!(1));
    world.call_of("b@1").await.succeed(json!(2));
    world.ended(&other, run, Status::Succeeded).await;
}

async fn a_task_that_kills_three_engines_is_quarantined(mut world: World) {
    let mut engine = world.engine().await;
    let run = world.start(&engine, json!([{"id": "a", "task": "test.task"}, {"id": "b", "task": "pass"}])).await;
    for attempt in 1..=3 {
        let call = world.call_of(&format!("a@{attempt}")).await;
        engine.stop();
        let next = world.engine().await;
        assert_eq!(next.resume(&[run]).await.unwrap(), [run]);
        call.answer(TaskOutcome::Cancelled { usage: Usage::default() });
        engine = next;
    }
    let row = world.ended(&engine, run, Status::Failed).await;
    assert!(row.error.unwrap().message.contains("quarantined"));
    assert!(!world.has_call());
}

async fn others_outlive_a_task_that_kills_its_engine(world: World) {
    poison(world).await;
}

/// `m` kills its engine whenever it runs, and two others are always under way with it. They are charged with two of the
/// deaths, too; then each runs alone.
pub async fn poison(mut world: World) {
    let nodes = json!([
        {"id": "a", "task": "test.task"}, {"id": "m", "task": "test.task"}, {"id": "z", "task": "test.task"},
    ]);
    let mut engine = world.engine().await;
    let run = world.start(&engine, nodes).await;
    for _ in 1..=2 {
        let calls = [world.call().await, world.call().await, world.call().await];
        engine = next_engine(&mut world, engine, run).await;
        calls.into_iter().for_each(|call| call.answer(TaskOutcome::Cancelled { usage: Usage::default() }));
    }
    loop {
        let call = world.call().await;
        settle().await;
        assert!(!world.has_call(), "another one runs beside {}", call.name());
        if call.name() == "m@3" {
            engine = next_engine(&mut world, engine, run).await;
            call.answer(TaskOutcome::Cancelled { usage: Usage::default() });
            break;
        }
        call.succeed(json!("alive"));
    }
    let row = loop {
        tokio::select! {
            row = engine.wait(run) => break row.unwrap(),
            call = world.call() => call.succeed(json!("alive")),
        }
    };
    assert_eq!(row.status, Status::Failed);
    assert!(row.error.unwrap().message.contains("quarantined"));
    world.judge(run).await;
    for innocent in ["a", "z"] {
        assert_eq!(world.output(run, innocent).await, json!("alive"));
    }
}

/// The engine dies, and another takes over.
async fn next_engine(world: &mut World, dead: Engine, run: RunId) -> Engine {
    dead.stop();
    let next = world.engine().await;
    assert_eq!(next.resume(&[run]).await.unwrap(), [run]);
    next
}

async fn a_cancel_survives_its_engine(mut world: World) {
    let dead = world.engine().await;
    let run = world.start(&dead, one()).await;
    let hung = world.call_of("a@1").await;
    dead.cancel_run(run, "enough").await.unwrap();
    hung.cancelled().await;
    dead.stop();
    let next = world.engine().await;
    assert_eq!(next.resume(&[]).await.unwrap(), [run]);
    world.ended(&next, run, Status::Cancelled).await;
    hung.succeed(json!(null));
    assert!(!world.has_call());
}

/// The store is away for longer than the lease; nobody else was there; the run goes on where it was.
#[tokio::test(start_paused = true)]
async fn an_ended_lease_that_nobody_used_is_taken_up_again() {
    let mut world = World::in_memory();
    let engine = world.engine().await;
    let run = world.start(&engine, one()).await;
    let call = world.call_of("a@1").await;
    world.store.faults.set_away(true);
    tokio::time::sleep(Duration::from_secs(60)).await;
    world.store.faults.set_away(false);
    call.succeed(json!(1));
    let next = world.call_of("b@1").await;
    assert!(!next.invocation.cancel.is_cancelled());
    next.succeed(json!(2));
    world.ended(&engine, run, Status::Succeeded).await;
}

/// The store is away for one engine, and another takes its run: what runs here is told to stop, and its answer is
/// worth nothing.
#[tokio::test(start_paused = true)]
async fn a_run_that_was_taken_is_dropped() {
    let mut world = World::in_memory();
    let paused = world.engine().await;
    let run = world.start(&paused, one()).await;
    let stale = world.call_of("a@1").await;
    world.store.faults.set_away(true);
    tokio::time::sleep(Duration::from_secs(60)).await;
    // The other engine has the store to itself.
    let inner = world.store.inner.clone();
    let winner = segue_engine::Engine::builder(inner.clone()).config(world.config()).start().await.unwrap();
    assert_eq!(winner.resume(&[run]).await.unwrap(), [run]);
    settle().await;
    assert!(!stale.invocation.cancel.is_cancelled(), "the paused engine knows nothing yet");

    world.store.faults.set_away(false);
    stale.cancelled().await;
    stale.succeed(json!("stale"));
    // The winner has no adapter for the task: for it, the run fails.
    world.ended(&winner, run, Status::Failed).await;
    assert!(world.log(run).await.contains(&"started:a@2".to_owned()));
    paused.shutdown().await;
    assert_eq!(paused.scheduler().places_taken(), 0);
}

/// A lease that has ended by our own clock: nothing is committed before the store has confirmed it again.
#[tokio::test(start_paused = true)]
async fn nothing_is_committed_under_an_ended_lease() {
    let mut world = World::in_memory();
    let engine = world.engine().await;
    let run = world.start(&engine, one()).await;
    let call = world.call_of("a@1").await;
    world.store.faults.refuse_renewals(true);
    tokio::time::sleep(Duration::from_secs(60)).await;
    world.journal.clear();
    call.succeed(json!(1));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.journal.lines(), ["answer a@1"], "nothing was committed, nothing dispatched");
    world.store.faults.refuse_renewals(false);
    world.call_of("b@1").await.succeed(json!(2));
    world.ended(&engine, run, Status::Succeeded).await;
}
