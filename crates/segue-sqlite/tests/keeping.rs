//! Files of the first schema, room that is used again, deletion in small steps, many tasks.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path, sync::Arc, time::Duration};

use rusqlite::Connection;
use segue_core::{
    event::{EventKind, Waiting},
    ids::EngineId,
    payload::Payload,
    ports::{RunFilter, RunStore, StoreError},
    status::Status,
    time::Timestamp,
};
use segue_sqlite::{SqliteOptions, SqliteStore, Synchronous};
use segue_testkit::conformance::{
    block_on, now,
    run_store::{Live, engine, run_id},
};
use serde_json::{Value, json};

const LONG: Duration = Duration::from_secs(3_600);

fn open(path: &Path) -> (Arc<SqliteStore>, Arc<dyn RunStore>) {
    let options = SqliteOptions { synchronous: Synchronous::Normal, ..Default::default() };
    let store = Arc::new(SqliteStore::open(path, options).unwrap());
    (store.clone(), store)
}

fn large(n: u32) -> Value {
    json!(format!("{n} {}", "x".repeat(100_000)))
}

fn success(output: Value) -> EventKind {
    EventKind::TaskSucceeded {
        output: Payload::new(output),
        usage: Default::default(),
        warnings: Vec::new(),
        reused_from: None,
    }
}

fn later() -> Timestamp {
    now().plus(LONG).plus(Duration::from_secs(1 << 30))
}

async fn with_values(store: &Arc<dyn RunStore>, n: u32, owner: &EngineId, values: &[u32]) -> Live {
    let mut live = Live::create(store, n, owner).await;
    for value in values {
        let task = format!("t{value}");
        live.commit(store, vec![(Some(&task), success(large(*value)))]).await;
    }
    live
}

fn count(path: &Path, table: &str) -> i64 {
    let db = Connection::open(path).unwrap();
    db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

/// What the first schema kept of this file, in a file as that schema made it.
fn as_schema_1(path: &Path, old: &Path) {
    let db = Connection::open(old).unwrap();
    db.execute_batch(include_str!("../migrations/0001_runs.sql")).unwrap();
    db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA user_version = 1;").unwrap();
    db.execute("ATTACH ?1 AS new", [path.to_str().unwrap()]).unwrap();
    let tables = "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
    let names = |sql: &str| -> Vec<String> {
        db.prepare(sql).unwrap().query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    for table in names(tables) {
        let columns = names(&format!("SELECT name FROM pragma_table_info('{table}', 'main')")).join(", ");
        db.execute_batch(&format!("INSERT INTO main.{table} ({columns}) SELECT {columns} FROM new.{table}")).unwrap();
    }
}

/// A file of the first schema is brought to this one: all that was in it is there, found by the new lists, and deleted with
/// the values that only it used.
#[test]
fn a_file_of_the_first_schema_is_brought_to_this_one() {
    let folder = tempfile::tempdir().unwrap();
    let (path, old) = (folder.path().join("segue.db"), folder.path().join("old.db"));
    let (mut ended, live) = block_on(async {
        let (_, store) = open(&path);
        let owner = engine(&store, "a", LONG).await;
        let mut ended = with_values(&store, 1, &owner, &[1, 2]).await;
        ended.end(&store).await;
        let live = with_values(&store, 2, &owner, &[2, 3]).await;
        (ended, live)
    });
    as_schema_1(&path, &old);
    let (_, store) = open(&old);
    block_on(async {
        ended.assert_kept(&store).await;
        live.assert_kept(&store).await;
        let of = |status| RunFilter { statuses: vec![status], ..Default::default() };
        assert_eq!(store.list_runs(of(Status::Succeeded)).await.unwrap(), [ended.row.clone()]);
        assert_eq!(store.list_runs(of(Status::Running)).await.unwrap(), std::slice::from_ref(&live.row));
        let finished = ended.row.finished_at.take().unwrap();
        let before = store.collect_garbage(Timestamp::from_micros(finished.as_micros() - 2_000)).await.unwrap();
        assert_eq!(before.runs, 0, "it ended later");
        let collected = store.collect_garbage(finished.plus(Duration::from_millis(2))).await.unwrap();
        assert_eq!((collected.runs, collected.blobs), (1, 1));
        live.assert_kept(&store).await;
        for (event, task) in [(&live.events[2], 2), (&live.events[3], 3)] {
            let text = store.blob(event.kind.payload().unwrap().blob().unwrap()).await.unwrap();
            assert_eq!(text, large(task).to_string().into_bytes());
        }
    });
    let version: i64 = Connection::open(&old).unwrap().query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, 5);
}

/// A damaged log does not keep a file from being brought to this schema.
#[test]
fn damage_does_not_stop_a_migration() {
    let folder = tempfile::tempdir().unwrap();
    let (path, old) = (folder.path().join("segue.db"), folder.path().join("old.db"));
    let whole = block_on(async {
        let (_, store) = open(&path);
        let owner = engine(&store, "a", LONG).await;
        with_values(&store, 1, &owner, &[1]).await.end(&store).await;
        with_values(&store, 2, &owner, &[2]).await
    });
    as_schema_1(&path, &old);
    let damage =
        "UPDATE events SET body = substr(body, 2) WHERE place >> 32 = 1; UPDATE runs SET row = '{' WHERE run_no = 1";
    Connection::open(&old).unwrap().execute_batch(damage).unwrap();
    let (_, store) = open(&old);
    block_on(async {
        whole.assert_kept(&store).await;
        assert!(matches!(store.get_run(run_id(1)).await, Err(StoreError::Broken(_))));
        // It can be deleted all the same.
        store.delete_run(run_id(1)).await.unwrap();
        assert!(matches!(store.get_run(run_id(1)).await, Err(StoreError::NotFound(_))));
        whole.assert_kept(&store).await;
    });
}

/// A long run is removed in many small transactions, and leaves nothing.
#[test]
fn a_long_run_is_deleted_in_small_steps() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("segue.db");
    let (sqlite, store) = open(&path);
    let kept = block_on(async {
        let owner = engine(&store, "a", LONG).await;
        let kept = with_values(&store, 1, &owner, &[1, 2]).await;
        let mut long = with_values(&store, 2, &owner, &(2..30).collect::<Vec<_>>()).await;
        let names: Vec<String> = (0..3_000).map(|n| format!("m[{n}]")).collect();
        for names in names.chunks(2) {
            let kinds = names.iter().map(|name| (Some(name.as_str()), EventKind::TaskStarted {})).collect();
            let commit = long.next(kinds);
            store.commit(commit.clone()).await.unwrap();
            (long.row, long.tasks) = (commit.run, Vec::new());
        }
        long.end(&store).await;
        let before = sqlite.stats();
        store.delete_run(run_id(2)).await.unwrap();
        let steps = sqlite.stats().transactions - before.transactions;
        // 1,529 rows of the log, 3,028 tasks, 27 values of 100 KB, at most 500 rows or about half a megabyte each.
        assert!((10..60).contains(&steps), "{steps}");
        kept.assert_kept(&store).await;
        kept
    });
    for (table, left) in
        [("runs", 1), ("events", 3), ("tasks", 2), ("blobs", 2), ("blob_uses", 2), ("buried", 0), ("requests", 0)]
    {
        assert_eq!(count(&path, table), left, "{table}");
    }
    assert_eq!(kept.events.len(), 4);
}

