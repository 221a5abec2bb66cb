//! The graph as a tree of plain text.

use segue_core::spec::Join;

use super::{Graph, branches};
use crate::{render::text::one_line, terminal::Paint};

/// One line a node: state (of a run), id, name, handler, condition, what it merges.
pub(crate) fn ascii(graph: &Graph, paint: Paint) -> String {
    let lines = branches(graph);
    let width = lines.iter().map(|line| line.prefix.len() + graph.nodes[line.node].id.len()).max().unwrap_or(0).min(48);
    let title = graph.title.as_ref().map_or(String::new(), |title| format!("  {}", one_line(title, 100)));
    let mut text = format!("{}{}\n", paint.bold(&graph.workflow_id), paint.dim(&title));
    for line in &lines {
        let node = &graph.nodes[line.node];
        let state = node.status.map_or(String::new(), |status| paint.status(status, &format!("{status:<9} ")));
        let pad = " ".repeat((width + 2).saturating_sub(line.prefix.len() + node.id.len()).max(2));
        let mut notes = vec![node.handler.clone()];
        notes.extend(node.name.as_ref().map(|name| format!("\"{}\"", one_line(name, 60))));
        if node.attempts > 1 {
            notes.push(format!("{} attempts", node.attempts));
        }
        if !line.merges.is_empty() {
            let names: Vec<&str> = line.merges.iter().take(8).map(|&at| graph.nodes[at].id.as_str()).collect();
            let more = line.merges.len().saturating_sub(8);
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            notes.push(format!("after {}{more}", names.join(", ")));
        }
        if node.join != Join::default() {
            notes.push(format!("join {}", node.join.as_str()));
        }
        let edge_conditions =
            graph.edges.iter().filter(|edge| edge.to == line.node).filter_map(|edge| edge.when.as_ref());
        notes.extend(node.when.iter().chain(edge_conditions).map(|when| format!("when {}", one_line(when, 60))));
        text += &format!("{state}{}{}{pad}{}\n", paint.dim(&line.prefix), node.id, paint.dim(&notes.join("  ")));
    }
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::tests::triage;

    #[test]
    fn the_tree_reads_well() {
        assert_eq!(
            ascii(&triage(), Paint::none()),
            "\
triage
classify     pass  \"Classify the ticket\"
|-- billing  pass  when nodes.classify.output == \"billing\"
|-- bug      pass  when nodes.classify.output == \"bug\"
`-- reply    pass  after billing, bug
    archive  pass"
        );
    }
}
