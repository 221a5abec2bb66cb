//! Several stores on one database, at once and one after the other.

use std::sync::Arc;

use segue_core::{
    ids::TaskId,
    payload::INLINE_BYTES_MAX,
    ports::{ClaimRequest, RequestKind, RunStore},
};
use serde_json::json;

use super::{
    Database, Live, run_id, workflow,
    world::{LONG, engine, record, started, success},
};

/// What one store has committed, the other one reads at once; their commits fence each other.
pub async fn two_stores_see_each_other(db: &dyn Database) {
    let (here, there) = (db.open(), db.open());
    let (a, b) = (engine(&here, "a", LONG).await, engine(&there, "b", LONG).await);
    let mut live = Live::create(&here, 1, &a).await;
    for n in 0..20 {
        let task = format!("t{n}");
        live.commit(&here, vec![(Some(&task), started())]).await;
        live.assert_kept(&there).await;
    }
    let stale = live.next(vec![(Some("late"), started())]);
    let claim = ClaimRequest { engine_id: b, limit: 1, runs: Vec::new(), dead: vec![a] };
    live.lease = there.claim(claim).await.expect("a claim")[0];
    assert!(here.commit(stale).await.is_err());
    live.commit(&there, vec![(Some("t0"), success(json!(1)))]).await;
    live.assert_kept(&here).await;
}

/// Everything is there when the database is opened again, and the run goes on.
pub async fn what_is_committed_outlives_the_store(db: &dyn Database) {
    let large = json!("x".repeat(2 * INLINE_BYTES_MAX));
    let (mut live, request) = {
        let store = db.open();
        store.put_workflow(workflow("flow")).await.expect("kept");
        let a = engine(&store, "a", LONG).await;
        let mut live = Live::create(&store, 1, &a).await;
        live.commit(&store, vec![(Some("t"), success(large.clone()))]).await;
        (live, store.post_request(run_id(1), RequestKind::Reopen).await.expect("posted"))
    };
    let store: Arc<dyn RunStore> = db.open();
    live.assert_kept(&store).await;
    assert_eq!(store.get_workflow(workflow("flow").hash).await.expect("kept"), workflow("flow"));
    assert_eq!(store.engines().await.expect("engines"), [record("a")]);
    assert_eq!(store.pending_requests(run_id(1)).await.expect("an inbox")[0].id, request);
    let result = store.get_task_result(run_id(1), &TaskId::new("t")).await.expect("a result");
    assert_eq!(result.output.and_then(|output| output.value().cloned()).as_deref(), Some(&large));
    live.end(&store).await;
    live.assert_kept(&store).await;
}
