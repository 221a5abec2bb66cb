//! The tasks of a run as a tree: members of scopes, instances, iterations.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use segue_core::{
    event::Waiting,
    ids::{RunId, TaskId},
    outcome::{TaskError, Usage},
    status::Status,
    time::Timestamp,
};
use serde_json::Value;

use super::{
    Auditor,
    graph::{Node, Work},
    join::{Decision, Fate},
};

/// A node of several parts is carried out layer by layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layer {
    Map,
    Repeat,
    Work,
}

/// The parts of a task that has begun, and has any.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Parts {
    None,
    /// One an item, in order.
    Instances {
        items: Vec<Value>,
        tasks: Vec<usize>,
    },
    /// The last one that began, and the output of the one before it.
    Iteration {
        current: usize,
        previous: Value,
    },
    /// The scope of a group.
    Group(usize),
}

/// A task, as far as the log tells.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Task {
    pub(super) id: TaskId,
    pub(super) node: usize,
    pub(super) layer: Layer,
    pub(super) scope: usize,
    /// Of an instance or an iteration: the task whose part it is.
    pub(super) whole: Option<usize>,
    /// Of an instance its index, of an iteration its number.
    pub(super) number: u32,
    /// Which round of the innermost loop around it this is; 0 outside of loops, and for parts.
    pub(super) round: u32,
    /// It belongs to an earlier round or iteration.
    pub(super) gone: bool,
    pub(super) parts: Parts,
    /// Of a `foreach`: its items, as they were when it became its turn.
    pub(super) items: Option<Result<Vec<Value>, String>>,
    pub(super) waiting: Option<Waiting>,
    /// The other run that its attempts have waited for.
    pub(super) child: Option<RunId>,
    /// Its result is another run's.
    pub(super) reused: bool,
    /// What was said to it while it waited.
    pub(super) answer: Option<Value>,
    pub(super) status: Status,
    /// All attempts so far, over reopenings too: the number of the last one.
    pub(super) attempts: u32,
    /// Attempts of the task's present life that ended and count against the retry policy.
    pub(super) failures: u32,
    pub(super) engine_losses: u32,
    /// When it began, in the run's present life.
    pub(super) first_started: Option<Timestamp>,
    /// From when its deadline counts: its beginning, or the last answer of a person.
    pub(super) deadline_from: Option<Timestamp>,
    pub(super) started: Timestamp,
    pub(super) ended: Timestamp,
    /// The pause before the next attempt ends here.
    pub(super) due: Option<Timestamp>,
    /// The bounds of the last pause.
    pub(super) pause: Option<(Duration, Duration)>,
    pub(super) output: Option<Arc<Value>>,
    pub(super) error: Option<TaskError>,
    /// It failed and counts as succeeded.
    pub(super) continued: bool,
    /// Of a member: what its join and its condition say. Of a part: `Run` once it is its turn.
    pub(super) decision: Decision,
    /// What has become of its incoming edges, by their place.
    pub(super) edges: BTreeMap<usize, Fate>,
    /// It ended while the run was being stopped, and nobody has looked at the edges that leave it.
    pub(super) unfollowed: bool,
    /// It has succeeded, and the loop that it ends goes round once more.
    pub(super) again: bool,
    pub(super) usage: Usage,
    /// `seq` of the event that ended it.
    pub(super) ended_seq: u64,
}

impl Task {
    pub(super) fn new(id: TaskId, node: usize, layer: Layer, scope: usize) -> Self {
        Self {
            id,
            node,
            layer,
            scope,
            whole: None,
            number: 0,
            round: 0,
            gone: false,
            parts: Parts::None,
            items: None,
            waiting: None,
            child: None,
            reused: false,
            answer: None,
            status: Status::Pending,
            attempts: 0,
            failures: 0,
            engine_losses: 0,
            first_started: None,
            deadline_from: None,
            started: Timestamp::from_micros(0),
            ended: Timestamp::from_micros(0),
            due: None,
            pause: None,
            output: None,
            error: None,
            continued: false,
            decision: Decision::Open,
            edges: BTreeMap::new(),
            unfollowed: false,
            again: false,
            usage: Usage::default(),
            ended_seq: 0,
        }
    }

    /// Its result stays when the run is reopened.
    pub(super) fn is_kept(&self) -> bool {
        self.status == Status::Succeeded || self.continued
    }

    /// It has ended, and no loop takes that back.
    pub(super) fn is_over(&self) -> bool {
        self.status.is_terminal() && !self.again
    }

    /// An attempt of it runs, and holds a place.
    pub(super) fn is_running(&self) -> bool {
        self.status == Status::Running && self.parts == Parts::None
    }

