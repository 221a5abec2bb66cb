//! Group commit, a full disk, a log that does not grow without bound.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path, sync::Arc, time::Duration};

use futures_util::future::join_all;
use rusqlite::Connection;
use segue_core::{
    event::EventKind,
    ids::EngineId,
    outcome::Usage,
    payload::Payload,
    ports::{RunStore, StoreError},
};
use segue_sqlite::{SqliteOptions, SqliteStore, Synchronous};
use segue_testkit::conformance::{
    block_on,
    run_store::{Live, engine},
};
use serde_json::{Value, json};

const LONG: Duration = Duration::from_secs(3_600);

fn open(path: &Path, options: SqliteOptions) -> (Arc<SqliteStore>, Arc<dyn RunStore>) {
    let store = Arc::new(SqliteStore::open(path, options).unwrap());
    (store.clone(), store)
}

fn success(output: Value) -> EventKind {
    EventKind::TaskSucceeded {
        output: Payload::new(output),
        usage: Usage::default(),
        warnings: Vec::new(),
        reused_from: None,
    }
}

async fn create(store: &Arc<dyn RunStore>, owner: &EngineId, runs: u32) -> Vec<Live> {
    let mut all = Vec::new();
    for n in 1..=runs {
        all.push(Live::create(store, n, owner).await);
    }
    all
}

/// Commits that are queued together share transactions, each with its own answer; a chain costs one each.
#[test]
fn queued_commits_share_a_transaction() {
    let folder = tempfile::tempdir().unwrap();
    let (sqlite, store) = open(&folder.path().join("segue.db"), SqliteOptions::default());
    block_on(async {
        let owner = engine(&store, "a", LONG).await;
        let mut runs = create(&store, &owner, 200).await;
        let before = sqlite.stats();
        assert_eq!((before.commits, before.jobs, before.transactions), (200, 201, 201), "one after the other");
        let lock = Connection::open(folder.path().join("segue.db")).unwrap();
        lock.execute_batch("BEGIN IMMEDIATE").unwrap();
        // While the lock is held, everything queues up behind the first.
        let commits: Vec<_> = runs.iter().map(|live| live.next(vec![(Some("t"), EventKind::TaskStarted {})])).collect();
        let waiting = join_all(commits.iter().map(|commit| store.commit(commit.clone())));
        let unlock = async { lock.execute_batch("ROLLBACK").unwrap() };
        let (answers, ()) = tokio::join!(waiting, unlock);
        assert!(answers.iter().all(Result::is_ok));
        let after = sqlite.stats();
        assert_eq!(after.commits - before.commits, 200);
        let transactions = after.transactions - before.transactions;
        assert!(transactions <= 2, "200 commits in {transactions} transactions");
        for (live, commit) in runs.iter_mut().zip(commits) {
            live.accepted(commit);
            live.assert_kept(&store).await;
        }
    });
}

/// What does not fit fails with "full", alone, and leaves no trace; what fits goes on; with more room everything does.
#[test]
fn a_full_disk_is_said_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("segue.db");
    let small = SqliteOptions { pages_max: Some(400), ..Default::default() };
    let (_, store) = open(&path, small);
    let mut runs = block_on(async {
        let owner = engine(&store, "a", LONG).await;
        let mut runs = create(&store, &owner, 20).await;
        let large = runs[0].next(vec![(Some("t"), success(json!("x".repeat(2_000_000))))]);
        let mut commits: Vec<_> =
            runs[1..].iter().map(|live| live.next(vec![(Some("t"), EventKind::TaskStarted {})])).collect();
        commits.insert(7, large);
        let answers = join_all(commits.iter().map(|commit| store.commit(commit.clone()))).await;
        for (n, (answer, commit)) in answers.into_iter().zip(commits).enumerate() {
            match answer {
                Ok(()) => runs.iter_mut().find(|live| live.lease == commit.lease).unwrap().accepted(commit),
                Err(error) => assert!(n == 7 && matches!(error, StoreError::Full(_)), "{n}: {error}"),
            }
        }
        for live in &runs {
            live.assert_kept(&store).await;
        }
        // Small ones until nothing fits any more.
        let full = loop {
            let commit = runs[0].next(vec![(Some("t"), success(json!("y".repeat(30_000))))]);
            match store.commit(commit.clone()).await {
                Ok(()) => runs[0].accepted(commit),
                Err(error) => break error,
            }
        };
        assert!(matches!(full, StoreError::Full(_)), "{full}");
        assert!(full.to_string().contains("make room"), "{full}");
        runs[0].assert_kept(&store).await;
        runs
    });
    drop(store);
    let (_, store) = open(&path, SqliteOptions::default());
    block_on(async {
        runs[0].assert_kept(&store).await;
        runs[0].commit(&store, vec![(Some("t"), success(json!("x".repeat(2_000_000))))]).await;
        runs[0].assert_kept(&store).await;
    });
}

