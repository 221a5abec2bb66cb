//! A workflow as a picture: nodes, edges, the blocks that nodes stand in and, of a run, states.

mod address;
mod ascii;
mod build;
mod dot;
mod json;
mod mermaid;
mod state;
mod tree;

use std::fmt;

use segue_core::spec::Join;

pub(crate) use address::Address;
pub(crate) use ascii::ascii;
pub(crate) use dot::dot;
pub(crate) use json::json;
pub(crate) use mermaid::mermaid;
pub(crate) use state::{NodeState, Parts, Tally};
pub(crate) use tree::{Line, lines};

/// What a picture shows. Edges are indices into `nodes`, and never lead from one block into another.
#[derive(Debug)]
pub(crate) struct Graph {
    pub(crate) workflow_id: String,
    pub(crate) title: Option<String>,
    /// In the order of the document, the members of a group after the group.
    pub(crate) nodes: Vec<GraphNode>,
    pub(crate) edges: Vec<GraphEdge>,
    pub(crate) loops: Vec<GraphLoop>,
    /// The main block first.
    pub(crate) blocks: Vec<Block>,
}

/// Nodes that stand side by side.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) kind: BlockKind,
    pub(crate) nodes: Vec<usize>,
}

/// What makes nodes stand together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockKind {
    /// The workflow itself.
    Main,
    /// The members of this group.
    Group(usize),
    /// What runs when something failed that nothing handles.
    OnFailure,
    /// What runs at the end, always.
    Finally,
}

/// A node of the picture.
#[derive(Debug)]
pub(crate) struct GraphNode {
    pub(crate) id: String,
    pub(crate) name: Option<String>,
    pub(crate) work: Work,
    /// Where the instances come from.
    pub(crate) foreach: Option<String>,
    /// Instances at once.
    pub(crate) parallelism: u32,
    /// Iterations at most, and the condition that ends them.
    pub(crate) repeat: Option<(u32, Option<String>)>,
    pub(crate) when: Option<String>,
    pub(crate) join: Join,
    /// The block it stands in.
    pub(crate) block: usize,
    /// Of a group: the block of its members.
    pub(crate) members: Option<usize>,
    /// Of a run: where it stands.
    pub(crate) state: Option<NodeState>,
}

/// What a node does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Work {
    /// A handler carries it out.
    Task(String),
    Group,
    /// Another workflow, with what is said about its version.
    Workflow(String),
    Approval(String),
    Wait(String),
}

impl Work {
    /// The kind, for programs.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Task(_) => "task",
            Self::Group => "group",
            Self::Workflow(_) => "workflow",
            Self::Approval(_) => "approval",
            Self::Wait(_) => "wait",
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task(handler) => f.write_str(handler),
            Self::Group => f.write_str("group"),
            Self::Workflow(which) => write!(f, "workflow {which}"),
            Self::Approval(title) => write!(f, "approval \"{title}\""),
            Self::Wait(what) => write!(f, "wait {what}"),
        }
    }
}

/// An edge of the picture.
#[derive(Debug)]
pub(crate) struct GraphEdge {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) when: Option<String>,
}

/// A loop edge: it leads back, and is bounded.
#[derive(Debug)]
pub(crate) struct GraphLoop {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) when: Option<String>,
    pub(crate) max_iterations: u32,
    /// Every node that runs again.
    pub(crate) body: Vec<usize>,
}

impl GraphLoop {
    /// `again, at most 3 times, when …`
    pub(crate) fn label(&self) -> String {
        let when = self.when.as_ref().map_or(String::new(), |when| format!(" when {when}"));
        format!("at most {} times{when}", self.max_iterations)
    }
}

impl GraphNode {
    /// What is said about instances and iterations.
    pub(crate) fn layers(&self) -> Vec<String> {
        let mut layers = Vec::new();
        if let Some(items) = &self.foreach {
            let at_once = if self.parallelism > 1 { format!(", {} at once", self.parallelism) } else { String::new() };
            layers.push(format!("foreach {items}{at_once}"));
        }
        if let Some((most, until)) = &self.repeat {
            let until = until.as_ref().map_or(String::new(), |until| format!(" until {until}"));
            layers.push(format!("repeat at most {most} times{until}"));
        }
        layers
    }
}

