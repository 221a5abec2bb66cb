//! Dependencies: edges, and which outcomes of them let a node run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::repeat::OnExhausted;
use crate::ids::NodeId;

/// A dependency: `[from, to]`, or an object when it has a condition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum EdgeSpec {
    /// `[from, to]`.
    Pair(NodeId, NodeId),
    /// `{from, to, when}`.
    Full {
        /// The dependency.
        from: NodeId,
        /// The node that depends on it.
        to: NodeId,
        /// The edge is followed only if this expression is true.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        when: Option<String>,
        /// Makes it a loop edge: when `from` has succeeded and `when` holds, every node on a path from `to` to `from`
        /// runs again; this many times in all, the first included.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(range(min = 1))]
        max_iterations: Option<u32>,
        /// Of a loop edge: what it means that the iterations are used up while `when` still holds.
        #[serde(default, skip_serializing_if = "OnExhausted::is_default")]
        on_exhausted: OnExhausted,
    },
}

impl EdgeSpec {
    /// The dependency.
    pub const fn from(&self) -> &NodeId {
        match self {
            Self::Pair(from, _) | Self::Full { from, .. } => from,
        }
    }

    /// The node that depends on it.
    pub const fn to(&self) -> &NodeId {
        match self {
            Self::Pair(_, to) | Self::Full { to, .. } => to,
        }
    }

    /// Of a loop edge: its bound, and what it means to reach it.
    pub const fn loop_bound(&self) -> Option<(u32, OnExhausted)> {
        match self {
            Self::Full { max_iterations: Some(most), on_exhausted, .. } => Some((*most, *on_exhausted)),
            _ => None,
        }
    }

    /// The condition.
    pub fn when(&self) -> Option<&str> {
        match self {
            Self::Pair(..) => None,
            Self::Full { when, .. } => when.as_deref(),
        }
    }
}

/// Which outcomes of its dependencies let a node run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Join {
    /// All finished, none failed, at least one succeeded. A merge after a branch just works.
    #[default]
    NoFailure,
    /// All succeeded.
    AllSuccess,
    /// As soon as one has succeeded; the others go on.
    AnySuccess,
    /// All finished, however.
    AllDone,
    /// As soon as one has failed: an error handler.
    AnyFailure,
}

impl Join {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The name used in documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoFailure => "no_failure",
            Self::AllSuccess => "all_success",
            Self::AnySuccess => "any_success",
            Self::AllDone => "all_done",
            Self::AnyFailure => "any_failure",
        }
    }

    /// Does a node with this join take care of the failure of what it depends on?
    pub const fn handles_failure(self) -> bool {
        matches!(self, Self::AllDone | Self::AnyFailure)
    }
}
