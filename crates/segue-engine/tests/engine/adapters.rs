//! Adapters that are slow, full, missing, or broken.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use segue_core::{
    outcome::{ErrorKind, TaskOutcome, Usage},
    plan::version_json,
    ports::{Orchestrator, StartRun},
    status::Status,
};
use segue_engine::{Engine, EngineConfig, Pass};
use serde_json::json;

use crate::support::{World, on_every_store};

on_every_store!(
    a_timed_out_attempt_is_cancelled_and_its_late_answer_refused,
    the_next_attempt_waits_until_the_last_is_over,
    a_hung_attempt_does_not_hold_up_other_tasks,
    a_run_that_takes_too_long_fails,
    a_hint_limits_how_many_run_at_once,
    a_task_without_a_place_holds_up_nothing_behind_it,
    a_configured_limit_is_shared_by_all_runs,
    a_panic_is_a_lost_attempt,
    a_handler_that_nobody_has_fails_its_task,
    a_task_that_ended_without_its_attempt_leaves_no_place_behind,
);

async fn a_timed_out_attempt_is_cancelled_and_its_late_answer_refused(mut world: World) {
    let engine = world.engine().await;
    let run = world
        .start(
            &engine,
            json!([{"id": "a", "task": "test.task", "timeout_seconds": 0.05, "retry_policy": {"max_attempts": 1}}]),
        )
        .await;
    let call = world.call_of("a@1").await;
    call.cancelled().await;
    let row = world.ended(&engine, run, Status::Failed).await;
    assert_eq!(row.error.unwrap().kind, ErrorKind::Timeout);
    assert_eq!(engine.scheduler().places_taken(), 1, "its work is not over");
    call.succeed(json!("too late"));
    engine.shutdown().await;
    assert_eq!(engine.scheduler().places_taken(), 0);
    assert_eq!(world.log(run).await.last().unwrap(), "run.failed");
    world.judge(run).await;
}

async fn the_next_attempt_waits_until_the_last_is_over(mut world: World) {
    let engine = world.engine().await;
    let policy = json!({"max_attempts": 2, "initial_interval_seconds": 0, "jitter": "none"});
    let run = world
        .start(&engine, json!([{"id": "a", "task": "test.task", "timeout_seconds": 0.2, "retry_policy": policy}]))
        .await;
    let hung = world.call_of("a@1").await;
    hung.cancelled().await;
    // It ignores the cancel, for longer than any pause of the policy.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!world.has_call(), "two attempts of one task at once");
    hung.succeed(json!("late"));
    world.call_of("a@2").await.succeed(json!("in time"));
    world.ended(&engine, run, Status::Succeeded).await;
    assert_eq!(world.output(run, "a").await, json!("in time"));
    let lines = world.journal.lines();
    let at = |what: &str| lines.iter().position(|line| line == what).unwrap();
    assert!(at("answer a@1") < at("execute a@2"));
    assert_eq!(engine.scheduler().places_taken(), 0);
}

async fn a_hung_attempt_does_not_hold_up_other_tasks(mut world: World) {
    let engine = world.engine().await;
    let policy = json!({"max_attempts": 2, "initial_interval_seconds": 0, "jitter": "none"});
    let nodes = json!([
        {"id": "a", "task": "test.task", "timeout_seconds": 0.05, "retry_policy": policy},
        {"id": "b", "task": "test.task"},
        {"id": "c", "task": "test.task", "depends_on": ["b"]},
    ]);
    let run = world.start(&engine, nodes).await;
    let (one, two) = (world.call().await, world.call().await);
    let (hung, b) = if one.name() == "a@1" { (one, two) } else { (two, one) };
    hung.cancelled().await;
    // The next attempt of `a` waits for the last one. `c` has nothing to do with it.
    b.succeed(json!(null));
    world.call_of("c@1").await.succeed(json!(null));
    hung.succeed(json!(null));
    world.call_of("a@2").await.succeed(json!(null));
    world.ended(&engine, run, Status::Succeeded).await;
}

async fn a_run_that_takes_too_long_fails(mut world: World) {
    let engine = world.engine().await;
    let workflow = json!({"id": "w", "timeout_seconds": 0.1, "nodes": [{"id": "a", "task": "test.task"}]});
    let run = world.start_workflow(&engine, workflow, Default::default()).await.run_id;
    let call = world.call_of("a@1").await;
    call.cancelled().await;
    call.answer(TaskOutcome::Cancelled { usage: Usage::default() });
    let row = world.ended(&engine, run, Status::Failed).await;
    assert_eq!(row.error.unwrap().kind, ErrorKind::Timeout);
}

