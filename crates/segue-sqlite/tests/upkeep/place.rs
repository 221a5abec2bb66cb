//! A file with simulated runs in it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rusqlite::Connection;
use segue_core::{
    event::EventKind,
    ids::{ContentHash, RunId, TaskId},
    outcome::Usage,
    payload::{INLINE_BYTES_MAX, Payload},
    ports::{
        Cached, CallKey, Checkpoint, CheckpointStore, Commit, Deployment, FindingKind, ModelJournal, RecordedCall,
        RequestKind, RunStore, Typed,
    },
    run::Run,
    status::Status,
    time::Timestamp,
    verify::{Report, Verifier},
};
use segue_sqlite::{SqliteOptions, SqliteStore, SqliteUpkeep};
use segue_testkit::{
    conformance::{
        block_on,
        run_store::{Live, engine, new_run},
    },
    sim,
};
use serde_json::json;
use tempfile::TempDir;

pub(crate) const SEEDS: u64 = 12;
const HOUR: Duration = Duration::from_secs(3_600);

/// A folder with a whole file, and room for copies that are damaged.
pub(crate) struct Place {
    folder: TempDir,
    /// The run of the plain log: its first commits hold `seq` 1 to 2, then one event each.
    pub(crate) plain: RunId,
}

impl Place {
    /// Fills a file: simulated runs, some of them live, and one of everything else that a store keeps.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("segue.db");
        let plain = block_on(fill(&path));
        // One plain file, so that it can be copied and its bytes be found.
        Connection::open(&path).unwrap().execute_batch("PRAGMA journal_mode = DELETE; VACUUM;").unwrap();
        Self { folder, plain }
    }

    pub(crate) fn whole(&self) -> PathBuf {
        self.folder.path().join("segue.db")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A copy to damage.
    pub(crate) fn copy(&self) -> PathBuf {
        let copy = self.file("copy.db");
        for suffix in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(format!("{}{suffix}", copy.display()));
        }
        fs::copy(self.whole(), &copy).unwrap();
        copy
    }

    /// A copy after this SQL.
    pub(crate) fn changed(&self, sql: &str) -> PathBuf {
        let copy = self.copy();
        Connection::open(&copy).unwrap().execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        copy
    }
}

pub(crate) fn upkeep(path: &Path) -> SqliteUpkeep {
    SqliteUpkeep::at(path, SqliteOptions::default()).unwrap()
}

/// The check of a file; what cannot even be opened is `Err`.
pub(crate) fn verify(path: &Path) -> Result<Report, String> {
    let store = SqliteStore::open(path, SqliteOptions::default()).map_err(|error| error.to_string())?;
    let upkeep = upkeep(path);
    let mut verifier = Verifier::new(&store, &upkeep);
    block_on(verifier.verify_all()).map_err(|error| error.to_string())?;
    Ok(verifier.report)
}

/// What was found: kind, and all the rest as one text.
pub(crate) fn found(report: &Report) -> Vec<(FindingKind, String)> {
    let findings = report.findings.items.iter();
    findings.map(|finding| (finding.kind, serde_json::to_string(finding).unwrap())).collect()
}

async fn fill(path: &Path) -> RunId {
    let sqlite = Arc::new(SqliteStore::open(path, SqliteOptions::default()).unwrap());
    let store: Arc<dyn RunStore> = sqlite.clone();
    let me = engine(&store, "engine", HOUR).await;
    for seed in 1..=SEEDS {
        // Every third one is still under way.
        let commits = if seed % 3 == 0 { 6 } else { usize::MAX };
        sim::keep(&*store, seed, &me, commits).await;
    }
    let plain = plain(&store).await;
    let version = store.get_run(plain).await.unwrap();
    let (workflow_id, hash) = (version.workflow_id, version.workflow_hash);
    let deployed_at = Timestamp::from_micros(1_790_000_000_000_000);
    store.deploy(Deployment { workflow_id, hash, deployed_at, base_dir: None }).await.unwrap();
    let output = Payload::new(json!("y".repeat(INLINE_BYTES_MAX)));
    let cached = Cached { output, run_id: plain, task_id: TaskId::new("a"), stored_at: deployed_at };
    store.cache_put("key", cached, None).await.unwrap();
    store.post_request(plain, RequestKind::Cancel { reason: "enough".to_owned() }).await.unwrap();
    let key = CallKey {
        run_id: plain,
        effect_key: format!("{plain}/a"),
        since: 1,
        hash: ContentHash::of(b"request"),
        nth: 0,
    };
    let call = RecordedCall {
        key,
        attempt: 1,
        model: "model".to_owned(),
        content_type: "application/json".to_owned(),
        body: b"{\"answer\":42}".to_vec(),
        usage: Usage::default(),
    };
    sqlite.record(call).await.unwrap();
    let state = Checkpoint {
        thread: format!("{plain}/a"),
        namespace: String::new(),
        id: "1".to_owned(),
        parent: None,
        state: Typed { kind: "json".to_owned(), bytes: b"{\"at\":7}".to_vec() },
        metadata: serde_json::Map::new(),
        writes: Vec::new(),
    };
    sqlite.put_checkpoint(state).await.unwrap();
    plain
}

