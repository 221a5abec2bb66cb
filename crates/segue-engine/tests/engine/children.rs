//! Child workflows: one run starts another and waits for it.

use segue_core::{
    event::EventKind,
    outcome::{ErrorKind, TaskOutcome, Usage},
    ports::{Orchestrator, OrchestratorError, RunStore, StartRun},
    status::Status,
};
use serde_json::{Value, json};

use crate::support::{World, on_every_store};

on_every_store!(
    the_outputs_of_a_child_run_are_the_output_of_its_task,
    a_failed_child_is_reopened_when_its_parent_is_retried,
    a_cancel_reaches_the_grandchildren,
    a_child_that_is_cancelled_by_others_fails_its_task,
    a_workflow_that_starts_itself_comes_to_an_end,
    a_hundred_children_at_once,
    a_detached_child_goes_its_own_way,
    the_version_is_that_of_the_start,
    a_workflow_that_is_not_there_is_named_at_the_start,
    every_round_of_a_loop_has_a_child_of_its_own,
);

fn child() -> Value {
    json!({
        "id": "child",
        "params": {"x": {"type": "integer"}},
        "nodes": [
            {"id": "a", "task": "test.task", "inputs": {"x": "{{ params.x }}"}},
            {"id": "b", "task": "test.task", "depends_on": ["a"], "retry_policy": {"max_attempts": 1}},
        ],
        "outputs": {"y": "{{ nodes.b.output }}"},
    })
}

fn parent() -> Value {
    json!({"id": "parent", "nodes": [
        {"id": "c", "workflow": {"id": "child"}, "inputs": {"x": 7}},
        {"id": "after", "task": "pass", "inputs": {"got": "{{ nodes.c.output.y }}"}, "depends_on": ["c"]},
    ]})
}

async fn the_outputs_of_a_child_run_are_the_output_of_its_task(mut world: World) {
    let engine = world.engine().await;
    world.deploy(&engine, child()).await;
    let start = StartRun { rehearsal: true, base_dir: Some("/base".into()), ..StartRun::default() };
    let run = world.start_workflow(&engine, parent(), start).await.run_id;
    let call = world.call_of("a@1").await;
    assert_eq!(*call.invocation.inputs, json!({"x": 7}));
    assert!(call.invocation.rehearsal);
    assert_eq!(call.invocation.base_dir.as_deref(), Some("/base".as_ref()));
    let below = world.child_of(run, "c").await;
    assert_eq!(call.invocation.context.run_id, below);
    world.reaches(run, Status::Waiting).await;
    assert_eq!(world.store.get_run(below).await.unwrap().parent, Some(run));
    let first = world.store.events(below, 0, 1).await.unwrap();
    let EventKind::RunCreated(created) = &first[0].kind else { panic!("{first:?}") };
    let link = created.parent.as_ref().unwrap();
    assert_eq!((link.run_id, link.task_id.as_str(), link.depth), (run, "c", 1));

    call.succeed(json!(1));
    let usage = Usage { model_calls: 3, ..Usage::default() };
    let output = segue_core::payload::Payload::new(json!("x".repeat(100_000)));
    world.call_of("b@1").await.answer(TaskOutcome::Succeeded { output, usage, warnings: Vec::new() });
    let row = world.ended(&engine, run, Status::Succeeded).await;
    world.ended(&engine, below, Status::Succeeded).await;
    assert_eq!(world.output(run, "after").await, json!({"got": "x".repeat(100_000)}));
    assert_eq!(row.usage, usage);
    assert_eq!(engine.scheduler().places_taken(), 0);
}

async fn a_failed_child_is_reopened_when_its_parent_is_retried(mut world: World) {
    let engine = world.engine().await;
    world.deploy(&engine, child()).await;
    let run = world.start_workflow(&engine, parent(), StartRun::default()).await.run_id;
    let used = |model_calls| Usage { model_calls, ..Usage::default() };
    let success = |n: i32, usage| TaskOutcome::Succeeded {
        output: segue_core::payload::Payload::new(json!(n)),
        usage,
        warnings: Vec::new(),
    };
    world.call_of("a@1").await.answer(success(1, used(1)));
    world.call_of("b@1").await.answer(TaskOutcome::failure(ErrorKind::Auth, "no key"));
    let row = world.ended(&engine, run, Status::Failed).await;
    let below = world.child_of(run, "c").await;
    let error = row.error.unwrap();
    assert_eq!(error.message, format!("run {below} of child: no key"));
    assert_eq!((error.kind, error.node, error.retryable), (ErrorKind::Auth, Some("c".into()), false));
    world.ended(&engine, below, Status::Failed).await;

    engine.reopen(run).await.unwrap();
    let call = world.call_of("b@2").await;
    assert_eq!(call.invocation.context.run_id, below, "the same run goes on, with what had succeeded");
    call.answer(success(2, used(10)));
    let row = world.ended(&engine, run, Status::Succeeded).await;
    assert_eq!(world.child_of(run, "c").await, below);
    assert_eq!(row.usage, used(11), "nothing is counted twice");
}

