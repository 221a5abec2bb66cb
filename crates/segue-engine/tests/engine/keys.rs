//! What an effect is known by: the same for every attempt of a task, whoever makes it.

use segue_core::{
    outcome::{ErrorKind, TaskOutcome},
    ports::RequestKind,
    status::Status,
};
use serde_json::{Value, json};

use crate::support::{Call, World, on_every_store};

on_every_store!(effect_keys_outlive_attempts_resumes_and_engines, every_task_has_keys_of_its_own);

fn key(call: &Call) -> String {
    call.invocation.context.idempotency_key()
}

async fn effect_keys_outlive_attempts_resumes_and_engines(mut world: World) {
    let policy = json!({"max_attempts": 2, "initial_interval_seconds": 0.01, "jitter": "none"});
    let first = world.engine().await;
    let run = world.start(&first, json!([{"id": "a", "task": "test.task", "retry_policy": policy}])).await;
    let call = world.call_of("a@1").await;
    let of_all = key(&call);
    assert_eq!(of_all, format!("{run}/a"));
    call.answer(TaskOutcome::failure(ErrorKind::Connection, "no route"));
    let lost = world.call_of("a@2").await;
    assert_eq!(key(&lost), of_all, "another attempt");
    first.stop();

    let second = world.engine().await;
    assert_eq!(second.resume(&[]).await.unwrap(), [run]);
    let call = world.call_of("a@3").await;
    assert_eq!(key(&call), of_all, "another engine");
    call.answer(TaskOutcome::failure(ErrorKind::Auth, "no key"));
    world.ended(&second, run, Status::Failed).await;

    second.request(run, RequestKind::Reopen).await.unwrap();
    second.resume(&[run]).await.unwrap();
    let call = world.call_of("a@4").await;
    assert_eq!(key(&call), of_all, "another life of the run");
    call.succeed(json!("done"));
    world.ended(&second, run, Status::Succeeded).await;
}

async fn every_task_has_keys_of_its_own(mut world: World) {
    let engine = world.engine().await;
    let nodes = json!([{"id": "each", "task": "test.task", "foreach": [1, 2]},
        {"id": "again", "depends_on": ["each"], "repeat": {"max_iterations": 2}, "task": "test.task"}]);
    let run = world.start(&engine, nodes).await;
    let mut keys = Vec::new();
    for task in ["each[0]@1", "each[1]@1", "again#1@1", "again#2@1"] {
        let call = world.call_of(task).await;
        keys.push(key(&call));
        call.succeed(Value::Null);
    }
    world.ended(&engine, run, Status::Succeeded).await;
    let expected = ["each[0]", "each[1]", "again#1", "again#2"].map(|task| format!("{run}/{task}"));
    assert_eq!(keys, expected);
}
