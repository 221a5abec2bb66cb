//! What has ended is deleted, alone or with all that ended before some time; nothing else is.

use std::sync::Arc;

use segue_core::{
    event::EventKind,
    ids::{ContentHash, EngineId, TaskId},
    payload::{BlobRef, Payload},
    ports::{Cached, ClaimRequest, Collected, Created, NewRun, RequestKind, RunFilter, RunStore, StoreError},
    time::Timestamp,
};
use serde_json::json;

use super::{
    Database, Live,
    cache::{entry, get},
    new_run, run_id,
    world::{LONG, engine, large, started, success, time},
};
use crate::conformance::now;

fn blob(n: u32) -> BlobRef {
    Payload::new(large(n)).blob().expect("a large value")
}

async fn is_gone(store: &Arc<dyn RunStore>, n: u32) -> bool {
    match store.blob(blob(n)).await {
        Ok(_) => false,
        Err(StoreError::NotFound(_)) => true,
        Err(other) => panic!("{other}"),
    }
}

/// The `n`th run, owned, with these large values as outputs of its tasks.
async fn with_values(store: &Arc<dyn RunStore>, new: NewRun, owner: &EngineId, values: &[u32]) -> Live {
    let mut live = Live::of(store, new, owner).await;
    for value in values {
        let task = format!("t{value}");
        live.commit(store, vec![(Some(&task), started())]).await;
        live.commit(store, vec![(Some(&task), success(large(*value)))]).await;
    }
    live
}

/// The `n`th run as a child of another one.
fn child_of(parent: u32, n: u32) -> NewRun {
    let mut new = new_run(n, json!({}));
    new.run.parent = Some(run_id(parent));
    new
}

async fn end_at(store: &Arc<dyn RunStore>, live: &mut Live, at: Timestamp) {
    let mut commit = live.next(vec![(None, EventKind::RunSucceeded { outputs: Payload::new(json!({})) })]);
    commit.run.finished_at = Some(at);
    store.commit(commit.clone()).await.expect("the owner's next commit");
    live.accepted(commit);
}

async fn assert_gone(store: &Arc<dyn RunStore>, n: u32) {
    fn assert_missing<T: std::fmt::Debug>(answer: Result<T, StoreError>) {
        assert!(matches!(answer, Err(StoreError::NotFound(_))), "{answer:?}");
    }
    let run = run_id(n);
    assert_missing(store.get_run(run).await);
    assert_missing(store.events(run, 0, 0).await);
    assert_missing(store.list_tasks(run).await);
    assert_missing(store.list_waiting(Some(run), 0).await);
    assert_missing(store.get_task_result(run, &TaskId::new("t1")).await);
    assert_missing(store.pending_requests(run).await);
    assert_missing(store.post_request(run, RequestKind::Reopen).await);
    assert_missing(store.delete_run(run).await);
    let filters = [
        RunFilter::default(),
        RunFilter { label: Some(("team".to_owned(), "red".to_owned())), ..Default::default() },
        RunFilter { id_prefix: Some(run.to_string()), ..Default::default() },
    ];
    for filter in filters {
        assert!(store.list_runs(filter).await.expect("a list").iter().all(|row| row.run_id != run));
    }
}

async fn assert_refused(store: &Arc<dyn RunStore>, n: u32) {
    let answer = store.delete_run(run_id(n)).await;
    assert!(matches!(answer, Err(StoreError::Refused(_))), "{answer:?}");
}

/// Nothing of it can be seen, its key is free, and all others are as they were.
pub async fn a_deleted_run_is_gone(db: &dyn Database) {
    let (store, there) = (db.open(), db.open());
    let owner = engine(&store, "a", LONG).await;
    let mut new = new_run(2, large(7));
    new.idempotency_key = Some("monday".to_owned());
    new.run.labels.insert("team".to_owned(), "red".to_owned());
    let (mut before, mut live, mut after) = (
        with_values(&store, new_run(1, json!({})), &owner, &[1]).await,
        with_values(&store, new.clone(), &owner, &[2, 3]).await,
        with_values(&store, new_run(3, json!({})), &owner, &[3]).await,
    );
    live.end(&store).await;
    store.post_request(run_id(2), RequestKind::Cancel { reason: "late".to_owned() }).await.expect("posted");
    store.delete_run(run_id(2)).await.expect("deleted");
    for store in [&store, &there] {
        assert_gone(store, 2).await;
        before.assert_kept(store).await;
        after.assert_kept(store).await;
    }
    let gone = [is_gone(&store, 1).await, is_gone(&store, 2).await, is_gone(&store, 3).await, is_gone(&store, 7).await];
    assert_eq!(gone, [false, true, false, true]);

    new.request_hash = ContentHash::of(b"something else");
    let mut again = with_values(&store, new, &owner, &[2]).await;
    for live in [&mut before, &mut again, &mut after] {
        live.commit(&store, vec![(Some("x"), started())]).await;
        live.assert_kept(&there).await;
    }
    assert_eq!(store.list_tasks(run_id(2)).await.expect("its tasks").len(), 2, "those of the first one are gone");
}

