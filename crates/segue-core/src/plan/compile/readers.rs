//! Which nodes read a node's output: what a run keeps in memory, and until when.

use std::collections::BTreeSet;

use super::{
    super::{BlockIx, Items, NodeIx, Outputs, Plan, PlanNode, Wait, Work},
    blocks::ix,
};
use crate::expr::{Expression, References, Template};

impl Plan {
    /// A node of a group that reads a value from outside does so in the name of its group: the value is needed until
    /// the group has ended.
    pub(super) fn count_readers(&mut self) {
        let mut reads = vec![BTreeSet::new(); self.nodes.len()];
        for at in 0..self.nodes.len() {
            for read in self.reads_of(&self.nodes[at]) {
                if let Some(reader) = self.reader_beside(ix(at), read) {
                    reads[reader.index()].insert(read);
                }
            }
        }
        for block in &self.blocks {
            let at_the_end = match (&block.outputs, block.owner) {
                (Outputs::Sinks(sinks), _) => sinks.iter().copied().collect(),
                (Outputs::Declared(template), _) => self.resolve(template.references()),
            };
            for read in at_the_end {
                match (self.node(read).block == self.node(block.first).block, block.owner) {
                    (true, _) => self.readers[read.index()] += 1,
                    (false, Some(owner)) => {
                        if let Some(reader) = self.reader_beside(owner, read) {
                            reads[reader.index()].insert(read);
                        }
                    }
                    (false, None) => {}
                }
            }
        }
        for (node, reads) in self.nodes.iter_mut().zip(reads) {
            for read in &reads {
                self.readers[read.index()] += 1;
            }
            node.reads = reads.into_iter().collect();
        }
    }

    /// `node`, or the group around it, that stands in the block of `read`; of a later stage the one that reads the
    /// workflow's own nodes.
    fn reader_beside(&self, mut node: NodeIx, read: NodeIx) -> Option<NodeIx> {
        let target = self.node(read).block;
        while self.node(node).block != target {
            match self.block(self.node(node).block).owner {
                Some(owner) => node = owner,
                None => return (target == BlockIx::ROOT).then_some(node),
            }
        }
        Some(node)
    }

    fn reads_of(&self, node: &PlanNode) -> BTreeSet<NodeIx> {
        let edges = node.dependents.iter().filter_map(|edge| edge.when.as_ref());
        let back = node.loop_back.iter().filter_map(|back| back.when.as_ref());
        let until = node.repeat.iter().filter_map(|repeat| repeat.until.as_ref());
        let mut expressions: Vec<&Expression> = edges.chain(back).chain(until).chain(&node.when).collect();
        expressions.extend(node.limits.iter().filter_map(|limit| limit.own.as_ref()?.key.as_ref()));
        let key = node.cache.as_ref().and_then(|cache| cache.key.as_ref());
        let mut templates: Vec<&Template> = node.continue_with.iter().chain(key).chain([&node.inputs]).collect();
        match node.foreach.as_ref().map(|foreach| &foreach.items) {
            Some(Items::Expression(items)) => expressions.push(items),
            Some(Items::List(items)) => templates.push(items),
            None => {}
        }
        match &node.work {
            Work::Attempts | Work::Child(_) | Work::Group(_) | Work::Wait(Wait::Seconds(_)) => {}
            Work::Approval(approval) => templates.extend(approval.message.iter().chain([&approval.title])),
            Work::Wait(Wait::Until(until)) => templates.push(until),
            Work::Wait(Wait::Event { name, matches }) => {
                templates.push(name);
                expressions.extend(matches);
            }
        }
        let expressions = expressions.into_iter().map(Expression::references);
        let references = expressions.chain(templates.into_iter().map(Template::references));
        let mut reads: BTreeSet<NodeIx> = references.flat_map(|references| self.resolve(references)).collect();
        if node.takes_material {
            reads.extend(node.incoming.iter().map(|edge| edge.from));
        }
        reads
    }

    fn resolve(&self, references: &References) -> BTreeSet<NodeIx> {
        references.nodes.iter().filter_map(|id| self.by_id.get(id).copied()).collect()
    }
}
