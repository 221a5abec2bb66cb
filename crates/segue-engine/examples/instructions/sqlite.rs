//! The commit path: one run, a commit of eight events and four rows again and again, on SQLite.

use std::time::Duration;

use anyhow::{Result, ensure};
use segue_core::{
    event::{Event, EventKind, RunCreated},
    ids::{ContentHash, EngineId, RunId, TaskId, WorkflowId},
    outcome::Usage,
    payload::Payload,
    ports::{Commit, Created, EngineRecord, NewRun, OwnerProof, RunRow, RunStore, TaskRow, WorkflowVersion},
    status::Status,
    time::Timestamp,
};
use segue_sqlite::{SqliteOptions, SqliteStore};
use serde_json::json;

/// Tasks whose start and success stand in one commit.
const TASKS: u64 = 4;

const SPEC: &str = r#"{"id":"work","nodes":[]}"#;
const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

/// `size` commits.
pub fn commits(size: usize, slower: bool) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        std::fs::create_dir_all("target")?;
        let folder = tempfile::tempdir_in("target")?;
        let store = SqliteStore::open(&folder.path().join("segue.db"), SqliteOptions::default())?;
        let (mut commit, engine) = first_commit(&store).await?;
        let ttl = Duration::from_secs(3_600);
        store.renew_engine(&engine, ttl).await?;
        for _ in 0..size {
            store.commit(commit.clone()).await?;
            if slower {
                ensure!(!store.events(commit.run.run_id, 0, 100).await?.is_empty());
            }
            commit = next(commit);
        }
        anyhow::Ok(())
    })
}

async fn first_commit(store: &SqliteStore) -> Result<(Commit, EngineRecord)> {
    let (run_id, workflow_hash) = (RunId::from_bytes([7; 16]), ContentHash::of(SPEC.as_bytes()));
    let workflow_id = WorkflowId::from("work");
    let proof = OwnerProof { boot_id: "here".to_owned(), pid: 1, started_ticks: 1 };
    let engine = EngineRecord { engine_id: EngineId::from("engine"), proof };
    store.renew_engine(&engine, Duration::from_secs(3_600)).await?;
    let version = WorkflowVersion { hash: workflow_hash, workflow_id: workflow_id.clone(), spec_json: SPEC.into() };
    store.put_workflow(version).await?;
    let created = RunCreated::new(workflow_hash, Payload::new(json!({})));
    let run = RunRow {
        run_id,
        workflow_id,
        workflow_hash,
        status: Status::Running,
        cancelling: false,
        version: 1,
        created_at: NOW,
        started_at: None,
        finished_at: None,
        error: None,
        usage: Usage::default(),
        tasks_total: 1,
        tasks_done: 0,
        labels: Default::default(),
        parent: None,
    };
    let new = NewRun {
        workflow_hash,
        idempotency_key: None,
        request_hash: workflow_hash,
        owner: Some(engine.engine_id.clone()),
        events: vec![Event { seq: 1, time: NOW, task_id: None, attempt: None, kind: EventKind::RunCreated(created) }],
        run: run.clone(),
        tasks: Vec::new(),
    };
    let Created::New(Some(lease)) = store.create_run(new).await? else { anyhow::bail!("the run is new and owned") };
    let empty = Commit { lease, expected_version: 1, events: Vec::new(), run, tasks: Vec::new(), answered: Vec::new() };
    Ok((next(empty), engine))
}

/// The commit after this one: the next four tasks, whole.
fn next(before: Commit) -> Commit {
    let version = before.run.version;
    let first = version / (2 * TASKS) * TASKS;
    let ids: Vec<TaskId> = (first..first + TASKS).map(|n| TaskId::from(format!("task{n:08}").as_str())).collect();
    let event = |at: usize, task: &TaskId, kind| Event {
        seq: version + 1 + at as u64,
        time: NOW,
        task_id: Some(task.clone()),
        attempt: Some(1),
        kind,
    };
    let succeeded = || EventKind::TaskSucceeded {
        output: Payload::new(json!({"text": "as long as a short answer of a task that did little", "n": 17})),
        usage: Usage::default(),
        warnings: Vec::new(),
        reused_from: None,
    };
    let starts = ids.iter().map(|task| (task, EventKind::TaskStarted {}));
    let ends = ids.iter().map(|task| (task, succeeded()));
    let events: Vec<Event> = starts.chain(ends).enumerate().map(|(at, (task, kind))| event(at, task, kind)).collect();
    let row = |(at, task): (usize, &TaskId)| TaskRow {
        task_id: task.clone(),
        status: Status::Succeeded,
        attempts: 1,
        started_at: Some(NOW),
        finished_at: Some(NOW),
        result_seq: Some(version + 1 + TASKS + at as u64),
        usage: Usage::default(),
    };
    Commit {
        expected_version: version,
        tasks: ids.iter().enumerate().map(row).collect(),
        run: RunRow { version: version + events.len() as u64, ..before.run },
        events,
        ..before
    }
}
