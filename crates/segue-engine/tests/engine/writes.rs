//! The single writes of `conveniences`.

use segue_core::{
    ids::RunId,
    outcome::TaskOutcome,
    ports::{ClaimRequest, EngineRecord, Lease, RunStore},
    run::Rejected,
    status::Status,
};
use segue_engine::{WriteError, own_proof, set_run_status, update_task_result};
use serde_json::json;

use crate::support::{World, on_every_store};

on_every_store!(
    a_result_is_recorded_once,
    a_status_that_tasks_decide_cannot_be_set,
    a_run_can_be_cancelled_and_reopened,
);

/// A run in which `a` is under way, and the right to write to it.
async fn under_way(world: &mut World) -> (RunId, Lease) {
    let engine = world.engine().await;
    let run = world.start(&engine, json!([{"id": "a", "task": "test.task"}])).await;
    let call = world.call_of("a@1").await;
    engine.stop();
    call.cancelled().await;
    call.succeed(json!("the engine has stopped"));
    (run, claim(world, run).await)
}

async fn claim(world: &World, run: RunId) -> Lease {
    let me = EngineRecord { engine_id: "me".into(), proof: own_proof() };
    world.store.renew_engine(&me, std::time::Duration::from_secs(600)).await.unwrap();
    let dead = vec!["engine-1".into(), "me".into()];
    world.store.claim(ClaimRequest { engine_id: "me".into(), limit: 1, runs: vec![run], dead }).await.unwrap()[0]
}

async fn a_result_is_recorded_once(mut world: World) {
    let (run, lease) = under_way(&mut world).await;
    let write = |output: i32| {
        let (store, now) = (world.store.clone(), world.clock.now());
        async move {
            let outcome = TaskOutcome::success(json!(output));
            update_task_result(&*store, lease, &"a".into(), 1, outcome, now).await
        }
    };
    write(1).await.unwrap();
    let again = write(2).await;
    assert!(matches!(again, Err(WriteError::Rejected(Rejected::Stale))), "{again:?}");
    assert_eq!(world.output(run, "a").await, json!(1));
    world.judge(run).await;
}

async fn a_status_that_tasks_decide_cannot_be_set(mut world: World) {
    let (run, lease) = under_way(&mut world).await;
    let set = set_run_status(&*world.store, lease, Status::Succeeded, world.clock.now()).await;
    assert!(matches!(set, Err(WriteError::NotASetting(Status::Succeeded))));
    assert_eq!(world.store.get_run(run).await.unwrap().status, Status::Running);
}

async fn a_run_can_be_cancelled_and_reopened(mut world: World) {
    let (run, lease) = under_way(&mut world).await;
    let (store, now) = (world.store.clone(), world.clock.now());
    set_run_status(&*store, lease, Status::Cancelled, now).await.unwrap();
    let outcome = TaskOutcome::Cancelled { usage: Default::default() };
    update_task_result(&*store, lease, &"a".into(), 1, outcome, now).await.unwrap();
    assert_eq!(store.get_run(run).await.unwrap().status, Status::Cancelled);
    world.judge(run).await;
}
