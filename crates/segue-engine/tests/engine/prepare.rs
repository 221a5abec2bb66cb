//! What tasks need is made before they begin, and nobody waits for it who wants something else.

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use segue_core::{
    ids::RunId,
    ports::{Orchestrator, StartRun},
    spec::WorkflowSpec,
    status::Status,
};
use segue_engine::{Engine, EngineConfig, Prepare};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::support::{World, settle};

/// Takes until it is let.
struct Gate {
    begun: Semaphore,
    open: Semaphore,
}

impl Gate {
    fn closed() -> Arc<Self> {
        Arc::new(Self { begun: Semaphore::new(0), open: Semaphore::new(0) })
    }

    async fn has_begun(&self) {
        self.begun.acquire().await.unwrap().forget();
    }
}

#[async_trait]
impl Prepare for Gate {
    async fn prepare(&self, workflow: &WorkflowSpec, base_dir: Option<&Path>) {
        assert_eq!((workflow.id.as_str(), base_dir), ("w", Some(Path::new("/work"))));
        self.begun.add_permits(1);
        self.open.acquire().await.unwrap().forget();
    }
}

/// A run of one task with a time limit, submitted, and an engine that prepares it.
async fn preparing(world: &mut World, gate: &Arc<Gate>) -> (Engine, RunId) {
    let clerk = world.engine().await;
    let workflow = json!({"id": "w", "nodes": [{"id": "a", "task": "test.task", "timeout_seconds": 5}]});
    let hash = clerk.deploy_workflow(&serde_json::from_value(workflow.clone()).unwrap()).await.unwrap();
    let start = StartRun { base_dir: Some("/work".into()), ..StartRun::default() };
    let run = clerk.submit(hash, start).await.unwrap().run_id;
    world.know(run, workflow);
    let config = EngineConfig { claim_every: Some(Duration::from_secs(1)), ..world.config() };
    let engine = world.engine_preparing(config, gate.clone()).await;
    gate.has_begun().await;
    (engine, run)
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_task_begins_when_what_it_needs_is_there() {
    let mut world = World::in_memory();
    let gate = Gate::closed();
    let (engine, run) = preparing(&mut world, &gate).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    settle().await;
    assert_eq!(world.log(run).await.iter().filter(|name| name.starts_with("started:")).count(), 0);
    gate.open.add_permits(1);
    world.call_of("a@1").await.succeed(json!(1));
    world.ended(&engine, run, Status::Succeeded).await;
}

#[tokio::test(start_paused = true)]
async fn a_cancel_does_not_wait_for_what_is_made() {
    let mut world = World::in_memory();
    let gate = Gate::closed();
    let (engine, run) = preparing(&mut world, &gate).await;
    engine.cancel_run(run, "not wanted").await.unwrap();
    world.ended(&engine, run, Status::Cancelled).await;
}

#[tokio::test(start_paused = true)]
async fn an_engine_leaves_without_waiting_for_what_is_made() {
    let mut world = World::in_memory();
    let gate = Gate::closed();
    let (engine, run) = preparing(&mut world, &gate).await;
    engine.shut_down_within(Duration::from_secs(1)).await;
    let next = world.engine().await;
    assert_eq!(next.resume(&[]).await.unwrap(), [run], "it was given back");
    world.call_of("a@1").await.succeed(json!(1));
    world.ended(&next, run, Status::Succeeded).await;
}