/// However much is written, and although somebody reads all the time, the write-ahead log stays small.
#[test]
fn the_log_is_moved_into_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("segue.db");
    let (sqlite, store) = open(&path, SqliteOptions { synchronous: Synchronous::Normal, ..Default::default() });
    let log = || fs::metadata(folder.path().join("segue.db-wal")).unwrap().len();
    block_on(async {
        let owner = engine(&store, "a", LONG).await;
        let mut live = Live::create(&store, 1, &owner).await;
        for n in 0..60 {
            live.commit(&store, vec![(Some("t"), success(json!(format!("{n}{}", "x".repeat(1_000_000)))))]).await;
            assert!(log() < 12_000_000, "{} after {n}", log());
        }
        for n in 0..3_000 {
            let task = format!("t{}", n % 50);
            let commit = live.next(vec![(Some(&task), EventKind::TaskStarted {})]);
            store.commit(commit.clone()).await.unwrap();
            (live.row, live.tasks) = (commit.run, Vec::new());
        }
        assert!(log() < 12_000_000, "{}", log());
    });
    let stats = sqlite.stats();
    assert!(stats.checkpoints > 10, "{stats:?}");
    assert_eq!(stats.fsyncs, 3 * stats.checkpoints, "NORMAL syncs only when the log is moved");
}

/// A reader that holds one old state keeps the log from being begun again, but not the commits from going on.
#[test]
fn a_long_reader_does_not_stop_the_commits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("segue.db");
    let (_, store) = open(&path, SqliteOptions { synchronous: Synchronous::Normal, ..Default::default() });
    block_on(async {
        let owner = engine(&store, "a", LONG).await;
        let mut live = Live::create(&store, 1, &owner).await;
        let reader = Connection::open(&path).unwrap();
        reader.execute_batch("BEGIN; SELECT count(*) FROM runs;").unwrap();
        for n in 0..80 {
            live.commit(&store, vec![(Some("t"), success(json!(format!("{n}{}", "x".repeat(1_000_000)))))]).await;
        }
        reader.execute_batch("COMMIT").unwrap();
        for n in 0..8 {
            live.commit(&store, vec![(Some("t"), success(json!(format!("again {n}{}", "x".repeat(1_000_000)))))]).await;
        }
        live.assert_kept(&store).await;
    });
    // Begun again, the log is cut back to what is kept of it.
    let log = fs::metadata(folder.path().join("segue.db-wal")).unwrap().len();
    assert!(log <= 17_000_000, "{log}");
}

/// A large value is kept once, however often it is written.
#[test]
fn a_large_value_is_kept_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("segue.db");
    let (_, store) = open(&path, SqliteOptions::default());
    block_on(async {
        let owner = engine(&store, "a", LONG).await;
        let mut runs = create(&store, &owner, 3).await;
        for live in &mut runs {
            live.commit(&store, vec![(Some("t"), success(json!("x".repeat(500_000))))]).await;
        }
    });
    let kept: i64 =
        Connection::open(&path).unwrap().query_row("SELECT count(*) FROM blobs", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 1);
}
