//! Blocks: the nodes of the workflow, of its later stages and of its groups, numbered and connected.

use std::{collections::BTreeMap, ops::Range};

use serde_json::Value;

use super::{
    super::{BlockIx, Dependent, Incoming, LoopBack, NodeIx, Outputs, PlanNode, loops},
    PlanError, condition, template,
};
use crate::{
    expr::Expression,
    ids::NodeId,
    spec::{EdgeSpec, TaskNode, WorkflowOnFailure, WorkflowSpec},
};

/// A block before it is compiled.
pub(super) struct Draft<'a> {
    pub(super) first: usize,
    pub(super) nodes: &'a [TaskNode],
    edges: &'a [EdgeSpec],
    outputs: Option<Value>,
    pub(super) owner: Option<NodeIx>,
    /// The blocks of its groups, by the group's place in it.
    pub(super) inner: BTreeMap<usize, BlockIx>,
}

/// Numbers the nodes block by block, the workflow's own first.
pub(super) fn number(spec: &WorkflowSpec) -> Vec<Draft<'_>> {
    let outputs = spec.outputs.clone().map(Value::Object);
    let root = Draft { first: 0, nodes: &spec.nodes, edges: &spec.edges, outputs, owner: None, inner: BTreeMap::new() };
    let mut drafts = vec![root];
    let mut next = spec.nodes.len();
    for nodes in [failure_nodes(spec), &spec.finally].into_iter().filter(|nodes| !nodes.is_empty()) {
        drafts.push(Draft { first: next, nodes, edges: &[], outputs: None, owner: None, inner: BTreeMap::new() });
        next += nodes.len();
    }
    let mut at = 0;
    while at < drafts.len() {
        let (first, nodes) = (drafts[at].first, drafts[at].nodes);
        for (place, node) in nodes.iter().enumerate() {
            let Some(group) = &node.group else { continue };
            let block = block_ix(drafts.len());
            drafts[at].inner.insert(place, block);
            let (owner, outputs) = (Some(ix(first + place)), group.output.clone());
            let inner = BTreeMap::new();
            drafts.push(Draft { first: next, nodes: &group.nodes, edges: &group.edges, outputs, owner, inner });
            next += group.nodes.len();
        }
        at += 1;
    }
    drafts
}

fn failure_nodes(spec: &WorkflowSpec) -> &[TaskNode] {
    match &spec.on_failure {
        Some(WorkflowOnFailure::Nodes(nodes)) => nodes,
        _ => &[],
    }
}

/// The blocks of `on_failure` and `finally`, as [`number`] numbers them.
pub(super) fn later_stages(spec: &WorkflowSpec) -> (Option<BlockIx>, Option<BlockIx>) {
    let failure = (!failure_nodes(spec).is_empty()).then(|| block_ix(1));
    let finally = (!spec.finally.is_empty()).then(|| block_ix(1 + usize::from(failure.is_some())));
    (failure, finally)
}

pub(super) fn ix(at: usize) -> NodeIx {
    NodeIx(u32::try_from(at).expect("a document has fewer than 2^32 nodes"))
}

pub(super) fn block_ix(at: usize) -> BlockIx {
    BlockIx(u32::try_from(at).expect("a document has fewer than 2^32 groups"))
}

