//! Scopes: the tasks of one block of nodes, side by side.

use std::collections::BTreeSet;

use super::{Run, TaskIx};
use crate::plan::{BlockIx, NodeIx, Plan};

/// A scope's number in its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ScopeIx(pub(super) u32);

impl ScopeIx {
    pub(super) const ROOT: Self = Self(0);

    /// The scope of a block that the workflow itself has: its nodes, or those of a later stage.
    pub(super) const fn top(block: BlockIx) -> Self {
        Self(block.0)
    }
}

/// One instance of a block: the workflow's own, or of a group that has begun. Its tasks lie together in the arena.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scope {
    pub(super) block: BlockIx,
    pub(super) base: u32,
    pub(super) len: u32,
    /// The task of the group.
    pub(super) owner: Option<TaskIx>,
    /// Members that have not ended.
    pub(super) open: usize,
    /// Members that failed, and nothing handles it or may still do so, with the `seq` of the fact.
    pub(super) failures: BTreeSet<(u64, TaskIx)>,
}

impl Scope {
    pub(super) fn new(block: BlockIx, base: u32, len: usize, owner: Option<TaskIx>) -> Self {
        Self { block, base, len: super::index(len), owner, open: len, failures: BTreeSet::new() }
    }

    /// The task of a node of this block.
    pub(super) fn member(&self, plan: &Plan, node: NodeIx) -> TaskIx {
        TaskIx(self.base + node.0 - plan.block(self.block).first.0)
    }

    pub(super) fn members(&self) -> impl DoubleEndedIterator<Item = TaskIx> + use<> {
        (self.base..self.base + self.len).map(TaskIx)
    }
}

impl Run {
    pub(super) fn scope(&self, ix: ScopeIx) -> &Scope {
        &self.state.scopes[ix.0 as usize]
    }

    pub(super) fn scope_mut(&mut self, ix: ScopeIx) -> &mut Scope {
        &mut self.state.scopes[ix.0 as usize]
    }

    pub(super) fn scope_of(&self, ix: TaskIx) -> &Scope {
        self.scope(self.task(ix).scope)
    }

    /// The scopes that the workflow itself has.
    pub(super) fn top_scopes(&self) -> impl Iterator<Item = ScopeIx> + use<> {
        self.plan.top_blocks().map(ScopeIx::top)
    }

    /// The task of `node` as `ix` sees it: in its own scope, in one around it, or, from a later stage, among the
    /// workflow's own.
    pub(super) fn visible(&self, ix: TaskIx, node: NodeIx) -> Option<TaskIx> {
        let mut scope = self.scope_of(ix);
        while scope.block != self.plan.node(node).block {
            scope = match scope.owner {
                Some(owner) => self.scope_of(owner),
                None if scope.block != BlockIx::ROOT => self.scope(ScopeIx::ROOT),
                None => return None,
            };
        }
        Some(scope.member(&self.plan, node))
    }

    /// The task whose part `ix` is: the group of a member, the `foreach` of an instance, the `repeat` of an iteration.
    pub(super) fn parent(&self, ix: TaskIx) -> Option<TaskIx> {
        self.task(ix).parent.or(self.scope_of(ix).owner)
    }
}
