//! The graph for Graphviz.

use segue_core::status::Status;

use super::Graph;

/// A `digraph`; of a run, nodes are filled with the colour of their status.
pub(crate) fn dot(graph: &Graph) -> String {
    let mut text = format!("digraph {} {{\n  node [shape=box, style=rounded]\n", quoted(&graph.workflow_id));
    for node in &graph.nodes {
        let label = match &node.name {
            Some(name) => format!("{}\n{name}", node.id),
            None => node.id.clone(),
        };
        let fill = node.status.map_or(String::new(), |status| {
            format!(", style=\"rounded,filled\", fillcolor={}", quoted(colour(status)))
        });
        text += &format!("  {} [label={}{fill}]\n", quoted(&node.id), quoted(&label));
    }
    for edge in &graph.edges {
        let label = edge.when.as_ref().or(graph.nodes[edge.to].when.as_ref());
        let label = label.map_or(String::new(), |when| format!(" [label={}]", quoted(when)));
        text += &format!("  {} -> {}{label}\n", quoted(&graph.nodes[edge.from].id), quoted(&graph.nodes[edge.to].id));
    }
    text + "}"
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
    use crate::graph::tests::triage;

    #[test]
    fn labels_cannot_break_out() {
        let text = dot(&triage());
        assert!(text.contains("\"classify\" [label=\"classify\\nClassify the ticket\"]"), "{text}");
        assert!(text.contains("\"classify\" -> \"bug\" [label=\"nodes.classify.output == \\\"bug\\\"\"]"), "{text}");
    }
}
