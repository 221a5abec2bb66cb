//! The implementations in memory pass the suites.

use std::sync::Arc;

use segue_core::{
    memory::{MemoryBus, MemoryStore},
    ports::{CheckpointStore, EventBus, LimitStore, ModelJournal, RunStore},
};
use segue_testkit::conformance::{
    checkpoints::Threads, limit_store::Limited, model_journal::Calls, now, run_store::Database,
};

struct Memory(MemoryStore);

impl Database for Memory {
    fn open(&self) -> Arc<dyn RunStore> {
        Arc::new(self.0.clone())
    }
}

impl Threads for Memory {
    fn open(&self) -> Arc<dyn CheckpointStore> {
        Arc::new(self.0.clone())
    }
}

impl Calls for Memory {
    fn open(&self) -> (Arc<dyn RunStore>, Arc<dyn ModelJournal>) {
        (Arc::new(self.0.clone()), Arc::new(self.0.clone()))
    }
}

impl Limited for Memory {
    fn open(&self) -> (Arc<dyn RunStore>, Arc<dyn LimitStore>) {
        (Arc::new(self.0.clone()), Arc::new(self.0.clone()))
    }
}

mod store {
    use super::{Arc, Memory, MemoryStore, now};

    fn fresh() -> Memory {
        Memory(MemoryStore::new(Arc::new(now)))
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
}

mod bus {
    use super::{Arc, EventBus, MemoryBus};

    fn fresh() -> Arc<dyn EventBus> {
        Arc::new(MemoryBus::default())
    }

    segue_testkit::event_bus_suite!(fresh);
}
