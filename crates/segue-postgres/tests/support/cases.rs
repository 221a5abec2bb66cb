//! Cases that only a store over a network can fail, beside those of the suites.

use std::time::Duration;

use futures_util::StreamExt;
use segue_core::{
    event::EventKind,
    ports::{RequestKind, StoreError},
};
use segue_testkit::conformance::{
    PATIENCE,
    run_store::{Database, Live, engine, run_id},
};

const LONG: Duration = Duration::from_secs(3_600);

/// A store that knows a run's log up to a version that is not the newest any more, and has the run's lease, is refused.
pub(crate) async fn what_a_store_remembers_is_only_a_guess(db: &dyn Database) {
    let (here, there) = (db.open(), db.open());
    let owner = engine(&here, "a", LONG).await;
    let mut live = Live::create(&here, 1, &owner).await;
    live.commit(&there, vec![(Some("one"), EventKind::TaskStarted {})]).await;
    let stale = live.next(vec![(Some("stale"), EventKind::TaskStarted {})]);
    live.commit(&here, vec![(Some("two"), EventKind::TaskStarted {})]).await;
    for store in [&there, &here] {
        let refused = store.commit(stale.clone()).await;
        assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
        live.assert_kept(&here).await;
        live.commit(store, vec![(Some("next"), EventKind::TaskStarted {})]).await;
        live.assert_kept(&there).await;
    }
}

/// Somebody who listens already is told of a request to a run that has an owner.
pub(crate) async fn who_listens_is_told(db: &dyn Database) {
    let (here, there) = (db.open(), db.open());
    let owner = engine(&here, "a", LONG).await;
    for n in 1..=2 {
        Live::create(&here, n, &owner).await;
    }
    let mut signals = here.request_signals();
    // The first one may have been found at the beginning of listening, the second one was told.
    for n in 1..=2 {
        there.post_request(run_id(n), RequestKind::Cancel { reason: "now".to_owned() }).await.unwrap();
        let told = async { while signals.next().await != Some(run_id(n)) {} };
        tokio::time::timeout(PATIENCE, told).await.expect("a signal");
    }
}