/// What runs, waits, is owned or is to be reopened stays.
pub async fn a_run_that_may_go_on_is_not_deleted(db: &dyn Database) {
    let store = db.open();
    let owner = engine(&store, "a", LONG).await;
    let mut live = with_values(&store, new_run(1, json!({})), &owner, &[1]).await;
    assert_refused(&store, 1).await;
    live.commit(&store, vec![(None, EventKind::RunWaiting {})]).await;
    assert_refused(&store, 1).await;
    store.release(&[live.lease]).await.expect("released");
    assert_refused(&store, 1).await;
    let claim = ClaimRequest { engine_id: owner.clone(), limit: 1, runs: Vec::new(), dead: Vec::new() };
    live.lease = store.claim(claim.clone()).await.expect("a claim")[0];
    live.end(&store).await;

    let request = store.post_request(run_id(1), RequestKind::Reopen).await.expect("posted");
    assert_refused(&store, 1).await;
    live.lease = store.claim(claim).await.expect("a claim")[0];
    store.dismiss_requests(run_id(1), &[request]).await.expect("dismissed");
    assert_refused(&store, 1).await;
    assert_eq!(store.collect_garbage(time(1 << 40)).await.expect("collected"), Collected::default());
    live.assert_kept(&store).await;
    assert!(!is_gone(&store, 1).await);
    store.release(&[live.lease]).await.expect("released");
    store.delete_run(run_id(1)).await.expect("deleted");
    assert_gone(&store, 1).await;
}

/// A large value lives as long as the last log, or cached result, that refers to it.
pub async fn a_shared_value_goes_with_its_last_user(db: &dyn Database) {
    let store = db.open();
    let owner = engine(&store, "a", LONG).await;
    let mut one = with_values(&store, new_run(1, large(1)), &owner, &[1, 2, 3]).await;
    let mut two = Live::create(&store, 2, &owner).await;
    // It is only referred to, as a result that was read from a log.
    let output = one.events[3].kind.payload().expect("a payload").to_logged();
    let usage = Default::default();
    let reused = EventKind::TaskSucceeded { output, usage, warnings: Vec::new(), reused_from: Some(run_id(1)) };
    two.commit(&store, vec![(Some("t"), reused)]).await;
    store.cache_put("k", entry(1, large(2)), None).await.expect("kept");
    one.end(&store).await;
    store.delete_run(run_id(1)).await.expect("deleted");
    assert_eq!([is_gone(&store, 1).await, is_gone(&store, 2).await, is_gone(&store, 3).await], [false, false, true]);
    assert_eq!(get(&store, "k", 1).await, Some(large(2)), "it outlives its run");
    let result = store.get_task_result(run_id(2), &TaskId::new("t")).await.expect("a result");
    assert_eq!(result.output.and_then(|output| output.value().cloned()).as_deref(), Some(&large(1)));
    two.end(&store).await;
    store.delete_run(run_id(2)).await.expect("deleted");
    assert!(is_gone(&store, 1).await);
    store.cache_put("k", entry(1, json!(null)), None).await.expect("kept");
    assert!(is_gone(&store, 2).await);
}

