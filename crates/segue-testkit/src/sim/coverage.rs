//! What happened in a simulation: shows that it can still reach everything.

use std::collections::{BTreeMap, BTreeSet};

use segue_core::{
    event::{CancelCause, Event, EventKind, SkipCode, Waiting},
    outcome::{ErrorKind, Loss},
};

/// Counts by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage(BTreeMap<&'static str, u64>);

impl Coverage {
    pub(super) fn saw(&mut self, what: &'static str) {
        *self.0.entry(what).or_insert(0) += 1;
    }

    pub(super) fn saw_log(&mut self, log: &[Event]) {
        let mut succeeded = BTreeSet::new();
        for event in log {
            self.saw(event.kind.name());
            self.saw_detail(event);
            match &event.kind {
                // A loop edge is taken when the task it leaves has succeeded; an iteration begins in a task that runs.
                EventKind::LoopIterated { .. } if succeeded.remove(&event.task_id) => self.saw("round"),
                EventKind::LoopIterated { .. } => self.saw("iteration"),
                EventKind::TaskSucceeded { .. } => drop(succeeded.insert(event.task_id.clone())),
                _ => {}
            }
        }
    }

    fn saw_detail(&mut self, event: &Event) {
        match &event.kind {
            EventKind::TaskSkipped { reason } => self.saw(match reason.code {
                SkipCode::When => "skip.when",
                SkipCode::NotReached => "skip.not_reached",
                SkipCode::UpstreamFailed => "skip.upstream_failed",
                SkipCode::NothingFailed => "skip.nothing_failed",
                SkipCode::JoinNeverHolds => "skip.join_never_holds",
            }),
            EventKind::RunCancelling { by, .. } => self.saw(match by {
                CancelCause::Request => "cancelling.request",
                CancelCause::Deadline => "cancelling.deadline",
                CancelCause::Failure => "cancelling.failure",
            }),
            EventKind::TaskRetrying { lost: Some(by), .. } => self.saw(match by {
                Loss::Worker => "lost.worker",
                Loss::Engine => "lost.engine",
                Loss::Drained => "lost.drained",
            }),
            EventKind::TaskRetrying { error, .. } if error.kind == ErrorKind::Timeout => self.saw("timeout"),
            EventKind::TaskFailed { continue_with: Some(_), .. } => self.saw("continued"),
            EventKind::TaskFailed { lost: Some(Loss::Engine), .. } => self.saw("quarantined"),
            EventKind::TaskFailed { error, .. } if event.attempt.is_none() => self.saw(match error.kind {
                ErrorKind::InvalidInput => "broken condition",
                ErrorKind::Limit => "exhausted",
                ErrorKind::Timeout => "too late",
                ErrorKind::Rejected => "rejected by a person",
                _ => "failed with its parts",
            }),
            EventKind::TaskFailed { error, .. } if error.kind == ErrorKind::Limit => self.saw("exhausted"),
            EventKind::TaskStarted {} if event.attempt.is_none() => self.saw("group"),
            EventKind::TaskSucceeded { .. } if event.attempt.is_none() => self.saw("concluded"),
            EventKind::TaskMapped { n: 0 } => self.saw("mapped to nothing"),
            EventKind::TaskWaiting(waiting) => self.saw(match waiting {
                Waiting::Approval { .. } => "waiting.approval",
                Waiting::Time { .. } => "waiting.time",
                Waiting::Event { .. } => "waiting.event",
                Waiting::Child { .. } => "waiting.child",
                Waiting::Failure { .. } => "waiting.failure",
            }),
            _ => {}
        }
    }

    /// How often it happened.
    pub fn count(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }

    /// Adds another run's counts.
    pub fn add(&mut self, other: &Self) {
        for (what, count) in &other.0 {
            *self.0.entry(what).or_insert(0) += count;
        }
    }

    /// All counts, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(what, count)| (*what, *count))
    }
}
