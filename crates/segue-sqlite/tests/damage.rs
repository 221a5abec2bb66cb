//! Files that cannot be used, or that were changed behind the store's back: reported, never served.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path, sync::Arc, time::Duration};

use rusqlite::Connection;
use segue_core::{
    event::{EventKind, Waiting},
    ids::TaskId,
    outcome::{TaskResult, Usage},
    payload::{INLINE_BYTES_MAX, Payload},
    ports::{Cached, Deployment, RunFilter, RunRow, RunStore, StoreError, TaskRow, WaitingTask, WorkflowVersion},
    status::Status,
    time::Timestamp,
};
use segue_sqlite::{SqliteOptions, SqliteStore};
use segue_testkit::conformance::{
    block_on,
    run_store::{Live, engine, new_run, run_id, workflow},
};
use serde_json::{Value, json};

const RUNS: u32 = 3;

fn broken(path: &Path) -> String {
    match SqliteStore::open(path, SqliteOptions::default()) {
        Err(StoreError::Broken(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn open(path: &Path) -> Arc<dyn RunStore> {
    Arc::new(SqliteStore::open(path, SqliteOptions::default()).unwrap())
}

fn success(output: Value) -> EventKind {
    EventKind::TaskSucceeded {
        output: Payload::new(output),
        usage: Usage::default(),
        warnings: Vec::new(),
        reused_from: None,
    }
}

const WAITING: [&str; 2] = ["ask", "ask_again"];

fn deployment(n: u64) -> Deployment {
    let (workflow_id, hash) = (workflow("flow").workflow_id, workflow("flow").hash);
    let deployed_at = Timestamp::from_micros(1_790_000_000_000_000).plus(Duration::from_secs(n));
    Deployment { workflow_id, hash, deployed_at, base_dir: Some(format!("/folder/{n}")) }
}

fn cached(n: u32) -> Cached {
    let output = Payload::new(json!("x".repeat(if n == 1 { INLINE_BYTES_MAX } else { 2_000 })));
    Cached { output, run_id: run_id(n), task_id: TaskId::new("t"), stored_at: Timestamp::from_micros(i64::from(n)) }
}

/// A database with some runs, closed.
fn filled(path: &Path) {
    block_on(async {
        let store = open(path);
        store.put_workflow(workflow("flow")).await.unwrap();
        let me = engine(&store, "a", Duration::from_secs(3_600)).await;
        for n in 1..=RUNS {
            store.deploy(deployment(u64::from(n))).await.unwrap();
            store.cache_put(&format!("key {n}"), cached(n), None).await.unwrap();
            let mut new = new_run(n, json!({"n": n}));
            new.run.labels.insert("team".to_owned(), format!("team {n}"));
            let mut live = Live::of(&store, new, &me).await;
            for name in WAITING {
                let event = EventKind::TaskWaiting(Waiting::Event { event: name.to_owned(), due: None });
                live.commit(&store, vec![(Some(name), event)]).await;
            }
            for step in 0..12 {
                let task = format!("task_{step}");
                live.commit(&store, vec![(Some(&task), EventKind::TaskStarted {})]).await;
                let large = "x".repeat(if step == 3 { INLINE_BYTES_MAX } else { 300 });
                live.commit(&store, vec![(Some(&task), success(json!({"n": n, "step": step, "text": large})))]).await;
            }
        }
    });
}

#[test]
fn what_is_no_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    fs::write(&path, "not a database at all, ".repeat(1_000)).unwrap();
    assert!(broken(&path).contains("is not a database"), "{}", broken(&path));
    assert!(broken(folder.path()).contains("--store"), "a folder");
}

#[test]
fn another_programs_database_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE runs (id); PRAGMA user_version = 1;").unwrap();
    let before = fs::read(&path).unwrap();
    assert!(broken(&path).contains("belongs to another program"));
    assert!(fs::read(&path).unwrap() == before, "it was changed");
}

#[test]
fn a_newer_schema_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("segue.db");
    filled(&path);
    Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    let why = broken(&path);
    assert!(why.contains("schema 99") && why.contains("newer Segue"), "{why}");
}

#[test]
fn an_empty_file_becomes_a_database() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("segue.db");
    fs::write(&path, "").unwrap();
    filled(&path);
}

/// Everything a reader can ask for; an error in the place of what is reported as damaged.
#[derive(Debug, PartialEq)]
struct Content {
    workflow: Option<WorkflowVersion>,
    list: Option<Vec<RunRow>>,
    running: Option<Vec<RunRow>>,
    waiting: Option<Vec<WaitingTask>>,
    deployments: Option<Vec<Deployment>>,
    cached: Vec<Option<Option<Cached>>>,
    runs: Vec<RunContent>,
}

#[derive(Debug, PartialEq)]
struct RunContent {
    row: Option<RunRow>,
    events: Option<Vec<segue_core::event::Event>>,
    tail: Option<Vec<segue_core::event::Event>>,
    tasks: Option<Vec<TaskRow>>,
    results: Vec<Option<TaskResult>>,
}

