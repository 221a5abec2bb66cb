//! The graph for programs.

use serde_json::{Value, json};

use super::{BlockKind, Graph, GraphNode, Work};

/// `{workflow_id, name, nodes: […], edges: [{from, to, when, max_iterations?}]}`. A node is `{id, name, kind, task, when,
/// join, block?, group?, foreach?, repeat?, status?, attempts?, iteration?, instances?}`; a field with `?` is left out
/// where it says nothing.
pub(crate) fn json(graph: &Graph) -> Value {
    let nodes: Vec<Value> = graph.nodes.iter().map(|node| of_node(graph, node)).collect();
    let id = |at: usize| &graph.nodes[at].id;
    let edges = graph.edges.iter().map(|edge| json!({ "from": id(edge.from), "to": id(edge.to), "when": edge.when }));
    let loops = graph.loops.iter().map(|back| {
        json!({ "from": id(back.from), "to": id(back.to), "when": back.when, "max_iterations": back.max_iterations })
    });
    let edges: Vec<Value> = edges.chain(loops).collect();
    json!({ "workflow_id": graph.workflow_id, "name": graph.title, "nodes": nodes, "edges": edges })
}

fn of_node(graph: &Graph, node: &GraphNode) -> Value {
    let task = match &node.work {
        Work::Task(handler) => Some(handler),
        _ => None,
    };
    let mut shown = json!({
        "id": node.id,
        "name": node.name,
        "kind": node.work.kind(),
        "task": task,
        "when": node.when,
        "join": node.join.as_str(),
    });
    match graph.blocks[node.block].kind {
        BlockKind::Main => {}
        BlockKind::OnFailure => shown["block"] = json!("on_failure"),
        BlockKind::Finally => shown["block"] = json!("finally"),
        BlockKind::Group(group) => shown["group"] = json!(graph.nodes[group].id),
    }
    if let Some(items) = &node.foreach {
        shown["foreach"] = json!({ "items": items, "parallelism": node.parallelism });
    }
    if let Some((most, until)) = &node.repeat {
        shown["repeat"] = json!({ "max_iterations": most, "until": until });
    }
    if let Some(state) = node.state {
        shown["status"] = json!(state.status);
        shown["attempts"] = json!(state.attempts);
        if let Some(iteration) = state.iteration {
            shown["iteration"] = json!(iteration);
        }
        if let Some(parts) = state.parts {
            shown["instances"] = json!(parts);
        }
    }
    shown
}
