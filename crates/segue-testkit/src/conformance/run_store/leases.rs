//! Who may commit for a run: claims, leases that end, dead owners, runs given back.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use segue_core::{
    event::EventKind,
    ids::{EngineId, RunId},
    ports::{ClaimRequest, Lease, RequestKind, RunStore},
};
use serde_json::json;

use super::{
    Database, Live, new_run, run_id,
    world::{LONG, engine, record, started},
};
use crate::conformance::eventually;

/// Short enough to wait for its end, long enough for a few calls before.
const SHORT: Duration = Duration::from_millis(300);

async fn claim(store: &Arc<dyn RunStore>, by: &EngineId) -> Vec<Lease> {
    claim_of(store, by, &[], &[]).await
}

async fn claim_of(store: &Arc<dyn RunStore>, by: &EngineId, runs: &[RunId], dead: &[EngineId]) -> Vec<Lease> {
    let request = ClaimRequest { engine_id: by.clone(), limit: 100, runs: runs.to_vec(), dead: dead.to_vec() };
    store.claim(request).await.expect("a claim")
}

fn runs_of(leases: &[Lease]) -> Vec<RunId> {
    leases.iter().map(|lease| lease.run_id).collect()
}

/// The oldest come first, at most as many as asked for, each once; the lease commits.
pub async fn runs_without_owner_are_claimed_oldest_first(db: &dyn Database) {
    let store = db.open();
    for n in [3, 1, 4, 2, 5] {
        store.create_run(new_run(n, json!({}))).await.expect("new");
    }
    let a = engine(&store, "a", LONG).await;
    let request = ClaimRequest { engine_id: a.clone(), limit: 2, runs: Vec::new(), dead: Vec::new() };
    let leases = store.claim(request).await.expect("a claim");
    assert_eq!(runs_of(&leases), [run_id(1), run_id(2)]);
    let new = new_run(1, json!({}));
    let mut live = Live { lease: leases[0], row: new.run, events: new.events, tasks: Vec::new() };
    live.commit(&store, vec![(Some("t"), started())]).await;
    live.assert_kept(&store).await;
    assert_eq!(runs_of(&claim(&store, &a).await), [run_id(3), run_id(4), run_id(5)]);
    assert_eq!(claim(&store, &a).await, []);
}

/// A claim that names runs takes no others.
pub async fn only_the_named_runs_are_claimed(db: &dyn Database) {
    let store = db.open();
    for n in 1..=4 {
        store.create_run(new_run(n, json!({}))).await.expect("new");
    }
    let a = engine(&store, "a", LONG).await;
    let leases = claim_of(&store, &a, &[run_id(404), run_id(4), run_id(2)], &[]).await;
    assert_eq!(runs_of(&leases), [run_id(2), run_id(4)]);
    assert_eq!(claim_of(&store, &a, &[run_id(2)], &[]).await, []);
}

/// Whose lease has ended, or who is not known, would lose a run at once: it gets none.
pub async fn an_engine_without_a_lease_claims_nothing(db: &dyn Database) {
    let store = db.open();
    store.create_run(new_run(1, json!({}))).await.expect("new");
    assert_eq!(claim(&store, &EngineId::new("unknown")).await, []);
    let lapsed = engine(&store, "lapsed", Duration::ZERO).await;
    assert_eq!(claim(&store, &lapsed).await, []);
    let a = engine(&store, "a", LONG).await;
    assert_eq!(runs_of(&claim(&store, &a).await), [run_id(1)]);
}

/// While the owner's lease holds, nobody gets its run; when it has ended, somebody does, with a higher fence.
pub async fn a_held_run_is_claimed_when_its_lease_ends(db: &dyn Database) {
    let store = db.open();
    let b = engine(&store, "b", LONG).await;
    let a = engine(&store, "a", SHORT).await;
    let live = Live::create(&store, 1, &a).await;
    let leases = eventually("the lease ends", || async {
        let leases = claim(&store, &b).await;
        (!leases.is_empty()).then_some(leases)
    })
    .await;
    assert_eq!(runs_of(&leases), [run_id(1)]);
    assert!(leases[0].fence > live.lease.fence);
    assert_eq!(claim(&store, &a).await, []);
}