/// A process died while it deleted: what is left of the run is not seen, also not as part of the next run, and the next
/// deletion removes it.
#[test]
fn an_interrupted_deletion_is_finished_by_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("segue.db");
    block_on(async {
        let (_, store) = open(&path);
        let owner = engine(&store, "a", LONG).await;
        with_values(&store, 1, &owner, &[1]).await.end(&store).await;
        with_values(&store, 2, &owner, &[2]).await.end(&store).await;
    });
    let first_step = "INSERT INTO buried (run_no, run_id) SELECT run_no, run_id FROM runs ORDER BY run_no DESC LIMIT 1; DELETE FROM runs WHERE run_no IN (SELECT run_no FROM buried)";
    Connection::open(&path).unwrap().execute_batch(first_step).unwrap();
    block_on(async {
        let (_, store) = open(&path);
        let owner = engine(&store, "b", LONG).await;
        assert!(matches!(store.list_tasks(run_id(2)).await, Err(StoreError::NotFound(_))));
        let mut new = Live::create(&store, 3, &owner).await;
        new.commit(&store, vec![(Some("t"), EventKind::TaskStarted {})]).await;
        new.assert_kept(&store).await;
        store.delete_run(run_id(1)).await.unwrap();
        new.assert_kept(&store).await;
    });
    let left = ["runs", "events", "tasks", "blobs", "blob_uses", "buried"].map(|table| count(&path, table));
    assert_eq!(left, [1, 2, 1, 0, 0, 0]);
}

/// The file does not grow when as much is written as was deleted before.
#[test]
fn the_room_of_what_was_deleted_is_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("segue.db");
    let mut sizes = Vec::new();
    for round in 0..5 {
        let (_, store) = open(&path);
        block_on(async {
            let owner = engine(&store, "a", LONG).await;
            for n in 1..=4 {
                let values: Vec<u32> = (0..20).map(|value| 1_000 * round + 100 * n + value).collect();
                with_values(&store, 10 * round + n, &owner, &values).await.end(&store).await;
            }
            let collected = store.collect_garbage(later()).await.unwrap();
            assert_eq!((collected.runs, collected.blobs), (4, 80));
        });
        drop(store);
        sizes.push(fs::metadata(&path).unwrap().len());
    }
    assert!(sizes[0] > 8_000_000, "{sizes:?}");
    assert!(sizes[4] < sizes[0] + sizes[0] / 20, "{sizes:?}");
}

/// The instances of a large `foreach` are one transaction, and are read back in order; questions that begin together are
/// found together.
#[test]
fn ten_thousand_tasks_are_one_commit() {
    const TASKS: usize = 10_000;
    let folder = tempfile::tempdir().unwrap();
    let (sqlite, store) = open(&folder.path().join("segue.db"));
    block_on(async {
        let owner = engine(&store, "a", LONG).await;
        let mut live = Live::create(&store, 1, &owner).await;
        let names: Vec<String> = (0..TASKS).map(|n| format!("m[{n}]")).collect();
        let ask = || EventKind::TaskWaiting(Waiting::Event { event: "go".to_owned(), due: None });
        let mut commit = live.next(names.iter().map(|name| (Some(name.as_str()), ask())).collect());
        let since = commit.events[0].time;
        commit.events.iter_mut().for_each(|event| event.time = since);
        let before = sqlite.stats().transactions;
        store.commit(commit.clone()).await.unwrap();
        assert_eq!(sqlite.stats().transactions - before, 1);
        live.accepted(commit);
        live.assert_kept(&store).await;
        let waiting = store.list_waiting(None, 0).await.unwrap();
        let found: Vec<&str> = waiting.iter().map(|task| task.task_id.as_str()).collect();
        assert_eq!(found, names);
    });
}
