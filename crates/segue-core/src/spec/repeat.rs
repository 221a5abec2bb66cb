//! Running again: a node, or the body of a loop edge.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::seconds::Seconds;

/// A node runs again: each time is an *iteration*, `node#1`, `node#2`, …
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RepeatSpec {
    /// It has been repeated enough when this expression is true; `output`, `previous` and `iteration` are in scope.
    /// Without it: when the iterations are used up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Iterations in all.
    #[schemars(range(min = 1))]
    pub max_iterations: u32,
    /// Pause between two iterations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_seconds: Option<Seconds>,
    /// What it means if `until` does not hold after the last iteration.
    #[serde(default, skip_serializing_if = "OnExhausted::is_default")]
    pub on_exhausted: OnExhausted,
}

/// What it means that a loop's iterations are used up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnExhausted {
    /// The node fails, with kind `limit`.
    #[default]
    Fail,
    /// The last iteration's output is the result.
    Continue,
}

impl OnExhausted {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
