//! Which errors may go better next time is core's rule. The worker says it with each error, so that an adapter can know
//! better of a single one; its list must be core's.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use segue_core::outcome::ErrorKind;

#[test]
fn the_worker_takes_the_same_kinds_for_retryable() {
    let python = include_str!("../../../python/segue/worker/adapter.py");
    let list = python.split_once("RETRYABLE: Final = frozenset({").unwrap().1.split_once("})").unwrap().0;
    let found: BTreeSet<&str> = list.split(',').map(|kind| kind.trim().trim_matches('"')).collect();
    // A worker that is lost says nothing any more.
    let said = ErrorKind::ALL.into_iter().filter(|kind| kind.is_retryable() && *kind != ErrorKind::WorkerLost);
    assert_eq!(found, said.map(ErrorKind::as_str).collect());
}
