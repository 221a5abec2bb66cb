//! PostgreSQL passes the suites of the ports.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use segue_core::ports::{CheckpointStore, LimitStore, ModelJournal, RunStore};
use segue_testkit::conformance::{
    block_on, checkpoints::Threads, limit_store::Limited, model_journal::Calls, run_store::Database,
};
use support::{Empty, cases, fresh};

impl Database for Empty {
    fn open(&self) -> Arc<dyn RunStore> {
        self.store()
    }
}

impl Threads for Empty {
    fn open(&self) -> Arc<dyn CheckpointStore> {
        self.store()
    }
}

impl Calls for Empty {
    fn open(&self) -> (Arc<dyn RunStore>, Arc<dyn ModelJournal>) {
        let store = self.store();
        (store.clone(), store)
    }
}

impl Limited for Empty {
    fn open(&self) -> (Arc<dyn RunStore>, Arc<dyn LimitStore>) {
        let store = self.store();
        (store.clone(), store)
    }
}

segue_testkit::run_store_suite!(fresh);

#[test]
fn what_a_store_remembers_is_only_a_guess() {
    let database = fresh();
    block_on(cases::what_a_store_remembers_is_only_a_guess(&database));
}

#[test]
fn who_listens_is_told() {
    let database = fresh();
    block_on(cases::who_listens_is_told(&database));
}

mod checkpoints {
    use super::fresh;

    segue_testkit::checkpoint_store_suite!(fresh);
}

mod model_journal {
    use super::fresh;

    segue_testkit::model_journal_suite!(fresh);
}

mod limits {
    use super::fresh;

    segue_testkit::limit_store_suite!(fresh);
}