impl Graph {
    /// For each node the nodes that it depends on.
    pub(crate) fn sources(&self) -> Vec<Vec<usize>> {
        let mut sources = vec![Vec::new(); self.nodes.len()];
        for edge in &self.edges {
            sources[edge.to].push(edge.from);
        }
        sources
    }

    /// For each node the nodes that depend on it.
    pub(crate) fn targets(&self) -> Vec<Vec<usize>> {
        let mut targets = vec![Vec::new(); self.nodes.len()];
        for edge in &self.edges {
            targets[edge.from].push(edge.to);
        }
        targets
    }

    /// The condition that stands at an edge: its own; or that of the node it leads to, if no other edge leads there.
    pub(crate) fn condition_at<'a>(&'a self, edge: &'a GraphEdge, incoming: &[Vec<usize>]) -> Option<&'a str> {
        let of_node = || self.nodes[edge.to].when.as_deref().filter(|_| incoming[edge.to].len() == 1);
        edge.when.as_deref().or_else(of_node)
    }

    /// What stands in the box of a node, line by line. A condition that no single edge can say is among it.
    pub(crate) fn label(&self, at: usize, incoming: &[Vec<usize>]) -> Vec<String> {
        let node = &self.nodes[at];
        let mut lines = vec![node.id.clone()];
        lines.extend(node.name.clone());
        if !matches!(node.work, Work::Task(_) | Work::Group) {
            lines.push(node.work.to_string());
        }
        lines.extend(node.layers());
        if let Some(state) = &node.state {
            lines.extend(state.facts(node.repeat.as_ref().map(|(most, _)| *most)));
        }
        lines.extend(node.when.iter().filter(|_| incoming[at].len() != 1).map(|when| format!("when {when}")));
        lines
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use segue_core::spec::WorkflowSpec;
    use serde_json::{Value, json};

    use super::Graph;

    pub(crate) fn graph(document: Value) -> Graph {
        let spec: WorkflowSpec = serde_json::from_value(document).expect("a workflow");
        Graph::of_spec(&spec, "pass")
    }

    /// classify, then billing or bug or person, then reply, then archive.
    pub(crate) fn triage() -> Graph {
        graph(json!({
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
    }

    /// One of everything that the language can draw.
    pub(crate) fn everything() -> Graph {
        graph(json!({
            "id": "everything",
            "name": "Everything at once",
            "nodes": [
                {"id": "plan"},
                {"id": "research", "depends_on": ["plan"], "foreach": "nodes.plan.output.topics", "parallelism": 4},
                {"id": "polish", "depends_on": ["research"],
                 "repeat": {"max_iterations": 5, "until": "output.score > 8"},
                 "group": {"nodes": [
                    {"id": "draft"},
                    {"id": "style", "depends_on": ["draft"]},
                    {"id": "facts", "depends_on": ["draft"], "workflow": {"id": "check_facts"}},
                    {"id": "score", "depends_on": ["style", "facts"]},
                 ]}},
                {"id": "sign", "depends_on": ["polish"], "approval": {"title": "May it go out?"}},
                {"id": "embargo", "depends_on": ["sign"], "wait": {"seconds": 3600}},
                {"id": "publish", "depends_on": ["embargo"]},
                {"id": "measure", "depends_on": ["publish"]},
                {"id": "archive", "depends_on": ["measure"], "join": "all_done"},
            ],
            "edges": [{"from": "measure", "to": "publish", "max_iterations": 3, "when": "nodes.measure.output < 100"}],
            "on_failure": [{"id": "tell"}],
            "finally": [{"id": "close"}, {"id": "tidy", "depends_on": ["close"]}],
        }))
    }
}
