//! From the log to a run.

use std::sync::Arc;

use segue_core::{
    event::Event,
    ids::RunId,
    ports::{RunStore, StoreError},
    run::{Fold, Run},
    time::Timestamp,
};

use crate::{live::End, patience::patiently, plans::Deployed, shared::Shared};

/// Events that are read at once.
const PAGE: usize = 1_000;

/// A run from its log, its workflow, and the time of its last fact.
pub(super) struct Loaded {
    pub(super) deployed: Arc<Deployed>,
    pub(super) run: Run,
    pub(super) last: Timestamp,
}

/// Folds a run's log. While the store is away it waits.
pub(super) async fn load(shared: &Arc<Shared>, run_id: RunId) -> Result<Loaded, End> {
    let row = patiently(shared, || shared.store.get_run(run_id)).await?;
    let deployed = patiently(shared, || shared.deployed(row.workflow_hash)).await?;
    let mut fold = Fold::new(deployed.plan.clone(), run_id);
    let (mut after, mut last) = (0, row.created_at);
    loop {
        let page = patiently(shared, || shared.store.events(run_id, after, PAGE)).await?;
        let is_last = page.len() < PAGE;
        for mut event in page {
            after = event.seq;
            last = last.max(event.time);
            if fold.wants(&event).is_some() {
                patiently(shared, || fetch(&*shared.store, &event)).await.map(|value| supply(&mut event, value))?;
            }
            fold.push(&event).map_err(|error| unusable(run_id, &error.to_string()))?;
        }
        if is_last {
            let run = fold.finish().map_err(|error| unusable(run_id, &error.to_string()))?;
            return Ok(Loaded { deployed, run, last });
        }
    }
}

async fn fetch(store: &dyn RunStore, event: &Event) -> Result<serde_json::Value, StoreError> {
    let blob = event.kind.payload().and_then(|payload| payload.blob()).expect("the fold wants a large value");
    let json = store.blob(blob).await?;
    serde_json::from_slice(&json).map_err(|error| StoreError::Broken(format!("a value that is no JSON: {error}")))
}

fn supply(event: &mut Event, value: serde_json::Value) {
    if let Some(payload) = event.kind.payload_mut() {
        payload.supply(Arc::new(value));
    }
}

fn unusable(run_id: RunId, why: &str) -> End {
    tracing::error!(%run_id, why, "the run's log cannot be used");
    End::Unusable(why.to_owned())
}
