//! What does not match its hash is reported, and never served.
#![allow(clippy::unwrap_used)]

mod support;

use std::{pin::Pin, sync::Arc, time::Duration};

use segue_core::{
    event::{EventKind, Waiting},
    ids::{ContentHash, TaskId},
    outcome::Usage,
    payload::{INLINE_BYTES_MAX, Payload},
    ports::{
        Cached, CallKey, Checkpoint, CheckpointFilter, CheckpointStore, Deployment, ModelJournal, RecordedCall,
        RequestKind, RunFilter, RunStore, StoreError, Typed,
    },
    time::Timestamp,
};
use segue_postgres::PostgresStore;
use segue_testkit::conformance::{
    block_on,
    run_store::{Live, engine, run_id, workflow},
};
use serde_json::{Map, json};
use support::{fresh, open};

type Reading = Pin<Box<dyn Future<Output = Result<(), StoreError>>>>;
type Read = fn(Arc<PostgresStore>) -> Reading;

fn call() -> CallKey {
    CallKey { run_id: run_id(1), effect_key: "t".to_owned(), since: 1, hash: ContentHash::of(b"asked"), nth: 0 }
}

/// Each kind of thing that is kept, with what is done to it, and who must see it.
fn damages() -> Vec<(&'static str, &'static str, Read)> {
    vec![
        ("a row", "UPDATE runs SET summary = replace(summary, '\"RUNNING\"', '\"FAILED\"')", |store| {
            Box::pin(async move { store.get_run(run_id(1)).await.map(drop) })
        }),
        ("a row in a list", "UPDATE runs SET sum = sum + 1", |store| {
            Box::pin(async move { store.list_runs(RunFilter::default()).await.map(drop) })
        }),
        ("a column beside a row", "UPDATE runs SET status = 'SUCCEEDED'", |store| {
            let statuses = vec![segue_core::status::Status::Succeeded];
            Box::pin(async move { store.list_runs(RunFilter { statuses, ..RunFilter::default() }).await.map(drop) })
        }),
        ("an event", "UPDATE events SET body = replace(body, 'small', 'smalL')", |store| {
            Box::pin(async move { store.events(run_id(1), 0, 0).await.map(drop) })
        }),
        ("a commit that is gone from the middle", "DELETE FROM events WHERE seq = 3", |store| {
            Box::pin(async move { store.events(run_id(1), 0, 0).await.map(drop) })
        }),
        (
            "a commit that is gone from the end",
            "DELETE FROM events WHERE seq = (SELECT max(seq) FROM events)",
            |store| Box::pin(async move { store.events(run_id(1), 0, 0).await.map(drop) }),
        ),
        ("a log that is gone", "DELETE FROM events", |store| {
            Box::pin(async move { store.events(run_id(1), 1, 1).await.map(drop) })
        }),
        ("an end of the chain", "UPDATE runs SET chain = 'x'::bytea", |store| {
            Box::pin(async move { store.events(run_id(1), 0, 0).await.map(drop) })
        }),
        ("a task", "UPDATE tasks SET summary = replace(summary, '\"attempts\":1', '\"attempts\":2')", |store| {
            Box::pin(async move { store.list_tasks(run_id(1)).await.map(drop) })
        }),
        ("what a task waits for", "UPDATE tasks SET waiting_since = waiting_since + 1", |store| {
            Box::pin(async move { store.list_waiting(None, 0).await.map(drop) })
        }),
        ("a value", "UPDATE blobs SET body = set_byte(body, 100, 0)", |store| {
            Box::pin(async move { store.get_task_result(run_id(1), &TaskId::new("large")).await.map(drop) })
        }),
        ("a value that is gone", "DELETE FROM blob_uses; UPDATE cache SET blob = NULL; DELETE FROM blobs", |store| {
            Box::pin(async move { store.get_task_result(run_id(1), &TaskId::new("large")).await.map(drop) })
        }),
        ("a cached result", "UPDATE cache SET summary = replace(summary, 'small', 'smalL')", |store| {
            Box::pin(async move { store.cache_get("key", Timestamp::from_micros(1)).await.map(drop) })
        }),
        ("a workflow", "UPDATE workflows SET spec_json = spec_json || ' '", |store| {
            Box::pin(async move { store.get_workflow(workflow("flow").hash).await.map(drop) })
        }),
        ("a deployment", "UPDATE deployments SET summary = replace(summary, 'flow', 'flaw')", |store| {
            Box::pin(async move { store.deployments(None, 0).await.map(drop) })
        }),
        ("a request", "UPDATE requests SET kind = '{'", |store| {
            Box::pin(async move { store.pending_requests(run_id(1)).await.map(drop) })
        }),
        ("a model's answer", "UPDATE model_calls SET body = body || 'x'::bytea", |store| {
            Box::pin(async move { store.recorded(&call()).await.map(drop) })
        }),
        ("a graph's state", "UPDATE checkpoints SET state = state || 'x'::bytea", |store| {
            Box::pin(async move { store.list_checkpoints(&CheckpointFilter::default()).await.map(drop) })
        }),
    ]
}

