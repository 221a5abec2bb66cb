//! Loop edges: which nodes run again.

use std::collections::BTreeSet;

use super::{NodeIx, PlanNode};

/// Every node on a path from `to` to `from`, both included, in the order of the plan. Empty if there is no path.
pub(super) fn body(nodes: &[PlanNode], to: NodeIx, from: NodeIx) -> Vec<NodeIx> {
    let below = |ix: NodeIx| nodes[ix.index()].dependents.iter().map(|edge| edge.to);
    let above = |ix: NodeIx| nodes[ix.index()].incoming.iter().map(|edge| edge.from);
    between(to, from, below, above)
}

/// What follows `from` is on no path to it, so the search stops there. In a checked workflow nothing else leads out of a
/// loop: the search costs what the loop holds, however large the workflow is.
fn between<I: Iterator<Item = NodeIx>, J: Iterator<Item = NodeIx>>(
    to: NodeIx,
    from: NodeIx,
    below: impl Fn(NodeIx) -> I,
    above: impl Fn(NodeIx) -> J,
) -> Vec<NodeIx> {
    let mut reached = BTreeSet::from([to]);
    let mut open = vec![to];
    while let Some(ix) = open.pop() {
        if ix != from {
            open.extend(below(ix).filter(|&ix| reached.insert(ix)));
        }
    }
    let mut body = BTreeSet::new();
    open.extend(reached.contains(&from).then_some(from));
    body.extend(open.first());
    while let Some(ix) = open.pop() {
        open.extend(above(ix).filter(|&ix| reached.contains(&ix) && body.insert(ix)));
    }
    body.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// The nodes between, and how many nodes were looked at for it.
    fn search(edges: &[(u32, u32)], to: u32, from: u32) -> (Vec<u32>, usize) {
        let looks = Cell::new(0);
        let ends = |picked: Vec<u32>| {
            looks.set(looks.get() + 1);
            picked.into_iter().map(NodeIx)
        };
        let below = |ix: NodeIx| ends(edges.iter().filter(|(one, _)| *one == ix.0).map(|(_, other)| *other).collect());
        let above = |ix: NodeIx| ends(edges.iter().filter(|(_, other)| *other == ix.0).map(|(one, _)| *one).collect());
        let found = between(NodeIx(to), NodeIx(from), below, above);
        (found.into_iter().map(|ix| ix.0).collect(), looks.get())
    }

    #[test]
    fn a_body_is_what_lies_between() {
        // 0 -> 1 -> {2, 3} -> 4 -> 5, and beside it 6 -> 3 and 2 -> 7.
        let edges = [(0, 1), (1, 2), (1, 3), (2, 4), (3, 4), (4, 5), (6, 3), (2, 7)];
        assert_eq!(search(&edges, 1, 4).0, [1, 2, 3, 4]);
        assert_eq!(search(&edges, 0, 5).0, [0, 1, 2, 3, 4, 5]);
        assert_eq!(search(&edges, 2, 2).0, [2], "a node that goes round alone");
        assert_eq!(search(&edges, 4, 1).0, Vec::<u32>::new(), "no path leads from 4 to 1");
        assert_eq!(search(&edges, 6, 2).0, Vec::<u32>::new());
    }

    #[test]
    fn a_small_loop_in_a_long_chain_costs_what_it_holds() {
        let edges: Vec<(u32, u32)> = (0..1_000).map(|at| (at, at + 1)).collect();
        let (found, looks) = search(&edges, 500, 502);
        assert_eq!(found, [500, 501, 502]);
        assert!(looks <= 2 * found.len(), "{looks} nodes were looked at");
    }
}
