//! `budget`: what a run, or a task, may consume of models.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::FailureAction;

/// The most dollars of a budget: more is a mistake, and would not be exact.
pub const USD_MAX: f64 = 1e6;

/// What all attempts together may consume. A call that would begin beyond it is refused, and its task fails with the kind
/// `budget`; what is in flight then may go beyond it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetSpec {
    /// US dollars, by the price table of the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub usd: Option<f64>,
    /// Input and output tokens together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub tokens: Option<u64>,
    /// What that failure does. After a pause, who lets the task try again grants the same budget once more.
    #[serde(default)]
    pub on_exceeded: FailureAction,
}

impl BudgetSpec {
    /// The dollars in billionths.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to lie within its range")]
    pub fn cost_nanousd(&self) -> Option<u64> {
        self.usd.map(|usd| (usd * 1e9).round() as u64)
    }
}
