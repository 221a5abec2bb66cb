//! The names that have a value only in some places: `item`, `iteration`, `error`, …

use super::{Checks, layout::Part};
use crate::spec::{Join, TaskNode, codes, problem::Problem};

/// A set of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Names(u8);

impl Names {
    pub(super) const NONE: Self = Self(0);
    /// `item` and `index`: inside `foreach`.
    pub(super) const ITEM: Self = Self(1);
    /// `iteration`: inside `repeat`, and in the body of a loop edge.
    pub(super) const ITERATION: Self = Self(2);
    /// `previous`: inside `repeat`.
    pub(super) const PREVIOUS: Self = Self(4);
    /// `output`: where a result is judged.
    pub(super) const OUTPUT: Self = Self(8);
    /// `error`: where a failure is handled.
    pub(super) const ERROR: Self = Self(16);

    pub(super) const fn and(self, more: Self) -> Self {
        Self(self.0 | more.0)
    }

    pub(super) const fn and_if(self, condition: bool, more: Self) -> Self {
        if condition { self.and(more) } else { self }
    }

    /// Does the name of an expression have a value?
    pub(super) fn has(self, name: &str) -> bool {
        let needed = match name {
            "item" | "index" => Self::ITEM,
            "iteration" => Self::ITERATION,
            "previous" => Self::PREVIOUS,
            "output" => Self::OUTPUT,
            "error" => Self::ERROR,
            _ => return true,
        };
        self.0 & needed.0 != 0
    }
}

/// The names in scope of one node.
#[derive(Debug, Clone, Copy)]
pub(super) struct NodeNames {
    /// What is decided once for the node: `when`, and the list of `foreach`.
    pub(super) outer: Names,
    /// What stands in for the output of one instance: `on_failure.output`.
    pub(super) instance: Names,
    /// What the node does: its inputs, its question.
    pub(super) work: Names,
}

impl Checks<'_> {
    /// The names in scope of each node. Groups come before what is in them.
    pub(super) fn names(&self, in_loop: &[bool]) -> Vec<NodeNames> {
        let mut names: Vec<NodeNames> = Vec::with_capacity(self.layout.nodes.len());
        for (number, member) in self.layout.nodes.iter().enumerate() {
            let block = &self.layout.blocks[member.block];
            let around = match (block.owner, block.part) {
                (Some(group), _) => names[group].work,
                (None, Part::OnFailure | Part::Finally) => Names::ERROR,
                (None, Part::Main) => Names::NONE,
            };
            names.push(names_of(member.node, around, in_loop[number]));
        }
        names
    }

    pub(super) fn out_of_place(name: &str, path: &str, names: Names) -> Problem {
        let help = match name {
            "error" => {
                "`error` is there in `on_failure.output`, in a node with `join: any_failure` and in the workflow's \
                 `on_failure` and `finally`; of another node: `nodes.ID.error`"
                    .to_owned()
            }
            "item" | "index" => {
                "`item` and `index` are there in a node with `foreach`, but not in its `when` and its `foreach`, and in what \
                 is inside such a group"
                    .to_owned()
            }
            "iteration" => "`iteration` is there in a node with `repeat`, in the body of a loop edge, and in what is inside \
                            such a group"
                .to_owned(),
            "previous" => {
                "`previous`, the output of the iteration before, is there in a node with `repeat` and in what is inside such \
                 a group"
                    .to_owned()
            }
            "output" if names.has("previous") => {
                "`output` is there in `until`, after each iteration; before it is `previous`".to_owned()
            }
            _ => "`output` is there in `repeat.until` and `wait.match`; of another node: `nodes.ID.output`".to_owned(),
        };
        Problem::new(&codes::UNKNOWN_NAME, path, format!("`{name}` has no value in this place")).help(help)
    }
}

fn names_of(node: &TaskNode, around: Names, in_loop: bool) -> NodeNames {
    let outer = around.and_if(in_loop, Names::ITERATION).and_if(node.join == Join::AnyFailure, Names::ERROR);
    let instance = outer.and_if(node.foreach.is_some(), Names::ITEM);
    let work = instance.and_if(node.repeat.is_some(), Names::ITERATION.and(Names::PREVIOUS));
    NodeNames { outer, instance, work }
}
