//! From a JSON value to the types, by hand: all problems of shape at once, each with its place and its cure.
//!
//! Where something is wrong the field is left out, or a placeholder stands in, so that the checks of meaning can still
//! look at the rest. A specification with problems never leaves the parser.

mod duration;
mod edge;
mod fields;
mod node;
mod policy;
mod work;
mod workflow;

use super::{
    TaskNode,
    problem::{Problem, Problems},
};
use crate::{expr::Nearest, ids::NodeId};

pub use fields::{Fields, kind_of};
pub(crate) use workflow::workflow;

/// Stands for an id that could not be read and has been reported.
pub(crate) const UNREADABLE: &str = "\0";

/// Stands for nodes that could not be read, so that the checks do not say once more that there are none.
fn unreadable_nodes() -> Vec<TaskNode> {
    vec![TaskNode::new(NodeId::new(UNREADABLE))]
}

/// Reads the fields of a document, and collects what is wrong with them.
pub struct Decoder<'p> {
    problems: &'p mut Problems,
    nearest: Nearest,
}

impl<'p> Decoder<'p> {
    pub(crate) fn new(problems: &'p mut Problems) -> Self {
        Self { problems, nearest: Nearest::default() }
    }

    /// Takes a problem.
    pub fn add(&mut self, problem: Problem) {
        self.problems.add(problem);
    }
}
