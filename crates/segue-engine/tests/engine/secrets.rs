//! Secrets reach the adapter and nothing else.

use std::sync::{Arc, Mutex};

use segue_core::{
    outcome::{ErrorKind, TaskError, TaskOutcome},
    ports::{Orchestrator, Progress, RunStore, Secrets, StartRun, Topic},
    status::Status,
};
use serde_json::json;

use crate::support::{World, on_every_store};

on_every_store!(a_secret_is_given_to_the_attempt_and_to_nobody_else, a_missing_secret_fails_the_attempt_for_good);

const SECRET: &str = "correct horse battery";

struct Known(Mutex<Option<&'static str>>);

impl Secrets for Known {
    fn get(&self, name: &str) -> Option<String> {
        self.0.lock().unwrap().filter(|_| name == "KEY").map(str::to_owned)
    }
}

fn workflow() -> serde_json::Value {
    json!({
        "id": "w",
        "secrets": ["KEY"],
        "params": {"p": {}},
        "nodes": [
            {"id": "a", "task": "test.task", "inputs": {"key": {"$secret": "KEY"}, "p": "{{ params.p }}"},
             "retry_policy": {"initial_interval_seconds": 0}},
            {"id": "b", "task": "test.task", "inputs": {"from": "{{ nodes.a.output }}"}, "depends_on": ["a"]},
        ],
    })
}

async fn a_secret_is_given_to_the_attempt_and_to_nobody_else(mut world: World) {
    let config = world.config();
    let engine = world.engine_knowing(config, Arc::new(Known(Mutex::new(Some(SECRET))))).await;
    let inputs = json!({"p": {"$secret": "KEY"}}).as_object().unwrap().clone();
    let run = world.start_workflow(&engine, workflow(), StartRun { inputs, ..StartRun::default() }).await.run_id;
    let call = world.call_of("a@1").await;
    assert_eq!(*call.invocation.inputs, json!({"key": SECRET, "p": {"$secret": "KEY"}}), "a param is data");
    let mut seen = engine.bus().subscribe(Topic::Run(run)).await.unwrap();
    call.emit(Progress { name: "task.log", data: json!({"line": format!("using {SECRET}")}) });
    let error = TaskError::new(ErrorKind::User, format!("no: {SECRET}")).with_detail(json!({"tail": SECRET}));
    call.answer(TaskOutcome::Failed { error, usage: Default::default() });

    // What an output says is data, also if it looks like a secret.
    let call = world.call_of("a@2").await;
    call.succeed(
        json!({"said": format!("<{SECRET}>"), "url": "?k=correct%20horse%20battery", "x": {"$secret": "KEY"}}),
    );
    let call = world.call_of("b@1").await;
    let from = json!({"said": "<[secret KEY]>", "url": "?k=[secret KEY]", "x": {"$secret": "KEY"}});
    assert_eq!(*call.invocation.inputs, json!({"from": from}));
    call.succeed(json!(1));
    world.ended(&engine, run, Status::Succeeded).await;

    let mut told = String::new();
    loop {
        let event = futures_util::StreamExt::next(&mut seen).await.unwrap();
        told += &serde_json::to_string(&event).unwrap();
        if event.name == "run.succeeded" {
            break;
        }
    }
    assert!(told.contains("using [secret KEY]"), "{told}");
    let log = serde_json::to_string(&world.store.events(run, 0, 0).await.unwrap()).unwrap();
    assert!(log.contains("no: [secret KEY]"));
    for place in [&told, &log, &format!("{:?}", world.store.list_tasks(run).await.unwrap())] {
        assert!(!place.contains("horse"), "{place}");
    }
    for file in world.files() {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!bytes.windows(5).any(|bytes| bytes == b"horse"), "{}", file.display());
    }
}

async fn a_missing_secret_fails_the_attempt_for_good(mut world: World) {
    let config = world.config();
    let known = Arc::new(Known(Mutex::new(None)));
    let engine = world.engine_knowing(config, known.clone()).await;
    let run = world.start_workflow(&engine, workflow(), StartRun { inputs: p(), ..StartRun::default() }).await.run_id;
    let row = world.ended(&engine, run, Status::Failed).await;
    let error = row.error.unwrap();
    assert_eq!((error.kind, error.node), (ErrorKind::InvalidInput, Some("a".into())));
    assert!(error.message.contains("`KEY`"), "{}", error.message);
    assert!(!world.has_call());

    // It is looked for again in every attempt.
    *known.0.lock().unwrap() = Some(SECRET);
    engine.reopen(run).await.unwrap();
    world.call_of("a@2").await.succeed(json!(1));
    world.call_of("b@1").await.succeed(json!(2));
    world.ended(&engine, run, Status::Succeeded).await;
    engine.shutdown().await;
}

fn p() -> serde_json::Map<String, serde_json::Value> {
    json!({"p": 1}).as_object().unwrap().clone()
}
