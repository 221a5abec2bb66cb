//! Runs on stores that work.

use futures_util::StreamExt;
use segue_core::{
    outcome::{ErrorKind, TaskError, TaskOutcome, Usage},
    ports::{EventBus, Orchestrator, OrchestratorError, Progress, StartRun, Topic},
    status::Status,
};
use serde_json::json;

use crate::support::{World, on_every_store};

on_every_store!(
    a_chain_costs_one_commit_a_step,
    a_run_of_one_task_is_two_commits,
    branches_run_at_once,
    a_thousand_tasks_are_three_commits,
    a_failed_attempt_is_repeated_with_the_same_key,
    a_start_with_a_used_key_is_the_same_run,
    listeners_see_the_log_and_progress,
    large_values_arrive,
    a_failure_ends_the_run,
    inputs_that_cannot_be_rendered_fail_the_task,
    a_bad_workflow_and_bad_inputs_are_refused,
);

async fn a_chain_costs_one_commit_a_step(mut world: World) {
    let engine = world.engine().await;
    let run = world
        .start(
            &engine,
            json!([
                {"id": "a", "task": "test.task", "inputs": {"n": 1}},
                {"id": "b", "task": "test.task", "inputs": {"n": "{{ nodes.a.output.n }}"}, "depends_on": ["a"]},
                {"id": "c", "task": "pass", "inputs": {"n": "{{ nodes.b.output.n }}"}, "depends_on": ["b"]},
            ]),
        )
        .await;
    world.call_of("a@1").await.succeed(json!({"n": 2}));
    let call = world.call_of("b@1").await;
    assert_eq!(*call.invocation.inputs, json!({"n": 2}));
    call.succeed(json!({"n": 3}));
    world.ended(&engine, run, Status::Succeeded).await;
    assert_eq!(world.output(run, "c").await, json!({"n": 3}));
    assert_eq!(
        world.commits(),
        [
            "commit run.created run.started started:a@1",
            "commit succeeded:a@1 started:b@1",
            "commit succeeded:b@1 started:c@1",
            "commit succeeded:c@1 run.succeeded",
        ]
    );
    world.assert_dispatched_after_commit();
}

async fn a_run_of_one_task_is_two_commits(mut world: World) {
    let engine = world.engine().await;
    let run = world.start(&engine, json!([{"id": "a", "task": "pass", "inputs": {"x": 1}}])).await;
    world.ended(&engine, run, Status::Succeeded).await;
    assert_eq!(world.commits().len(), 2);
}

async fn branches_run_at_once(mut world: World) {
    let engine = world.engine().await;
    let run = world
        .start(
            &engine,
            json!([
                {"id": "a", "task": "test.task"},
                {"id": "b", "task": "test.task"},
                {"id": "c", "task": "pass", "depends_on": ["a", "b"],
                 "inputs": {"both": "{{ nodes.a.output + nodes.b.output }}"}},
            ]),
        )
        .await;
    let (one, two) = (world.call().await, world.call().await);
    two.succeed(json!(2));
    one.succeed(json!(1));
    world.ended(&engine, run, Status::Succeeded).await;
    assert_eq!(world.output(run, "c").await, json!({"both": 3}));
}

async fn a_thousand_tasks_are_three_commits(mut world: World) {
    let engine = world.engine().await;
    let mut nodes: Vec<_> =
        (0..1000).map(|n| json!({"id": format!("n{n}"), "task": "pass", "depends_on": ["first"]})).collect();
    nodes.push(json!({"id": "first", "task": "pass"}));
    let run = world.start(&engine, json!(nodes)).await;
    world.ended(&engine, run, Status::Succeeded).await;
    assert_eq!(world.commits().len(), 3);
    assert_eq!(engine.scheduler().places_taken(), 0);
}

async fn a_failed_attempt_is_repeated_with_the_same_key(mut world: World) {
    let engine = world.engine().await;
    let policy = json!({"max_attempts": 3, "initial_interval_seconds": 0.01, "jitter": "none"});
    let run = world.start(&engine, json!([{"id": "a", "task": "test.task", "retry_policy": policy}])).await;
    let first = world.call_of("a@1").await;
    let key = first.invocation.context.idempotency_key();
    first.answer(TaskOutcome::failure(ErrorKind::Connection, "no route"));
    let asked = world.clock.now();
    let second = world.call_of("a@2").await;
    assert!(world.clock.now().since(asked).as_secs_f64() >= 0.009, "after the pause");
    assert_eq!(second.invocation.context.idempotency_key(), key);
    let error =
        TaskError::new(ErrorKind::RateLimited, "slow down").with_retry_after(std::time::Duration::from_millis(30));
    second.answer(TaskOutcome::Failed { error, usage: Usage::default() });
    let asked = world.clock.now();
    let third = world.call_of("a@3").await;
    assert!(world.clock.now().since(asked).as_secs_f64() >= 0.029, "after the pause that the provider asked for");
    third.succeed(json!("done"));
    world.ended(&engine, run, Status::Succeeded).await;
}

