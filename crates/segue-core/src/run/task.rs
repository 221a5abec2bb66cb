//! One task's state.

use crate::{
    outcome::{TaskError, Usage},
    payload::Payload,
    plan::{NodeIx, PlanNode},
    run::join::Counts,
    status::Status,
    time::Timestamp,
};

/// After this many engines have died over one task it is quarantined: it may be what kills them.
pub(super) const ENGINE_LOSSES_MAX: u32 = 3;

/// A task as the log tells it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Task {
    pub(super) node: NodeIx,
    pub(super) status: Status,
    /// The last attempt that began; counts on when the run is reopened.
    pub(super) attempt: u32,
    /// Failures that count against the retry policy, since the run was created or reopened.
    pub(super) failures: u32,
    /// Engines that died over it, since then.
    pub(super) engine_losses: u32,
    pub(super) counts: Counts,
    /// When the running attempt has taken too long.
    pub(super) timeout_at: Option<Timestamp>,
    /// When the task has taken too long.
    pub(super) deadline_at: Option<Timestamp>,
    /// When its next attempt may start.
    pub(super) due: Option<Timestamp>,
    pub(super) started_at: Option<Timestamp>,
    pub(super) finished_at: Option<Timestamp>,
    pub(super) result_seq: Option<u64>,
    /// What it produced, or what stands in for it. Dropped when nobody can read it any more.
    pub(super) output: Option<Payload>,
    pub(super) error: Option<TaskError>,
    /// It failed, and the run goes on as if it had succeeded.
    pub(super) continues: bool,
    /// Its dependents have counted how it ended.
    pub(super) told: bool,
    /// Nodes that may still read its output; the run's own outputs count as one.
    pub(super) readers: u32,
    pub(super) usage: Usage,
}

impl Task {
    pub(super) fn new(ix: NodeIx, node: &PlanNode, readers: u32) -> Self {
        Self {
            node: ix,
            status: Status::Pending,
            attempt: 0,
            failures: 0,
            engine_losses: 0,
            counts: Counts::of(node.incoming.len()),
            timeout_at: None,
            deadline_at: None,
            due: None,
            started_at: None,
            finished_at: None,
            result_seq: None,
            output: None,
            error: None,
            continues: false,
            told: false,
            readers,
            usage: Usage::default(),
        }
    }

    /// Does its result stay when the run is reopened?
    pub(super) fn is_kept(&self) -> bool {
        self.status == Status::Succeeded || self.continues
    }

    /// Starts over, for a reopened run. Attempts and consumption count on.
    pub(super) fn reset(&mut self, node: &PlanNode) {
        let fresh = Self::new(self.node, node, self.readers);
        *self = Self { attempt: self.attempt, usage: self.usage, ..fresh };
    }
}