/// What refers to a value that is not there is refused and leaves no trace.
pub async fn a_value_that_is_gone_cannot_be_referred_to(db: &dyn Database) {
    fn assert_missing<T: std::fmt::Debug>(answer: Result<T, StoreError>) {
        assert!(matches!(answer, Err(StoreError::NotFound(_))), "{answer:?}");
    }
    let store = db.open();
    let owner = engine(&store, "a", LONG).await;
    let mut live = Live::create(&store, 1, &owner).await;
    let gone = || Payload::new(large(1)).to_logged();
    let output = EventKind::RunSucceeded { outputs: gone() };
    assert_missing(store.commit(live.next(vec![(Some("t"), started()), (None, output.clone())])).await);
    let mut new = new_run(2, json!({}));
    new.events[1].kind = output.clone();
    assert_missing(store.create_run(new).await);
    assert_missing(store.get_run(run_id(2)).await);
    assert_missing(store.cache_put("k", Cached { output: gone(), ..entry(1, json!(1)) }, None).await);
    assert_eq!(get(&store, "k", 1).await, None);
    live.assert_kept(&store).await;
    // One event brings it, the next one refers to it.
    live.commit(&store, vec![(Some("t"), success(large(1))), (None, output)]).await;
    live.assert_kept(&store).await;
}

/// A part of a run stays while any run above it may go on; it stays when that one is deleted.
pub async fn a_part_of_a_live_run_is_not_deleted(db: &dyn Database) {
    let store = db.open();
    let owner = engine(&store, "a", LONG).await;
    let mut top = Live::create(&store, 1, &owner).await;
    let mut middle = Live::of(&store, child_of(1, 2), &owner).await;
    let mut bottom = Live::of(&store, child_of(2, 3), &owner).await;
    bottom.end(&store).await;
    assert_refused(&store, 3).await;
    middle.end(&store).await;
    assert_refused(&store, 2).await;
    assert_refused(&store, 3).await;
    assert_eq!(store.collect_garbage(time(1 << 40)).await.expect("collected"), Collected::default());
    top.end(&store).await;
    store.delete_run(run_id(2)).await.expect("deleted");
    top.assert_kept(&store).await;
    bottom.assert_kept(&store).await;
    let children = RunFilter { parent: Some(run_id(2)), ..Default::default() };
    assert_eq!(store.list_runs(children).await.expect("a list"), [bottom.row]);
    store.delete_run(run_id(3)).await.expect("deleted");
    assert_gone(&store, 3).await;
}

/// Runs that ended before the time go, with their values; those that ended later, or are above or below such, stay.
pub async fn a_collection_removes_what_is_old(db: &dyn Database) {
    let store = db.open();
    let owner = engine(&store, "a", LONG).await;
    let mut old = with_values(&store, new_run(1, json!({})), &owner, &[1, 9]).await;
    let mut older = with_values(&store, new_run(2, json!({})), &owner, &[2, 9]).await;
    let mut young = with_values(&store, new_run(3, json!({})), &owner, &[3]).await;
    let live = with_values(&store, new_run(4, json!({})), &owner, &[4]).await;
    let mut part = with_values(&store, child_of(3, 5), &owner, &[5]).await;
    let mut parts_part = with_values(&store, child_of(5, 6), &owner, &[6]).await;
    let mut orphan = with_values(&store, child_of(404, 7), &owner, &[7]).await;
    let mut reopened = with_values(&store, new_run(8, json!({})), &owner, &[8]).await;
    for (run, at) in [(&mut old, 999), (&mut older, 10), (&mut part, 20), (&mut parts_part, 10), (&mut orphan, 30)] {
        end_at(&store, run, time(at)).await;
    }
    end_at(&store, &mut young, time(1_000)).await;
    end_at(&store, &mut reopened, time(5)).await;
    store.post_request(run_id(8), RequestKind::Reopen).await.expect("posted");

    let collected = store.collect_garbage(time(1_000)).await.expect("collected");
    assert_eq!((collected.runs, collected.blobs, collected.cache_entries), (3, 4, 0));
    let values: usize = [1, 2, 7, 9].map(|n| large(n).to_string().len()).iter().sum();
    assert!(collected.bytes > values as u64 && collected.bytes < values as u64 + 100_000, "{collected:?}");
    for n in [1, 2, 7] {
        assert_gone(&store, n).await;
    }
    for kept in [&young, &live, &part, &parts_part, &reopened] {
        kept.assert_kept(&store).await;
    }
    for n in [1, 2, 7, 9] {
        assert!(is_gone(&store, n).await, "{n}");
    }
    for n in [3, 4, 5, 6, 8] {
        assert!(!is_gone(&store, n).await, "{n}");
    }
    assert_eq!(store.collect_garbage(time(1_000)).await.expect("collected"), Collected::default());
    // With the run above them, they are old too.
    assert_eq!(store.collect_garbage(time(1_001)).await.expect("collected").runs, 3);
    live.assert_kept(&store).await;
}

