//! Would the suites see the bugs that such a backend can have? Each of these is planted in the statements of all stores,
//! and the case that is named beside it must fail.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    panic::{self, AssertUnwindSafe},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use segue_core::ports::RunStore;
use segue_postgres::mutants::{Mutant, plant};
use segue_testkit::conformance::{
    block_on,
    run_store::{Database, cache, commits, creation, deletion, leases, lists, requests, values, waiting},
};
use support::{Empty, cases, fresh};

impl Database for Empty {
    fn open(&self) -> Arc<dyn RunStore> {
        self.store()
    }
}

/// A case without a bug ends, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

/// A case with its bug may wait for what will not come: it is not awaited for long.
const SHORT_PATIENCE: Duration = Duration::from_secs(3);

type Case = for<'d> fn(&'d dyn Database) -> Pin<Box<dyn Future<Output = ()> + 'd>>;

macro_rules! bugs {
    ($($name:literal: $from:literal => $to:literal, $module:ident :: $case:ident;)*) => {
        [$((Mutant { name: $name, from: $from, to: $to }, (|db| Box::pin($module::$case(db))) as Case)),*]
    };
}

fn bugs() -> impl Iterator<Item = (Mutant, Case)> {
    bugs! {
        "the fencing token is forgotten": "AND runs.fence = step.fence" => "",
            commits::an_old_fence_conflicts_and_leaves_no_trace;
        "a run without owner takes commits": "AND (runs.owner IS NOT NULL) IS TRUE" => "", creation::a_run_without_owner_takes_no_commit;
        "the version is not compared": "AND runs.version = step.since AND runs.chain = step.chain_before" => "",
            cases::what_a_store_remembers_is_only_a_guess;
        "an ended run keeps its owner": "owner = CASE WHEN step.live THEN runs.owner END" => "owner = runs.owner",
            commits::an_ended_run_belongs_to_nobody;
        "answered requests stay": "WHERE requests.request_id = answer.request_id" => "WHERE FALSE",
            commits::a_commit_may_only_answer_requests;
        "the losers' events are kept": "WHERE count > 0 AND (run_id IN (SELECT run_id FROM won)) IS TRUE" => "WHERE count > 0",
            commits::an_old_fence_conflicts_and_leaves_no_trace;
        "tasks lose their order": "ORDER BY since, place" => "ORDER BY task_id DESC",
            commits::task_rows_keep_the_order_of_their_first_change;
        "missing values are not noticed": "WHERE NOT EXISTS (SELECT 1 FROM blobs WHERE blobs.hash = needed.hash)"
            => "WHERE FALSE", deletion::a_value_that_is_gone_cannot_be_referred_to;
        "a new run's fence is not the one that was told": "owner END, fence, live, status, version" => "owner END, fence + 1, live, status, version",
            commits::a_commit_moves_the_run_on;
        "a wait begins anew with every change": "coalesce(excluded.waiting_since, tasks.waiting_since)"
            => "excluded.waiting_since", waiting::a_place_in_the_queue_is_kept;
        "a lease never ends": "WHERE engine_id = owner AND lease_until > clock_timestamp()" => "WHERE engine_id = owner",
            leases::a_held_run_is_claimed_when_its_lease_ends;
        "a lease ends at once": "clock_timestamp() + $5::bigint * interval '1 millisecond'"
            => "clock_timestamp() - $5::bigint * interval '1 millisecond'", leases::runs_without_owner_are_claimed_oldest_first;
        "whoever asks may claim": "WHERE engine_id = $1 AND lease_until > clock_timestamp()" => "WHERE $1::text IS NOT NULL",
            leases::an_engine_without_a_lease_claims_nothing;
        "the dead keep what they own": "AND engine_id <> ALL ($4::text[])" => "AND $4::text[] IS NOT NULL",
            leases::a_dead_owners_runs_are_claimed_at_once;
        "a claim leaves the fence": "SET owner = $1, fence = fence + 1" => "SET owner = $1, fence = fence",
            leases::a_held_run_is_claimed_when_its_lease_ends;
        "the newest are claimed first": "ORDER BY run_id LIMIT $2" => "ORDER BY run_id DESC LIMIT $2",
            leases::runs_without_owner_are_claimed_oldest_first;
        "others' runs are claimed": "AND ($3::uuid[] IS NULL OR run_id = ANY ($3))" => "AND ($3::uuid[] IS NULL OR TRUE)",
            leases::only_the_named_runs_are_claimed;
        "ended runs are not reopened": "WHERE reopens AND NOT live" => "WHERE FALSE",
            leases::a_request_to_reopen_makes_an_ended_run_claimable;
        "a release needs no lease": "AND runs.fence = lease.fence" => "", leases::a_release_of_an_old_lease_is_ignored;
        "runs that are left are told to nobody": "FROM freed WHERE live" => "FROM freed WHERE FALSE",
            requests::a_run_that_is_left_is_signalled;
        "requests are told to nobody": "request_id, pg_notify('segue_runs'" => "request_id, pg_notify('segue_nobody'",
            cases::who_listens_is_told;
        "a live run is deleted": "SELECT NOT live AND owner IS NULL" => "SELECT TRUE", deletion::a_run_that_may_go_on_is_not_deleted;
        "a shared value goes with its first user":
            "AND NOT EXISTS (SELECT 1 FROM blob_uses WHERE blob_uses.hash = blobs.hash)" => "",
            deletion::a_shared_value_goes_with_its_last_user;
        "a value stays after its last user": "DELETE FROM blobs WHERE hash = ANY($1)" => "DELETE FROM blobs WHERE FALSE AND hash = ANY($1)",
            deletion::a_shared_value_goes_with_its_last_user;
        "a cached result's value goes with its run":
            "AND NOT EXISTS (SELECT 1 FROM cache WHERE cache.blob = blobs.hash)" => "",
            cache::a_replaced_result_leaves_its_value_to_others;
        "what has expired is kept": "WHERE expires_at <= (extract" => "WHERE expires_at < 0 AND expires_at <= (extract",
            deletion::a_collection_removes_stale_results;
        "lists are the wrong way round": " DESC LIMIT $3" => " LIMIT $3", lists::runs_are_listed_newest_first;
        "a value is written as another": "SELECT DISTINCT ON (hash) hash, body" => "SELECT DISTINCT ON (hash) hash, body || '\\x20'",
            values::a_task_result_has_its_output_loaded;
    }
    .into_iter()
}

/// Does the case fail, or not end in time?
fn fails(case: Case, patience: Duration) -> bool {
    let database = fresh();
    let run = || block_on(async { tokio::time::timeout(patience, case(&database)).await.is_err() });
    panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or(true)
}

#[test]
fn every_planted_bug_is_seen() {
    plant(None);
    let (mut unseen, mut unused, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    for (mutant, case) in bugs() {
        if fails(case, PATIENCE) {
            wrong.push(mutant.name);
        }
    }
    assert!(wrong.is_empty(), "these cases fail without their bug: {wrong:?}");
    // Failing cases are expected here, and would print each time.
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    for (mutant, case) in bugs() {
        plant(Some(mutant));
        let is_seen = fails(case, SHORT_PATIENCE);
        if plant(None) == 0 {
            unused.push(mutant.name);
        } else if !is_seen {
            unseen.push(mutant.name);
        }
    }
    panic::set_hook(hook);
    assert!(unused.is_empty(), "no statement has the text of these bugs any more: {unused:?}");
    assert!(unseen.is_empty(), "these bugs live: {unseen:?}");
}
