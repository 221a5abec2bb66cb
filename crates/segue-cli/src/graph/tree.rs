//! A graph as a tree of lines: each node once, below the last node that everything leading to it goes through.
//!
//! A node that merges branches stands beside the branches, not inside the last of them.

use super::Graph;

/// One line of the tree.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Branch {
    /// The node's index in the graph.
    pub(crate) node: usize,
    /// Lines and corners before it.
    pub(crate) prefix: String,
    /// What it waits for, where that is not simply the node above: it merges branches.
    pub(crate) merges: Vec<usize>,
}

/// The lines, in an order in which no node comes before one that it depends on. Of a graph with a cycle: without the
/// nodes that cannot be reached.
pub(crate) fn branches(graph: &Graph) -> Vec<Branch> {
    let sources = graph.sources();
    let order = topological(&sources);
    let parents = dominators(&sources, &order);

    let mut roots = Vec::new();
    let mut children = vec![Vec::new(); sources.len()];
    for &node in &order {
        match parents[node] {
            Some(parent) => children[parent].push(node),
            None => roots.push(node),
        }
    }

    let mut lines = Vec::with_capacity(order.len());
    // (node, its own prefix, the prefix of what stands below it); a stack, because a chain may be long.
    let mut stack: Vec<(usize, String, String)> = Vec::new();
    match roots[..] {
        [only] => stack.push((only, String::new(), String::new())),
        // Several roots hang below the title, or one would look like the next step of the one before.
        _ => push_side_by_side(&mut stack, &roots, ""),
    }
    while let Some((node, prefix, below)) = stack.pop() {
        let merges = if sources[node].len() > 1 { sources[node].clone() } else { Vec::new() };
        lines.push(Branch { node, prefix, merges });
        let own = &children[node];
        if let [only] = own[..] {
            // A chain goes straight down, or a long one would run out of the screen.
            stack.push((only, below.clone(), below));
            continue;
        }
        push_side_by_side(&mut stack, own, &below);
    }
    lines
}

/// Puts nodes that stand beside each other on the stack, the first one on top.
fn push_side_by_side(stack: &mut Vec<(usize, String, String)>, nodes: &[usize], below: &str) {
    for (at, &node) in nodes.iter().enumerate().rev() {
        let (corner, line) = if at + 1 == nodes.len() { ("`-- ", "    ") } else { ("|-- ", "|   ") };
        stack.push((node, format!("{below}{corner}"), format!("{below}{line}")));
    }
}

/// Kahn's order, and among the free nodes that of the document.
fn topological(sources: &[Vec<usize>]) -> Vec<usize> {
    let mut missing: Vec<usize> = sources.iter().map(Vec::len).collect();
    let mut targets = vec![Vec::new(); sources.len()];
    for (node, from) in sources.iter().enumerate() {
        for &source in from {
            targets[source].push(node);
        }
    }
    let mut free: std::collections::BTreeSet<usize> = (0..sources.len()).filter(|&node| missing[node] == 0).collect();
    let mut order = Vec::with_capacity(sources.len());
    while let Some(node) = free.pop_first() {
        order.push(node);
        for &target in &targets[node] {
            missing[target] -= 1;
            if missing[target] == 0 {
                free.insert(target);
            }
        }
    }
    order
}

/// For each node the last one that every path to it goes through; none if paths from different roots lead to it.
fn dominators(sources: &[Vec<usize>], order: &[usize]) -> Vec<Option<usize>> {
    let mut parents: Vec<Option<usize>> = vec![None; sources.len()];
    let mut depth = vec![0_usize; sources.len()];
    for &node in order {
        let mut common = sources[node].first().copied();
        for &source in sources[node].iter().skip(1) {
            let (mut a, mut b) = (common, Some(source));
            while a != b {
                let deeper = |x: Option<usize>| x.map_or(0, |x| depth[x] + 1);
                if deeper(a) >= deeper(b) { a = a.and_then(|x| parents[x]) } else { b = b.and_then(|x| parents[x]) }
            }
            common = a;
            if common.is_none() {
                break;
            }
        }
        parents[node] = common;
        depth[node] = common.map_or(0, |parent| depth[parent] + 1);
    }
    parents
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::tests::triage;

    #[test]
    fn a_merge_stands_beside_its_branches() {
        let graph = triage();
        let lines: Vec<String> = branches(&graph)
            .iter()
            .map(|line| {
                let merged: Vec<&str> = line.merges.iter().map(|&at| graph.nodes[at].id.as_str()).collect();
                format!("{}{} <{}>", line.prefix, graph.nodes[line.node].id, merged.join(" "))
            })
            .collect();
        assert_eq!(lines, ["classify <>", "|-- billing <>", "|-- bug <>", "`-- reply <billing bug>", "    archive <>"]);
    }

    #[test]
    fn roots_stand_beside_each_other() {
        let spec = serde_json::from_value(serde_json::json!({
            "id": "w",
            "nodes": [{"id": "a"}, {"id": "b", "depends_on": ["a"]}, {"id": "c"}],
        }));
        let graph = Graph::of_spec(&spec.expect("a workflow"), "pass");
        let lines: Vec<String> =
            branches(&graph).iter().map(|line| format!("{}{}", line.prefix, graph.nodes[line.node].id)).collect();
        assert_eq!(lines, ["|-- a", "|   b", "`-- c"]);
    }

    #[test]
    fn a_long_chain_is_drawn_at_once_and_straight() {
        let sources: Vec<Vec<usize>> = (0..10_000).map(|at: usize| at.checked_sub(1).into_iter().collect()).collect();
        let order = topological(&sources);
        assert_eq!(order.len(), 10_000);
        assert_eq!(dominators(&sources, &order)[9_999], Some(9_998));
    }
}
