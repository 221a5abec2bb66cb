//! What lists, questions, many tasks and a collection cost in a store with a long history.
//!
//!     cargo run --release -p segue-sqlite --example history [-- FOLDER [RUNS]]
#![allow(clippy::unwrap_used)]

use std::{path::Path, sync::Arc, time::Duration, time::Instant};

use futures_util::future::join_all;
use segue_core::{
    event::{Event, EventKind, Waiting},
    ids::{TaskId, WorkflowId},
    ports::{Commit, RunFilter, RunStore, TaskRow},
    status::Status,
};
use segue_sqlite::{SqliteOptions, SqliteStore, Synchronous};
use segue_testkit::conformance::{
    block_on, now,
    run_store::{Live, engine, new_run, run_id, task_row},
};
use serde_json::json;

const LONG: Duration = Duration::from_secs(3_600);

fn main() {
    let folder = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let runs = std::env::args().nth(2).map_or(200_000, |runs| runs.parse().unwrap());
    let folder = tempfile::tempdir_in(Path::new(&folder)).unwrap();
    let path = folder.path().join("segue.db");
    let options = SqliteOptions { synchronous: Synchronous::Normal, ..Default::default() };
    let store: Arc<dyn RunStore> = Arc::new(SqliteStore::open(&path, options).unwrap());
    block_on(measure(&store, runs));
    println!("the file: {} MB", std::fs::metadata(&path).unwrap().len() / 1_000_000);
}

async fn timed<T>(what: &str, work: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    let done = work.await;
    println!("{what}: {:.1} ms", begun.elapsed().as_secs_f64() * 1e3);
    done
}

async fn measure(store: &Arc<dyn RunStore>, runs: u32) {
    let owner = engine(store, "a", LONG).await;
    // One in 20,000 has a label, another workflow, another status.
    let rare = |n: u32| n % 20_000 == 7;
    let begun = Instant::now();
    for first in (1..=runs).step_by(1_000) {
        let creations = (first..(first + 1_000).min(runs + 1)).map(|n| {
            let (store, owner) = (store.clone(), owner.clone());
            async move {
                let mut new = new_run(n, json!({"n": n}));
                if rare(n) {
                    new.run.workflow_id = WorkflowId::new("rare");
                    new.run.labels.insert("team".to_owned(), "red".to_owned());
                }
                let mut live = Live::of(&store, new, &owner).await;
                if rare(n) {
                    live.commit(&store, vec![(None, EventKind::RunWaiting {})]).await;
                } else {
                    live.end(&store).await;
                }
            }
        });
        join_all(creations).await;
    }
    println!("{runs} runs of two commits: {:.1} s", begun.elapsed().as_secs_f64());
    let all = RunFilter { limit: 20, ..Default::default() };
    for (what, filter) in [
        ("the newest 20", all.clone()),
        ("20 by a common status", RunFilter { statuses: vec![Status::Succeeded], ..all.clone() }),
        ("20 by a rare status", RunFilter { statuses: vec![Status::Waiting, Status::Failed], ..all.clone() }),
        ("20 of a rare workflow", RunFilter { workflow_id: Some(WorkflowId::new("rare")), ..all.clone() }),
        ("20 by a rare label", RunFilter { label: Some(("team".to_owned(), "red".to_owned())), ..all.clone() }),
        (
            "20 of a common status, from the middle on",
            RunFilter { statuses: vec![Status::Succeeded], before: Some(run_id(runs / 2)), ..all },
        ),
    ] {
        store.list_runs(filter.clone()).await.unwrap();
        let found = timed(what, store.list_runs(filter)).await.unwrap().len();
        assert!(found > 0, "{what}");
    }
    many_tasks(store, runs).await;
    timed("all waiting tasks", store.list_waiting(None, 0)).await.unwrap();
    let collected = timed("a collection of all that has ended", store.collect_garbage(now().plus(LONG * 9_999))).await;
    println!("{:?}", collected.unwrap());
}

/// Instances of a `foreach`: each commit brings ten thousand.
async fn many_tasks(store: &Arc<dyn RunStore>, runs: u32) {
    let owner = engine(store, "a", LONG).await;
    let mut live = Live::create(store, runs + 1, &owner).await;
    for n in 0..10 {
        let commit = instances(&live, n, 10_000, n == 9);
        live.row = commit.run.clone();
        timed("a commit of 10,000 task rows", store.commit(commit)).await.unwrap();
    }
    for _ in 0..2 {
        let rows = timed("a list of 100,000 tasks", store.list_tasks(live.row.run_id)).await.unwrap();
        assert_eq!(rows.len(), 100_000);
    }
}

fn instances(live: &Live, batch: u32, most: u32, waits: bool) -> Commit {
    let mut commit = live.next(Vec::new());
    for n in 0..most {
        let task = format!("m[{}]", batch * most + n);
        let seq = commit.expected_version + u64::from(n) + 1;
        let kind = if waits {
            EventKind::TaskWaiting(Waiting::Event { event: task.clone(), due: None })
        } else {
            EventKind::TaskStarted {}
        };
        commit.events.push(Event {
            seq,
            time: live.row.created_at,
            task_id: Some(TaskId::new(task.as_str())),
            attempt: Some(1),
            kind,
        });
        let status = if waits { Status::Waiting } else { Status::Running };
        commit.tasks.push(TaskRow { result_seq: waits.then_some(seq), ..task_row(&task, status) });
    }
    commit.run.version += u64::from(most);
    commit
}