impl Draft<'_> {
    /// Unites `depends_on` and `edges`. A dependency that is named twice is one; a condition, wherever given, holds.
    pub(super) fn connect(&self, by_id: &BTreeMap<NodeId, NodeIx>, nodes: &mut [PlanNode]) -> Result<(), PlanError> {
        let mut edges: BTreeMap<(NodeIx, NodeIx), Option<Expression>> = BTreeMap::new();
        for node in self.nodes {
            let to = self.find(by_id, &node.id, &node.id)?;
            for dependency in &node.depends_on {
                edges.entry((self.find(by_id, &node.id, dependency)?, to)).or_default();
            }
        }
        for edge in self.edges.iter().filter(|edge| edge.loop_bound().is_none()) {
            let (from, to, when) = self.ends(by_id, edge)?;
            let known = edges.entry((from, to)).or_default();
            *known = when.or(known.take());
        }
        for ((from, to), when) in edges {
            nodes[to.index()].incoming.push(Incoming { from });
            nodes[from.index()].dependents.push(Dependent { to, when });
        }
        Ok(())
    }

    /// Kahn's algorithm: whatever cannot be removed is on a cycle or behind one.
    pub(super) fn reject_cycles(&self, nodes: &[PlanNode]) -> Result<(), PlanError> {
        let first = self.first;
        let mut open: Vec<usize> = nodes[self.places()].iter().map(|node| node.incoming.len()).collect();
        let mut free: Vec<usize> = (0..open.len()).filter(|&at| open[at] == 0).collect();
        while let Some(at) = free.pop() {
            for edge in &nodes[first + at].dependents {
                let to = edge.to.index() - first;
                open[to] -= 1;
                if open[to] == 0 {
                    free.push(to);
                }
            }
        }
        match open.iter().position(|&left| left > 0) {
            Some(at) => Err(PlanError::Cycle(nodes[first + at].id.clone())),
            None => Ok(()),
        }
    }

    /// Loop edges take no part in the order; each is kept at the node it comes from.
    pub(super) fn close_loops(
        &self,
        by_id: &BTreeMap<NodeId, NodeIx>,
        nodes: &mut [PlanNode],
    ) -> Result<(), PlanError> {
        for edge in self.edges {
            let Some((most, on_exhausted)) = edge.loop_bound() else { continue };
            let (from, to, when) = self.ends(by_id, edge)?;
            let body = loops::body(nodes, to, from);
            for inside in &body {
                nodes[inside.index()].reads_again = true;
            }
            nodes[from.index()].loop_back = Some(LoopBack { when, most: most.max(1), on_exhausted, body });
        }
        // Of two loops around a node the inner one has the smaller body.
        let mut loops: Vec<(NodeIx, Vec<NodeIx>)> =
            self.places().filter_map(|at| Some((ix(at), nodes[at].loop_back.as_ref()?.body.clone()))).collect();
        loops.sort_by_key(|(_, body)| std::cmp::Reverse(body.len()));
        for (end, body) in loops {
            for inside in body {
                nodes[inside.index()].loop_end = Some(end);
            }
        }
        Ok(())
    }

    pub(super) fn outputs(&self, nodes: &[PlanNode]) -> Result<Outputs, PlanError> {
        match &self.outputs {
            Some(outputs) => template(outputs, || "outputs".to_owned()).map(Outputs::Declared),
            None => {
                let sinks = self.places().filter(|&at| nodes[at].dependents.is_empty());
                Ok(Outputs::Sinks(sinks.map(ix).collect()))
            }
        }
    }

    /// Where its nodes stand among all.
    fn places(&self) -> Range<usize> {
        self.first..self.first + self.nodes.len()
    }

    /// The node called `what`, of this block; `who` names it.
    fn find(&self, by_id: &BTreeMap<NodeId, NodeIx>, who: &NodeId, what: &NodeId) -> Result<NodeIx, PlanError> {
        let found = by_id.get(what).copied().filter(|ix| self.places().contains(&ix.index()));
        found.ok_or_else(|| PlanError::UnknownNode(who.clone(), what.clone()))
    }

    fn ends(
        &self,
        by_id: &BTreeMap<NodeId, NodeIx>,
        edge: &EdgeSpec,
    ) -> Result<(NodeIx, NodeIx, Option<Expression>), PlanError> {
        let (from, to) = (edge.from(), edge.to());
        let when = edge.when().map(|text| condition(text, || format!("edge {from} -> {to}"))).transpose()?;
        Ok((self.find(by_id, to, from)?, self.find(by_id, from, to)?, when))
    }
}
