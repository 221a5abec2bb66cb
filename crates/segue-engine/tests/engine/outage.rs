//! The store away for a minute, and a disk without room: what goes on, what waits, what is told to whom.

use std::{collections::BTreeMap, time::Duration};

use segue_core::{
    ids::{ContentHash, RunId},
    ports::{Orchestrator, OrchestratorError, StartRun, StoreError},
    status::Status,
};
use segue_engine::Engine;
use serde_json::json;
use tokio::time::Instant;

use crate::support::{Call, World, settle};

const RUNS: usize = 200;
const OUTAGE: Duration = Duration::from_secs(60);
/// The longest pause between two tries of one run.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Two hundred runs, each with its first task under way.
async fn underway(world: &mut World, engine: &Engine) -> (ContentHash, Vec<RunId>, Vec<Call>) {
    let nodes = json!([{"id": "a", "task": "test.task"}, {"id": "b", "task": "test.task", "depends_on": ["a"]}]);
    let spec = serde_json::from_value(json!({"id": "w", "nodes": nodes})).unwrap();
    let hash = engine.deploy_workflow(&spec).await.unwrap();
    let (mut runs, mut calls) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let run = engine.start_run(hash, StartRun::default()).await.unwrap().run_id;
        world.know_spec(run, spec.clone());
        runs.push(run);
        calls.push(world.call_of("a@1").await);
    }
    (hash, runs, calls)
}

/// Everything ends, and nothing was run again.
async fn goes_on(world: &mut World, engine: &Engine, runs: &[RunId]) {
    for _ in runs {
        world.call_of("b@1").await.succeed(json!("b"));
    }
    for run in runs {
        world.ended(engine, *run, Status::Succeeded).await;
        assert_eq!(world.output(*run, "a").await, json!("a"));
    }
    assert!(!world.has_call());
    world.assert_dispatched_after_commit();
}

#[tokio::test(start_paused = true)]
async fn a_minute_without_the_store_costs_a_minute_and_nothing_else() {
    fastrand::seed(1);
    let mut world = World::in_memory();
    let engine = world.engine().await;
    let (hash, runs, calls) = underway(&mut world, &engine).await;
    let began = Instant::now();
    world.store.faults.set_away(true);
    for call in calls {
        call.succeed(json!("a"));
    }
    tokio::time::sleep(OUTAGE / 2).await;
    let refused = engine.start_run(hash, StartRun::default()).await;
    let Err(OrchestratorError::Store(StoreError::Unavailable(why))) = refused else { panic!("{refused:?}") };
    assert!(why.contains("injected"), "the reason is told: {why}");
    tokio::time::sleep_until(began + OUTAGE).await;
    assert!(!world.has_call(), "dispatched without a record");
    assert_spread(&world.store.faults.turned_away(), began);

    world.store.faults.set_away(false);
    let back = Instant::now();
    goes_on(&mut world, &engine, &runs).await;
    assert!(back.elapsed() < PAUSE_MAX * 3, "it goes on soon: {:?}", back.elapsed());
}

/// They all failed in one moment, and do not come back in one: by the drawn pauses of a run, after the first few tries a
/// tenth of a second sees a few of them, and a run comes every few seconds.
fn assert_spread(turned_away: &[Instant], began: Instant) {
    let mut tenths: BTreeMap<u128, usize> = BTreeMap::new();
    for at in turned_away.iter().filter(|at| **at > began + OUTAGE / 2) {
        *tenths.entry((*at - began).as_millis() / 100).or_default() += 1;
    }
    let (all, most) = (tenths.values().sum::<usize>(), tenths.values().max().copied().unwrap_or_default());
    // Half a minute, 200 runs, 2.5 to 5 s between two tries; an engine's other calls are few.
    assert!((1_000..3_000).contains(&all), "{all} tries");
    assert!(most <= RUNS / 10, "{most} of {RUNS} come back in one tenth of a second: {tenths:?}");
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_takes_no_new_starts_and_goes_on_when_there_is_room() {
    let mut world = World::in_memory();
    let engine = world.engine().await;
    let (hash, runs, calls) = underway(&mut world, &engine).await;
    world.store.faults.set_full(true);
    for call in calls {
        call.succeed(json!("a"));
    }
    // Before the lease has ended for want of room, and after that.
    for _ in 0..2 {
        let refused = engine.start_run(hash, StartRun::default()).await;
        assert!(matches!(refused, Err(OrchestratorError::Store(StoreError::Full(_)))), "{refused:?}");
        tokio::time::sleep(OUTAGE).await;
    }
    settle().await;
    assert!(!world.has_call(), "dispatched without a record");
    world.store.faults.set_full(false);
    goes_on(&mut world, &engine, &runs).await;
    let more = engine.start_run(hash, StartRun::default()).await.unwrap();
    world.call_of("a@1").await.succeed(json!("a"));
    world.call_of("b@1").await.succeed(json!("b"));
    assert_eq!(engine.wait(more.run_id).await.unwrap().status, Status::Succeeded);
}
