//! What the events of a run add up to, for the eye.
//!
//! The tree has a line a node, however many tasks a node becomes: instances are counted, and only those of interest
//! are at hand. Taking in an event costs the same whether a run has ten tasks or ten thousand.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use segue_core::{
    event::{Envelope, Waiting},
    ids::RunId,
    spec::WorkflowSpec,
    status::Status,
    time::Timestamp,
};

use super::task::TaskView;
use crate::graph::{Address, BlockKind, Graph, Line, NodeState, Parts, Tally, lines};

/// A run as it is shown while it goes on.
#[derive(Debug)]
pub(crate) struct RunView {
    pub(crate) run: Option<RunId>,
    pub(crate) title: String,
    pub(crate) graph: Graph,
    /// The tree, a line a node.
    pub(crate) lines: Vec<Line>,
    /// By the node's place in the graph.
    pub(crate) nodes: Vec<NodeView>,
    pub(crate) status: Status,
    pub(crate) cancelling: bool,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Option<Timestamp>,
    /// The tasks that wait, by their full ids.
    pub(crate) waiting: BTreeMap<String, Waiting>,
    /// By node: the limits that keep it, or instances of it, from beginning. No event tells them.
    pub(crate) limit_waits: BTreeMap<String, String>,
    /// What all its tasks have consumed so far.
    pub(crate) tokens: u64,
    by_id: HashMap<String, usize>,
    /// Every task that was heard of, by its lasting id.
    tasks: BTreeMap<String, TaskView>,
    /// How many instances each `foreach` task has.
    mapped: HashMap<String, u32>,
}

/// A node, with its tasks counted.
#[derive(Debug)]
pub(crate) struct NodeView {
    /// The id of its one task; none if it has one in each instance of a group around it.
    pub(crate) task: Option<String>,
    /// Its tasks, without instances.
    tasks: Tally,
    /// How many of these there will be.
    tasks_expected: u32,
    /// Its instances.
    instances: Tally,
    instances_expected: u32,
    /// Instances that run, wait, failed or are tried again: by rank, age and id.
    notable: BTreeSet<(u8, i64, String)>,
    pub(crate) tokens: u64,
}

impl RunView {
    /// A run of which nothing has happened yet; `default_task` is the handler of nodes that name none.
    pub(crate) fn new(spec: &WorkflowSpec, default_task: &str) -> Self {
        let graph = Graph::of_spec(spec, default_task);
        let mut nodes: Vec<NodeView> = Vec::with_capacity(graph.nodes.len());
        for node in &graph.nodes {
            // A group stands before its members.
            let task = match graph.blocks[node.block].kind {
                BlockKind::Group(group) if graph.nodes[group].foreach.is_some() => None,
                BlockKind::Group(group) => nodes[group].task.as_ref().map(|group| format!("{group}/{}", node.id)),
                BlockKind::Main | BlockKind::OnFailure | BlockKind::Finally => Some(node.id.clone()),
            };
            nodes.push(NodeView {
                tasks_expected: task.is_some().into(),
                task,
                tasks: Tally::default(),
                instances: Tally::default(),
                instances_expected: 0,
                notable: BTreeSet::new(),
                tokens: 0,
            });
        }
        Self {
            run: None,
            title: spec.name.clone().unwrap_or_else(|| spec.id.to_string()),
            lines: lines(&graph),
            by_id: graph.nodes.iter().enumerate().map(|(at, node)| (node.id.clone(), at)).collect(),
            graph,
            nodes,
            status: Status::Pending,
            cancelling: false,
            started_at: None,
            finished_at: None,
            waiting: BTreeMap::new(),
            limit_waits: BTreeMap::new(),
            tokens: 0,
            tasks: BTreeMap::new(),
            mapped: HashMap::new(),
        }
    }

    /// Where a node stands.
    pub(crate) fn state(&self, node: usize) -> NodeState {
        let view = &self.nodes[node];
        let count = |tally: &Tally, total: u32| Parts {
            done: tally.done(),
            failed: tally.of(Status::Failed),
            total: total.max(tally.all()),
        };
        let Some(task) = view.task.as_ref() else {
            let mut tally = view.tasks;
            for _ in tally.all()..view.tasks_expected {
                tally.moved(None, Some(Status::Pending));
            }
            let parts = Some(count(&view.tasks, view.tasks_expected));
            return NodeState { status: tally.summary(), attempts: 0, iteration: None, parts, reused: false };
        };
        let is_mapped = self.mapped.contains_key(task);
        let parts = is_mapped.then(|| count(&view.instances, view.instances_expected));
        match self.tasks.get(task) {
            Some(task) => NodeState {
                status: task.status,
                attempts: task.attempt,
                iteration: task.iteration,
                parts,
                reused: task.reused,
            },
            None => NodeState { status: Status::Pending, attempts: 0, iteration: None, parts, reused: false },
        }
    }

    /// Is there a task that has not begun?
    pub(crate) fn has_more_to_begin(&self) -> bool {
        (0..self.nodes.len()).any(|node| self.has_more(node))
    }

