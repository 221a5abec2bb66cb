//! The one write of a live run: whole or not at all, from its owner, at its version.

use std::sync::Arc;

use futures_util::future::join_all;
use segue_core::{
    event::EventKind,
    payload::{INLINE_BYTES_MAX, Payload},
    ports::{ClaimRequest, Commit, RequestKind, RunStore, StoreError},
};
use serde_json::{Value, json};

use super::{
    Database, Live, run_id,
    world::{LONG, engine, started, success},
};

/// Events and rows change together.
pub async fn a_commit_moves_the_run_on(db: &dyn Database) {
    let store = db.open();
    let owner = engine(&store, "a", LONG).await;
    let mut live = Live::create(&store, 1, &owner).await;
    live.commit(&store, vec![(Some("write"), started())]).await;
    live.assert_kept(&store).await;
    live.commit(&store, vec![(Some("write"), success(json!("text"))), (Some("edit"), started())]).await;
    live.assert_kept(&store).await;
    live.commit(&store, vec![(None, EventKind::RunWaiting {})]).await;
    live.assert_kept(&store).await;
    live.commit(&store, vec![(Some("edit"), success(json!(null)))]).await;
    live.end(&store).await;
    live.assert_kept(&store).await;
    assert!(live.row.status.is_terminal());
}

/// A commit that brings everything a commit can bring, so that any trace of it would be seen.
async fn rich(store: &Arc<dyn RunStore>, live: &Live) -> (Commit, Payload) {
    let request = store.post_request(live.row.run_id, RequestKind::Reopen).await.expect("posted");
    let large = Payload::new(Value::String("trace".repeat(INLINE_BYTES_MAX)));
    let output = EventKind::TaskSucceeded {
        output: large.clone(),
        usage: Default::default(),
        warnings: Vec::new(),
        reused_from: None,
    };
    let mut commit = live.next(vec![(Some("write"), output), (Some("new"), started())]);
    commit.answered = vec![request];
    (commit, large)
}

async fn assert_conflict(store: &Arc<dyn RunStore>, live: &Live, (commit, large): (Commit, Payload)) {
    let run = live.row.run_id;
    let pending = store.pending_requests(run).await.expect("an inbox");
    let answer = store.commit(commit).await;
    assert!(matches!(answer, Err(StoreError::Conflict { run_id }) if run_id == run), "{answer:?}");
    live.assert_kept(store).await;
    assert_eq!(store.pending_requests(run).await.expect("an inbox"), pending);
    let blob = large.blob().expect("a large value");
    assert!(matches!(store.blob(blob).await, Err(StoreError::NotFound(_))));
}

/// Something else was committed since `expected_version`.
pub async fn an_old_version_conflicts_and_leaves_no_trace(db: &dyn Database) {
    let store = db.open();
    let owner = engine(&store, "a", LONG).await;
    let mut live = Live::create(&store, 1, &owner).await;
    let old = live.clone();
    live.commit(&store, vec![(Some("write"), started())]).await;
    let (stale, large) = rich(&store, &old).await;
    assert_conflict(&store, &live, (stale, large)).await;

    let mut ahead = live.clone();
    ahead.row.version += 1;
    let (early, large) = rich(&store, &ahead).await;
    assert_conflict(&store, &live, (early, large)).await;
    live.commit(&store, vec![(Some("write"), success(json!(1)))]).await;
    live.assert_kept(&store).await;
}

/// The run belongs to another engine now.
pub async fn an_old_fence_conflicts_and_leaves_no_trace(db: &dyn Database) {
    let store = db.open();
    let (a, b) = (engine(&store, "a", LONG).await, engine(&store, "b", LONG).await);
    let mut live = Live::create(&store, 1, &a).await;
    let old = live.clone();
    let claim = ClaimRequest { engine_id: b, limit: 10, runs: Vec::new(), dead: vec![a] };
    let leases = store.claim(claim).await.expect("a claim");
    live.lease = leases[0];
    assert!(live.lease.fence > old.lease.fence);
    let (stale, large) = rich(&store, &old).await;
    assert_conflict(&store, &live, (stale, large)).await;
    let mut guess = live.clone();
    guess.lease.fence += 1;
    let (guessed, large) = rich(&store, &guess).await;
    assert_conflict(&store, &live, (guessed, large)).await;
    live.commit(&store, vec![(Some("write"), started())]).await;
    live.assert_kept(&store).await;
}

/// Who gave a run back cannot commit for it, although nobody has claimed it yet.
pub async fn a_released_lease_conflicts(db: &dyn Database) {
    let store = db.open();
    let owner = engine(&store, "a", LONG).await;
    let live = Live::create(&store, 1, &owner).await;
    store.release(&[live.lease]).await.expect("released");
    let (stale, large) = rich(&store, &live).await;
    assert_conflict(&store, &live, (stale, large)).await;
}

