//! What every [`RunStore`] must keep: each promise of the port, as one case.
//!
//! A backend's test file says how a fresh database is made, and calls [`run_store_suite!`](crate::run_store_suite):
//!
//! ```
//! # use std::sync::Arc;
//! use segue_core::{memory::MemoryStore, ports::RunStore, time::Timestamp};
//! use segue_testkit::conformance::run_store::Database;
//!
//! struct Memory(MemoryStore);
//!
//! impl Database for Memory {
//!     fn open(&self) -> Arc<dyn RunStore> {
//!         Arc::new(self.0.clone())
//!     }
//! }
//!
//! fn fresh() -> Memory {
//!     Memory(MemoryStore::new(Arc::new(segue_testkit::conformance::now)))
//! }
//!
//! segue_testkit::run_store_suite!(fresh);
//! ```

pub mod cache;
pub mod commits;
pub mod creation;
pub mod deletion;
pub mod deployments;
pub mod handles;
pub mod leases;
pub mod lists;
pub mod requests;
pub mod values;
pub mod waiting;
mod world;

use std::sync::Arc;

use segue_core::ports::RunStore;

pub use world::{Live, engine, new_run, run_id, task_row, workflow};

/// One database of the backend under test, empty at first.
pub trait Database: Send + Sync {
    /// Opens a store on it. Several may be open at once, as if by several processes; after the last one is dropped the
    /// next one finds what was committed.
    fn open(&self) -> Arc<dyn RunStore>;
}

/// Makes one `#[test]` of each case of the suite. `$fresh` is a function that makes a fresh [`Database`].
#[macro_export]
macro_rules! run_store_suite {
    (@ $fresh:expr; $($module:ident :: $case:ident)*) => {
        $(
            #[test]
            fn $case() {
                $crate::conformance::block_on($crate::conformance::run_store::$module::$case(&$fresh()));
            }
        )*
    };
    ($fresh:expr) => {
        $crate::run_store_suite! { @ $fresh;
            creation::a_created_run_is_read_back
            creation::what_is_not_there_is_not_found
            creation::a_workflow_version_is_kept_once
            creation::one_key_is_one_run
            creation::a_key_with_another_request_is_refused
            creation::a_hundred_creations_with_one_key_make_one_run
            creation::without_a_key_every_creation_is_a_run
            creation::a_run_without_owner_takes_no_commit
            commits::a_commit_moves_the_run_on
            commits::an_old_version_conflicts_and_leaves_no_trace
            commits::an_old_fence_conflicts_and_leaves_no_trace
            commits::a_released_lease_conflicts
            commits::one_of_many_commits_at_one_version_wins
            commits::one_conflict_among_many_commits_fails_alone
            commits::an_ended_run_belongs_to_nobody
            commits::a_commit_may_only_answer_requests
            commits::the_log_is_read_in_pages
            commits::task_rows_keep_the_order_of_their_first_change
            values::every_kind_of_event_comes_back
            values::numbers_and_texts_come_back_exactly
            values::a_large_value_is_a_reference_in_the_log
            values::a_value_that_is_handed_on_stays_with_each_run
            values::a_value_that_looks_like_a_reference_is_no_reference
            values::a_task_result_has_its_output_loaded
            values::a_task_result_tells_the_last_failure
            values::every_field_of_a_row_comes_back
            leases::runs_without_owner_are_claimed_oldest_first
            leases::only_the_named_runs_are_claimed
            leases::an_engine_without_a_lease_claims_nothing
            leases::a_held_run_is_claimed_when_its_lease_ends
            leases::a_renewed_lease_holds
            leases::a_lease_that_ended_unnoticed_still_commits
            leases::a_dead_owners_runs_are_claimed_at_once
            leases::a_released_run_is_claimed_by_another
            leases::a_release_of_an_old_lease_is_ignored
            leases::the_engines_are_those_that_own_a_run
            leases::an_engine_is_told_what_it_owns
            leases::the_store_says_what_time_it_is
            leases::two_engines_never_share_a_run
            leases::a_request_to_reopen_makes_an_ended_run_claimable
            leases::a_request_to_cancel_does_not
            requests::requests_are_kept_in_order_until_answered
            requests::dismissed_requests_are_gone
            requests::a_request_is_signalled
            requests::a_run_that_is_left_is_signalled
            requests::a_request_of_another_store_is_signalled_in_time
            lists::runs_are_listed_newest_first
            lists::filters_narrow_the_list
            lists::a_prefix_finds_its_run
            lists::pages_of_a_list_meet
            lists::filters_agree_with_the_rows
            waiting::the_longest_waiting_task_comes_first
            waiting::a_place_in_the_queue_is_kept
            waiting::tasks_that_wait_since_one_time_keep_their_order
            deployments::the_last_deployment_is_the_current_one
            deployments::a_deployment_is_repeatable
            deployments::an_unknown_version_is_not_deployed
            cache::a_result_is_kept_under_its_key
            cache::an_expired_result_is_not_served
            cache::a_replaced_result_leaves_its_value_to_others
            deletion::a_deleted_run_is_gone
            deletion::a_run_that_may_go_on_is_not_deleted
            deletion::a_shared_value_goes_with_its_last_user
            deletion::a_value_that_is_gone_cannot_be_referred_to
            deletion::a_part_of_a_live_run_is_not_deleted
            deletion::a_collection_removes_what_is_old
            deletion::a_collection_removes_stale_results
            deletion::a_value_written_during_a_deletion_is_kept
            deletion::deletions_at_once_do_it_once
            handles::two_stores_see_each_other
            handles::what_is_committed_outlives_the_store
        }
    };
}
