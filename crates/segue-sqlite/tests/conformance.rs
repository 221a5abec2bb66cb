//! SQLite passes the suite of the port.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use segue_core::ports::{CheckpointStore, LimitStore, ModelJournal, RunStore};
use segue_sqlite::{SqliteOptions, SqliteStore};
use segue_testkit::conformance::{
    checkpoints::Threads, limit_store::Limited, model_journal::Calls, run_store::Database,
};
use tempfile::TempDir;

struct File(TempDir);

impl Database for File {
    fn open(&self) -> Arc<dyn RunStore> {
        Arc::new(SqliteStore::open(&self.0.path().join("segue.db"), SqliteOptions::default()).unwrap())
    }
}

impl Threads for File {
    fn open(&self) -> Arc<dyn CheckpointStore> {
        Arc::new(SqliteStore::open(&self.0.path().join("segue.db"), SqliteOptions::default()).unwrap())
    }
}

impl Calls for File {
    fn open(&self) -> (Arc<dyn RunStore>, Arc<dyn ModelJournal>) {
        let store = SqliteStore::open(&self.0.path().join("segue.db"), SqliteOptions::default()).unwrap();
        let store = Arc::new(store);
        (store.clone(), store)
    }
}

impl Limited for File {
    fn open(&self) -> (Arc<dyn RunStore>, Arc<dyn LimitStore>) {
        let store = SqliteStore::open(&self.0.path().join("segue.db"), SqliteOptions::default()).unwrap();
        let store = Arc::new(store);
        (store.clone(), store)
    }
}

fn fresh() -> File {
    File(tempfile::tempdir().unwrap())
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

mod limits {
    use super::fresh;

    segue_testkit::limit_store_suite!(fresh);
}
