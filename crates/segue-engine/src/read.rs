//! A run as its log tells it, for those who do not drive it.

use std::sync::Arc;

use segue_core::{
    event::Event,
    ids::RunId,
    plan::{Plan, PlanError},
    ports::{RunStore, StoreError},
    run::{Fold, FoldError, Run},
    spec::WorkflowSpec,
};

/// Why a run cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log cannot be folded.
    #[error(transparent)]
    Log(#[from] FoldError),
    /// The stored workflow cannot be used.
    #[error("the stored workflow cannot be used: {0}")]
    Workflow(String),
}

/// Events that are read at once.
const PAGE: usize = 1_000;

/// Folds a run's whole log, at one version of it. Takes nothing over and changes nothing.
pub async fn read_run(store: &dyn RunStore, run: RunId) -> Result<Run, ReadError> {
    let row = store.get_run(run).await?;
    let version = store.get_workflow(row.workflow_hash).await?;
    let spec: WorkflowSpec =
        serde_json::from_str(&version.spec_json).map_err(|error| ReadError::Workflow(error.to_string()))?;
    // A default handler decides who carries a task out, not what its result means.
    let plan =
        Plan::compile(&spec, &"pass".into()).map_err(|error: PlanError| ReadError::Workflow(error.to_string()))?;
    let mut fold = Fold::new(Arc::new(plan), run);
    let mut after = 0;
    loop {
        // No further than the row: what follows from a fact stands in the same commit.
        let left = usize::try_from(row.version - after).unwrap_or(PAGE).min(PAGE);
        let page = if left == 0 { Vec::new() } else { store.events(run, after, left).await? };
        if page.is_empty() {
            return Ok(fold.finish()?);
        }
        for mut event in page {
            after = event.seq;
            if fold.wants(&event).is_some() {
                supply(store, &mut event).await?;
            }
            fold.push(&event)?;
        }
    }
}

/// Loads the large value that an event refers to.
pub(crate) async fn supply(store: &dyn RunStore, event: &mut Event) -> Result<(), StoreError> {
    let Some(payload) = event.kind.payload_mut() else { return Ok(()) };
    let Some(blob) = payload.blob() else { return Ok(()) };
    let json = store.blob(blob).await?;
    let value = serde_json::from_slice(&json)
        .map_err(|error| StoreError::Broken(format!("a value that is no JSON: {error}")))?;
    payload.supply(Arc::new(value));
    Ok(())
}
