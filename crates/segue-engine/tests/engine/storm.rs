//! Many runs at once, and few that may be live.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use segue_core::{
    outcome::{ErrorKind, TaskOutcome},
    ports::{Orchestrator, RunFilter, StartRun},
    status::Status,
};
use segue_engine::EngineConfig;
use serde_json::json;
use tokio::time::Instant;

use crate::support::{Call, World};

const RUNS: usize = 60;
const ROOM: usize = 4;

/// Three engines share what is queued; none has more runs live than it has room for; the oldest come first.
pub async fn storm() {
    let mut world = World::in_memory();
    let mut engines = Vec::new();
    for _ in 0..3 {
        let config = EngineConfig { proof: segue_engine::own_proof(), ..world.config() };
        engines.push(
            world
                .engine_with(EngineConfig {
                    claim_every: Some(Duration::from_secs(30)),
                    claim_max: 2,
                    live_max: ROOM,
                    ..config
                })
                .await,
        );
    }
    let spec = serde_json::from_value(json!({"id": "w", "nodes": [{"id": "a", "task": "test.task"}]})).unwrap();
    let hash = engines[0].deploy_workflow(&spec).await.unwrap();
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let run = engines[0].start_run(hash, StartRun::default()).await.unwrap().run_id;
        world.know_spec(run, spec.clone());
        runs.push(run);
        // Run ids are as old as their millisecond.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let (mut held, mut shares): (Vec<Call>, BTreeMap<String, usize>) = Default::default();
    let began = world.clock.now();
    for answered in 0..RUNS {
        tokio::time::sleep(Duration::from_millis(100)).await;
        while let Some(call) = world.try_call() {
            *shares.entry(call.engine.to_string()).or_default() += 1;
            held.push(call);
        }
        for (engine, live) in live_of(&held) {
            assert!(live.len() <= ROOM, "{engine} has {} runs live", live.len());
        }
        assert_eq!(held.len(), (ROOM * 3).min(RUNS - answered), "room is used as soon as it is there");
        let newest_held = held.iter().map(|call| call.invocation.context.run_id).max().unwrap();
        let place = runs.iter().position(|run| *run == newest_held).unwrap();
        assert!(place < answered + ROOM * 3 + 2, "the {place}. run is live while older ones wait");
        held.remove(0).succeed(json!(answered));
    }
    for run in &runs {
        world.ended(&engines[0], *run, Status::Succeeded).await;
    }
    assert!(world.clock.now().since(began) < Duration::from_secs(20), "nobody waited for the slow look");
    assert_eq!(shares.len(), 3);
    assert!(shares.values().all(|share| *share >= RUNS / 6), "{shares:?}");
    let open = RunFilter { statuses: vec![Status::Pending, Status::Running], ..RunFilter::default() };
    assert!(world.store.inner.list_runs(open).await.unwrap().is_empty());
}

fn live_of(held: &[Call]) -> BTreeMap<String, BTreeSet<String>> {
    let mut live: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for call in held {
        live.entry(call.engine.to_string()).or_default().insert(call.invocation.context.run_id.to_string());
    }
    live
}

#[tokio::test(start_paused = true)]
async fn engines_share_a_storm_and_none_takes_more_than_it_has_room_for() {
    storm().await;
}

const QUEUED: usize = 10_000;
const LIVE: usize = 200;

/// Ten thousand runs are queued and a provider answers 429 for a minute. No more runs are live than may be, those that
/// try again do so spread over time, and everything ends.
#[tokio::test(start_paused = true)]
async fn a_minute_of_429_is_weathered() {
    let mut world = World::in_memory();
    let config = EngineConfig { claim_every: Some(Duration::from_secs(1)), live_max: LIVE, ..world.config() };
    let engine = world.engine_with(config).await;
    let retry = json!({"max_attempts": 100, "initial_interval_seconds": 1, "max_interval_seconds": 30});
    let nodes = json!([{"id": "a", "task": "test.task", "retry_policy": retry}]);
    let spec = serde_json::from_value(json!({"id": "w", "nodes": nodes})).unwrap();
    let hash = engine.deploy_workflow(&spec).await.unwrap();
    for _ in 0..QUEUED {
        engine.start_run(hash, StartRun::default()).await.unwrap();
    }
    let clears = Instant::now() + Duration::from_secs(60);
    let (mut retries, mut ended) = (BTreeMap::<u128, usize>::new(), 0);
    while ended < QUEUED {
        let call = world.call().await;
        assert!(engine.state().runs_live <= LIVE, "{} runs are live", engine.state().runs_live);
        match clears.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => {
                if call.invocation.context.attempt > 1 {
                    *retries.entry(left.as_millis() / 100).or_default() += 1;
                }
                call.answer(TaskOutcome::failure(ErrorKind::RateLimited, "slow down"));
            }
            _ => {
                call.succeed(json!(1));
                ended += 1;
            }
        }
    }
    let most = retries.values().max().copied().unwrap_or_default();
    assert!(retries.len() > 100 && most <= LIVE / 4, "{most} tried again within 100 ms");
    let all = |status| RunFilter { statuses: vec![status], ..RunFilter::default() };
    while !world.store.inner.list_runs(all(Status::Running)).await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(world.store.inner.list_runs(all(Status::Succeeded)).await.unwrap().len(), QUEUED);
}