async fn content(store: &Arc<dyn RunStore>) -> Content {
    let mut runs = Vec::new();
    for n in 1..=RUNS {
        let run = run_id(n);
        let mut results = Vec::new();
        for step in 0..12 {
            results.push(store.get_task_result(run, &TaskId::new(format!("task_{step}"))).await.ok());
        }
        runs.push(RunContent {
            row: store.get_run(run).await.ok(),
            events: store.events(run, 0, 0).await.ok(),
            tail: store.events(run, 9, 5).await.ok(),
            tasks: store.list_tasks(run).await.ok(),
            results,
        });
    }
    let mut all_cached = Vec::new();
    for n in 1..=RUNS {
        all_cached.push(store.cache_get(&format!("key {n}"), Timestamp::from_micros(1)).await.ok());
    }
    let running = RunFilter { statuses: vec![Status::Running], ..Default::default() };
    Content {
        running: store.list_runs(running).await.ok(),
        waiting: store.list_waiting(None, 0).await.ok(),
        deployments: store.deployments(Some(&workflow("flow").workflow_id), 0).await.ok(),
        cached: all_cached,
        workflow: store.get_workflow(workflow("flow").hash).await.ok(),
        list: store.list_runs(Default::default()).await.ok(),
        runs,
    }
}

/// What is served is what was written: `None` (reported) may stand for anything.
fn assert_nothing_wrong(whole: &Content, damaged: &Content, where_: &str) -> bool {
    fn same<T: PartialEq + std::fmt::Debug>(whole: &Option<T>, damaged: &Option<T>, where_: &str) -> bool {
        assert!(damaged.is_none() || damaged == whole, "{where_}: served {damaged:?}, written {whole:?}");
        damaged.is_none()
    }
    let mut reported = same(&whole.workflow, &damaged.workflow, where_) | same(&whole.list, &damaged.list, where_);
    for (whole, damaged) in whole.cached.iter().zip(&damaged.cached) {
        // A damaged key is another key: the result is not found, and computed again.
        reported |= *damaged == Some(None) || same(whole, damaged, where_);
    }
    // What an index says is not there is not found; what it says is there is compared with the row.
    reported |= fewer(&whole.running, &damaged.running, where_)
        | fewer(&whole.waiting, &damaged.waiting, where_)
        | fewer(&whole.deployments, &damaged.deployments, where_);
    for (whole, damaged) in whole.runs.iter().zip(&damaged.runs) {
        reported |= same(&whole.row, &damaged.row, where_)
            | same(&whole.events, &damaged.events, where_)
            | same(&whole.tail, &damaged.tail, where_)
            | same(&whole.tasks, &damaged.tasks, where_);
        for (whole, damaged) in whole.results.iter().zip(&damaged.results) {
            reported |= same(whole, damaged, where_);
        }
    }
    reported
}

/// What is served was written, whether or not all of it is found.
fn fewer<T: PartialEq + std::fmt::Debug>(whole: &Option<Vec<T>>, damaged: &Option<Vec<T>>, where_: &str) -> bool {
    let (Some(whole), Some(damaged)) = (whole, damaged) else { return damaged.is_none() };
    let wrong = damaged.iter().find(|row| !whole.contains(row));
    assert!(wrong.is_none(), "{where_}: served {wrong:?}, which was not written");
    damaged.len() < whole.len()
}

/// One bit of the file is flipped, at many places: everything that is read is what was written, or an error.
#[test]
fn a_flipped_bit_is_never_served() {
    const FLIPS: usize = 300;
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("segue.db"), folder.path().join("copy.db"));
    filled(&path);
    // A plain file without a log and without free pages, so that most flips hit something.
    Connection::open(&path).unwrap().execute_batch("PRAGMA journal_mode = DELETE; VACUUM;").unwrap();
    let whole = block_on(async { content(&open_copy(&path, &copy).unwrap()).await });
    assert!(whole.runs.iter().all(|run| run.results.iter().all(Option::is_some)));
    let bytes = fs::read(&path).unwrap();
    let mut reported = 0;
    for flip in 0..FLIPS {
        // Spread over the file; another bit each time.
        let at = flip * bytes.len() / FLIPS + flip % 97;
        let bit = 1_u8 << (flip % 8);
        let mut damaged = bytes.clone();
        damaged[at] ^= bit;
        fs::write(&path, &damaged).unwrap();
        let where_ = format!("bit {bit} of byte {at}");
        match open_copy(&path, &copy) {
            Err(_) => reported += 1,
            Ok(store) => {
                let now = block_on(content(&store));
                reported += usize::from(assert_nothing_wrong(&whole, &now, &where_));
            }
        }
    }
    assert!(reported > FLIPS / 4, "only {reported} of {FLIPS} hit something");
}

