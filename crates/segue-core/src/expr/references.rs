//! What an expression or a template reads.

use std::{collections::BTreeSet, ops::Range};

use super::path::{Path, Step};
use crate::ids::NodeId;

/// What an expression or a template reads, found without evaluating it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct References {
    /// The nodes it names.
    pub nodes: BTreeSet<NodeId>,
    /// It uses `nodes` as a whole, or picks a node by a computed name.
    pub all_nodes: bool,
    /// The params it names.
    pub params: BTreeSet<String>,
    /// It uses `params` as a whole, or picks a param by a computed name.
    pub all_params: bool,
    /// The other names it uses: `run`, `item`, `index`, …
    pub names: BTreeSet<&'static str>,
}

/// One use of a name in an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathUse {
    /// What is read.
    pub path: Path,
    /// Where it stands, in bytes of the expression's source.
    pub offset: Range<usize>,
}

impl References {
    /// Notes that `path` is read.
    pub(crate) fn add(&mut self, path: &Path) {
        match (path.root, path.steps.first()) {
            ("nodes", Some(step)) => drop(self.nodes.insert(NodeId::new(step.as_name()))),
            ("nodes", None) => self.all_nodes = true,
            ("params", Some(step)) => drop(self.params.insert(step.as_name())),
            ("params", None) => self.all_params = true,
            (root, _) => drop(self.names.insert(root)),
        }
    }

    /// Adds what `other` reads.
    pub fn merge(&mut self, other: &Self) {
        self.nodes.extend(other.nodes.iter().cloned());
        self.params.extend(other.params.iter().cloned());
        self.names.extend(&other.names);
        self.all_nodes |= other.all_nodes;
        self.all_params |= other.all_params;
    }

    /// Does it read nothing at all?
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Step {
    /// The step as the name of a field.
    pub(crate) fn as_name(&self) -> String {
        match self {
            Self::Key(key) => key.to_string(),
            Self::Index(index) => index.to_string(),
        }
    }
}