async fn a_cancel_reaches_the_grandchildren(mut world: World) {
    let engine = world.engine().await;
    world.deploy(&engine, json!({"id": "leaf", "nodes": [{"id": "a", "task": "test.task"}]})).await;
    world.deploy(&engine, json!({"id": "middle", "nodes": [{"id": "m", "workflow": {"id": "leaf"}}]})).await;
    let top = json!({"id": "top", "nodes": [
        {"id": "t", "workflow": {"id": "middle"}},
        {"id": "u", "workflow": {"id": "middle"}},
        {"id": "never", "task": "pass", "depends_on": ["t"]},
    ]});
    let run = world.start_workflow(&engine, top, StartRun::default()).await.run_id;
    let (one, two) = (world.call_of("a@1").await, world.call_of("a@1").await);
    let (t, u) = (world.child_of(run, "t").await, world.child_of(run, "u").await);
    let (m, n) = (world.child_of(t, "m").await, world.child_of(u, "m").await);
    engine.cancel_run(run, "enough").await.unwrap();
    one.cancelled().await;
    two.cancelled().await;
    one.answer(TaskOutcome::Cancelled { usage: Usage::default() });
    // Its end is awaited, and that of all above it.
    assert!(!world.store.get_run(run).await.unwrap().status.is_terminal());
    two.answer(TaskOutcome::Cancelled { usage: Usage::default() });
    for run in [run, t, u, m, n] {
        world.ended(&engine, run, Status::Cancelled).await;
        assert!(world.store.pending_requests(run).await.unwrap().is_empty());
    }
}

async fn a_child_that_is_cancelled_by_others_fails_its_task(mut world: World) {
    let engine = world.engine().await;
    world.deploy(&engine, child()).await;
    let run = world.start_workflow(&engine, parent(), StartRun::default()).await.run_id;
    let call = world.call_of("a@1").await;
    let below = world.child_of(run, "c").await;
    engine.cancel_run(below, "not this").await.unwrap();
    call.cancelled().await;
    call.answer(TaskOutcome::Cancelled { usage: Usage::default() });
    let error = world.ended(&engine, run, Status::Failed).await.error.unwrap();
    assert_eq!(error.kind, ErrorKind::Cancelled, "{error}");
    assert!(error.message.contains(&below.to_string()), "{error}");
}

async fn a_workflow_that_starts_itself_comes_to_an_end(mut world: World) {
    let engine = world.engine().await;
    let workflow = json!({"id": "again", "nodes": [{"id": "c", "workflow": {"id": "again"}}]});
    let run = world.start_workflow(&engine, workflow, StartRun::default()).await.run_id;
    let error = world.ended(&engine, run, Status::Failed).await.error.unwrap();
    assert_eq!(error.kind, ErrorKind::Limit, "{error}");
    let runs = world.store.list_runs(Default::default()).await.unwrap();
    assert_eq!(runs.len(), 33, "the run, and 32 below it");
    assert!(runs.iter().all(|run| run.status == Status::Failed));
}

async fn a_hundred_children_at_once(mut world: World) {
    let engine = world.engine().await;
    let double = json!({
        "id": "double",
        "params": {"x": {}},
        "nodes": [{"id": "a", "task": "pass", "inputs": {"x": "{{ params.x * 2 }}"}}],
    });
    world.deploy(&engine, double).await;
    let items: Vec<u32> = (0..100).collect();
    let workflow = json!({"id": "w", "nodes": [
        {"id": "each", "foreach": items, "parallelism": 100, "workflow": {"id": "double"}, "inputs": {"x": "{{ item }}"}},
    ]});
    let run = world.start_workflow(&engine, workflow, StartRun::default()).await.run_id;
    world.ended(&engine, run, Status::Succeeded).await;
    let expected: Vec<Value> = (0..100).map(|n| json!({"a": {"x": n * 2}})).collect();
    assert_eq!(world.output(run, "each").await, json!(expected));
    assert_eq!(world.store.list_runs(Default::default()).await.unwrap().len(), 101);
}

async fn a_detached_child_goes_its_own_way(mut world: World) {
    let engine = world.engine().await;
    world.deploy(&engine, child()).await;
    let workflow = json!({"id": "w", "nodes": [
        {"id": "c", "workflow": {"id": "child", "detach": true}, "inputs": {"x": 1}},
        {"id": "b", "task": "test.task", "depends_on": ["c"]},
    ]});
    let run = world.start_workflow(&engine, workflow, StartRun::default()).await.run_id;
    let mut calls = [world.call().await, world.call().await];
    calls.sort_by_key(|call| call.name());
    let [a, b] = calls;
    assert_eq!((a.name().as_str(), b.name().as_str()), ("a@1", "b@1"));
    let below = a.invocation.context.run_id;
    assert_eq!(world.output(run, "c").await, json!({"run_id": below}));
    engine.cancel_run(run, "enough").await.unwrap();
    b.cancelled().await;
    b.answer(TaskOutcome::Cancelled { usage: Usage::default() });
    world.ended(&engine, run, Status::Cancelled).await;
    assert!(!a.invocation.cancel.is_cancelled());
    a.succeed(json!(1));
    world.call_of("b@1").await.succeed(json!(2));
    world.reaches(below, Status::Succeeded).await;
}

