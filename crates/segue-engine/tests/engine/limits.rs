//! Tasks under named limits, in one engine and in several.

use std::{sync::Arc, time::Duration};

use segue_core::{
    ids::{LimitKey, RunId},
    outcome::{ErrorKind, TaskError, TaskOutcome, Usage},
    ports::{Orchestrator, StartRun},
    spec::LimitSpec,
    status::Status,
};
use segue_engine::{Engine, EngineConfig, own_proof};
use segue_testkit::faults::{Fault, Faults, Weather, unavailable};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::{Call, World, on_every_store, settle};

on_every_store!(
    two_engines_share_a_limit,
    slots_of_a_stopped_engine_are_free_at_once,
    slots_of_an_engine_are_free_when_its_lease_ends,
    a_small_workflow_is_not_held_up_by_a_large_one,
    who_waits_for_a_limit_holds_nothing,
    a_cancelled_task_leaves_the_line,
    who_stays_keeps_the_place_that_another_leaves,
    each_value_of_a_key_has_a_limit_of_its_own,
    a_limit_that_is_nowhere_fails_its_task,
    a_shutdown_gives_its_slots_back,
);

fn concurrent(most: u32) -> LimitSpec {
    LimitSpec { concurrent: Some(most), ..LimitSpec::default() }
}

/// So many instances that may all run at once, under these limits.
fn many(count: u32, limits: &[&str]) -> Value {
    let items: Vec<u32> = (0..count).collect();
    json!([{"id": "a", "task": "test.task", "foreach": items, "parallelism": count, "limits": limits}])
}

async fn start(world: &mut World, engine: &Engine, id: &str, nodes: Value) -> RunId {
    world.start_workflow(engine, json!({"id": id, "nodes": nodes}), StartRun::default()).await.run_id
}

/// All that can be under way at once, once nothing more comes.
async fn under_way(world: &mut World, most: usize) -> Vec<Call> {
    let mut calls = Vec::new();
    while calls.len() < most {
        calls.push(world.call().await);
    }
    settle().await;
    assert!(!world.has_call(), "more than {most} are under way");
    calls
}

async fn held(world: &World, key: &str) -> u32 {
    world.limits.look(vec![LimitKey::from(key)]).await.unwrap()[0].held
}

async fn two_engines_share_a_limit(mut world: World) {
    world.limit_specs.insert("model".into(), concurrent(3));
    let (a, b) = (world.engine_that_lives().await, world.engine_that_lives().await);
    let first = start(&mut world, &a, "w", many(10, &["model"])).await;
    let second = start(&mut world, &b, "v", many(10, &["model"])).await;
    let mut calls = under_way(&mut world, 3).await;
    let mut engines = std::collections::BTreeSet::new();
    for done in 1..=20 {
        assert!(held(&world, "/model").await <= 3);
        let call = calls.remove(0);
        engines.insert(call.engine.clone());
        call.succeed(json!(done));
        if done + calls.len() < 20 {
            calls.push(world.call().await);
        }
        assert!(calls.len() <= 3 && !world.has_call(), "after {done}");
    }
    assert_eq!(engines.len(), 2, "both had their turn");
    world.ended(&a, first, Status::Succeeded).await;
    world.ended(&b, second, Status::Succeeded).await;
    world.assert_dispatched_after_commit();
}

/// As if it had been killed: nothing is given back, and everybody on this machine can see that it is gone.
async fn slots_of_a_stopped_engine_are_free_at_once(mut world: World) {
    world.limit_specs.insert("model".into(), concurrent(2));
    let dead = world.engine().await;
    start(&mut world, &dead, "w", many(2, &["model"])).await;
    let lost = under_way(&mut world, 2).await;
    drop(dead);
    let next = world.engine_that_lives().await;
    let run = start(&mut world, &next, "v", many(2, &["model"])).await;
    for call in under_way(&mut world, 2).await {
        assert_eq!(call.invocation.context.run_id, run);
        call.succeed(json!(1));
    }
    world.ended(&next, run, Status::Succeeded).await;
    lost.into_iter().for_each(|call| call.succeed(json!("late")));
}

