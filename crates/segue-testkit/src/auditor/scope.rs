//! Scopes: the tasks of one block of nodes, side by side.

use segue_core::ids::TaskId;

use super::{
    Auditor,
    graph::MAIN,
    stage::Stage,
    tree::{Layer, Task},
};

/// One block's tasks, side by side, in the order of its nodes.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    pub(super) block: usize,
    /// The task of the group.
    pub(super) owner: Option<usize>,
    pub(super) stage: Stage,
    pub(super) tasks: Vec<usize>,
}

impl Auditor {
    /// The task of a node beside `scope`, or around it.
    pub(super) fn visible(&self, scope: usize, name: &str) -> Option<usize> {
        let mut scope = Some(scope);
        while let Some(at) = scope {
            let tasks = &self.scopes[at].tasks;
            if let Some(&ix) = tasks.iter().find(|&&ix| self.node(ix).id.as_str() == name) {
                return Some(ix);
            }
            scope = match self.scopes[at].owner {
                Some(owner) => Some(self.tasks[owner].scope),
                None => (at != MAIN).then_some(MAIN),
            };
        }
        None
    }

    /// The task of a node in this scope.
    pub(super) fn member(&self, scope: usize, node: usize) -> usize {
        let tasks = &self.scopes[scope].tasks;
        tasks.iter().copied().find(|&ix| self.tasks[ix].node == node).expect("a node of the scope's block")
    }

    /// A new scope, with a task a node.
    pub(super) fn open_scope(&mut self, block: usize, owner: Option<usize>, stage: Stage) -> usize {
        let scope = self.scopes.len();
        self.scopes.push(Scope { block, owner, stage, tasks: Vec::new() });
        for node in self.graph.blocks[block].nodes.clone() {
            let its = &self.graph.nodes[node];
            let layer = match (&its.foreach, &its.repeat) {
                (Some(_), _) => Layer::Map,
                (None, Some(_)) => Layer::Repeat,
                (None, None) => Layer::Work,
            };
            let id = match owner {
                Some(owner) => TaskId::new(format!("{}/{}", self.tasks[owner].id, its.id)),
                None => TaskId::from(&its.id),
            };
            let round = u32::from(its.innermost.is_some());
            let ix = self.add(Task { round, ..Task::new(id, node, layer, scope) });
            self.scopes[scope].tasks.push(ix);
        }
        scope
    }
}
