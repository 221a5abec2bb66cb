//! The scheduler carries owed attempts to their adapters and respects the adapters' limits.

use async_trait::async_trait;

use crate::{
    ids::{HandlerId, RunId, TaskId, TaskRunId},
    outcome::TaskOutcome,
    ports::Invocation,
    status::Status,
};

/// Takes the one answer of a scheduled attempt. Called exactly once, when the attempt's work is truly over.
pub type Completion = Box<dyn FnOnce(TaskOutcome) + Send>;

/// The right to run one attempt now. Holding it holds the place; dropping it gives the place back.
pub trait Slot: Send + Sync {}

/// Why an attempt cannot be scheduled.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// No adapter carries out this handler.
    #[error("no adapter carries out `{0}`")]
    UnknownHandler(HandlerId),
    /// The scheduler shuts down.
    #[error("the scheduler is shutting down")]
    ShuttingDown,
}

/// Starts, stops and knows attempts.
#[async_trait]
pub trait Scheduler: Send + Sync {
    /// Asks for a place for one attempt of `task`. `None`: full, or an earlier attempt of the same task is not over
    /// yet; `wake` is called once when asking again may succeed. Never waits.
    fn reserve(
        &self,
        run_id: RunId,
        task_id: &TaskId,
        handler: &HandlerId,
        concurrency: Option<u32>,
        wake: &(dyn Fn() -> Box<dyn FnOnce() + Send> + Sync),
    ) -> Result<Option<Box<dyn Slot>>, ScheduleError>;

    /// Starts an attempt in a reserved place. Returns at once; the answer comes through `done`.
    async fn schedule_task(
        &self,
        slot: Box<dyn Slot>,
        invocation: Invocation,
        done: Completion,
    ) -> Result<TaskRunId, ScheduleError>;

    /// Tells an attempt to stop. Its answer still comes through its completion. Unknown ids are ignored: it is over.
    async fn cancel_task(&self, id: &TaskRunId);

    /// `RUNNING` while the attempt's work is not over; `None` after that.
    async fn get_task_status(&self, id: &TaskRunId) -> Option<Status>;
}
