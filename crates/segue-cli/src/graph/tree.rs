//! A graph as a tree of lines: each node once, below the last node that everything leading to it goes through.
//!
//! A node that merges branches stands beside the branches, not inside the last of them. The members of a group stand
//! below it, behind a line of colons; what runs on a failure and at the end has a heading of its own.

use super::{Block, BlockKind, Graph};

/// One line of the tree.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Above the nodes of a block.
    Heading(&'static str),
    /// A node.
    Node {
        /// Its index in the graph.
        node: usize,
        /// Lines and corners before it.
        prefix: String,
        /// Lines and corners before what is said below it.
        below: String,
        /// What it waits for, where that is not simply the node above: it merges branches.
        merges: Vec<usize>,
    },
}

/// Nobody follows lines that are indented further; what is deeper stays at this depth.
const INDENT_MAX: usize = 96;

/// The lines, in an order in which no node comes before one that it depends on. Of a graph with a cycle: without the
/// nodes that cannot be reached.
pub(crate) fn lines(graph: &Graph) -> Vec<Line> {
    let sources = graph.sources();
    let order = topological(&sources);
    let parents = dominators(&sources, &order);
    let mut children = vec![Vec::new(); sources.len()];
    let mut roots = vec![Vec::new(); graph.blocks.len()];
    for &node in &order {
        match parents[node] {
            Some(parent) => children[parent].push(node),
            None => roots[graph.nodes[node].block].push(node),
        }
    }
    let mut drawing = Drawing { graph, sources, children, roots, lines: Vec::with_capacity(order.len()) };
    for (at, block) in graph.blocks.iter().enumerate() {
        match block {
            Block { kind: BlockKind::Main, .. } => drawing.block(at, ""),
            Block { kind: BlockKind::OnFailure, .. } => drawing.headed("on failure:", at),
            Block { kind: BlockKind::Finally, .. } => drawing.headed("finally:", at),
            Block { kind: BlockKind::Group(_), .. } => {}
        }
    }
    drawing.lines
}

struct Drawing<'a> {
    graph: &'a Graph,
    sources: Vec<Vec<usize>>,
    children: Vec<Vec<usize>>,
    /// Of each block the nodes below no other.
    roots: Vec<Vec<usize>>,
    lines: Vec<Line>,
}

/// A node to be drawn: with its own prefix, and the prefix of what stands below it.
struct Open {
    node: usize,
    prefix: String,
    below: String,
}

impl Drawing<'_> {
    fn headed(&mut self, heading: &'static str, block: usize) {
        self.lines.push(Line::Heading(heading));
        self.block(block, "  ");
    }

    /// Draws the nodes of a block. Groups nest no deeper than documents may.
    fn block(&mut self, block: usize, base: &str) {
        // A stack, because a chain may be long.
        let mut stack = Vec::new();
        let roots = std::mem::take(&mut self.roots[block]);
        // Several roots of the workflow hang below its title, or one would look like the next step of the one before.
        push(&mut stack, &roots, base);
        while let Some(Open { node, prefix, below }) = stack.pop() {
            let merges = if self.sources[node].len() > 1 { self.sources[node].clone() } else { Vec::new() };
            self.lines.push(Line::Node { node, prefix, below: below.clone(), merges });
            if let Some(members) = self.graph.nodes[node].members {
                self.block(members, &format!("{below}: "));
            }
            push(&mut stack, &self.children[node], &below);
        }
    }
}

/// Puts nodes on the stack, the first one on top: an only one goes straight down, or a long chain would run out of the
/// screen; several stand beside each other.
fn push(stack: &mut Vec<Open>, nodes: &[usize], below: &str) {
    if let [only] = *nodes {
        stack.push(Open { node: only, prefix: below.to_owned(), below: below.to_owned() });
        return;
    }
    for (at, &node) in nodes.iter().enumerate().rev() {
        let (corner, line) = if at + 1 == nodes.len() { ("`-- ", "    ") } else { ("|-- ", "|   ") };
        let line = if below.len() >= INDENT_MAX { "" } else { line };
        stack.push(Open { node, prefix: format!("{below}{corner}"), below: format!("{below}{line}") });
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
    use serde_json::{Value, json};

    use super::*;
    use crate::graph::tests::{everything, graph, triage};

    fn drawn(graph: &Graph) -> Vec<String> {
        let line = |line: Line| match line {
            Line::Heading(heading) => heading.to_owned(),
            Line::Node { node, prefix, merges, .. } => {
                let merged: Vec<&str> = merges.iter().map(|&at| graph.nodes[at].id.as_str()).collect();
                let merged = if merged.is_empty() { String::new() } else { format!(" <{}>", merged.join(" ")) };
                format!("{prefix}{}{merged}", graph.nodes[node].id)
            }
        };
        lines(graph).into_iter().map(line).collect()
    }

    #[test]
    fn a_merge_stands_beside_its_branches() {
        assert_eq!(drawn(&triage()), ["classify", "|-- billing", "|-- bug", "`-- reply <billing bug>", "    archive"]);
    }

    #[test]
    fn roots_stand_beside_each_other() {
        let graph = graph(json!({
            "id": "w",
            "nodes": [{"id": "a"}, {"id": "b", "depends_on": ["a"]}, {"id": "c"}],
        }));
        assert_eq!(drawn(&graph), ["|-- a", "|   b", "`-- c"]);
    }

    #[test]
    fn groups_and_blocks_are_set_apart() {
        assert_eq!(
            drawn(&everything()),
            [
                "plan",
                "research",
                "polish",
                ": draft",
                ": |-- style",
                ": |-- facts",
                ": `-- score <style facts>",
                "sign",
                "embargo",
                "publish",
                "measure",
                "archive",
                "on failure:",
                "  tell",
                "finally:",
                "  close",
                "  tidy",
            ]
        );
    }

    #[test]
    fn a_long_chain_is_drawn_at_once_and_straight() {
        let sources: Vec<Vec<usize>> = (0..10_000).map(|at: usize| at.checked_sub(1).into_iter().collect()).collect();
        let order = topological(&sources);
        assert_eq!(order.len(), 10_000);
        assert_eq!(dominators(&sources, &order)[9_999], Some(9_998));
    }

    /// Each step has a side branch: without a bound the corners before the lines would be larger than the graph.
    #[test]
    fn what_is_too_deep_is_indented_no_further() {
        let nodes: Vec<Value> = (0..4_000)
            .flat_map(|at: u32| {
                let before = at.checked_sub(1).map(|before| format!("n{before}"));
                [
                    json!({"id": format!("n{at}"), "depends_on": before.iter().collect::<Vec<_>>()}),
                    json!({"id": format!("side{at}"), "depends_on": before.iter().collect::<Vec<_>>()}),
                ]
            })
            .collect();
        let lines = drawn(&graph(json!({"id": "comb", "nodes": nodes})));
        assert_eq!(lines.len(), 8_000);
        assert!(lines.iter().all(|line| line.len() < INDENT_MAX + 20));
    }
}
