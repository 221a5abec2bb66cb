//! The graph for programs.

use serde_json::{Value, json};

use super::Graph;

/// `{workflow_id, name, nodes: [{id, name, task, when, join, status?, attempts?}], edges: [{from, to, when}]}`.
pub(crate) fn json(graph: &Graph) -> Value {
    let nodes: Vec<Value> = graph
        .nodes
        .iter()
        .map(|node| {
            let mut shown = json!({
                "id": node.id,
                "name": node.name,
                "task": node.handler,
                "when": node.when,
                "join": node.join.as_str(),
            });
            if let Some(status) = node.status {
                shown["status"] = json!(status);
                shown["attempts"] = json!(node.attempts);
            }
            shown
        })
        .collect();
    let edges: Vec<Value> = graph
        .edges
        .iter()
        .map(|edge| json!({ "from": graph.nodes[edge.from].id, "to": graph.nodes[edge.to].id, "when": edge.when }))
        .collect();
    json!({ "workflow_id": graph.workflow_id, "name": graph.title, "nodes": nodes, "edges": edges })
}