async fn a_failure_ends_the_run(mut world: World) {
    let engine = world.engine().await;
    let run = world
        .start(&engine, json!([{"id": "a", "task": "test.task"}, {"id": "b", "task": "pass", "depends_on": ["a"]}]))
        .await;
    world.call_of("a@1").await.answer(TaskOutcome::failure(ErrorKind::Auth, "refused"));
    let row = world.ended(&engine, run, Status::Failed).await;
    assert_eq!(row.error.unwrap().kind, ErrorKind::Auth);
    assert_eq!(row.tasks_done, 2);
}

async fn inputs_that_cannot_be_rendered_fail_the_task(mut world: World) {
    let engine = world.engine().await;
    let inputs = json!({"x": "{{ nodes.a.output.missing.deeper }}"});
    let nodes = json!([
        {"id": "a", "task": "pass"},
        {"id": "b", "task": "pass", "depends_on": ["a"], "inputs": inputs},
    ]);
    let run = world.start(&engine, nodes).await;
    let row = world.ended(&engine, run, Status::Failed).await;
    assert_eq!(row.error.unwrap().kind, ErrorKind::InvalidInput);
    assert_eq!(engine.scheduler().places_taken(), 0);
}

async fn a_bad_workflow_and_bad_inputs_are_refused(mut world: World) {
    let engine = world.engine().await;
    let cycle =
        json!([{"id": "a", "depends_on": ["b"]}, {"id": "b", "depends_on": ["a"]}, {"id": "c", "task": "nobody.has"}]);
    let spec = serde_json::from_value(json!({"id": "w", "nodes": cycle})).unwrap();
    let Err(OrchestratorError::Invalid(problems)) = engine.deploy_workflow(&spec).await else {
        panic!("it is refused")
    };
    assert_eq!(problems.len(), 2, "all at once: {problems:?}");
    let workflow = json!({"id": "w", "params": {"n": {"type": "integer"}}, "nodes": [{"id": "a"}]});
    let hash = engine.deploy_workflow(&serde_json::from_value(workflow).unwrap()).await.unwrap();
    let refused = engine.start_run(hash, StartRun::default()).await;
    assert!(matches!(refused, Err(OrchestratorError::Invalid(_))), "{refused:?}");
    assert!(world.commits().is_empty());
}

async fn a_start_with_a_used_key_is_the_same_run(mut world: World) {
    let engine = world.engine().await;
    let workflow = json!({"id": "w", "params": {"x": {}}, "nodes": [{"id": "a", "task": "pass"}]});
    let start = |x: i32| StartRun {
        inputs: json!({"x": x}).as_object().unwrap().clone(),
        idempotency_key: Some("k".to_owned()),
        ..StartRun::default()
    };
    let first = world.start_workflow(&engine, workflow.clone(), start(1)).await;
    let again = world.start_workflow(&engine, workflow.clone(), start(1)).await;
    assert!(first.is_new && !again.is_new);
    assert_eq!(first.run_id, again.run_id);
    let hash = engine.deploy_workflow(&serde_json::from_value(workflow).unwrap()).await.unwrap();
    let other = engine.start_run(hash, start(2)).await;
    assert!(matches!(other, Err(OrchestratorError::Conflict(_))), "{other:?}");
    world.ended(&engine, first.run_id, Status::Succeeded).await;
    assert_eq!(engine.scheduler().places_taken(), 0);
}

async fn listeners_see_the_log_and_progress(mut world: World) {
    let engine = world.engine().await;
    let mut events = world.bus.subscribe(Topic::All).await.unwrap();
    let run = world.start(&engine, json!([{"id": "a", "task": "test.task"}])).await;
    let call = world.call_of("a@1").await;
    call.emit(Progress { name: "task.progress", data: json!({"done": 0.5}) });
    call.succeed(json!(null));
    world.ended(&engine, run, Status::Succeeded).await;
    let mut seen = Vec::new();
    while let Some(event) = events.next().await {
        seen.push((event.name.clone(), event.seq, event.transient));
        if event.name == "run.succeeded" {
            break;
        }
    }
    let expected = [
        ("run.created", 1, false),
        ("run.started", 2, false),
        ("task.started", 3, false),
        ("task.progress", 3, true),
        ("task.succeeded", 4, false),
        ("run.succeeded", 5, false),
    ];
    assert_eq!(seen, expected.map(|(name, seq, transient)| (name.to_owned(), seq, transient)));
}

async fn large_values_arrive(mut world: World) {
    let engine = world.engine().await;
    let run = world
        .start(
            &engine,
            json!([
                {"id": "a", "task": "test.task"},
                {"id": "b", "task": "pass", "depends_on": ["a"], "inputs": {"all": "{{ nodes.a.output }}"}},
            ]),
        )
        .await;
    let text = "ä".repeat(500_000);
    world.call_of("a@1").await.succeed(json!(text));
    world.ended(&engine, run, Status::Succeeded).await;
    assert_eq!(world.output(run, "b").await, json!({"all": text}));
}
