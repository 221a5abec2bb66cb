//! The document as the auditor reads it: blocks of nodes with their incoming edges and loops, defaults merged.

use std::{collections::BTreeMap, time::Duration};

use segue_core::{
    ids::NodeId,
    spec::{
        ApprovalSpec, ChildSpec, EdgeSpec, FailureAction, FailurePolicy, Join, OnExhausted, OnFailure, RepeatSpec,
        Seconds, TaskNode, WaitSpec, WorkflowOnFailure, WorkflowSpec,
    },
};
use serde_json::{Map, Value};

use super::retry::Retry;

/// The workflow's own nodes.
pub(super) const MAIN: usize = 0;

#[derive(Debug, Clone)]
pub(super) struct Graph {
    /// All nodes, those of groups too.
    pub(super) nodes: Vec<Node>,
    /// The workflow's own nodes, then those of each group, then those of the later stages with their groups.
    pub(super) blocks: Vec<Block>,
    /// The blocks of `on_failure` and `finally`, where there are any.
    pub(super) failure: Option<usize>,
    pub(super) finally: Option<usize>,
    pub(super) max_parallel: Option<usize>,
    pub(super) timeout: Option<Duration>,
    pub(super) cancel_on_failure: bool,
}

/// Nodes side by side.
#[derive(Debug, Clone, Default)]
pub(super) struct Block {
    pub(super) nodes: Vec<usize>,
    /// What they give together; without it, the outputs of those on which no other depends.
    pub(super) outputs: Option<Value>,
}

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) join: Join,
    pub(super) when: Option<String>,
    /// One a dependency: a pair that is named twice is one edge, with the condition that either gives.
    pub(super) incoming: Vec<Edge>,
    pub(super) work: Work,
    pub(super) foreach: Option<Value>,
    pub(super) parallelism: usize,
    pub(super) repeat: Option<RepeatSpec>,
    /// The loop edge that leaves it.
    pub(super) back: Option<Back>,
    /// The node that ends the innermost loop around it.
    pub(super) innermost: Option<usize>,
    pub(super) timeout: Option<Duration>,
    pub(super) deadline: Option<Duration>,
    pub(super) retry: Retry,
    pub(super) inputs: Map<String, Value>,
    /// It is given the outputs of its dependencies: it names neither a handler nor a prompt.
    pub(super) takes_material: bool,
    /// `on_failure: continue`: the stand-in output.
    pub(super) continue_with: Option<Value>,
    /// `on_failure: pause`.
    pub(super) pauses: bool,
    /// What is done when the budget, the node's or the workflow's, is used up.
    pub(super) exceeded: FailureAction,
    pub(super) schema: Option<Value>,
    /// Its attempts run under a limit.
    pub(super) is_limited: bool,
}

/// What a node does.
#[derive(Debug, Clone)]
pub(super) enum Work {
    Attempts,
    Group(usize),
    Approval(ApprovalSpec),
    Wait(WaitSpec),
    Child(ChildSpec),
}

#[derive(Debug, Clone)]
pub(super) struct Edge {
    pub(super) from: usize,
    pub(super) when: Option<String>,
}

/// A loop edge, as the node has it that it leaves.
#[derive(Debug, Clone)]
pub(super) struct Back {
    pub(super) when: Option<String>,
    pub(super) most: u32,
    pub(super) on_exhausted: OnExhausted,
    /// All nodes that are on a way from its target to its source.
    pub(super) body: Vec<usize>,
}

impl Graph {
    pub(super) fn of(spec: &WorkflowSpec) -> Self {
        let mut graph = Self {
            nodes: Vec::new(),
            blocks: Vec::new(),
            failure: None,
            finally: None,
            max_parallel: spec.max_parallel_nodes.map(|n| n as usize),
            timeout: spec.timeout_seconds.map(Seconds::as_duration),
            cancel_on_failure: spec.on_failure == Some(WorkflowOnFailure::Policy(FailurePolicy::Cancel)),
        };
        graph.add_block(spec, &spec.nodes, &spec.edges, spec.outputs.clone().map(Value::Object));
        if let Some(WorkflowOnFailure::Nodes(nodes)) = &spec.on_failure {
            graph.failure = (!nodes.is_empty()).then(|| graph.add_block(spec, nodes, &[], None));
        }
        graph.finally = (!spec.finally.is_empty()).then(|| graph.add_block(spec, &spec.finally, &[], None));
        graph
    }