fn open_copy(path: &Path, copy: &Path) -> Result<Arc<dyn RunStore>, StoreError> {
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{suffix}", copy.display()));
    }
    fs::copy(path, copy).unwrap();
    Ok(Arc::new(SqliteStore::open(copy, SqliteOptions::default())?))
}

/// Each kind of row, changed by somebody with an SQL shell: the answer names what is damaged.
#[test]
fn a_changed_row_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("segue.db"), folder.path().join("copy.db"));
    filled(&path);
    let run = run_id(1);
    let cases = [
        (
            "UPDATE events SET body = replace(body, 'task_5', 'task_6') WHERE body LIKE '%task_5%'",
            format!("log of run {run} at seq 15"),
        ),
        ("DELETE FROM events WHERE body LIKE '%\"seq\":15,%'", format!("log of run {run} at seq 15")),
        ("DELETE FROM events WHERE body LIKE '%\"seq\":28,%'", format!("log of run {run} at seq 28")),
        (
            "UPDATE events SET body = (SELECT body FROM events WHERE body LIKE '%\"seq\":16,%') WHERE body LIKE '%\"seq\":16,%'",
            format!("log of run {run} at seq 16"),
        ),
    ];
    for (change, named) in cases {
        drop(open_copy(&path, &copy));
        Connection::open(&copy).unwrap().execute_batch(change).unwrap();
        let store = open(&copy);
        let why = block_on(store.events(run, 0, 0)).map(|_| ());
        // The last case gives every run the body of the first one: run 1 itself stays whole.
        if change.contains("SELECT") {
            assert!(why.is_ok());
            let why = block_on(store.events(run_id(2), 0, 0)).unwrap_err().to_string();
            assert!(why.contains(&run_id(2).to_string()), "{why}");
            continue;
        }
        let why = why.unwrap_err();
        assert!(matches!(why, StoreError::Broken(_)) && why.to_string().contains(&named), "{change}: {why}");
    }
    // What stands beside a row and chooses it is compared with it.
    let columns = "UPDATE runs SET status = 'FAILED' WHERE run_no = 1; UPDATE labels SET value = 'other';
                   UPDATE tasks SET waiting_since = 5 WHERE run_no = 1;";
    drop(open_copy(&path, &copy));
    Connection::open(&copy).unwrap().execute_batch(columns).unwrap();
    block_on(async {
        let store = open(&copy);
        let failed = RunFilter { statuses: vec![Status::Failed], ..Default::default() };
        let other = RunFilter { label: Some(("team".to_owned(), "other".to_owned())), ..Default::default() };
        for filter in [failed, other] {
            let why = store.list_runs(filter).await.unwrap_err();
            assert!(matches!(why, StoreError::Broken(_)) && why.to_string().contains("row of run"), "{why}");
        }
        let why = store.list_waiting(Some(run), 0).await.unwrap_err();
        assert!(matches!(why, StoreError::Broken(_)) && why.to_string().contains("of run"), "{why}");
    });
    drop(open_copy(&path, &copy));
    let rows = "UPDATE runs SET row = replace(row, 'RUNNING', 'FAILED'); UPDATE blobs SET body = x'00';
                UPDATE tasks SET row = replace(row, '\"attempts\":1', '\"attempts\":2');
                UPDATE workflows SET spec_json = '{}'; UPDATE cache SET row = replace(row, 'xxx', 'yyy');
                UPDATE deployments SET row = replace(row, 'folder', 'dir');";
    Connection::open(&copy).unwrap().execute_batch(rows).unwrap();
    let store = open(&copy);
    block_on(async {
        let task = TaskId::new("task_1");
        let answers = [
            (store.get_run(run).await.map(|_| ()), "row of run"),
            (store.list_runs(Default::default()).await.map(|_| ()), "row of run"),
            (store.list_tasks(run).await.map(|_| ()), "task ask of run"),
            (store.get_task_result(run, &task).await.map(|_| ()), "task task_1 of run"),
            (store.get_workflow(workflow("flow").hash).await.map(|_| ()), "workflow version"),
            (store.list_waiting(Some(run), 0).await.map(|_| ()), "row of run"),
            (store.deployments(None, 0).await.map(|_| ()), "deployment of flow"),
            (store.cache_get("key 1", Timestamp::from_micros(1)).await.map(|_| ()), "value "),
            (store.cache_get("key 2", Timestamp::from_micros(1)).await.map(|_| ()), "cached result key 2"),
        ];
        for (answer, named) in answers {
            let why = answer.unwrap_err();
            assert!(matches!(why, StoreError::Broken(_)) && why.to_string().contains(named), "{named}: {why}");
        }
        let events = store.events(run, 0, 0).await.unwrap();
        let blob = events.iter().find_map(|event| event.kind.payload()?.blob()).unwrap();
        assert!(matches!(store.blob(blob).await, Err(StoreError::Broken(_))));
    });
}
