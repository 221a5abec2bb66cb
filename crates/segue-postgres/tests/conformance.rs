//! PostgreSQL passes the suites of the ports.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use segue_core::ports::{CheckpointStore, ModelJournal, RunStore};
use segue_testkit::conformance::{checkpoints::Threads, model_journal::Calls, run_store::Database};
use support::{Empty, fresh};

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

segue_testkit::run_store_suite!(fresh);

mod checkpoints {
    use super::fresh;

    segue_testkit::checkpoint_store_suite!(fresh);
}

mod model_journal {
    use super::fresh;

    segue_testkit::model_journal_suite!(fresh);
}
