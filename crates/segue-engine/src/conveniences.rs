//! Single writes for adapter authors and tests.
//!
//! As two writes they could not survive a crash between them. Here each is one commit of what the kernel makes of it,
//! under the lease that the caller holds; the engine itself does not use them.

use segue_core::{
    event::Event,
    ids::TaskId,
    outcome::TaskOutcome,
    ports::{Commit, Lease, RunStore, StoreError},
    run::{Input, Rejected},
    status::Status,
    time::Timestamp,
};

use crate::read::{ReadError, read_run};

/// Why such a write did not happen.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The kernel refuses it: it is stale, or cannot be.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// A run does not become this by being told so; its tasks decide.
    #[error("a run cannot be set to {0}: its status follows from its tasks")]
    NotASetting(Status),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The run cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Records how an attempt ended, and whatever follows from it. Returns the new facts; what they owe is for the
/// engine that drives the run next. Reads the whole log: for single writes, not for loops.
pub async fn update_task_result(
    store: &dyn RunStore,
    lease: Lease,
    task: &TaskId,
    attempt: u32,
    outcome: TaskOutcome,
    now: Timestamp,
) -> Result<Vec<Event>, WriteError> {
    write(store, lease, Input::TaskEnded { task: task.clone(), attempt, outcome, jitter: 0.0 }, now).await
}

/// Sets a run's status where that is somebody's to set: `CANCELLED` stops it (it ends when what runs has ended),
/// `RUNNING` reopens one that failed or was cancelled. Every other status follows from the tasks.
pub async fn set_run_status(
    store: &dyn RunStore,
    lease: Lease,
    status: Status,
    now: Timestamp,
) -> Result<Vec<Event>, WriteError> {
    let input = match status {
        Status::Cancelled => Input::Cancel { reason: "its status was set to CANCELLED".to_owned() },
        Status::Running => Input::Reopen,
        other => return Err(WriteError::NotASetting(other)),
    };
    write(store, lease, input, now).await
}

async fn write(store: &dyn RunStore, lease: Lease, input: Input, now: Timestamp) -> Result<Vec<Event>, WriteError> {
    let mut run = read_run(store, lease.run_id).await?;
    let expected_version = run.version();
    let events = run.handle(input, now)?;
    if !events.is_empty() {
        let (row, tasks) = (run.run_row(), run.task_rows(&events));
        store
            .commit(Commit { lease, expected_version, events: events.clone(), run: row, tasks, answered: Vec::new() })
            .await?;
    }
    Ok(events)
}
