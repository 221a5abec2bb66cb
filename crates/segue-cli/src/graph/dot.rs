//! The graph for Graphviz.

use std::fmt::Write;

use segue_core::status::Status;

use super::{BlockKind, Graph};

/// A `digraph`: groups and blocks are clusters, loop edges are dashed; of a run, nodes are filled with the colour of
/// their status.
pub(crate) fn dot(graph: &Graph) -> String {
    let incoming = graph.sources();
    let mut text =
        format!("digraph {} {{\n  compound=true\n  node [shape=box, style=rounded]\n", quoted(&graph.workflow_id));
    for (at, block) in graph.blocks.iter().enumerate() {
        match block.kind {
            BlockKind::Main => nodes(graph, at, 1, &incoming, &mut text),
            BlockKind::OnFailure => headed(graph, at, "cluster_on_failure", "on failure", &incoming, &mut text),
            BlockKind::Finally => headed(graph, at, "cluster_finally", "finally", &incoming, &mut text),
            // Drawn where its group stands.
            BlockKind::Group(_) => {}
        }
    }
    for edge in &graph.edges {
        let label = graph.condition_at(edge, &incoming).map(|when| format!("label={}", quoted(when)));
        arrow(graph, (edge.from, edge.to), label, &mut text);
    }
    for back in &graph.loops {
        let label = format!("label={}, style=dashed, constraint=false", quoted(&back.label()));
        arrow(graph, (back.from, back.to), Some(label), &mut text);
    }
    text + "}"
}

fn headed(graph: &Graph, block: usize, id: &str, title: &str, incoming: &[Vec<usize>], text: &mut String) {
    let _ = writeln!(text, "  subgraph {id} {{\n    label={}", quoted(title));
    nodes(graph, block, 2, incoming, text);
    text.push_str("  }\n");
}

/// The nodes of a block; a group is a cluster of its members. Groups nest no deeper than documents may.
fn nodes(graph: &Graph, block: usize, depth: usize, incoming: &[Vec<usize>], text: &mut String) {
    let indent = "  ".repeat(depth);
    for &at in &graph.blocks[block].nodes {
        let node = &graph.nodes[at];
        let label = quoted(&graph.label(at, incoming).join("\n"));
        let colour = node.state.map(|state| quoted(colour(state.status)));
        match node.members {
            Some(members) => {
                let fill = colour.map_or(String::new(), |colour| format!("\n{indent}  bgcolor={colour}"));
                let _ = writeln!(text, "{indent}subgraph cluster_{at} {{\n{indent}  label={label}{fill}");
                nodes(graph, members, depth + 1, incoming, text);
                let _ = writeln!(text, "{indent}}}");
            }
            None => {
                let fill =
                    colour.map_or(String::new(), |colour| format!(", style=\"rounded,filled\", fillcolor={colour}"));
                let _ = writeln!(text, "{indent}{} [label={label}{fill}]", quoted(&node.id));
            }
        }
    }
}

/// Graphviz draws edges between nodes only: one that leads to a cluster leads to a member and is cut at the border.
fn arrow(graph: &Graph, (from, to): (usize, usize), label: Option<String>, text: &mut String) {
    let mut attributes: Vec<String> = label.into_iter().collect();
    if graph.nodes[from].members.is_some() {
        attributes.push(format!("ltail=cluster_{from}"));
    }
    if graph.nodes[to].members.is_some() {
        attributes.push(format!("lhead=cluster_{to}"));
    }
    let ends = [inside(graph, from, true), inside(graph, to, false)].map(|at| quoted(&graph.nodes[at].id));
    let attributes = if attributes.is_empty() { String::new() } else { format!(" [{}]", attributes.join(", ")) };
    let _ = writeln!(text, "  {} -> {}{attributes}", ends[0], ends[1]);
}

/// A node that stands for `node`: itself, or the last (first) member of a group.
fn inside(graph: &Graph, mut node: usize, last: bool) -> usize {
    while let Some(members) = graph.nodes[node].members {
        let members = &graph.blocks[members].nodes;
        match if last { members.last() } else { members.first() } {
            Some(&member) => node = member,
            None => break,
        }
    }
    node
}

const fn colour(status: Status) -> &'static str {
    match status {
        Status::Succeeded => "#d3f3d3",
        Status::Failed => "#f8d0d0",
        Status::Running => "#d0e6f8",
        Status::Waiting => "#ecd8f6",
        Status::Cancelled => "#f8ecc8",
        Status::Skipped => "#eeeeee",
        Status::Pending => "#ffffff",
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::tests::{everything, triage};

    #[test]
    fn labels_cannot_break_out() {
        let text = dot(&triage());
        assert!(text.contains("\"classify\" [label=\"classify\\nClassify the ticket\"]"), "{text}");
        assert!(text.contains("\"classify\" -> \"bug\" [label=\"nodes.classify.output == \\\"bug\\\"\"]"), "{text}");
    }

    #[test]
    fn groups_are_clusters_and_loops_are_dashed() {
        let text = dot(&everything());
        for part in [
            "  subgraph cluster_2 {\n    label=\"polish\\nrepeat at most 5 times until output.score > 8\"\n    \"draft\" [label=\"draft\"]\n",
            "  \"research\" -> \"draft\" [lhead=cluster_2]\n",
            "  \"score\" -> \"sign\" [ltail=cluster_2]\n",
            "  \"measure\" -> \"publish\" [label=\"at most 3 times when nodes.measure.output < 100\", style=dashed, constraint=false]\n",
            "  subgraph cluster_finally {\n    label=\"finally\"\n    \"close\"",
        ] {
            assert!(text.contains(part), "{part}\nis not in\n{text}");
        }
        assert_eq!(text.matches('{').count(), text.matches('}').count());
    }
}
