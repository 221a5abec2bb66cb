//! One task's state.

use std::{collections::VecDeque, sync::Arc};

use serde_json::Value;

use super::{TaskIx, scope::ScopeIx};
use crate::{
    event::Waiting,
    ids::TaskId,
    outcome::{TaskError, Usage},
    payload::Payload,
    plan::{NodeIx, PlanNode},
    question::Resume,
    run::join::Counts,
    status::Status,
    time::Timestamp,
};

/// After this many engines have died over one task it is quarantined: it may be what kills them.
pub(super) const ENGINE_LOSSES_MAX: u32 = 3;

/// A node of several parts is carried out layer by layer, from the outermost inwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layer {
    /// `foreach`: its parts are the instances.
    Map,
    /// `repeat`: its parts are the iterations.
    Repeat,
    /// What the node does.
    Work,
}

impl Layer {
    /// The first layer of a node: that of the task which others depend on.
    pub(super) const fn outermost(node: &PlanNode) -> Self {
        match (&node.foreach, &node.repeat) {
            (Some(_), _) => Self::Map,
            (None, Some(_)) => Self::Repeat,
            (None, None) => Self::Work,
        }
    }

    /// The layer inside this one.
    pub(super) const fn inner(self, node: &PlanNode) -> Self {
        match self {
            Self::Map if node.repeat.is_some() => Self::Repeat,
            _ => Self::Work,
        }
    }
}

/// The parts of a task that has begun.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Parts {
    /// One an item, side by side.
    Instances {
        /// Dropped when the whole has its result.
        items: Vec<Arc<Value>>,
        first: TaskIx,
        len: u32,
        /// Instances that have not begun, in order.
        queue: VecDeque<TaskIx>,
        /// Instances that have begun and not ended.
        live: usize,
        /// Instances that have not ended.
        open: usize,
    },
    /// One after the other.
    Iteration { current: TaskIx, number: u32, previous: Option<Payload> },
    /// The members of a group.
    Group(ScopeIx),
}

/// A task as the log tells it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Task {
    pub(super) id: TaskId,
    pub(super) node: NodeIx,
    pub(super) layer: Layer,
    pub(super) scope: ScopeIx,
    /// Of an instance or an iteration: the task whose part it is.
    pub(super) parent: Option<TaskIx>,
    /// Of an instance: its index. Of an iteration: its number.
    pub(super) number: u32,
    /// How often a loop edge has brought it here, from 1; 0 outside of loops.
    pub(super) round: u32,
    /// How often it has started over because a loop went round, over all loops and rounds.
    pub(super) laps: u32,
    pub(super) parts: Option<Parts>,
    /// `seq` of the fact that last made it begin again.
    pub(super) restarted: u64,
    pub(super) waiting: Option<Waiting>,
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
    /// Of a member that failed: the dependents that have handled it or may still do so.
    pub(super) handlers: u32,
    /// Nodes that may still read its output; the run's own outputs count as one.
    pub(super) readers: u32,
    pub(super) usage: Usage,
    /// What it had used when its budget was last granted again.
    pub(super) granted: Usage,
    /// How often that was.
    pub(super) grants: u32,
    /// The answers to what it has asked, for its next attempt or the one that runs.
    pub(super) resume: Option<Resume>,
    /// What models answered the attempts from this one on is good still.
    pub(super) answers_since: u32,
}

impl Task {
    pub(super) fn new(id: TaskId, ix: NodeIx, node: &PlanNode, readers: u32) -> Self {
        Self {
            id,
            node: ix,
            layer: Layer::outermost(node),
            scope: ScopeIx::ROOT,
            parent: None,
            number: 0,
            round: u32::from(node.loop_end.is_some()),
            laps: 0,
            parts: None,
            restarted: 0,
            waiting: None,
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
            handlers: 0,
            readers,
            usage: Usage::default(),
            granted: Usage::default(),
            grants: 0,
            resume: None,
            answers_since: 1,
        }
    }

    /// Does its result stay when the run is reopened?
    pub(super) fn is_kept(&self) -> bool {
        self.status == Status::Succeeded || self.continues
    }

    /// Starts over, in a reopened run or a further round of a loop. Attempts and consumption count on.
    pub(super) fn reset(&mut self, node: &PlanNode) {
        let fresh = Self::new(self.id.clone(), self.node, node, self.readers);
        *self = Self {
            layer: self.layer,
            scope: self.scope,
            parent: self.parent,
            number: self.number,
            round: self.round,
            laps: self.laps,
            attempt: self.attempt,
            restarted: self.restarted,
            usage: self.usage,
            granted: self.granted,
            grants: self.grants,
            answers_since: self.answers_since,
            ..fresh
        };
    }
}
