//! Stopping: of a run, of what is inside a task.

use super::{Phase, Run, TaskIx};
use crate::{
    event::{CancelCause, Event, EventKind},
    outcome::Usage,
    time::Timestamp,
};

impl Run {
    /// Nothing new starts. What waits is over at once; what runs is no longer owed, and its end is awaited. A task of
    /// several parts ends after them. The `finally` nodes are stopped only by a second word.
    pub(super) fn stop(&mut self, events: &mut Vec<Event>, by: CancelCause, reason: String, now: Timestamp) {
        self.record(events, now, EventKind::RunCancelling { by, reason });
        if self.state.phase != Phase::Stopping || planted!(CancelForgetsWhatWaits) {
            return;
        }
        for ix in self.under_way(self.scope(self.current()).members().collect()) {
            let runs = self.is_alive(ix) && !(planted!(StopsForgetChildren) && self.state.awaiting.contains(&ix));
            if !runs && !self.has_open_parts(ix) {
                self.record_about(events, now, ix, None, EventKind::TaskCancelled { usage: Usage::default() });
            }
        }
    }

    /// What is under way inside a task is not wanted any more.
    pub(super) fn cancel_parts(&mut self, events: &mut Vec<Event>, ix: TaskIx, now: Timestamp) {
        for part in self.under_way(self.parts_of(ix)) {
            let attempt = self.is_alive(part).then_some(self.task(part).attempt);
            self.record_about(events, now, part, attempt, EventKind::TaskCancelled { usage: Usage::default() });
        }
    }

    /// Those of these tasks, and of what is inside them, that have not ended: each after its parts.
    fn under_way(&self, tasks: Vec<TaskIx>) -> Vec<TaskIx> {
        let mut found = Vec::new();
        let mut left = tasks;
        // From the last to the first and from the outside in: the reverse of the order that is wanted.
        while let Some(ix) = left.pop() {
            if !self.task(ix).status.is_terminal() {
                found.push(ix);
                left.extend(self.parts_of(ix));
            }
        }
        found.reverse();
        found
    }
}