async fn slots_of_an_engine_are_free_when_its_lease_ends(mut world: World) {
    world.limit_specs.insert("model".into(), concurrent(1));
    let config = EngineConfig { proof: own_proof(), lease_ttl: Duration::from_millis(1_500), ..world.config() };
    let stopped = world.engine_with(config).await;
    start(&mut world, &stopped, "w", many(1, &["model"])).await;
    let lost = world.call().await;
    let next = world.engine_that_lives().await;
    let run = start(&mut world, &next, "v", many(1, &["model"])).await;
    settle().await;
    assert!(!world.has_call(), "the slot is held");
    stopped.stop();
    let call = world.call().await;
    assert_eq!(call.invocation.context.run_id, run);
    call.succeed(json!(1));
    world.ended(&next, run, Status::Succeeded).await;
    lost.succeed(json!("late"));
}

async fn a_small_workflow_is_not_held_up_by_a_large_one(mut world: World) {
    world.limit_specs.insert("model".into(), concurrent(2));
    let (a, b) = (world.engine_that_lives().await, world.engine_that_lives().await);
    let large = start(&mut world, &a, "large", many(1_000, &["model"])).await;
    let mut calls = under_way(&mut world, 2).await;
    let small = start(&mut world, &b, "small", many(10, &["model"])).await;
    let (mut of_small, mut of_large) = (0, 0);
    while of_small < 10 {
        let call = calls.remove(0);
        if call.invocation.context.run_id == small {
            of_small += 1
        } else {
            of_large += 1
        }
        call.succeed(json!(1));
        if of_small < 10 {
            calls.push(world.call().await);
        }
    }
    assert!(of_large <= 40, "{of_large} of the large one went before ten of the small one");
    world.ended(&b, small, Status::Succeeded).await;
    a.cancel_run(large, "enough").await.unwrap();
    for call in calls {
        call.cancelled().await;
        call.answer(TaskOutcome::Cancelled { usage: Usage::default() });
    }
    world.ended_answering(&a, large, Status::Cancelled).await;
}

async fn who_waits_for_a_limit_holds_nothing(mut world: World) {
    world.limit_specs.extend([("a".to_owned(), concurrent(1)), ("b".to_owned(), concurrent(1))]);
    let mut config = EngineConfig { proof: own_proof(), ..world.config() };
    config.concurrency.insert("test".into(), 2);
    let engine = world.engine_with(config).await;
    let task = |id: &str, limits: &[&str]| json!({"id": id, "task": "test.task", "limits": limits});
    let run = start(&mut world, &engine, "w", json!([task("holds_b", &["b"])])).await;
    let holder = world.call_of("holds_b@1").await;
    // It can have `a`, and does not take it; nor the second place of the adapter.
    let waiting = start(&mut world, &engine, "v", json!([task("both", &["b", "a"])])).await;
    let single = start(&mut world, &engine, "u", json!([task("one", &["a"])])).await;
    world.call_of("one@1").await.succeed(json!(1));
    world.ended(&engine, single, Status::Succeeded).await;
    settle().await;
    assert!(!world.has_call());
    assert_eq!(world.log(waiting).await, ["run.created", "run.started"], "it is still to begin");
    holder.succeed(json!(1));
    world.call_of("both@1").await.succeed(json!(1));
    world.ended(&engine, run, Status::Succeeded).await;
    world.ended(&engine, waiting, Status::Succeeded).await;
}

