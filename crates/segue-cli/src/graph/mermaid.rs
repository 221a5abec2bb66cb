//! The graph as a Mermaid flowchart.

use super::Graph;

/// A `flowchart TD`; of a run, nodes have the class of their status.
pub(crate) fn mermaid(graph: &Graph) -> String {
    let mut text = String::from("flowchart TD\n");
    for (at, node) in graph.nodes.iter().enumerate() {
        let name = node.name.as_ref().map_or(String::new(), |name| format!("<br/>{}", escaped(name)));
        let class = node.status.map_or(String::new(), |status| format!(":::{}", status.as_str().to_lowercase()));
        text += &format!("  n{at}[\"{}{name}\"]{class}\n", escaped(&node.id));
    }
    for edge in &graph.edges {
        let when = edge.when.as_ref().or(graph.nodes[edge.to].when.as_ref());
        let label = when.map_or(String::new(), |when| format!("|\"{}\"|", escaped(when)));
        text += &format!("  n{} -->{label} n{}\n", edge.from, edge.to);
    }
    if graph.nodes.iter().any(|node| node.status.is_some()) {
        text += "  classDef succeeded fill:#d3f3d3,stroke:#2a7d2a\n";
        text += "  classDef failed fill:#f8d0d0,stroke:#a02020\n";
        text += "  classDef running fill:#d0e6f8,stroke:#2060a0\n";
        text += "  classDef waiting fill:#ecd8f6,stroke:#703090\n";
        text += "  classDef cancelled fill:#f8ecc8,stroke:#907020\n";
        text += "  classDef skipped fill:#eeeeee,stroke:#999999,stroke-dasharray: 4\n";
        text += "  classDef pending fill:#ffffff,stroke:#999999\n";
    }
    text.truncate(text.trim_end().len());
    text
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
    use crate::graph::tests::triage;

    #[test]
    fn labels_cannot_break_out() {
        let text = mermaid(&triage());
        assert!(text.starts_with("flowchart TD\n  n0[\"classify<br/>Classify the ticket\"]\n"), "{text}");
        assert!(text.ends_with("  n3 --> n4\n  n0 -->|\"nodes.classify.output == #quot;bug#quot;\"| n2"), "{text}");
    }
}
