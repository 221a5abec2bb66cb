//! What happened in a simulation: shows that it can still reach everything.

use std::collections::{BTreeMap, BTreeSet};

use segue_core::{
    event::{CancelCause, Event, EventKind, SkipCode, Waiting},
    ids::TaskId,
    outcome::{ErrorKind, Loss},
    spec::{TaskNode, WorkflowOnFailure, WorkflowSpec},
};

/// Counts by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage(BTreeMap<&'static str, u64>);

impl Coverage {
    pub(super) fn saw(&mut self, what: &'static str) {
        *self.0.entry(what).or_insert(0) += 1;
    }

    /// What became of the later stages, and of failures that somebody decided about.
    pub(super) fn saw_stages(&mut self, spec: &WorkflowSpec, log: &[Event]) {
        let ids = |nodes: &[TaskNode]| nodes.iter().map(|node| TaskId::from(&node.id)).collect::<BTreeSet<_>>();
        let failure = match &spec.on_failure {
            Some(WorkflowOnFailure::Nodes(nodes)) => ids(nodes),
            _ => BTreeSet::new(),
        };
        let finally = ids(&spec.finally);
        let mut stop = None;
        let mut paused = BTreeSet::new();
        for event in log {
            let begins = matches!(
                event.kind,
                EventKind::TaskStarted {}
                    | EventKind::TaskMapped { .. }
                    | EventKind::LoopIterated { .. }
                    | EventKind::TaskWaiting(_)
            );
            match (&event.kind, &event.task_id) {
                (EventKind::RunCancelling { by, .. }, _) => match stop.replace(*by) {
                    Some(_) if *by == CancelCause::Request => self.saw("finally stopped by a second cancel"),
                    Some(_) => self.saw("finally out of time"),
                    None => {}
                },
                (EventKind::RunReopened {}, _) => stop = None,
                (EventKind::TaskSignaled { data, .. }, Some(task)) if paused.remove(task) => {
                    let said = data.value().and_then(|said| said.get("decision")?.as_str());
                    self.saw(match said {
                        Some("retry") => "decided: retry",
                        Some("continue") => "decided: continue",
                        _ => "decided: fail",
                    });
                }
                (_, Some(task)) if begins && failure.contains(task) => self.saw("on_failure nodes"),
                (_, Some(task)) if begins && finally.contains(task) => {
                    self.saw("finally nodes");
                    match stop {
                        Some(CancelCause::Request) => self.saw("finally after a cancel"),
                        Some(CancelCause::Deadline) => self.saw("finally after a timeout"),
                        Some(CancelCause::Failure) | None => {}
                    }
                }
                _ => {}
            }
            if let (EventKind::TaskWaiting(Waiting::Failure { .. }), Some(task)) = (&event.kind, &event.task_id) {
                paused.insert(task);
            }
        }
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
                Waiting::Question { .. } => "waiting.question",
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
