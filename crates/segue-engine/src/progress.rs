//! Progress of an attempt, forwarded to the bus.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use segue_core::{
    event::Envelope,
    ids::{RunId, TaskId, WorkflowId},
    ports::{EventBus, Progress, ProgressSink},
};

use crate::clock::Clock;

/// Publishes one attempt's progress, marked transient.
pub(crate) struct BusProgress {
    pub(crate) bus: Arc<dyn EventBus>,
    pub(crate) clock: Clock,
    pub(crate) workflow_id: WorkflowId,
    pub(crate) run_id: RunId,
    pub(crate) task_id: TaskId,
    pub(crate) attempt: u32,
    /// `seq` of the run's last committed fact.
    pub(crate) seq: Arc<AtomicU64>,
}

impl ProgressSink for BusProgress {
    fn emit(&self, progress: Progress) {
        if !self.is_wanted() {
            return;
        }
        self.bus.publish(vec![Envelope {
            seq: self.seq.load(Ordering::Acquire),
            name: progress.name.to_owned(),
            time: self.clock.now(),
            workflow_id: self.workflow_id.clone(),
            run_id: self.run_id,
            task_id: Some(self.task_id.clone()),
            attempt: Some(self.attempt),
            data: progress.data,
            transient: true,
        }]);
    }

    fn is_wanted(&self) -> bool {
        self.bus.is_listened(self.run_id)
    }
}
