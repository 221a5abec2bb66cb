//! The graph as a Mermaid flowchart.

use std::fmt::Write;

use super::{BlockKind, Graph};

/// A `flowchart TD`: groups and blocks are subgraphs, loop edges are dotted; of a run, nodes have the class of their
/// status.
pub(crate) fn mermaid(graph: &Graph) -> String {
    let incoming = graph.sources();
    let mut text = String::from("flowchart TD\n");
    for (at, block) in graph.blocks.iter().enumerate() {
        match block.kind {
            BlockKind::Main => nodes(graph, at, 1, &incoming, &mut text),
            BlockKind::OnFailure => headed(graph, at, "on_failure", "on failure", &incoming, &mut text),
            BlockKind::Finally => headed(graph, at, "finally", "finally", &incoming, &mut text),
            // Drawn where its group stands.
            BlockKind::Group(_) => {}
        }
    }
    for edge in &graph.edges {
        let label = graph.condition_at(edge, &incoming);
        let label = label.map_or(String::new(), |when| format!("|\"{}\"|", escaped(when)));
        let _ = writeln!(text, "  n{} -->{label} n{}", edge.from, edge.to);
    }
    for back in &graph.loops {
        let _ = writeln!(text, "  n{} -.->|\"{}\"| n{}", back.from, escaped(&back.label()), back.to);
    }
    classes(graph, &mut text);
    text.truncate(text.trim_end().len());
    text
}

fn headed(graph: &Graph, block: usize, id: &str, title: &str, incoming: &[Vec<usize>], text: &mut String) {
    let _ = writeln!(text, "  subgraph {id}[\"{title}\"]");
    nodes(graph, block, 2, incoming, text);
    text.push_str("  end\n");
}

/// The nodes of a block; a group is a subgraph of its members. Groups nest no deeper than documents may.
fn nodes(graph: &Graph, block: usize, depth: usize, incoming: &[Vec<usize>], text: &mut String) {
    let indent = "  ".repeat(depth);
    for &at in &graph.blocks[block].nodes {
        let label = label(graph, at, incoming);
        match graph.nodes[at].members {
            Some(members) => {
                let _ = writeln!(text, "{indent}subgraph n{at}[\"{label}\"]");
                nodes(graph, members, depth + 1, incoming, text);
                let _ = writeln!(text, "{indent}end");
            }
            None => {
                let class = graph.nodes[at].state.map_or("", |state| state.status.as_str()).to_lowercase();
                let class = if class.is_empty() { class } else { format!(":::{class}") };
                let _ = writeln!(text, "{indent}n{at}[\"{label}\"]{class}");
            }
        }
    }
}

fn label(graph: &Graph, at: usize, incoming: &[Vec<usize>]) -> String {
    graph.label(at, incoming).iter().map(|line| escaped(line)).collect::<Vec<_>>().join("<br/>")
}

fn classes(graph: &Graph, text: &mut String) {
    if graph.nodes.iter().all(|node| node.state.is_none()) {
        return;
    }
    for (at, node) in graph.nodes.iter().enumerate().filter(|(_, node)| node.members.is_some()) {
        if let Some(state) = node.state {
            let _ = writeln!(text, "  class n{at} {}", state.status.as_str().to_lowercase());
        }
    }
    text.push_str("  classDef succeeded fill:#d3f3d3,stroke:#2a7d2a\n");
    text.push_str("  classDef failed fill:#f8d0d0,stroke:#a02020\n");
    text.push_str("  classDef running fill:#d0e6f8,stroke:#2060a0\n");
    text.push_str("  classDef waiting fill:#ecd8f6,stroke:#703090\n");
    text.push_str("  classDef cancelled fill:#f8ecc8,stroke:#907020\n");
    text.push_str("  classDef skipped fill:#eeeeee,stroke:#999999,stroke-dasharray: 4\n");
    text.push_str("  classDef pending fill:#ffffff,stroke:#999999\n");
}

/// Mermaid's own escapes for what would end a label.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => escaped.push_str("#quot;"),
            '#' => escaped.push_str("#35;"),
            '<' => escaped.push_str("#lt;"),
            '>' => escaped.push_str("#gt;"),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::tests::{everything, triage};

    #[test]
    fn labels_cannot_break_out() {
        let text = mermaid(&triage());
        assert!(text.starts_with("flowchart TD\n  n0[\"classify<br/>Classify the ticket\"]\n"), "{text}");
        assert!(text.ends_with("  n3 --> n4\n  n0 -->|\"nodes.classify.output == #quot;bug#quot;\"| n2"), "{text}");
    }

    #[test]
    fn everything_has_its_place() {
        assert_eq!(
            mermaid(&everything()),
            "\
flowchart TD
  n0[\"plan\"]
  n1[\"research<br/>foreach nodes.plan.output.topics, 4 at once\"]
  subgraph n2[\"polish<br/>repeat at most 5 times until output.score #gt; 8\"]
    n3[\"draft\"]
    n4[\"style\"]
    n5[\"facts<br/>workflow check_facts\"]
    n6[\"score\"]
  end
  n7[\"sign<br/>approval #quot;May it go out?#quot;\"]
  n8[\"embargo<br/>wait 3600 s\"]
  n9[\"publish\"]
  n10[\"measure\"]
  n11[\"archive\"]
  subgraph on_failure[\"on failure\"]
    n12[\"tell\"]
  end
  subgraph finally[\"finally\"]
    n13[\"close\"]
    n14[\"tidy\"]
  end
  n3 --> n4
  n3 --> n5
  n4 --> n6
  n5 --> n6
  n0 --> n1
  n1 --> n2
  n2 --> n7
  n7 --> n8
  n8 --> n9
  n9 --> n10
  n10 --> n11
  n13 --> n14
  n10 -.->|\"at most 3 times when nodes.measure.output #lt; 100\"| n9"
        );
    }
}
