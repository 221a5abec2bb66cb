//! Looking after a store in memory: there is little to look after.

use std::{collections::BTreeMap, ops::Bound, path::Path};

use async_trait::async_trait;

use super::MemoryStore;
use crate::{
    ids::RunId,
    ports::{
        Copied, Count, EngineRecord, EngineStatus, Findings, RunStore, SchemaVersion, StoreError, StoreStatus,
        StoreUpkeep,
    },
};

/// Nothing is kept that an earlier program could have written.
const SCHEMA: SchemaVersion = SchemaVersion { found: 1, known: 1 };

#[async_trait]
impl StoreUpkeep for MemoryStore {
    async fn status(&self) -> Result<StoreStatus, StoreError> {
        let (now, engines) = ((self.clock)(), self.engines().await?);
        let state = self.state();
        let mut runs = BTreeMap::new();
        for run in state.runs.values() {
            *runs.entry(run.row.status).or_default() += 1;
        }
        let engine = |engine: EngineRecord| {
            let until = state.engines.get(&engine.engine_id).map(|(_, until)| *until);
            EngineStatus {
                runs: state.owned_by(&engine.engine_id).len() as u64,
                lease_left_ms: until.map(|until| (until.as_micros() - now.as_micros()) / 1_000),
                engine,
            }
        };
        Ok(StoreStatus {
            backend: "memory".to_owned(),
            schema: SCHEMA,
            bytes: 0,
            log_bytes: None,
            free_bytes: None,
            runs,
            oldest_live: state.runs.values().find(|run| !run.row.status.is_terminal()).map(|run| run.row.run_id),
            events: exactly(state.runs.values().map(|run| run.events.len()).sum()),
            blobs: exactly(state.blobs.len()),
            workflows: state.deployments.len() as u64,
            waiting: state.waiting().count() as u64,
            requests: state.runs.values().map(|run| run.requests.len() as u64).sum(),
            engines: engines.into_iter().map(engine).collect(),
        })
    }

    async fn schema(&self) -> Result<SchemaVersion, StoreError> {
        Ok(SCHEMA)
    }

    async fn migrate(&self) -> Result<SchemaVersion, StoreError> {
        Ok(SCHEMA)
    }

    async fn run_ids(&self, after: Option<RunId>, limit: usize) -> Result<Vec<RunId>, StoreError> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let state = self.state();
        Ok(state.runs.range((after, Bound::Unbounded)).map(|(run, _)| *run).take(limit).collect())
    }

    async fn verify_run(&self, run: RunId) -> Result<Findings, StoreError> {
        self.state().run(run).map(|_| Findings::default())
    }

    async fn verify_storage(&self) -> Result<Findings, StoreError> {
        Ok(Findings::default())
    }

    async fn backup(&self, _: &Path) -> Result<Copied, StoreError> {
        Err(StoreError::Refused("a store in memory is gone with its process: there is nothing to copy".to_owned()))
    }
}

fn exactly(n: usize) -> Count {
    Count { count: n as u64, about: false }
}
