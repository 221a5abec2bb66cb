//! What the end of a child run means for the task that waits for it.

use std::sync::Arc;

use segue_core::{
    event::{EventKind, Waiting},
    outcome::{ErrorKind, TaskError, TaskOutcome, Usage},
    payload::Payload,
    ports::{RunRow, StoreError},
    status::Status,
};
use serde_json::Value;

use crate::{live::End, patience::patiently, shared::Shared};

/// Events that are read at once.
const PAGE: usize = 1_000;

/// The outcome of the `attempt` whose child run has ended. `is_ours`: it was we who told it to stop.
pub(super) async fn outcome(
    shared: &Arc<Shared>,
    row: &RunRow,
    attempt: u32,
    is_ours: bool,
) -> Result<TaskOutcome, End> {
    let usage = usage(shared, row, attempt).await?;
    let failed = |mut error: TaskError| {
        error.message = format!("run {} of {}: {}", row.run_id, row.workflow_id, error.message);
        error.retryable = false;
        error.node = None;
        TaskOutcome::Failed { error, usage }
    };
    Ok(match row.status {
        Status::Succeeded => {
            TaskOutcome::Succeeded { output: outputs(shared, row).await?, usage, warnings: Vec::new() }
        }
        Status::Cancelled if is_ours => TaskOutcome::Cancelled { usage },
        Status::Cancelled => failed(TaskError::new(ErrorKind::Cancelled, "it was cancelled")),
        _ => failed(row.error.clone().unwrap_or_else(|| TaskError::new(ErrorKind::User, "it failed"))),
    })
}

pub(super) fn unusable(why: String) -> TaskError {
    let mut error = TaskError::new(ErrorKind::Load, format!("the child run cannot be used: {why}"));
    error.retryable = false;
    error
}

async fn outputs(shared: &Arc<Shared>, row: &RunRow) -> Result<Payload, End> {
    let store = &shared.store;
    let last = patiently(shared, || store.events(row.run_id, row.version - 1, 1)).await?;
    let Some(EventKind::RunSucceeded { outputs }) = last.into_iter().next().map(|event| event.kind) else {
        return Err(End::Unusable(format!("the log of run {} does not end with its success", row.run_id)));
    };
    let Some(blob) = outputs.blob() else { return Ok(outputs) };
    let value = patiently(shared, || async {
        let json = store.blob(blob).await?;
        serde_json::from_slice::<Value>(&json).map_err(|error| StoreError::Broken(error.to_string()))
    });
    // Made anew, so that the parent keeps a large value of its own: the child may be deleted.
    Ok(Payload::new(value.await?))
}

/// What it consumed since it was reopened last: what came before has been told with an earlier attempt.
async fn usage(shared: &Arc<Shared>, row: &RunRow, attempt: u32) -> Result<Usage, End> {
    if attempt == 1 || row.usage.is_zero() {
        return Ok(row.usage);
    }
    let (mut after, mut sum) = (0, Usage::default());
    loop {
        let page = patiently(shared, || shared.store.events(row.run_id, after, PAGE)).await?;
        for event in &page {
            match &event.kind {
                EventKind::TaskSucceeded { usage, .. }
                | EventKind::TaskFailed { usage, .. }
                | EventKind::TaskRetrying { usage, .. }
                | EventKind::TaskWaiting(Waiting::Failure { usage, .. })
                | EventKind::TaskCancelled { usage } => sum += *usage,
                EventKind::RunReopened {} => sum = Usage::default(),
                _ => {}
            }
            after = event.seq;
        }
        if page.len() < PAGE {
            return Ok(sum);
        }
    }
}
