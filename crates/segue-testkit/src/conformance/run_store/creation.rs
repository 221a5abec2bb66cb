//! Workflows are put, runs are created.

use futures_util::future::join_all;
use segue_core::{
    ids::{ContentHash, TaskId, WorkflowId},
    payload::BlobRef,
    ports::{Created, Lease, RequestId, RequestKind, StoreError},
    status::Status,
};
use serde_json::json;

use super::{
    Database, Live, new_run, run_id, task_row, workflow,
    world::{LONG, engine, started},
};

/// `create_run` keeps events, rows and lease.
pub async fn a_created_run_is_read_back(db: &dyn Database) {
    let store = db.open();
    let mut new = new_run(1, json!({"topic": "rivers"}));
    new.owner = Some(engine(&store, "a", LONG).await);
    new.tasks = vec![task_row("write", Status::Pending), task_row("edit", Status::Pending)];
    let created = store.create_run(new.clone()).await.expect("a new run");
    let Created::New(Some(lease)) = created else { panic!("it is new and owned, not {created:?}") };
    assert_eq!(lease.run_id, run_id(1));
    Live { lease, row: new.run, events: new.events, tasks: new.tasks }.assert_kept(&store).await;
}

/// What names nothing is `NotFound`, in every method that reads or asks.
pub async fn what_is_not_there_is_not_found(db: &dyn Database) {
    fn assert_missing<T: std::fmt::Debug>(answer: Result<T, StoreError>) {
        assert!(matches!(answer, Err(StoreError::NotFound(_))), "{answer:?}");
    }
    let store = db.open();
    let (none, task) = (run_id(404), TaskId::new("write"));
    assert_missing(store.get_run(none).await);
    assert_missing(store.events(none, 0, 0).await);
    assert_missing(store.list_tasks(none).await);
    assert_missing(store.get_task_result(none, &task).await);
    assert_missing(store.pending_requests(none).await);
    assert_missing(store.post_request(none, RequestKind::Reopen).await);
    assert_missing(store.dismiss_requests(none, &[RequestId(1)]).await);
    assert_missing(store.get_workflow(ContentHash::of(b"none")).await);
    assert_missing(store.blob(BlobRef { hash: ContentHash::of(b"none"), bytes: 4 }).await);
    let owner = engine(&store, "a", LONG).await;
    let live = Live::create(&store, 1, &owner).await;
    assert_missing(store.get_task_result(run_id(1), &task).await);
    let mut stray = live.next(vec![(Some("write"), started())]);
    (stray.lease.run_id, stray.run.run_id) = (none, none);
    assert_missing(store.commit(stray).await);
    live.assert_kept(&store).await;
}

/// `put_workflow` is repeatable, and `get_workflow` gives the very text.
pub async fn a_workflow_version_is_kept_once(db: &dyn Database) {
    let store = db.open();
    for version in [workflow("one"), workflow("two"), workflow("one")] {
        store.put_workflow(version).await.expect("a version");
    }
    for version in [workflow("one"), workflow("two")] {
        assert_eq!(store.get_workflow(version.hash).await.expect("kept"), version);
    }
}

/// A creation that is repeated with its key answers with the first run; keys of other workflows are other keys.
pub async fn one_key_is_one_run(db: &dyn Database) {
    let store = db.open();
    let mut first = new_run(1, json!({}));
    first.idempotency_key = Some("monday".to_owned());
    assert_eq!(store.create_run(first.clone()).await.expect("new"), Created::New(None));

    let mut second = new_run(2, json!({}));
    second.idempotency_key = first.idempotency_key.clone();
    assert_eq!(store.create_run(second.clone()).await.expect("known"), Created::Existing(run_id(1)));
    assert!(matches!(store.get_run(run_id(2)).await, Err(StoreError::NotFound(_))));
    assert_eq!(store.create_run(first).await.expect("known"), Created::Existing(run_id(1)));

    second.run.workflow_id = WorkflowId::new("another");
    assert_eq!(store.create_run(second).await.expect("new"), Created::New(None));
}

/// The same key for something else is an error that names the run, and creates nothing.
pub async fn a_key_with_another_request_is_refused(db: &dyn Database) {
    let store = db.open();
    let mut first = new_run(1, json!({}));
    first.idempotency_key = Some("monday".to_owned());
    store.create_run(first).await.expect("new");
    let mut second = new_run(2, json!({}));
    second.idempotency_key = Some("monday".to_owned());
    second.request_hash = ContentHash::of(b"something else");
    match store.create_run(second).await {
        Err(StoreError::KeyReused { key, run_id: named }) => assert_eq!((key.as_str(), named), ("monday", run_id(1))),
        other => panic!("{other:?}"),
    }
    assert!(matches!(store.get_run(run_id(2)).await, Err(StoreError::NotFound(_))));
}

/// Concurrent creations with one key, through two stores: one is new, all others name it.
pub async fn a_hundred_creations_with_one_key_make_one_run(db: &dyn Database) {
    let stores = [db.open(), db.open()];
    let creations = (1..=100).map(|n| {
        let mut new = new_run(n, json!({}));
        new.idempotency_key = Some("monday".to_owned());
        let store = stores[n as usize % 2].clone();
        tokio::spawn(async move { (run_id(n), store.create_run(new).await.expect("an answer")) })
    });
    let answers: Vec<_> = join_all(creations).await.into_iter().map(|answer| answer.expect("no panic")).collect();
    let new: Vec<_> = answers.iter().filter(|(_, answer)| *answer == Created::New(None)).map(|(run, _)| *run).collect();
    assert_eq!(new.len(), 1, "{new:?}");
    let others = answers.iter().filter(|(_, answer)| *answer == Created::Existing(new[0])).count();
    assert_eq!(others, 99);
    assert_eq!(stores[0].list_runs(Default::default()).await.expect("a list").len(), 1);
}

/// Without a key nothing is repeated; only the same id is a conflict.
pub async fn without_a_key_every_creation_is_a_run(db: &dyn Database) {
    let store = db.open();
    for n in 1..=3 {
        assert_eq!(store.create_run(new_run(n, json!({}))).await.expect("new"), Created::New(None));
    }
    let again = store.create_run(new_run(2, json!({}))).await;
    assert!(matches!(again, Err(StoreError::Conflict { run_id: run }) if run == run_id(2)), "{again:?}");
    assert_eq!(store.list_runs(Default::default()).await.expect("a list").len(), 3);
}

/// Nobody can commit for a run that nobody owns, whatever fence is tried.
pub async fn a_run_without_owner_takes_no_commit(db: &dyn Database) {
    let store = db.open();
    let new = new_run(1, json!({}));
    store.create_run(new.clone()).await.expect("new");
    for fence in 0..3 {
        let lease = Lease { run_id: run_id(1), fence };
        let live = Live { lease, row: new.run.clone(), events: new.events.clone(), tasks: Vec::new() };
        let answer = store.commit(live.next(vec![(Some("write"), started())])).await;
        assert!(matches!(answer, Err(StoreError::Conflict { .. })), "{answer:?}");
        live.assert_kept(&store).await;
    }
}