async fn a_hint_limits_how_many_run_at_once(mut world: World) {
    let engine = world.engine().await;
    let nodes: Vec<_> = (0..5)
        .map(|n| json!({"id": format!("n{n}"), "task": "test.task", "hints": {"test": {"concurrency": 2}}}))
        .chain([json!({"id": "free", "task": "pass"})])
        .collect();
    let run = world.start(&engine, json!(nodes)).await;
    for _ in 0..2 {
        let (one, two) = (world.call().await, world.call().await);
        assert!(!world.has_call());
        assert_eq!(engine.scheduler().places_taken(), 2);
        one.succeed(json!(null));
        two.succeed(json!(null));
    }
    world.call_of("n4@1").await.succeed(json!(null));
    world.ended(&engine, run, Status::Succeeded).await;
    assert_eq!(engine.scheduler().places_taken(), 0);
    // Finishing one and accepting the next are one commit, limits or not.
    let steps: Vec<_> = world.commits().into_iter().filter(|line| line.contains("started:n2@1")).collect();
    assert!(steps[0].contains("succeeded:"), "{steps:?}");
}

async fn a_task_without_a_place_holds_up_nothing_behind_it(mut world: World) {
    let engine = world.engine().await;
    let limited = |id: &str| json!({"id": id, "task": "test.task", "hints": {"test": {"concurrency": 1}}});
    let nodes = json!([limited("a"), limited("b"), {"id": "free", "task": "pass"},
        {"id": "last", "task": "test.task", "depends_on": ["free"], "hints": {"test": {"concurrency": 2}}}]);
    let workflow = json!({"id": "w", "max_parallel_nodes": 2, "nodes": nodes});
    let run = world.start_workflow(&engine, workflow, Default::default()).await.run_id;
    // `b` waits for the place of `a`. There is room for one node more, and `free` and `last` take it.
    let first = world.call_of("a@1").await;
    world.call_of("last@1").await.succeed(json!(null));
    first.succeed(json!(null));
    world.call_of("b@1").await.succeed(json!(null));
    world.ended(&engine, run, Status::Succeeded).await;
}

async fn a_configured_limit_is_shared_by_all_runs(mut world: World) {
    let config = EngineConfig { concurrency: BTreeMap::from([("test".to_owned(), 1)]), ..world.config() };
    let engine = world.engine_with(config).await;
    let mut runs = Vec::new();
    for _ in 0..4 {
        runs.push(world.start(&engine, json!([{"id": "a", "task": "test.task"}])).await);
    }
    for _ in 0..4 {
        let call = world.call().await;
        assert_eq!(engine.scheduler().places_taken(), 1);
        assert!(!world.has_call());
        call.succeed(json!(null));
    }
    for run in runs {
        world.ended(&engine, run, Status::Succeeded).await;
    }
}

async fn a_panic_is_a_lost_attempt(mut world: World) {
    let engine = world.engine().await;
    let policy = json!({"max_attempts": 2, "initial_interval_seconds": 0});
    let run = world.start(&engine, json!([{"id": "a", "task": "test.task", "retry_policy": policy}])).await;
    drop(world.call_of("a@1").await);
    drop(world.call_of("a@2").await);
    let row = world.ended(&engine, run, Status::Failed).await;
    let error = row.error.unwrap();
    assert_eq!(error.kind, ErrorKind::WorkerLost);
    assert!(error.message.contains("the test answers every call"), "{}", error.message);
    assert_eq!(engine.scheduler().places_taken(), 0);
}

async fn a_handler_that_nobody_has_fails_its_task(mut world: World) {
    // Deployed by an engine that has it, started by one that has not.
    let workflow = json!({"id": "w", "nodes": [{"id": "a", "task": "test.task"}, {"id": "b", "task": "pass"}]});
    let spec = serde_json::from_value(workflow.clone()).unwrap();
    world.engine().await.deploy_workflow(&spec).await.unwrap();
    let poor =
        Engine::builder(world.store.clone()).adapter(Arc::new(Pass)).config(world.config()).start().await.unwrap();
    let (hash, _) = version_json(&spec);
    let run = poor.start_run(hash, StartRun::default()).await.unwrap().run_id;
    world.know(run, workflow);
    let engine = poor;
    let row = world.ended(&engine, run, Status::Failed).await;
    let error = row.error.unwrap();
    assert_eq!(error.kind, ErrorKind::Load);
    assert!(error.message.contains("test.task"));
    assert_eq!(world.output(run, "b").await, json!({}), "an independent branch is not harmed");
}

async fn a_task_that_ended_without_its_attempt_leaves_no_place_behind(mut world: World) {
    let engine = world.engine().await;
    let nodes = json!([
        {"id": "a", "task": "test.task"},
        {"id": "b", "task": "test.task", "depends_on": ["a"], "inputs": {"x": "{{ nodes.a.output.missing.deeper }}"}},
    ]);
    let run = world.start(&engine, nodes).await;
    world.call_of("a@1").await.succeed(json!({}));
    world.ended(&engine, run, Status::Failed).await;
    assert!(!world.has_call());
    assert_eq!(engine.scheduler().places_taken(), 0);
}