/// A run of two tasks that has ended one of them with a large value, and whose log is known event by event.
async fn plain(store: &Arc<dyn RunStore>) -> RunId {
    let spec = json!({"id": "plain", "metadata": {"labels": {"team": "blue"}},
        "nodes": [{"id": "a"}, {"id": "b", "depends_on": ["a"]}, {"id": "c", "wait": {"event": "go"}}]});
    plain_of(store, &spec, true).await
}

/// Keeps it. `truly`: every row is what the log says; else the last commit says that the run has succeeded.
pub(crate) async fn plain_of(store: &Arc<dyn RunStore>, spec: &serde_json::Value, truly: bool) -> RunId {
    use segue_core::{
        event::RunCreated,
        ids::HandlerId,
        outcome::TaskOutcome,
        plan::{Plan, version_json},
        ports::WorkflowVersion,
        run::Input,
    };
    let spec: segue_core::spec::WorkflowSpec = serde_json::from_value(spec.clone()).unwrap();
    let plan = Arc::new(Plan::compile(&spec, &HandlerId::from("pass")).unwrap());
    let (hash, spec_json) = version_json(&spec);
    let workflow_id = spec.id.clone();
    store.put_workflow(WorkflowVersion { hash, workflow_id: workflow_id.clone(), spec_json }).await.unwrap();
    let me = engine(store, "engine", HOUR).await;
    let mut new = new_run(900 + u32::from(truly), json!({}));
    let id = new.run.run_id;
    let now = |n: u64| Timestamp::from_micros(1_790_000_000_000_000).plus(Duration::from_secs(n));
    let (mut run, events) = Run::create(plan, id, RunCreated::new(hash, Payload::new(json!({}))), now(0));
    (new.run, new.tasks, new.workflow_hash) = (run.run_row(), run.task_rows(&events), hash);
    new.events = events;
    let live = Live::of(store, new, &me).await;
    let success = TaskOutcome::Succeeded {
        output: Payload::new(json!("x".repeat(INLINE_BYTES_MAX))),
        usage: Usage::default(),
        warnings: Vec::new(),
    };
    let inputs = [
        Input::TaskAccepted { task: TaskId::new("a") },
        Input::TaskEnded { task: TaskId::new("a"), attempt: 1, outcome: success, jitter: 0.0 },
        Input::TaskAccepted { task: TaskId::new("b") },
    ];
    for (n, input) in (1..).zip(inputs) {
        let expected_version = run.version();
        let events = run.handle(input, now(n)).unwrap();
        let mut row = run.run_row();
        if !truly && n == 3 {
            (row.status, row.finished_at) = (Status::Succeeded, Some(now(n)));
        }
        let tasks = run.task_rows(&events);
        let commit = Commit { lease: live.lease, expected_version, events, run: row, tasks, answered: Vec::new() };
        store.commit(commit).await.unwrap();
    }
    id
}

/// The `seq` of the event of this kind about this task.
pub(crate) fn seq_of(path: &Path, run: RunId, name: &str, task: &str) -> u64 {
    let store = SqliteStore::open(path, SqliteOptions::default()).unwrap();
    let events = block_on(store.events(run, 0, 0)).unwrap();
    let is_it = |kind: &EventKind| kind.name() == name;
    let found = events.iter().find(|event| is_it(&event.kind) && event.task_id == Some(task.into()));
    found.unwrap_or_else(|| panic!("{name} {task}: {events:#?}")).seq
}
