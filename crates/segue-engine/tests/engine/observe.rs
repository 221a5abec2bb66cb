//! What can be seen from outside: metrics and logs.

use std::{
    io,
    sync::{Arc, Mutex},
};

use segue_core::{
    outcome::{ErrorKind, TaskOutcome},
    ports::Orchestrator,
    status::Status,
};
use serde_json::{Value, json};
use tracing_subscriber::{filter::LevelFilter, fmt::MakeWriter};

use crate::support::World;

fn retried() -> Value {
    json!([{"id": "a", "task": "test.task", "retry_policy": {"max_attempts": 2, "initial_interval_seconds": 0}}])
}

#[tokio::test(start_paused = true)]
async fn everything_that_runs_is_counted() {
    let mut world = World::in_memory();
    let engine = world.engine().await;
    let run = world.start(&engine, retried()).await;
    world.call_of("a@1").await.answer(TaskOutcome::failure(ErrorKind::Connection, "no route"));
    let call = world.call_of("a@2").await;
    assert_eq!(world.gauge("segue_runs_live", &[]), 1);
    assert_eq!(world.gauge("segue_tasks_running", &[("adapter", "test")]), 1);
    call.succeed(json!(null));
    world.ended(&engine, run, Status::Succeeded).await;
    engine.shutdown().await;

    assert_eq!(world.count("segue_runs_total", &[("status", "SUCCEEDED")]), 1);
    assert_eq!(world.count("segue_tasks_total", &[("adapter", "test"), ("status", "FAILED")]), 1);
    assert_eq!(world.count("segue_tasks_total", &[("adapter", "test"), ("status", "SUCCEEDED")]), 1);
    assert_eq!(world.count("segue_task_retries_total", &[("adapter", "test"), ("kind", "connection")]), 1);
    assert_eq!(world.count("segue_store_commit_events", &[]), world.log(run).await.len() as u64);
    assert_eq!(world.gauge("segue_runs_live", &[]), 0);
    assert_eq!(world.gauge("segue_tasks_running", &[("adapter", "test")]), 0);
    let latencies = world.metrics.snapshot().latencies;
    let names: Vec<_> = latencies.iter().map(|sample| sample.name).collect();
    assert_eq!(names, ["segue_store_commit_seconds", "segue_task_duration_seconds", "segue_task_queue_seconds"]);
    assert_eq!(latencies[0].value.count, 3);
}

/// Lines of JSON.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test(start_paused = true)]
async fn every_line_about_a_run_says_which() {
    let lines = Lines::default();
    let subscriber =
        tracing_subscriber::fmt().json().with_max_level(LevelFilter::DEBUG).with_writer(lines.clone()).finish();
    // A line's first use decides for all threads whether somebody listens. Where there is one listener in the process, only
    // the thread that comes first is asked for its own, and that may be another test's; where there are two, all are.
    let _other = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    let guard = tracing::subscriber::set_default(subscriber);
    let mut world = World::in_memory();
    let engine = world.engine().await;
    let run = world.start(&engine, retried()).await;
    world.call_of("a@1").await.answer(TaskOutcome::failure(ErrorKind::Connection, "no route"));
    world.call_of("a@2").await.succeed(json!(null));
    world.ended(&engine, run, Status::Succeeded).await;
    drop(guard);

    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let about = |message: &str| {
        let found = lines.iter().find(|line| line["fields"]["message"] == message);
        found.unwrap_or_else(|| panic!("{message} in {text}"))
    };
    for message in ["run.created", "run.started", "task.started", "task.retrying", "task.succeeded", "run.succeeded"] {
        assert_eq!(about(message)["fields"]["run_id"], json!(run.to_string()), "{message}");
    }
    let retrying = about("task.retrying");
    assert_eq!(retrying["level"], "WARN");
    assert_eq!(retrying["fields"]["task_id"], "a");
    assert_eq!(retrying["fields"]["attempt"], 1);
    assert_eq!(retrying["fields"]["error"], "no route");
}