    /// The limits that keep a node, or instances of it, from beginning.
    pub(crate) fn limits_of(&self, node: usize) -> Option<&str> {
        let limits = self.limit_waits.get(&self.graph.nodes[node].id)?;
        self.has_more(node).then_some(limits)
    }

    fn has_more(&self, node: usize) -> bool {
        let state = self.state(node);
        let has_parts = state.parts.is_some_and(|parts| parts.done < parts.total);
        state.status == Status::Pending || (has_parts && !state.status.is_terminal())
    }

    /// A node's one task, once something was heard of it.
    pub(crate) fn task_of(&self, node: usize) -> Option<&TaskView> {
        self.tasks.get(self.nodes[node].task.as_ref()?)
    }

    /// The instances of a node that are of interest: those that run, the longest first, then those that failed, that
    /// wait, that are tried again.
    pub(crate) fn notable(&self, node: usize) -> impl Iterator<Item = (&str, &TaskView)> {
        let ids = self.nodes[node].notable.iter();
        ids.filter_map(|(_, _, id)| Some((id.as_str(), self.tasks.get(id)?)))
    }

    /// How many instances of a node are of interest.
    pub(crate) fn notable_len(&self, node: usize) -> usize {
        self.nodes[node].notable.len()
    }

    /// The node of this id.
    pub(crate) fn node(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    /// How many nodes have ended, and how many there are; those for a failure only once they are needed.
    pub(crate) fn done(&self) -> (usize, usize) {
        let counted =
            (0..self.nodes.len()).filter(|&node| match self.graph.blocks[self.graph.nodes[node].block].kind {
                BlockKind::Main | BlockKind::Finally => true,
                BlockKind::OnFailure => self.task_of(node).is_some_and(|task| task.started_at.is_some()),
                BlockKind::Group(_) => false,
            });
        counted.fold((0, 0), |(done, all), node| (done + usize::from(self.state(node).status.is_terminal()), all + 1))
    }

    /// Takes one event in.
    pub(crate) fn apply(&mut self, event: &Envelope) {
        self.run = Some(event.run_id);
        match &event.task_id {
            Some(task) => self.apply_to_task(task.as_str(), event),
            None => self.apply_to_run(event),
        }
    }

    fn apply_to_run(&mut self, event: &Envelope) {
        self.status = match event.name.as_str() {
            "run.started" => {
                self.started_at = Some(event.time);
                Status::Running
            }
            "run.waiting" => Status::Waiting,
            "run.cancelling" => {
                self.cancelling = true;
                return;
            }
            "run.succeeded" => Status::Succeeded,
            "run.failed" => Status::Failed,
            "run.cancelled" => Status::Cancelled,
            "run.reopened" => {
                self.reopen();
                Status::Running
            }
            _ => return,
        };
        self.finished_at = self.status.is_terminal().then_some(event.time);
    }

    /// What has not succeeded runs again.
    fn reopen(&mut self) {
        self.cancelling = false;
        self.waiting.clear();
        let again: Vec<String> =
            self.tasks.iter().filter(|(_, task)| task.status != Status::Succeeded).map(|(id, _)| id.clone()).collect();
        again.iter().for_each(|id| self.change(id, TaskView::start_over));
    }

    fn apply_to_task(&mut self, id: &str, event: &Envelope) {
        let address = Address::of(id);
        let Some(&node) = self.by_id.get(address.node) else { return };
        let lasting = Address::lasting(id);
        if !self.tasks.contains_key(&lasting) {
            self.tasks.insert(lasting.clone(), TaskView::new(node, address.index));
            self.tally(node, address.index).moved(None, Some(Status::Pending));
        }
        // Something moves: the run no longer only waits. What ends its waiting leaves the others waiting as they were.
        let waited = self.tasks.get(&lasting).is_some_and(|task| task.status == Status::Waiting);
        if self.status == Status::Waiting && !event.transient && (!waited || event.name == "task.signaled") {
            self.status = Status::Running;
        }
        match event.name.as_str() {
            "task.waiting" => match serde_json::from_value(event.data.clone()) {
                Ok(waiting) => drop(self.waiting.insert(id.to_owned(), waiting)),
                Err(_) => drop(self.waiting.remove(id)),
            },
            _ if event.transient => {}
            _ => drop(self.waiting.remove(id)),
        }
        match event.name.as_str() {
            "task.mapped" => self.map(node, &lasting, number(event, "n")),
            "loop.iterated" if self.goes_back(node, &lasting, number(event, "iteration")) => return,
            "loop.iterated" => self.iterate(&lasting, number(event, "iteration")),
            _ => {}
        }
        self.change(&lasting, |task| task.apply(event, address.iteration.is_some()));
    }

    /// Changes a task, and everything that is counted about it.
    fn change(&mut self, lasting: &str, change: impl FnOnce(&mut TaskView)) {
        let Some(task) = self.tasks.get_mut(lasting) else { return };
        let (node, index, before, tokens) = (task.node, task.index, task.status, task.tokens());
        let was = rank(task).map(|(rank, age)| (rank, age, lasting.to_owned()));
        change(task);
        let (now, spent) = (task.status, task.tokens());
        let is = rank(task).map(|(rank, age)| (rank, age, lasting.to_owned()));
        self.tokens = self.tokens + spent - tokens;
        let view = &mut self.nodes[node];
        view.tokens = view.tokens + spent - tokens;
        // A node's one task is its line.
        if view.task.as_deref() != Some(lasting) && was != is {
            if let Some(was) = was {
                view.notable.remove(&was);
            }
            view.notable.extend(is);
        }
        if before != now {
            self.tally(node, index).moved(Some(before), Some(now));
        }
    }

    fn tally(&mut self, node: usize, index: Option<u32>) -> &mut Tally {
        let view = &mut self.nodes[node];
        if index.is_some() { &mut view.instances } else { &mut view.tasks }
    }

    /// A `foreach` task has its instances; in a loop not for the first time.
    fn map(&mut self, node: usize, lasting: &str, n: u32) {
        let before = self.mapped.insert(lasting.to_owned(), n);
        if before.is_some() {
            self.forget_below(&format!("{lasting}["));
        }
        let before = before.unwrap_or(0);
        let more = |known: &mut u32| *known = (*known + n).saturating_sub(before);
        more(&mut self.nodes[node].instances_expected);
        let mut open: Vec<usize> = self.graph.nodes[node].members.into_iter().collect();
        while let Some(block) = open.pop() {
            for &member in &self.graph.blocks[block].nodes {
                more(&mut self.nodes[member].tasks_expected);
                // What is inside a group that has instances of its own is counted when it has them.
                if self.graph.nodes[member].foreach.is_none() {
                    open.extend(self.graph.nodes[member].members);
                }
            }
        }
    }

    /// A loop edge is taken if its node has ended: then the body starts over. Else it is `repeat` that goes round.
    fn goes_back(&mut self, node: usize, lasting: &str, iteration: u32) -> bool {
        let has_ended = self.tasks.get(lasting).is_some_and(|task| task.status.is_terminal());
        let Some(back) = self.graph.loops.iter().find(|back| back.from == node).filter(|_| has_ended) else {
            return false;
        };
        let scope = lasting.rfind('/').map_or("", |slash| &lasting[..=slash]);
        let body: Vec<String> = back.body.iter().map(|&at| format!("{scope}{}", self.graph.nodes[at].id)).collect();
        for id in &body {
            self.start_over_below(&format!("{id}["));
            self.start_over_below(&format!("{id}/"));
            self.change(id, TaskView::start_over);
        }
        self.change(lasting, |task| task.iteration = Some(iteration));
        true
    }

    /// The next iteration of `repeat`: a group's members start over.
    fn iterate(&mut self, lasting: &str, iteration: u32) {
        if iteration > 1 {
            self.start_over_below(&format!("{lasting}/"));
        }
        self.change(lasting, |task| task.iteration = Some(iteration));
    }

    fn below(&self, prefix: &str) -> Vec<String> {
        let from = self.tasks.range(prefix.to_owned()..);
        from.take_while(|(id, _)| id.starts_with(prefix)).map(|(id, _)| id.clone()).collect()
    }

    fn start_over_below(&mut self, prefix: &str) {
        self.below(prefix).iter().for_each(|id| self.change(id, TaskView::start_over));
    }

    fn forget_below(&mut self, prefix: &str) {
        for id in self.below(prefix) {
            self.change(&id, TaskView::start_over);
            if let Some(task) = self.tasks.remove(&id) {
                self.tally(task.node, task.index).moved(Some(Status::Pending), None);
            }
        }
    }

    /// The graph, with the states of its nodes.
    pub(crate) fn into_graph(mut self) -> Graph {
        for node in 0..self.nodes.len() {
            self.graph.nodes[node].state = Some(self.state(node));
        }
        self.graph
    }

    /// How many nodes stand where, in the order in which people ask: running first.
    pub(crate) fn counts(&self, nodes: &[usize]) -> Vec<(Status, u32)> {
        let mut tally = Tally::default();
        nodes.iter().for_each(|&node| tally.moved(None, Some(self.state(node).status)));
        tally.present().collect()
    }
}

/// What makes an instance worth a line of its own, and since when.
fn rank(task: &TaskView) -> Option<(u8, i64)> {
    let since = |time: Option<Timestamp>| time.map_or(0, Timestamp::as_micros);
    match task.status {
        Status::Running => Some((0, since(task.started_at))),
        Status::Failed => Some((1, since(task.finished_at))),
        Status::Waiting => Some((2, since(task.started_at))),
        Status::Pending if task.attempt > 0 && !task.note.is_empty() => Some((3, since(task.started_at))),
        _ => None,
    }
}

fn number(event: &Envelope, field: &str) -> u32 {
    event.data[field].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(0)
}
