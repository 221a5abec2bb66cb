//! Clocks that are an hour off: no timer is lost, none fires an hour early, and nothing runs twice at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use segue_core::{
    outcome::{ErrorKind, TaskOutcome},
    status::Status,
    time::Timestamp,
};
use segue_engine::{Clock, Engine, EngineConfig, own_proof};
use serde_json::json;
use tokio::time::Instant;

use crate::support::{World, settle};

const HOUR: i64 = 3_600_000_000;

/// An engine on a machine whose clock is off by this.
async fn engine_off_by(world: &mut World, micros: i64) -> Engine {
    let wall = Timestamp::from_micros(world.clock.now().as_micros() + micros);
    let config = EngineConfig { clock: Clock::at(wall), ..world.config() };
    world.engine_with(config).await
}

/// Ten minutes are ten minutes, on whichever machine they begin and end.
#[tokio::test(start_paused = true)]
async fn a_wait_is_as_long_whoever_takes_it_over() {
    for (first, second) in [(0, HOUR), (0, -HOUR), (HOUR, 0), (-HOUR, 0)] {
        let mut world = World::in_memory();
        let engine = engine_off_by(&mut world, first).await;
        let began = Instant::now();
        let run = world.start(&engine, json!([{"id": "w", "wait": {"seconds": 600}}])).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        engine.stop();
        let next = engine_off_by(&mut world, second).await;
        assert_eq!(next.resume(&[run]).await.unwrap(), [run]);
        world.ended(&next, run, Status::Succeeded).await;
        let waited = began.elapsed();
        assert!((600..605).contains(&waited.as_secs()), "{waited:?} with clocks off by {first} and {second}");
    }
}

/// `wait.until` names a moment of the store's clock, whatever the machine's shows.
#[tokio::test(start_paused = true)]
async fn until_is_a_moment_of_the_stores_clock() {
    for off in [HOUR, -HOUR] {
        let mut world = World::in_memory();
        let until = world.clock.now().plus(Duration::from_secs(900));
        let engine = engine_off_by(&mut world, off).await;
        let run = world.start(&engine, json!([{"id": "w", "wait": {"until": until.to_string()}}])).await;
        let row = world.ended(&engine, run, Status::Succeeded).await;
        let late = row.finished_at.unwrap().since(until);
        assert!(row.finished_at.unwrap() >= until && late < Duration::from_secs(1), "{late:?}");
        assert!(world.clock.now().since(until) < Duration::from_secs(1));
    }
}

/// Facts from a time when the store's clock was an hour ahead: a run's time goes on from them, so that a pause of five
/// seconds does not last an hour; and a deadline that was to come still does.
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_does_not_hold_up_what_waits() {
    let ahead = Arc::new(AtomicI64::new(HOUR));
    let mut world = World::in_memory_off_by(ahead.clone());
    let engine = engine_off_by(&mut world, 0).await;
    let retry = json!({"max_attempts": 3, "initial_interval_seconds": 5, "jitter": "none"});
    let node = json!({"id": "a", "task": "test.task", "retry_policy": retry, "timeout_seconds": 10});
    let run = world.start(&engine, json!([node])).await;
    world.call_of("a@1").await.answer(TaskOutcome::failure(ErrorKind::Connection, "away"));
    settle().await;
    engine.stop();

    ahead.store(0, Ordering::Release);
    let next = engine_off_by(&mut world, 0).await;
    assert_eq!(next.resume(&[run]).await.unwrap(), [run]);
    let began = Instant::now();
    let second = world.call_of("a@2").await;
    assert!(began.elapsed() <= Duration::from_secs(6), "{:?}", began.elapsed());
    // Nobody answers: the time limit of the attempt comes when it should.
    second.cancelled().await;
    assert!((10..20).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    second.answer(TaskOutcome::failure(ErrorKind::Timeout, "too late"));
    world.call_of("a@3").await.succeed(json!(1));
    world.ended(&next, run, Status::Succeeded).await;
}

/// An engine's own lease is measured by what no wall clock does to it: nobody takes runs from an engine that lives.
#[tokio::test(start_paused = true)]
async fn engines_an_hour_apart_do_not_take_each_others_runs() {
    let mut world = World::in_memory();
    let mut engines = Vec::new();
    for off in [0, HOUR, -HOUR] {
        let wall = Timestamp::from_micros(world.clock.now().as_micros() + off);
        let claim_every = Some(Duration::from_millis(500));
        let config = EngineConfig { clock: Clock::at(wall), proof: own_proof(), claim_every, ..world.config() };
        engines.push(world.engine_with(config).await);
    }
    let run = world.start(&engines[1], json!([{"id": "a", "task": "test.task"}])).await;
    let call = world.call_of("a@1").await;
    tokio::time::sleep(Duration::from_secs(7_200)).await;
    assert!(!world.has_call() && !call.invocation.cancel.is_cancelled());
    call.succeed(json!(1));
    world.ended(&engines[2], run, Status::Succeeded).await;
}
