//! A store with runs in it whose rows are what their logs say, for the tests of its upkeep.

use std::{sync::Arc, time::Duration};

use segue_core::{
    event::RunCreated,
    ids::{ContentHash, HandlerId, RunId, TaskId},
    outcome::{TaskOutcome, Usage},
    payload::{INLINE_BYTES_MAX, Payload},
    plan::{Plan, version_json},
    ports::{
        Cached, CallKey, Checkpoint, CheckpointStore, Commit, Deployment, ModelJournal, RecordedCall, RequestKind,
        RunStore, Typed, WorkflowVersion,
    },
    run::{Input, Run},
    spec::WorkflowSpec,
    status::Status,
    time::Timestamp,
};
use serde_json::{Value, json};

use super::run_store::{Live, engine, new_run};
use crate::sim;

const HOUR: Duration = Duration::from_secs(3_600);

/// Fills a store: `seeds` simulated runs, every third of them live, and one of everything else that a store keeps. Gives the
/// plain run: its tasks are `a`, which has succeeded with a large value, `b`, which runs, and `c`, which waits.
///
/// # Panics
/// If the store refuses something.
pub async fn fill<S: RunStore + ModelJournal + CheckpointStore + 'static>(store: &Arc<S>, seeds: u64) -> RunId {
    let runs: Arc<dyn RunStore> = store.clone();
    let me = engine(&runs, "engine", HOUR).await;
    for seed in 1..=seeds {
        let commits = if seed % 3 == 0 { 6 } else { usize::MAX };
        sim::keep(&*runs, seed, &me, commits).await;
    }
    let spec = json!({"id": "plain", "metadata": {"labels": {"team": "blue"}},
        "nodes": [{"id": "a"}, {"id": "b", "depends_on": ["a"]}, {"id": "c", "wait": {"event": "go"}}]});
    let plain = keep_run(&runs, &spec, true).await;
    let row = runs.get_run(plain).await.expect("the run is there");
    let (workflow_id, hash) = (row.workflow_id, row.workflow_hash);
    let deployed_at = Timestamp::from_micros(1_790_000_000_000_000);
    runs.deploy(Deployment { workflow_id, hash, deployed_at, base_dir: None }).await.expect("a version");
    let output = Payload::new(json!("y".repeat(INLINE_BYTES_MAX)));
    let cached = Cached { output, run_id: plain, task_id: TaskId::new("a"), stored_at: deployed_at };
    runs.cache_put("key", cached, None).await.expect("a result");
    runs.post_request(plain, RequestKind::Cancel { reason: "enough".to_owned() }).await.expect("a request");
    let effect_key = format!("{plain}/a");
    let call = RecordedCall {
        key: CallKey { run_id: plain, effect_key: effect_key.clone(), since: 1, hash: ContentHash::of(b"ask"), nth: 0 },
        attempt: 1,
        model: "model".to_owned(),
        content_type: "application/json".to_owned(),
        body: b"{\"answer\":42}".to_vec(),
        usage: Usage::default(),
    };
    store.record(call).await.expect("a call");
    let state = Checkpoint {
        thread: effect_key,
        namespace: String::new(),
        id: "1".to_owned(),
        parent: None,
        state: Typed { kind: "json".to_owned(), bytes: b"{\"at\":7}".to_vec() },
        metadata: serde_json::Map::new(),
        writes: Vec::new(),
    };
    store.put_checkpoint(state).await.expect("a state");
    plain
}

/// Keeps a run of a workflow in which `a` comes before `b`, until `b` runs. Not `truly`: the row of its last commit says that
/// it has succeeded.
///
/// # Panics
/// If the store refuses something.
pub async fn keep_run(store: &Arc<dyn RunStore>, spec: &Value, truly: bool) -> RunId {
    let spec: WorkflowSpec = serde_json::from_value(spec.clone()).expect("a workflow");
    let plan = Arc::new(Plan::compile(&spec, &HandlerId::from("pass")).expect("a good workflow"));
    let ((hash, spec_json), workflow_id) = (version_json(&spec), spec.id.clone());
    store.put_workflow(WorkflowVersion { hash, workflow_id, spec_json }).await.expect("a version");
    let me = engine(store, "engine", HOUR).await;
    let mut new = new_run(900 + u32::from(truly), json!({}));
    let id = new.run.run_id;
    let now = |n: u64| Timestamp::from_micros(1_790_000_000_000_000).plus(Duration::from_secs(n));
    let (mut run, events) = Run::create(plan, id, RunCreated::new(hash, Payload::new(json!({}))), now(0));
    (new.run, new.tasks, new.workflow_hash) = (run.run_row(), run.task_rows(&events), hash);
    new.events = events;
    let live = Live::of(store, new, &me).await;
    let output = Payload::new(json!("x".repeat(INLINE_BYTES_MAX)));
    let success = TaskOutcome::Succeeded { output, usage: Usage::default(), warnings: Vec::new() };
    let inputs = [
        Input::TaskAccepted { task: TaskId::new("a") },
        Input::TaskEnded { task: TaskId::new("a"), attempt: 1, outcome: success, jitter: 0.0 },
        Input::TaskAccepted { task: TaskId::new("b") },
    ];
    for (n, input) in (1..).zip(inputs) {
        let expected_version = run.version();
        let events = run.handle(input, now(n)).expect("it is due");
        let mut row = run.run_row();
        if !truly && n == 3 {
            (row.status, row.finished_at) = (Status::Succeeded, Some(now(n)));
        }
        let tasks = run.task_rows(&events);
        let commit = Commit { lease: live.lease, expected_version, events, run: row, tasks, answered: Vec::new() };
        store.commit(commit).await.expect("the owner commits");
    }
    id
}
