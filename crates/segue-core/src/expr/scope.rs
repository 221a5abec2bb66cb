//! The names that expressions see, with their values.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::{ids::NodeId, status::Status};

/// The names in scope and their values, as an owned snapshot.
#[derive(Debug, Clone)]
pub struct Scope {
    /// `params.x`.
    pub params: Arc<Map<String, Value>>,
    /// `run.id`, `run.workflow_id`, `run.status`.
    pub run: RunView,
    /// `nodes.ID`: at least those that [`super::References::nodes`] names.
    pub nodes: Vec<(NodeId, NodeView)>,
    /// `item`, `index`, `output`, `error`, … where the place has them.
    pub extra: Vec<(&'static str, Arc<Value>)>,
}

/// `run` in an expression.
#[derive(Debug, Clone)]
pub struct RunView {
    /// The run's id.
    pub id: String,
    /// The workflow's id.
    pub workflow_id: String,
    /// Where the run stands.
    pub status: Status,
}

/// `nodes.ID` in an expression.
#[derive(Debug, Clone)]
pub struct NodeView {
    /// What it produced; `null` if it produced nothing, as when it was skipped.
    pub output: Arc<Value>,
    /// Where it stands.
    pub status: Status,
    /// Why it failed.
    pub error: Option<Arc<Value>>,
    /// Attempts so far.
    pub attempts: u32,
}

impl Scope {
    /// The node of that id. Fast if the nodes are in the order of their ids, right in any order.
    pub(crate) fn node(&self, id: &str) -> Option<&NodeView> {
        let sorted = self.nodes.binary_search_by(|(known, _)| known.as_str().cmp(id)).ok();
        let index = sorted.or_else(|| self.nodes.iter().position(|(known, _)| known.as_str() == id));
        index.map(|index| &self.nodes[index].1)
    }
}

impl Default for Scope {
    /// No params, no nodes, a run without a name.
    fn default() -> Self {
        let run = RunView { id: String::new(), workflow_id: String::new(), status: Status::Running };
        Self { params: Arc::default(), run, nodes: Vec::new(), extra: Vec::new() }
    }
}