async fn fill(store: &Arc<PostgresStore>) {
    let runs: Arc<dyn RunStore> = store.clone();
    runs.put_workflow(workflow("flow")).await.unwrap();
    let deployed_at = Timestamp::from_micros(1);
    let workflow_id = workflow("flow").workflow_id;
    runs.deploy(Deployment { workflow_id, hash: workflow("flow").hash, deployed_at, base_dir: None }).await.unwrap();
    let owner = engine(&runs, "a", Duration::from_secs(3_600)).await;
    let mut live = Live::create(&runs, 1, &owner).await;
    let success = |output| EventKind::TaskSucceeded {
        output: Payload::new(output),
        usage: Usage::default(),
        warnings: Vec::new(),
        reused_from: None,
    };
    live.commit(&runs, vec![(Some("small"), success(json!("small")))]).await;
    live.commit(&runs, vec![(Some("large"), success(json!("x".repeat(2 * INLINE_BYTES_MAX))))]).await;
    let waiting = EventKind::TaskWaiting(Waiting::Event { event: "go".to_owned(), due: None });
    live.commit(&runs, vec![(Some("waits"), waiting)]).await;
    let cached = Cached {
        output: Payload::new(json!("small")),
        run_id: run_id(1),
        task_id: TaskId::new("small"),
        stored_at: deployed_at,
    };
    runs.cache_put("key", cached, None).await.unwrap();
    runs.post_request(run_id(1), RequestKind::Cancel { reason: "enough".to_owned() }).await.unwrap();
    let answer = RecordedCall {
        key: call(),
        attempt: 1,
        model: "m".to_owned(),
        content_type: "application/json".to_owned(),
        body: b"{}".to_vec(),
        usage: Usage::default(),
    };
    store.record(answer).await.unwrap();
    let state = Checkpoint {
        thread: format!("{}/t", run_id(1)),
        namespace: String::new(),
        id: "1".to_owned(),
        parent: None,
        state: Typed { kind: "json".to_owned(), bytes: b"{}".to_vec() },
        metadata: Map::new(),
        writes: Vec::new(),
    };
    store.put_checkpoint(state).await.unwrap();
}

#[test]
fn damage_is_reported_and_never_served() {
    let database = fresh();
    block_on(async {
        let store = open(&database.0.url()).await;
        fill(&store).await;
        let admin = database.0.client().await;
        admin.batch_execute("SET search_path TO segue; CREATE SCHEMA whole").await.unwrap();
        for (what, sql, read) in damages() {
            read(store.clone()).await.unwrap_or_else(|error| panic!("{what} is whole: {error}"));
            // A copy of the table, so that it can be made whole again.
            let tables: Vec<&str> = [
                "runs",
                "events",
                "tasks",
                "blob_uses",
                "blobs",
                "cache",
                "workflows",
                "deployments",
                "requests",
                "model_calls",
                "checkpoints",
            ]
            .into_iter()
            .filter(|table| sql.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|word| word == *table))
            .collect();
            for table in &tables {
                admin.batch_execute(&format!("CREATE TABLE whole.{table} AS TABLE {table}")).await.unwrap();
            }
            let begin = "SET session_replication_role = replica";
            admin.batch_execute(&format!("{begin}; {sql}")).await.unwrap();
            let seen = read(store.clone()).await;
            assert!(matches!(&seen, Err(StoreError::Broken(text)) if text.contains("corruption")), "{what}: {seen:?}");
            for table in &tables {
                let back = format!(
                    "DELETE FROM {table}; INSERT INTO {table} OVERRIDING SYSTEM VALUE TABLE whole.{table}; DROP TABLE whole.{table}"
                );
                admin.batch_execute(&back).await.unwrap();
            }
            admin.batch_execute("SET session_replication_role = DEFAULT").await.unwrap();
            read(store.clone()).await.unwrap_or_else(|error| panic!("{what} is whole again: {error}"));
        }
    });
}