    fn add_block(
        &mut self,
        spec: &WorkflowSpec,
        nodes: &[TaskNode],
        edges: &[EdgeSpec],
        outputs: Option<Value>,
    ) -> usize {
        let block = self.blocks.len();
        let first = self.nodes.len();
        self.blocks.push(Block { nodes: (first..first + nodes.len()).collect(), outputs });
        self.nodes.extend(nodes.iter().map(|node| Node::of(spec, node)));
        let position: BTreeMap<&NodeId, usize> = nodes.iter().enumerate().map(|(at, n)| (&n.id, first + at)).collect();
        for node in nodes {
            for from in &node.depends_on {
                self.nodes[position[&node.id]].depend_on(position[from], None);
            }
        }
        for edge in edges.iter().filter(|edge| edge.loop_bound().is_none()) {
            self.nodes[position[edge.to()]].depend_on(position[edge.from()], edge.when());
        }
        for node in &mut self.nodes[first..] {
            node.incoming.sort_by_key(|edge| edge.from);
        }
        for edge in edges {
            let Some((most, on_exhausted)) = edge.loop_bound() else { continue };
            let (from, to) = (position[edge.from()], position[edge.to()]);
            let body = (first..first + nodes.len()).filter(|&at| self.leads(to, at) && self.leads(at, from)).collect();
            let when = edge.when().map(str::to_owned);
            self.nodes[from].back = Some(Back { when, most, on_exhausted, body });
        }
        for at in first..first + nodes.len() {
            let around = (first..first + nodes.len()).filter_map(|from| Some((self.nodes[from].back.as_ref()?, from)));
            let around = around.filter(|(back, _)| back.body.contains(&at));
            self.nodes[at].innermost = around.min_by_key(|(back, _)| back.body.len()).map(|(_, from)| from);
        }
        for (at, node) in nodes.iter().enumerate() {
            if let Some(group) = &node.group {
                let inner = self.add_block(spec, &group.nodes, &group.edges, group.output.clone());
                self.nodes[first + at].work = Work::Group(inner);
            }
        }
        block
    }

    /// Is there a way from one node to the other, or are they the same?
    fn leads(&self, from: usize, to: usize) -> bool {
        from == to || self.nodes[to].incoming.iter().any(|edge| self.leads(from, edge.from))
    }

    /// The edges that leave a node: `(target, place among the target's edges)`.
    pub(super) fn leaving(&self, from: usize) -> impl Iterator<Item = (usize, usize)> {
        self.nodes.iter().enumerate().flat_map(move |(to, node)| {
            node.incoming.iter().enumerate().filter(move |(_, edge)| edge.from == from).map(move |(at, _)| (to, at))
        })
    }
}

impl Node {
    fn of(spec: &WorkflowSpec, node: &TaskNode) -> Self {
        let defaults = spec.defaults.clone().unwrap_or_default();
        let on_failure: OnFailure = node.on_failure.clone().or(defaults.on_failure).unwrap_or_default();
        let own = node.retry_policy.clone().unwrap_or_default();
        let work = match (&node.workflow, &node.approval, &node.wait) {
            (Some(child), ..) => Work::Child(child.clone()),
            (None, Some(approval), _) => Work::Approval(approval.clone()),
            (None, None, Some(wait)) => Work::Wait(wait.clone()),
            (None, None, None) => Work::Attempts,
        };
        let makes_attempts = matches!(work, Work::Attempts | Work::Child(_)) && node.group.is_none();
        let is_named = node.spec.task.is_some() || node.workflow.is_some();
        // The default bounds attempts only.
        let timeout = node.timeout_seconds.or(defaults.timeout_seconds.filter(|_| makes_attempts));
        let limits = node.limits.clone().or_else(|| defaults.limits.clone());
        Self {
            id: node.id.clone(),
            join: node.join,
            when: node.when.clone(),
            incoming: Vec::new(),
            work,
            foreach: node.foreach.clone(),
            parallelism: node.parallelism.unwrap_or(1) as usize,
            repeat: node.repeat.clone(),
            back: None,
            innermost: None,
            timeout: timeout.map(Seconds::as_duration),
            deadline: node.deadline_seconds.map(Seconds::as_duration),
            inputs: node.spec.inputs.clone(),
            takes_material: makes_attempts && !is_named && !node.spec.inputs.contains_key("prompt"),
            retry: Retry::of(&own, &defaults.retry_policy.unwrap_or_default()),
            pauses: on_failure.action == FailureAction::Pause,
            exceeded: node.budget.or(spec.budget).map_or(FailureAction::Fail, |budget| budget.on_exceeded),
            schema: node.output_schema.clone(),
            is_limited: makes_attempts && node.workflow.is_none() && limits.is_some_and(|names| !names.is_empty()),
            continue_with: match on_failure.action {
                FailureAction::Fail | FailureAction::Pause => None,
                FailureAction::Continue => Some(on_failure.output.unwrap_or(Value::Null)),
            },
        }
    }

    fn depend_on(&mut self, from: usize, when: Option<&str>) {
        match self.incoming.iter_mut().find(|edge| edge.from == from) {
            Some(edge) => edge.when = when.map(str::to_owned).or(edge.when.take()),
            None => self.incoming.push(Edge { from, when: when.map(str::to_owned) }),
        }
    }
}