/// A long lease, and one that is made long by renewing it, are not given to others.
pub async fn a_renewed_lease_holds(db: &dyn Database) {
    let store = db.open();
    let b = engine(&store, "b", LONG).await;
    let a = engine(&store, "a", Duration::ZERO).await;
    let mut live = Live::create(&store, 1, &a).await;
    engine(&store, "a", LONG).await;
    assert_eq!(claim(&store, &b).await, []);
    assert_eq!(claim(&store, &a).await, []);
    live.commit(&store, vec![(Some("t"), started())]).await;
}

/// The fence decides, not the time: an owner that was late, and whom nobody noticed, goes on.
pub async fn a_lease_that_ended_unnoticed_still_commits(db: &dyn Database) {
    let store = db.open();
    let a = engine(&store, "a", Duration::ZERO).await;
    let mut live = Live::create(&store, 1, &a).await;
    live.commit(&store, vec![(Some("t"), started())]).await;
    live.assert_kept(&store).await;
}

/// Whoever is named dead loses its runs at once, and only it does.
pub async fn a_dead_owners_runs_are_claimed_at_once(db: &dyn Database) {
    let store = db.open();
    let [a, b, c] = [engine(&store, "a", LONG).await, engine(&store, "b", LONG).await, engine(&store, "c", LONG).await];
    let first = Live::create(&store, 1, &a).await;
    Live::create(&store, 2, &b).await;
    let leases = claim_of(&store, &c, &[], &[a]).await;
    assert_eq!(runs_of(&leases), [run_id(1)]);
    assert!(leases[0].fence > first.lease.fence);
}

/// What it created or claimed and has not given back, ended or lost to another.
pub async fn an_engine_is_told_what_it_owns(db: &dyn Database) {
    let store = db.open();
    let (a, b) = (engine(&store, "a", LONG).await, engine(&store, "b", LONG).await);
    assert_eq!(store.owned_runs(&a).await.expect("runs"), []);
    let (one, _two) = (Live::create(&store, 1, &a).await, Live::create(&store, 2, &a).await);
    store.create_run(new_run(3, json!({}))).await.expect("new");
    assert_eq!(claim_of(&store, &a, &[run_id(3)], &[]).await.len(), 1);
    let owned = async |engine: &EngineId| {
        let mut runs = store.owned_runs(engine).await.expect("runs");
        runs.sort();
        runs
    };
    assert_eq!(owned(&a).await, [run_id(1), run_id(2), run_id(3)]);
    store.release(&[one.lease]).await.expect("released");
    assert_eq!(claim_of(&store, &b, &[run_id(2)], std::slice::from_ref(&a)).await.len(), 1);
    assert_eq!(owned(&a).await, [run_id(3)]);
    assert_eq!(owned(&b).await, [run_id(2)]);
}

/// A clock that all its users share goes forward.
pub async fn the_store_says_what_time_it_is(db: &dyn Database) {
    let (here, there) = (db.open(), db.open());
    let first = here.now().await.expect("a time");
    let second = there.now().await.expect("a time");
    assert!(first <= second && second.since(first) < Duration::from_secs(600), "{first} {second}");
}

/// What is given back is claimed by the next one, with a higher fence.
pub async fn a_released_run_is_claimed_by_another(db: &dyn Database) {
    let store = db.open();
    let (a, b) = (engine(&store, "a", LONG).await, engine(&store, "b", LONG).await);
    let (one, two) = (Live::create(&store, 1, &a).await, Live::create(&store, 2, &a).await);
    store.release(&[one.lease, two.lease]).await.expect("released");
    assert_eq!(store.engines().await.expect("engines"), []);
    let leases = claim(&store, &b).await;
    assert_eq!(runs_of(&leases), [run_id(1), run_id(2)]);
    assert!(leases[0].fence > one.lease.fence);
}

/// A late release must not take the run from its new owner.
pub async fn a_release_of_an_old_lease_is_ignored(db: &dyn Database) {
    let store = db.open();
    let (a, b) = (engine(&store, "a", LONG).await, engine(&store, "b", LONG).await);
    let mut live = Live::create(&store, 1, &a).await;
    let old = live.lease;
    live.lease = claim_of(&store, &b, &[], &[a]).await[0];
    let stray = Lease { run_id: run_id(404), fence: 1 };
    store.release(&[old, stray]).await.expect("ignored");
    live.commit(&store, vec![(Some("t"), started())]).await;
    live.assert_kept(&store).await;
}

