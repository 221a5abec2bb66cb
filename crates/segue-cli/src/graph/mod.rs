//! A workflow as a picture: nodes, edges and, of a run, states.

mod ascii;
mod dot;
mod json;
mod mermaid;
mod tree;

use std::collections::HashMap;

use segue_core::{
    spec::{Join, WorkflowSpec},
    status::Status,
};

pub(crate) use ascii::ascii;
pub(crate) use dot::dot;
pub(crate) use json::json;
pub(crate) use mermaid::mermaid;
pub(crate) use tree::branches;

/// What a picture shows. Edges are indices into `nodes`.
#[derive(Debug)]
pub(crate) struct Graph {
    pub(crate) workflow_id: String,
    pub(crate) title: Option<String>,
    pub(crate) nodes: Vec<GraphNode>,
    pub(crate) edges: Vec<GraphEdge>,
}

/// A node of the picture.
#[derive(Debug)]
pub(crate) struct GraphNode {
    pub(crate) id: String,
    pub(crate) name: Option<String>,
    pub(crate) handler: String,
    pub(crate) when: Option<String>,
    pub(crate) join: Join,
    /// Of a run: where the task stands.
    pub(crate) status: Option<Status>,
    /// Of a run: its attempts so far.
    pub(crate) attempts: u32,
}

/// An edge of the picture.
#[derive(Debug)]
pub(crate) struct GraphEdge {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) when: Option<String>,
}

impl Graph {
    /// The picture of a workflow; `default_task` is the handler of nodes that name none.
    pub(crate) fn of_spec(spec: &WorkflowSpec, default_task: &str) -> Self {
        let default =
            spec.defaults.as_ref().and_then(|own| own.task.as_ref()).map_or(default_task, |handler| handler.as_str());
        let nodes: Vec<GraphNode> = spec
            .nodes
            .iter()
            .map(|node| GraphNode {
                id: node.id.to_string(),
                name: node.name.clone(),
                handler: node.spec.task.as_ref().map_or_else(|| default.to_owned(), ToString::to_string),
                when: node.when.clone(),
                join: node.join,
                status: None,
                attempts: 0,
            })
            .collect();
        let index: HashMap<&str, usize> =
            spec.nodes.iter().enumerate().map(|(at, node)| (node.id.as_str(), at)).collect();
        let mut conditions: HashMap<(usize, usize), Option<String>> = HashMap::new();
        let mut order = Vec::new();
        let dependencies = spec
            .nodes
            .iter()
            .flat_map(|node| node.depends_on.iter().map(move |from| (from.as_str(), node.id.as_str(), None::<&str>)));
        let edges = spec.edges.iter().map(|edge| (edge.from().as_str(), edge.to().as_str(), edge.when()));
        for (from, to, when) in dependencies.chain(edges) {
            // A document that names an unknown node has been refused before it is drawn.
            let (Some(&from), Some(&to)) = (index.get(from), index.get(to)) else { continue };
            let known = conditions.entry((from, to)).or_insert_with(|| {
                order.push((from, to));
                None
            });
            *known = known.take().or_else(|| when.map(str::to_owned));
        }
        let edges = order
            .into_iter()
            .map(|(from, to)| GraphEdge { from, to, when: conditions.remove(&(from, to)).flatten() })
            .collect();
        Self { workflow_id: spec.id.to_string(), title: spec.name.clone(), nodes, edges }
    }

    /// For each node the nodes that it depends on.
    pub(crate) fn sources(&self) -> Vec<Vec<usize>> {
        let mut sources = vec![Vec::new(); self.nodes.len()];
        for edge in &self.edges {
            sources[edge.to].push(edge.from);
        }
        sources
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use segue_core::spec::WorkflowSpec;
    use serde_json::json;

    use super::Graph;

    /// classify, then billing or bug or person, then reply, then archive.
    pub(crate) fn triage() -> Graph {
        let spec: WorkflowSpec = serde_json::from_value(json!({
            "id": "triage",
            "nodes": [
                {"id": "classify", "name": "Classify the ticket"},
                {"id": "billing", "depends_on": ["classify"], "when": "nodes.classify.output == \"billing\""},
                {"id": "bug"},
                {"id": "reply", "depends_on": ["billing", "bug"]},
                {"id": "archive", "depends_on": ["reply"]},
            ],
            "edges": [{"from": "classify", "to": "bug", "when": "nodes.classify.output == \"bug\""}],
        }))
        .expect("a workflow");
        Graph::of_spec(&spec, "pass")
    }
}