async fn a_cancelled_task_leaves_the_line(mut world: World) {
    world.limit_specs.insert("model".into(), concurrent(1));
    let engine = world.engine_that_lives().await;
    let first = start(&mut world, &engine, "w", many(1, &["model"])).await;
    let call = world.call().await;
    let waiting = start(&mut world, &engine, "v", many(1, &["model"])).await;
    let last = start(&mut world, &engine, "u", many(1, &["model"])).await;
    settle().await;
    engine.cancel_run(waiting, "not needed").await.unwrap();
    world.ended(&engine, waiting, Status::Cancelled).await;
    call.succeed(json!(1));
    let call = world.call().await;
    assert_eq!(call.invocation.context.run_id, last);
    call.succeed(json!(1));
    world.ended(&engine, first, Status::Succeeded).await;
    world.ended(&engine, last, Status::Succeeded).await;
    engine.shutdown().await;
    assert_eq!(held(&world, "/model").await, 0);
}

/// Two tasks of one workflow wait, and one is cancelled: the other still hears of a slot that another engine gives back.
async fn who_stays_keeps_the_place_that_another_leaves(mut world: World) {
    world.limit_specs.insert("model".into(), concurrent(1));
    let (a, b) = (world.engine_that_lives().await, world.engine_that_lives().await);
    let first = start(&mut world, &a, "v", many(1, &["model"])).await;
    let call = world.call().await;
    for round in 0..8 {
        let one = start(&mut world, &b, "w", many(1, &["model"])).await;
        // At one time or another the keeper asks for both, for one, or tells of one.
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        let other = start(&mut world, &b, "w", many(1, &["model"])).await;
        for _ in 0..8 - round {
            tokio::task::yield_now().await;
        }
        for run in [one, other] {
            b.cancel_run(run, "not needed").await.unwrap();
            world.ended(&b, run, Status::Cancelled).await;
        }
    }
    let stays = start(&mut world, &b, "w", many(1, &["model"])).await;
    let leaves = start(&mut world, &b, "w", many(1, &["model"])).await;
    until_waiting(&world, "/model", &["w"]).await;
    b.cancel_run(leaves, "not needed").await.unwrap();
    world.ended(&b, leaves, Status::Cancelled).await;
    settle().await;
    let began = Instant::now();
    call.succeed(json!(1));
    let call = world.call().await;
    assert_eq!(call.invocation.context.run_id, stays);
    assert!(began.elapsed() < Duration::from_secs(5), "it heard of it after {:?}", began.elapsed());
    call.succeed(json!(1));
    world.ended(&a, first, Status::Succeeded).await;
    world.ended(&b, stays, Status::Succeeded).await;
    until_waiting(&world, "/model", &[]).await;
}

