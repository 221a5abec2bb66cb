//! W7: how long from the start of a process to its first task, and what an idle engine holds.

use std::{sync::Mutex, time::Instant};

use anyhow::{Context, Result};
use async_trait::async_trait;
use segue_core::{
    outcome::{TaskError, TaskOutcome},
    ports::{Adapter, Invocation, Orchestrator, StartRun},
    spec::TaskNode,
};
use segue_engine::Engine;
use serde_json::{Value, json};
use std::sync::Arc;

use crate::{
    measure::{cpu_seconds, memory_mb},
    place::{Place, Store},
    shapes::spec,
    workloads::runtime,
};

/// Says when it was asked.
struct First(Mutex<Option<Instant>>);

#[async_trait]
impl Adapter for First {
    fn name(&self) -> &'static str {
        "first"
    }

    fn handlers(&self) -> &[&'static str] {
        &["first"]
    }

    fn translate_task(&self, _: &TaskNode) -> Result<Value, TaskError> {
        Ok(Value::Null)
    }

    async fn execute(&self, _: Invocation) -> TaskOutcome {
        *self.0.lock().expect("nobody panics here") = Some(Instant::now());
        TaskOutcome::success(Value::Null)
    }
}

pub fn run(place: Place) -> Result<Value> {
    // The process exists for a moment before `main`; exec and the dynamic linker cost about a millisecond.
    let began = Instant::now();
    let runtime = runtime()?;
    let (first_s, idle_mb, idle_cpu) = runtime.block_on(async {
        let store = Store::open(place).await?;
        let first = Arc::new(First(Mutex::new(None)));
        let engine = Engine::builder(store.ports[0].clone()).adapter(first.clone()).start().await?;
        let hash = engine.deploy_workflow(&spec(vec![json!({"id": "a", "task": "first"})])).await?;
        let run = engine.start_run(hash, StartRun::default()).await?;
        engine.wait(run.run_id).await?;
        let asked = first.0.lock().expect("nobody panics here").context("the task ran")?;
        let before = cpu_seconds()?;
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        let (idle_mb, idle_cpu) = (memory_mb("VmRSS")?, cpu_seconds()? - before);
        engine.shutdown().await;
        anyhow::Ok(((asked - began).as_secs_f64(), idle_mb, idle_cpu))
    })?;
    Ok(json!({
        "workload": "W7",
        "store": place.to_string(),
        "tasks": 1,
        "peak_rss_mb": memory_mb("VmHWM")?,
        "more": {"first_task_s": first_s, "idle_rss_mb": idle_mb, "idle_cpu_s_in_2s": idle_cpu},
    }))
}