/// `engines` names the owners with their proof, whether or not their lease holds, and nobody else.
pub async fn the_engines_are_those_that_own_a_run(db: &dyn Database) {
    let store = db.open();
    engine(&store, "idle", LONG).await;
    let lapsed = engine(&store, "lapsed", Duration::ZERO).await;
    let mut live = Live::create(&store, 1, &lapsed).await;
    // A newcomer's registration forgets who owns nothing; who owns a run is remembered.
    let busy = engine(&store, "busy", LONG).await;
    Live::create(&store, 2, &busy).await;
    let mut engines = store.engines().await.expect("engines");
    engines.sort_by(|a, b| a.engine_id.cmp(&b.engine_id));
    assert_eq!(engines, [record("busy"), record("lapsed")]);
    live.end(&store).await;
    assert_eq!(store.engines().await.expect("engines"), [record("busy")]);
}

/// Concurrent claims through two stores: every run is given once.
pub async fn two_engines_never_share_a_run(db: &dyn Database) {
    let stores = [db.open(), db.open()];
    for n in 1..=60 {
        stores[0].create_run(new_run(n, json!({}))).await.expect("new");
    }
    let names = ["a", "b", "c", "d"];
    let claims = names.into_iter().enumerate().map(|(n, name)| {
        let store = stores[n % 2].clone();
        tokio::spawn(async move {
            let me = engine(&store, name, LONG).await;
            let mut mine = Vec::new();
            loop {
                let request = ClaimRequest { engine_id: me.clone(), limit: 5, runs: Vec::new(), dead: Vec::new() };
                let leases = store.claim(request).await.expect("a claim");
                if leases.is_empty() {
                    return mine;
                }
                mine.extend(runs_of(&leases));
            }
        })
    });
    let mut all: Vec<RunId> = join_all(claims).await.into_iter().flat_map(|runs| runs.expect("no panic")).collect();
    all.sort_unstable();
    assert_eq!(all, (1..=60).map(run_id).collect::<Vec<_>>());
}

/// An ended run is claimed when somebody wants it to go on: by one engine, by another if that one dies, by none when the
/// request is gone.
pub async fn a_request_to_reopen_makes_an_ended_run_claimable(db: &dyn Database) {
    let store = db.open();
    let (a, b) = (engine(&store, "a", LONG).await, engine(&store, "b", LONG).await);
    let mut live = Live::create(&store, 1, &a).await;
    live.end(&store).await;
    assert_eq!(claim(&store, &a).await, []);
    let request = store.post_request(run_id(1), RequestKind::Reopen).await.expect("posted");
    live.lease = claim(&store, &a).await[0];
    assert_eq!(claim(&store, &b).await, []);
    live.lease = claim_of(&store, &b, &[run_id(1)], std::slice::from_ref(&a)).await[0];
    let mut commit = live.next(vec![(None, EventKind::RunReopened {})]);
    commit.answered = vec![request];
    store.commit(commit.clone()).await.expect("reopened");
    live.accepted(commit);
    live.assert_kept(&store).await;
    assert_eq!(claim(&store, &a).await, []);
    live.end(&store).await;

    let request = store.post_request(run_id(1), RequestKind::Reopen).await.expect("posted");
    let lease = claim(&store, &a).await[0];
    store.dismiss_requests(run_id(1), &[request]).await.expect("dismissed");
    store.release(&[lease]).await.expect("released");
    assert_eq!(claim(&store, &b).await, []);
}

/// There is nothing left to stop.
pub async fn a_request_to_cancel_does_not(db: &dyn Database) {
    let store = db.open();
    let a = engine(&store, "a", LONG).await;
    Live::create(&store, 1, &a).await.end(&store).await;
    store.post_request(run_id(1), RequestKind::Cancel { reason: "late".into() }).await.expect("posted");
    assert_eq!(claim(&store, &a).await, []);
}