/// Cached results that are over go, and lasting ones that were kept before the time.
pub async fn a_collection_removes_stale_results(db: &dyn Database) {
    let store = db.open();
    let (past, future) = (Timestamp::from_micros(1), now().plus(LONG));
    for (key, n, expires_at) in
        [("over", 1, Some(past)), ("young", 2, Some(future)), ("lasting", 3, None), ("newer", 40, None)]
    {
        store.cache_put(key, entry(n, large(n)), expires_at).await.expect("kept");
    }
    store.cache_put("shared", entry(40, large(1)), None).await.expect("kept");
    let collected = store.collect_garbage(time(40)).await.expect("collected");
    assert_eq!((collected.runs, collected.blobs, collected.cache_entries), (0, 1, 2));
    assert!(collected.bytes > large(3).to_string().len() as u64);
    assert_eq!([is_gone(&store, 1).await, is_gone(&store, 3).await], [false, true]);
    assert_eq!(get(&store, "lasting", 0).await, None);
    for (key, n) in [("newer", 40), ("shared", 1)] {
        assert_eq!(get(&store, key, 0).await, Some(large(n)), "{key}");
    }
    let young = store.cache_get("young", now()).await.expect("an answer");
    assert_eq!(young.map(|found| found.run_id), Some(run_id(2)));
    assert_eq!(store.collect_garbage(time(40)).await.expect("collected"), Collected::default());
}

/// A value is being removed with its last user while another run begins to use it: that one has it in the end.
pub async fn a_value_written_during_a_deletion_is_kept(db: &dyn Database) {
    let (store, there) = (db.open(), db.open());
    let owner = engine(&store, "a", LONG).await;
    let mut writer = Live::create(&store, 1_000, &owner).await;
    for n in 1..=25 {
        let mut old = with_values(&store, new_run(n, json!({})), &owner, &[n]).await;
        end_at(&store, &mut old, time(1)).await;
        let task = format!("t{n}");
        let commit = writer.next(vec![(Some(&task), success(large(n)))]);
        let deletion = tokio::spawn({
            let there = there.clone();
            async move {
                if n.is_multiple_of(2) {
                    there.delete_run(run_id(n)).await
                } else {
                    there.collect_garbage(time(2)).await.map(|_| ())
                }
            }
        });
        store.commit(commit.clone()).await.expect("the owner's next commit");
        deletion.await.expect("no panic").expect("deleted");
        writer.accepted(commit);
        assert!(!is_gone(&store, n).await, "{n}");
        assert_gone(&store, n).await;
    }
    writer.assert_kept(&there).await;
}

/// Deleted by two at once, and by a collection: one of them does it, and nobody fails for another reason.
pub async fn deletions_at_once_do_it_once(db: &dyn Database) {
    let stores = [db.open(), db.open()];
    let owner = engine(&stores[0], "a", LONG).await;
    let kept = with_values(&stores[0], new_run(99, json!({})), &owner, &[1, 2]).await;
    for n in 1..=10 {
        let mut live = with_values(&stores[0], new_run(n, json!({})), &owner, &[n, n + 1]).await;
        live.end(&stores[0]).await;
    }
    let deletions = (0..30).map(|n| {
        let store = stores[n % 2].clone();
        tokio::spawn(async move {
            match n % 3 {
                0 => store.collect_garbage(time(1 << 40)).await.map(|collected| collected.runs),
                _ => store.delete_run(run_id(u32::try_from(n / 3).expect("small") + 1)).await.map(|()| 1),
            }
        })
    });
    let mut runs = 0;
    for answer in futures_util::future::join_all(deletions).await {
        match answer.expect("no panic") {
            Ok(n) => runs += n,
            Err(StoreError::NotFound(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(runs, 10, "each of them once");
    kept.assert_kept(&stores[1]).await;
    assert_eq!(stores[0].list_runs(RunFilter::default()).await.expect("a list"), [kept.row]);
    let new = new_run(1, json!({}));
    assert_eq!(stores[1].create_run(new).await.expect("new"), Created::New(None));
}