    /// An attempt of it waits for another run.
    pub(super) fn is_awaiting(&self) -> bool {
        matches!(self.waiting, Some(Waiting::Child { .. }))
    }

    /// Its attempt has not ended.
    pub(super) fn is_alive(&self) -> bool {
        self.is_running() || self.is_awaiting()
    }

    /// It has failed, and a person is to say what that means.
    pub(super) fn is_paused(&self) -> bool {
        matches!(self.waiting, Some(Waiting::Failure { .. }))
    }

    fn is_iteration(&self, whole: Option<&Self>) -> bool {
        whole.is_some_and(|whole| whole.layer == Layer::Repeat)
    }

    /// Starts over; what it consumed and its attempts count on.
    pub(super) fn reset(&mut self) {
        let fresh = Self::new(self.id.clone(), self.node, self.layer, self.scope);
        *self = Self {
            whole: self.whole,
            number: self.number,
            round: self.round,
            attempts: self.attempts,
            usage: self.usage,
            edges: std::mem::take(&mut self.edges),
            child: self.child,
            ..fresh
        };
    }
}

impl Auditor {
    pub(super) fn node(&self, ix: usize) -> &Node {
        &self.graph.nodes[self.tasks[ix].node]
    }

    /// A member of a scope, on whose node others depend; not a part of one.
    pub(super) fn is_member(&self, ix: usize) -> bool {
        self.tasks[ix].whole.is_none()
    }

    /// An instance of a `foreach`.
    pub(super) fn is_instance(&self, ix: usize) -> bool {
        self.tasks[ix].whole.is_some_and(|whole| self.tasks[whole].layer == Layer::Map)
    }

    /// An iteration of a `repeat`.
    pub(super) fn is_iteration(&self, ix: usize) -> bool {
        self.tasks[ix].is_iteration(self.tasks[ix].whole.map(|whole| &self.tasks[whole]))
    }

    /// What it is a part of, or the group around it.
    pub(super) fn container(&self, ix: usize) -> Option<usize> {
        self.tasks[ix].whole.or(self.scopes[self.tasks[ix].scope].owner)
    }

    pub(super) fn containers(&self, ix: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(self.container(ix), |&ix| self.container(ix))
    }

    /// All that it is in is under way, and it is its turn there.
    pub(super) fn is_active(&self, ix: usize) -> bool {
        self.scopes[self.tasks[ix].scope].stage == self.stage
            && self.containers(ix).all(|around| {
                self.tasks[around].status == Status::Running && self.tasks[around].decision == Decision::Run
            })
    }

    /// The tasks that are not of an earlier round or iteration.
    pub(super) fn current(&self) -> impl Iterator<Item = usize> {
        (0..self.tasks.len()).filter(|&ix| !self.tasks[ix].gone)
    }

    /// The parts of a task, or the members of its group.
    pub(super) fn parts(&self, ix: usize) -> Vec<usize> {
        match &self.tasks[ix].parts {
            Parts::None => Vec::new(),
            Parts::Instances { tasks, .. } => tasks.clone(),
            Parts::Iteration { current, .. } => vec![*current],
            Parts::Group(scope) => self.scopes[*scope].tasks.clone(),
        }
    }

    /// A new instance or iteration.
    pub(super) fn add_part(&mut self, whole: usize, id: String, number: u32, decision: Decision) -> usize {
        let (node, scope, layer) = (self.tasks[whole].node, self.tasks[whole].scope, self.tasks[whole].layer);
        let layer = if layer == Layer::Map && self.node(whole).repeat.is_some() { Layer::Repeat } else { Layer::Work };
        self.add(Task { whole: Some(whole), number, decision, ..Task::new(TaskId::new(id), node, layer, scope) })
    }

    /// A task with the name of an earlier one goes on counting where that one stopped.
    pub(super) fn add(&mut self, mut task: Task) -> usize {
        let ix = self.tasks.len();
        if let Some(old) = self.by_id.insert(task.id.clone(), ix) {
            (task.attempts, task.usage) = (self.tasks[old].attempts, self.tasks[old].usage);
        }
        self.tasks.push(task);
        ix
    }

    /// Leaves all that is inside a task behind.
    pub(super) fn forget_parts(&mut self, ix: usize) {
        for part in self.parts(ix) {
            self.forget_parts(part);
            self.tasks[part].gone = true;
        }
        self.tasks[ix].parts = Parts::None;
    }

    /// Does it make attempts itself?
    pub(super) fn makes_attempts(&self, ix: usize) -> bool {
        self.tasks[ix].layer == Layer::Work && matches!(self.node(ix).work, Work::Attempts | Work::Child(_))
    }
}
