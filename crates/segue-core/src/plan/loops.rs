//! Loop edges: which nodes run again.

use std::collections::BTreeSet;

use super::{NodeIx, PlanNode};

/// Every node on a path from `to` to `from`, both included. Empty if there is no path.
pub(super) fn body(nodes: &[PlanNode], to: NodeIx, from: NodeIx) -> Vec<NodeIx> {
    let below = reach(to, |ix| nodes[ix.index()].dependents.iter().map(|edge| edge.to).collect());
    let above = reach(from, |ix| nodes[ix.index()].incoming.iter().map(|edge| edge.from).collect());
    below.intersection(&above).copied().collect()
}

fn reach(start: NodeIx, next: impl Fn(NodeIx) -> Vec<NodeIx>) -> BTreeSet<NodeIx> {
    let mut found = BTreeSet::from([start]);
    let mut open = vec![start];
    while let Some(ix) = open.pop() {
        open.extend(next(ix).into_iter().filter(|&ix| found.insert(ix)));
    }
    found
}