async fn the_version_is_that_of_the_start(mut world: World) {
    let engine = world.engine().await;
    let version = |n: u32| json!({"id": "child", "nodes": [{"id": "a", "task": "pass", "inputs": {"version": n}}]});
    let first = world.deploy(&engine, version(1)).await.to_string();
    world.deploy(&engine, version(2)).await;
    let workflow = json!({"id": "w", "nodes": [
        {"id": "gate", "task": "test.task"},
        {"id": "current", "workflow": {"id": "child"}, "depends_on": ["gate"]},
        {"id": "old", "workflow": {"id": "child", "version": &first[..8]}, "depends_on": ["gate"]},
    ]});
    let run = world.start_workflow(&engine, workflow.clone(), StartRun::default()).await.run_id;
    let gate = world.call_of("gate@1").await;
    world.deploy(&engine, version(3)).await;
    gate.succeed(json!(null));
    world.ended(&engine, run, Status::Succeeded).await;
    assert_eq!(world.output(run, "current").await, json!({"a": {"version": 2}}));
    assert_eq!(world.output(run, "old").await, json!({"a": {"version": 1}}));

    // What the caller brings comes before what is deployed.
    let spec = serde_json::from_value(version(4)).unwrap();
    let own = engine.deploy_workflow(&spec).await.unwrap();
    let start = StartRun { workflows: [("child".into(), own)].into(), ..StartRun::default() };
    let run = world.start_workflow(&engine, workflow, start).await.run_id;
    world.call_of("gate@1").await.succeed(json!(null));
    world.ended(&engine, run, Status::Succeeded).await;
    assert_eq!(world.output(run, "current").await, json!({"a": {"version": 4}}));
    assert_eq!(world.output(run, "old").await, json!({"a": {"version": 1}}));
}

async fn a_workflow_that_is_not_there_is_named_at_the_start(mut world: World) {
    let engine = world.engine().await;
    world.deploy(&engine, json!({"id": "middle", "nodes": [{"id": "m", "workflow": {"id": "gone"}}]})).await;
    let workflow = json!({"id": "w", "nodes": [
        {"id": "g", "group": {"nodes": [{"id": "a", "task": "pass"}, {"id": "inner", "workflow": {"id": "missing"}}]}},
        {"id": "c", "workflow": {"id": "middle"}},
        {"id": "v", "workflow": {"id": "middle", "version": "00000000"}},
    ]});
    let hash = engine.deploy_workflow(&serde_json::from_value(workflow).unwrap()).await.unwrap();
    let Err(OrchestratorError::Invalid(problems)) = engine.start_run(hash, StartRun::default()).await else {
        panic!("it is refused")
    };
    let told: Vec<_> = problems.iter().map(|problem| (problem.path.as_str(), problem.message.as_str())).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told.iter().any(|(path, why)| *path == "/nodes/0/group/nodes/1/workflow" && why.contains("`missing`")));
    assert!(told.iter().any(|(path, why)| *path == "/nodes/2/workflow" && why.contains("version 00000000")));
    assert!(told.iter().any(|(path, why)| path.is_empty() && why.contains("`gone`") && why.contains("`middle`")));
    assert!(problems.iter().all(|problem| problem.help.is_some()));
    assert!(world.store.list_runs(Default::default()).await.unwrap().is_empty());
}

async fn every_round_of_a_loop_has_a_child_of_its_own(mut world: World) {
    let engine = world.engine().await;
    world.deploy(&engine, json!({"id": "one", "nodes": [{"id": "a", "task": "test.task"}]})).await;
    let workflow = json!({
        "id": "w",
        "nodes": [
            {"id": "c", "workflow": {"id": "one"}},
            {"id": "t", "task": "test.task", "depends_on": ["c"]},
        ],
        "edges": [{"from": "t", "to": "c", "when": "nodes.t.output < 2", "max_iterations": 3}],
    });
    let run = world.start_workflow(&engine, workflow, StartRun::default()).await.run_id;
    let mut keys = Vec::new();
    for round in 1..=2 {
        let below = world.call_of("a@1").await;
        keys.push(below.invocation.context.run_id.to_string());
        below.succeed(json!(round));
        let call = world.call_of(&format!("t@{round}")).await;
        keys.push(call.invocation.context.idempotency_key());
        call.succeed(json!(round));
    }
    world.ended(&engine, run, Status::Succeeded).await;
    assert_ne!(keys[0], keys[2]);
    assert_eq!((&keys[1], &keys[3]), (&format!("{run}/t"), &format!("{run}/t~2")));
    assert_eq!(world.output(run, "c").await, json!({"a": 2}));
}
