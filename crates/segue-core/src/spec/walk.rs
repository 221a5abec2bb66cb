//! All nodes of a workflow, wherever they stand.

use super::{TaskNode, WorkflowOnFailure, WorkflowSpec};

impl WorkflowSpec {
    /// Every node with its JSON Pointer: those of `nodes`, `on_failure` and `finally`, the members of a group after it.
    pub fn every_node(&self) -> Vec<(String, &TaskNode)> {
        let mut found = Vec::new();
        collect(&self.nodes, "/nodes", &mut found);
        if let Some(WorkflowOnFailure::Nodes(nodes)) = &self.on_failure {
            collect(nodes, "/on_failure", &mut found);
        }
        collect(&self.finally, "/finally", &mut found);
        found
    }
}

impl TaskNode {
    /// Does a handler carry it out? A group, a child workflow, an approval and a wait need none.
    pub const fn has_handler(&self) -> bool {
        self.group.is_none() && self.workflow.is_none() && self.approval.is_none() && self.wait.is_none()
    }
}

/// Groups nest no deeper than documents may.
fn collect<'a>(nodes: &'a [TaskNode], pointer: &str, found: &mut Vec<(String, &'a TaskNode)>) {
    for (at, node) in nodes.iter().enumerate() {
        let pointer = format!("{pointer}/{at}");
        found.push((pointer.clone(), node));
        if let Some(group) = &node.group {
            collect(&group.nodes, &format!("{pointer}/group/nodes"), found);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_node_is_found_where_it_stands() {
        let workflow: WorkflowSpec = serde_json::from_value(json!({
            "id": "w",
            "nodes": [{"id": "a"}, {"id": "g", "group": {"nodes": [{"id": "x", "wait": {"seconds": 1}}]}}],
            "on_failure": [{"id": "tell"}],
            "finally": [{"id": "close"}],
        }))
        .expect("a workflow");
        let found = workflow.every_node();
        let shown: Vec<_> =
            found.iter().map(|(at, node)| (at.as_str(), node.id.as_str(), node.has_handler())).collect();
        assert_eq!(
            shown,
            [
                ("/nodes/0", "a", true),
                ("/nodes/1", "g", false),
                ("/nodes/1/group/nodes/0", "x", false),
                ("/on_failure/0", "tell", true),
                ("/finally/0", "close", true),
            ]
        );
    }
}
