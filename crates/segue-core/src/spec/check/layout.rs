//! All nodes of a document in one list, whatever group or part of it they stand in.

use std::{collections::BTreeMap, ops::Bound};

use crate::spec::{EdgeSpec, TaskNode, WorkflowOnFailure, WorkflowSpec, decode::UNREADABLE, problem::At};

/// The deepest nesting of groups.
pub(crate) const GROUPS_DEPTH_MAX: u32 = 16;

/// The nodes of a document, block by block: those of the workflow first, then `on_failure`, `finally`, and the groups.
pub(super) struct Layout<'s> {
    pub(super) nodes: Vec<Member<'s>>,
    pub(super) blocks: Vec<Block<'s>>,
    /// Groups that are nested too deeply; what is in them is not looked at.
    pub(super) too_deep: Vec<usize>,
    index: BTreeMap<&'s str, usize>,
}

/// A node and where it stands.
pub(super) struct Member<'s> {
    pub(super) node: &'s TaskNode,
    /// Its JSON Pointer.
    pub(super) path: String,
    pub(super) block: usize,
    /// The block of the group that it is.
    pub(super) inner: Option<usize>,
}

impl Member<'_> {
    pub(super) fn at(&self) -> At<'_> {
        At::pointer(&self.path)
    }
}

/// Nodes that run side by side, and their edges.
pub(super) struct Block<'s> {
    pub(super) part: Part,
    /// The group whose block it is.
    pub(super) owner: Option<usize>,
    pub(super) edges: &'s [EdgeSpec],
    /// JSON Pointers.
    pub(super) edges_path: String,
    pub(super) nodes_path: String,
    /// Its nodes, as a range of all nodes.
    pub(super) first: usize,
    pub(super) len: usize,
    depth: u32,
}

/// The parts of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Main,
    OnFailure,
    Finally,
}

impl Part {
    /// As the document calls it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Main => "nodes",
            Self::OnFailure => "on_failure",
            Self::Finally => "finally",
        }
    }
}

impl<'s> Layout<'s> {
    pub(super) fn of(spec: &'s WorkflowSpec) -> Self {
        let mut layout = Self { nodes: Vec::new(), blocks: Vec::new(), too_deep: Vec::new(), index: BTreeMap::new() };
        let on_failure: &[TaskNode] = match &spec.on_failure {
            Some(WorkflowOnFailure::Nodes(nodes)) => nodes,
            _ => &[],
        };
        let parts = [
            (Part::Main, &*spec.nodes, &*spec.edges),
            (Part::OnFailure, on_failure, &[]),
            (Part::Finally, &spec.finally, &[]),
        ];
        for (part, nodes, edges) in parts {
            let path = format!("/{}", part.name());
            layout.add(part, None, nodes, path, edges, "/edges".to_owned(), 0);
        }
        // The list grows while it is walked: groups stand behind what they are in.
        let mut next = 0;
        while let Some(member) = layout.nodes.get(next) {
            if let Some(group) = &member.node.group {
                let (part, depth) = (layout.blocks[member.block].part, layout.blocks[member.block].depth + 1);
                if depth > GROUPS_DEPTH_MAX {
                    layout.too_deep.push(next);
                } else {
                    let path = format!("{}/group/nodes", member.path);
                    let edges_path = format!("{}/group/edges", member.path);
                    let block = layout.add(part, Some(next), &group.nodes, path, &group.edges, edges_path, depth);
                    layout.nodes[next].inner = Some(block);
                }
            }
            next += 1;
        }
        for (number, member) in layout.nodes.iter().enumerate() {
            let id = member.node.id.as_str();
            if id != UNREADABLE {
                layout.index.entry(id).or_insert(number);
            }
        }
        layout
    }

    #[allow(clippy::too_many_arguments)]
    fn add(
        &mut self,
        part: Part,
        owner: Option<usize>,
        nodes: &'s [TaskNode],
        nodes_path: String,
        edges: &'s [EdgeSpec],
        edges_path: String,
        depth: u32,
    ) -> usize {
        let (block, first) = (self.blocks.len(), self.nodes.len());
        let members = nodes.iter().enumerate();
        self.nodes.extend(members.map(|(at, node)| Member {
            node,
            path: format!("{nodes_path}/{at}"),
            block,
            inner: None,
        }));
        self.blocks.push(Block { part, owner, edges, edges_path, nodes_path, first, len: nodes.len(), depth });
        block
    }

    /// The first node of that id, anywhere in the document.
    pub(super) fn index_of(&self, id: &str) -> Option<usize> {
        self.index.get(id).copied()
    }

    /// The node of that id, if it stands in this block.
    pub(super) fn find(&self, block: usize, id: &str) -> Option<usize> {
        self.index_of(id).filter(|node| self.nodes[*node].block == block)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &'s str> {
        self.index.keys().copied()
    }

    /// An id that begins so.
    pub(super) fn beginning_with(&self, prefix: &str) -> Option<&'s str> {
        let (id, _) = self.index.range::<str, _>((Bound::Included(prefix), Bound::Unbounded)).next()?;
        id.starts_with(prefix).then_some(*id)
    }

    pub(super) fn id(&self, node: usize) -> &'s str {
        self.nodes[node].node.id.as_str()
    }

    pub(super) fn block_of(&self, node: usize) -> &Block<'s> {
        &self.blocks[self.nodes[node].block]
    }

    /// `node`, or the group around it, that stands in `block`; none if neither does.
    pub(super) fn within(&self, block: usize, mut node: usize) -> Option<usize> {
        while self.nodes[node].block != block {
            node = self.block_of(node).owner?;
        }
        Some(node)
    }
}