/// Concurrent commits at one version, through two stores: one is accepted, with all its rows, and the others conflict.
pub async fn one_of_many_commits_at_one_version_wins(db: &dyn Database) {
    let stores = [db.open(), db.open()];
    let owner = engine(&stores[0], "a", LONG).await;
    let mut live = Live::create(&stores[0], 1, &owner).await;
    let commits: Vec<Commit> = (0..40)
        .map(|n| {
            let (first, second) = (format!("a{n}"), format!("b{n}"));
            live.next(vec![(Some(&first), started()), (Some(&second), started())])
        })
        .collect();
    let attempts = commits.iter().cloned().enumerate().map(|(n, commit)| {
        let store = stores[n % 2].clone();
        tokio::spawn(async move { store.commit(commit).await })
    });
    let answers = join_all(attempts).await;
    let mut winners = Vec::new();
    for (answer, commit) in answers.into_iter().zip(commits) {
        match answer.expect("no panic") {
            Ok(()) => winners.push(commit),
            Err(StoreError::Conflict { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(winners.len(), 1);
    live.accepted(winners.remove(0));
    live.assert_kept(&stores[1]).await;
}

/// Jobs that a store merges are answered each for itself.
pub async fn one_conflict_among_many_commits_fails_alone(db: &dyn Database) {
    let store = db.open();
    let owner = engine(&store, "a", LONG).await;
    let mut runs = Vec::new();
    for n in 1..=30 {
        runs.push(Live::create(&store, n, &owner).await);
    }
    let attempts = runs.iter().enumerate().map(|(n, live)| {
        let mut commit = live.next(vec![(Some("write"), started())]);
        commit.lease.fence += u64::from(n % 10 == 7);
        let store = store.clone();
        tokio::spawn(async move { store.commit(commit.clone()).await.map(|()| commit) })
    });
    let answers = join_all(attempts).await;
    for (n, (live, answer)) in runs.iter_mut().zip(answers).enumerate() {
        match answer.expect("no panic") {
            Ok(commit) => {
                assert_ne!(n % 10, 7);
                live.accepted(commit);
            }
            Err(error) => assert!(n % 10 == 7 && matches!(error, StoreError::Conflict { .. }), "{n}: {error}"),
        }
        live.assert_kept(&store).await;
    }
}

/// After its end nobody owns it, nobody can commit for it, nobody can claim it.
pub async fn an_ended_run_belongs_to_nobody(db: &dyn Database) {
    let store = db.open();
    let owner = engine(&store, "a", LONG).await;
    let mut live = Live::create(&store, 1, &owner).await;
    live.end(&store).await;
    assert_eq!(store.engines().await.expect("engines"), []);
    let (late, large) = rich(&store, &live).await;
    store.dismiss_requests(run_id(1), &late.answered).await.expect("dismissed");
    let claim = ClaimRequest { engine_id: owner.clone(), limit: 10, runs: vec![run_id(1)], dead: vec![owner] };
    assert_eq!(store.claim(claim).await.expect("a claim"), []);
    assert_conflict(&store, &live, (late, large)).await;
}

/// A commit without events removes what it answers and changes nothing else.
pub async fn a_commit_may_only_answer_requests(db: &dyn Database) {
    let store = db.open();
    let owner = engine(&store, "a", LONG).await;
    let mut live = Live::create(&store, 1, &owner).await;
    let first = store.post_request(run_id(1), RequestKind::Reopen).await.expect("posted");
    let second = store.post_request(run_id(1), RequestKind::Reopen).await.expect("posted");
    let mut commit = live.next(Vec::new());
    commit.answered = vec![first];
    store.commit(commit).await.expect("an answer");
    live.assert_kept(&store).await;
    let pending = store.pending_requests(run_id(1)).await.expect("an inbox");
    assert_eq!(pending.iter().map(|request| request.id).collect::<Vec<_>>(), [second]);
    live.commit(&store, vec![(Some("write"), started())]).await;
    live.assert_kept(&store).await;
}

/// `events(after, limit)` for every place in a log whose commits have one, two and three events.
pub async fn the_log_is_read_in_pages(db: &dyn Database) {
    let store = db.open();
    let owner = engine(&store, "a", LONG).await;
    let mut live = Live::create(&store, 1, &owner).await;
    let other = Live::create(&store, 2, &owner).await;
    for n in 0..9 {
        let names: Vec<String> = (0..=n % 3).map(|m| format!("t{n}.{m}")).collect();
        live.commit(&store, names.iter().map(|name| (Some(name.as_str()), started())).collect()).await;
    }
    let all = &live.events;
    for after in 0..all.len() + 2 {
        for limit in 0..=all.len() + 1 {
            let page = store.events(run_id(1), after as u64, limit).await.expect("a page");
            let rest = &all[after.min(all.len())..];
            let expected = if limit == 0 { rest } else { &rest[..limit.min(rest.len())] };
            assert_eq!(page, expected, "after {after}, limit {limit}");
        }
    }
    assert!(store.events(run_id(1), u64::MAX, 0).await.expect("a page").is_empty());
    other.assert_kept(&store).await;
}

/// `list_tasks` is ordered by first change, over commits and within one.
pub async fn task_rows_keep_the_order_of_their_first_change(db: &dyn Database) {
    let store = db.open();
    let owner = engine(&store, "a", LONG).await;
    let mut live = Live::create(&store, 1, &owner).await;
    live.commit(&store, vec![(Some("z"), started()), (Some("m"), started())]).await;
    live.commit(&store, vec![(Some("m"), success(json!(1))), (Some("a"), started())]).await;
    live.commit(&store, vec![(Some("b"), started()), (Some("a"), success(json!(2))), (Some("z"), success(json!(3)))])
        .await;
    let tasks = store.list_tasks(run_id(1)).await.expect("tasks");
    let names: Vec<&str> = tasks.iter().map(|row| row.task_id.as_str()).collect();
    assert_eq!(names, ["z", "m", "a", "b"]);
    live.assert_kept(&store).await;
}