/// Until these workflows wait for the limit, as its store knows it.
async fn until_waiting(world: &World, key: &str, parties: &[&str]) {
    let waits = async {
        loop {
            let view = world.limits.look(vec![LimitKey::from(key)]).await.unwrap().remove(0);
            if view.waiting.iter().map(|party| &**party).eq(parties.iter().copied()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), waits).await;
    assert!(waited.is_ok(), "{:?}", world.limits.look(vec![LimitKey::from(key)]).await);
}

async fn each_value_of_a_key_has_a_limit_of_its_own(mut world: World) {
    let engine = world.engine_that_lives().await;
    let nodes = json!([{
        "id": "a", "task": "test.task", "foreach": ["x", "y", "x", "y", "x"], "parallelism": 5, "limits": ["customer"],
    }]);
    let workflow = json!({"id": "w", "limits": {"customer": {"concurrent": 1, "key": "item"}}, "nodes": nodes});
    let run = world.start_workflow(&engine, workflow, StartRun::default()).await.run_id;
    let mut calls = under_way(&mut world, 2).await;
    assert_eq!((held(&world, "w/customer=\"x\"").await, held(&world, "w/customer=\"y\"").await), (1, 1));
    let (mut more_of_x, mut more_of_y) = (2, 1);
    while let Some(call) = calls.pop() {
        let is_x = ["a[0]@1", "a[2]@1", "a[4]@1"].contains(&call.name().as_str());
        call.succeed(json!(1));
        let more = if is_x { &mut more_of_x } else { &mut more_of_y };
        if *more > 0 {
            *more -= 1;
            calls.push(world.call().await);
        }
    }
    world.ended(&engine, run, Status::Succeeded).await;
}

async fn a_limit_that_is_nowhere_fails_its_task(mut world: World) {
    world.limit_specs.insert("model".into(), concurrent(1));
    let knows = world.engine_that_lives().await;
    let workflow = json!({"id": "w", "nodes": [{"id": "a", "task": "test.task", "limits": ["model"]}]});
    let spec = serde_json::from_value(workflow.clone()).unwrap();
    let hash = knows.deploy_workflow(&spec).await.unwrap();
    world.limit_specs.clear();
    let ignorant = world.engine_that_lives().await;
    assert!(ignorant.deploy_workflow(&spec).await.is_err(), "it would be told at once");
    let run = ignorant.start_run(hash, StartRun::default()).await.unwrap().run_id;
    world.know(run, workflow);
    let row = world.ended(&ignorant, run, Status::Failed).await;
    let error = row.error.unwrap();
    assert!(error.kind == ErrorKind::Load && error.message.contains("`model`"), "{error}");
}

async fn a_shutdown_gives_its_slots_back(mut world: World) {
    world.limit_specs.insert("model".into(), concurrent(1));
    let engine = world.engine_that_lives().await;
    start(&mut world, &engine, "w", many(3, &["model"])).await;
    let call = world.call().await;
    let engine = Arc::new(engine);
    let leaving = tokio::spawn({
        let engine = engine.clone();
        async move { engine.shut_down_within(Duration::ZERO).await }
    });
    call.cancelled().await;
    call.answer(TaskOutcome::Cancelled { usage: Usage::default() });
    leaving.await.unwrap();
    assert_eq!(held(&world, "/model").await, 0);
}

/// A start asks for its slots while the store is asked whether there is such a run, and whichever answers first: the engine
/// leaves when what nobody wants any more is free. Whose process is gone gives nothing back.
#[tokio::test(start_paused = true)]
async fn a_start_with_a_used_key_holds_no_slot() {
    let slow = Weather { slow: 1_000, ..Weather::CALM };
    for seed in 1..=16 {
        let mut world = World::in_memory();
        world.limit_faults = Arc::new(Faults::seeded(seed, Weather::CALM));
        world.limit_specs.insert("model".into(), concurrent(2));
        let first = world.engine_that_lives().await;
        let way = world.way_to_store(seed, Weather::CALM);
        let config = EngineConfig { proof: own_proof(), ..world.config() };
        let second = world.engine_by(&way, config).await.unwrap();
        let workflow = json!({"id": "w", "nodes": many(1, &["model"])});
        let keyed = StartRun { idempotency_key: Some("once".to_owned()), ..StartRun::default() };
        let started = world.start_workflow(&first, workflow.clone(), keyed.clone()).await;
        let call = world.call().await;
        way.faults.set_weather(slow);
        world.limit_faults.set_weather(slow);
        let again = world.start_workflow(&second, workflow, keyed).await;
        assert_eq!((again.run_id, again.is_new), (started.run_id, false));
        second.shut_down_within(Duration::ZERO).await;
        for _ in 0..200 {
            assert_eq!(held(&world, "/model").await, 1, "seed {seed}: that of the first one");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.limit_faults.set_weather(Weather::CALM);
        call.succeed(json!(1));
        world.ended(&first, started.run_id, Status::Succeeded).await;
    }
}

/// Everybody waits it out, and it costs no attempt.
#[tokio::test(start_paused = true)]
async fn a_provider_that_asks_to_wait_is_waited_for_by_all() {
    let mut world = World::in_memory();
    world.limit_specs.insert("model".into(), concurrent(1));
    let (a, b) = (world.engine_that_lives().await, world.engine_that_lives().await);
    let policy = json!({"max_attempts": 1});
    let node = json!([{"id": "a", "task": "test.task", "limits": ["model"], "retry_policy": policy}]);
    let first = start(&mut world, &a, "w", node).await;
    let call = world.call_of("a@1").await;
    let second = start(&mut world, &b, "v", many(1, &["model"])).await;
    settle().await;
    let began = Instant::now();
    let error = TaskError::new(ErrorKind::RateLimited, "slow down").with_retry_after(Duration::from_secs(20));
    call.answer(TaskOutcome::Failed { error, usage: Usage::default() });
    for _ in 0..2 {
        let call = world.call().await;
        assert!(began.elapsed() >= Duration::from_secs(20), "after {:?}", began.elapsed());
        call.succeed(json!(1));
    }
    assert!(began.elapsed() < Duration::from_secs(40));
    world.ended(&a, first, Status::Succeeded).await;
    world.ended(&b, second, Status::Succeeded).await;
}

/// A minute's worth goes in a minute, and never more.
#[tokio::test(start_paused = true)]
async fn a_rate_is_kept_over_two_engines() {
    let mut world = World::in_memory();
    world.limit_specs.insert("model".into(), LimitSpec { per_minute: Some(30), ..LimitSpec::default() });
    let (a, b) = (world.engine_that_lives().await, world.engine_that_lives().await);
    let runs = [
        start(&mut world, &a, "w", many(40, &["model"])).await,
        start(&mut world, &b, "v", many(40, &["model"])).await,
    ];
    let began = Instant::now();
    let mut times = Vec::new();
    for _ in 0..80 {
        world.call().await.succeed(json!(1));
        times.push(began.elapsed());
    }
    for (at, time) in times.iter().enumerate() {
        let minute = times[at..].iter().filter(|later| **later < *time + Duration::from_secs(60)).count();
        assert!(minute <= 30, "{minute} in a minute from {time:?}");
    }
    assert!(*times.last().unwrap() < Duration::from_secs(60 * 4), "and they go on: {:?}", times.last());
    world.ended(&a, runs[0], Status::Succeeded).await;
    world.ended(&b, runs[1], Status::Succeeded).await;
}

/// An engine that stood still finds its slot taken: its attempt is told to stop, and begins anew when there is room.
#[tokio::test(start_paused = true)]
async fn an_engine_that_stood_still_does_not_use_what_it_lost() {
    let mut world = World::in_memory();
    world.limit_specs.insert("model".into(), concurrent(1));
    let way = world.way_to_store(1, segue_testkit::faults::Weather::default());
    let config = EngineConfig { proof: own_proof(), ..world.config() };
    let ttl = config.lease_ttl;
    let frozen = world.engine_by(&way, config).await.unwrap();
    let run = start(&mut world, &frozen, "w", many(1, &["model"])).await;
    let lost = world.call_of("a[0]@1").await;
    way.faults.refuse_renewals(true);
    tokio::time::sleep(ttl * 2).await;
    let next = world.engine_that_lives().await;
    let other = start(&mut world, &next, "v", many(1, &["model"])).await;
    let call = world.call().await;
    assert_eq!(call.invocation.context.run_id, other);
    way.faults.refuse_renewals(false);
    lost.cancelled().await;
    lost.answer(TaskOutcome::Cancelled { usage: Usage::default() });
    settle().await;
    assert!(!world.has_call(), "there is one slot");
    call.succeed(json!(1));
    world.ended(&next, other, Status::Succeeded).await;
    world.call_of("a[0]@2").await.succeed(json!(2));
    world.ended(&frozen, run, Status::Succeeded).await;
}

/// A grant that is never heard of, and a task that is cancelled before it asks again: the slot is free.
#[tokio::test(start_paused = true)]
async fn a_grant_whose_answer_is_lost_leaks_nothing() {
    for fault in [Fault::After(unavailable), Fault::Late(Duration::from_secs(2))] {
        let mut world = World::in_memory();
        world.limit_specs.insert("model".into(), concurrent(1));
        let engine = world.engine_that_lives().await;
        world.limit_faults.fail_next([fault]);
        let run = start(&mut world, &engine, "w", many(1, &["model"])).await;
        while world.limit_faults.left() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        engine.cancel_run(run, "not needed").await.unwrap();
        world.ended(&engine, run, Status::Cancelled).await;
        tokio::time::sleep(Duration::from_secs(35)).await;
        assert_eq!(held(&world, "/model").await, 0, "{fault:?}");
        until_waiting(&world, "/model", &[]).await;
    }
}

/// Two engines, answers that are lost, late or doubled, signals that nobody hears, runs that are cancelled: never more
/// than may, all that is wanted is done, and in the end nothing is held and nobody stands in line.
#[tokio::test(start_paused = true)]
async fn limits_hold_in_any_weather() {
    for seed in 1..=24 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut world = World::in_memory();
        // The first is calm: there nobody waits for what has come already.
        let weather = if seed == 1 { Weather::CALM } else { Weather::drawn(&mut rng).mild() };
        world.limit_faults = Arc::new(Faults::seeded(seed, weather));
        world.limit_specs.extend([("model".to_owned(), concurrent(3)), ("site".to_owned(), concurrent(2))]);
        let engines = [world.engine_that_lives().await, world.engine_that_lives().await];
        let mut runs = Vec::new();
        for number in 0..8 {
            let engine = rng.usize(..2);
            let limits: &[&str] = [&["model"][..], &["site"], &["model", "site"]][rng.usize(..3)];
            let run = start(&mut world, &engines[engine], ["u", "v", "w"][number % 3], many(4, limits)).await;
            runs.push((engine, run, limits, number % 4 == 3));
        }
        let began = Instant::now();
        let mut calls: Vec<Call> = Vec::new();
        let mut cancelled = false;
        loop {
            settle().await;
            if calls.is_empty() && !world.has_call() {
                // Nothing is left to do but to wait for what is late.
                let late = tokio::time::timeout(Duration::from_secs(60), world.call()).await;
                let Ok(call) = late else { break };
                calls.push(call);
            }
            match world.try_call() {
                Some(call) => calls.push(call),
                None => {
                    let call = calls.swap_remove(rng.usize(..calls.len()));
                    let is_cancelled = call.invocation.cancel.is_cancelled();
                    let outcome = TaskOutcome::Cancelled { usage: Usage::default() };
                    call.answer(if is_cancelled { outcome } else { TaskOutcome::success(json!(1)) });
                }
            }
            for (limit, most) in [("model", 3), ("site", 2)] {
                let of_run = |call: &&Call| runs.iter().find(|one| one.1 == call.invocation.context.run_id);
                let under_it = calls.iter().filter(|call| of_run(call).is_some_and(|run| run.2.contains(&limit)));
                assert!(under_it.count() <= most, "seed {seed}: more than {most} under `{limit}`");
            }
            if !cancelled && rng.u8(..4) == 0 {
                cancelled = true;
                for (engine, run, ..) in runs.iter().filter(|run| run.3) {
                    engines[*engine].cancel_run(*run, "not needed").await.unwrap();
                }
            }
        }
        let took = began.elapsed() - Duration::from_secs(60);
        assert!(seed > 1 || took < Duration::from_secs(1), "in calm weather it took {took:?}");
        for (engine, run, _, unwanted) in runs {
            let row = engines[engine].wait(run).await.unwrap();
            let is_done = row.status == Status::Succeeded || (row.status == Status::Cancelled && unwanted && cancelled);
            assert!(is_done, "seed {seed}: {:?}", row.status);
            world.judge(run).await;
        }
        world.limit_faults.set_weather(Weather::CALM);
        tokio::time::sleep(Duration::from_secs(40)).await;
        for key in ["/model", "/site"] {
            assert_eq!(held(&world, key).await, 0, "seed {seed}");
            until_waiting(&world, key, &[]).await;
        }
    }
}
