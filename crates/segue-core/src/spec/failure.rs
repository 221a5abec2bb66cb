//! The types of what happens when something fails: retries, stand-ins, what a failed run does.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{node::TaskNode, seconds::Seconds};
use crate::outcome::ErrorKind;

/// How attempts are repeated. What is absent comes from the workflow's defaults, then from [`Backoff`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetryPolicy {
    /// Attempts in all; 1 means never again. Default 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_attempts: Option<u32>,
    /// Pause before the second attempt. Default 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_interval_seconds: Option<Seconds>,
    /// Each further pause is this many times as long. Default 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff_coefficient: Option<f64>,
    /// The longest pause. Default 60.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_interval_seconds: Option<Seconds>,
    /// `full`: a pause is drawn between zero and its computed length. Default `full`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Jitter>,
    /// Retry these kinds of error, and no others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_on: Option<Vec<ErrorKind>>,
    /// Never retry these kinds of error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub do_not_retry_on: Option<Vec<ErrorKind>>,
}

/// The retry policy's numbers, complete.
#[derive(Debug, Clone, PartialEq)]
pub struct Backoff {
    /// Attempts in all.
    pub attempts_max: u32,
    /// Pause before the second attempt.
    pub initial: Duration,
    /// Growth from pause to pause.
    pub coefficient: f64,
    /// The longest pause.
    pub longest: Duration,
    /// Is each pause drawn between zero and its length?
    pub jitter: Jitter,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            attempts_max: 3,
            initial: Duration::from_secs(1),
            coefficient: 2.0,
            longest: Duration::from_secs(60),
            jitter: Jitter::Full,
        }
    }
}

/// How the pause before a retry is drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Jitter {
    /// Between zero and the computed pause, so that many retries do not come at once.
    #[default]
    Full,
    /// Exactly the computed pause.
    None,
}

/// What a node's failure does.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OnFailure {
    /// `fail` the run (unless something handles it), or `continue` as if it had succeeded.
    pub action: FailureAction,
    /// With `continue`: stands in for the node's output; `null` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
}

/// What a node's failure does to the run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureAction {
    /// The run fails, unless a dependent with `any_failure` or `all_done` handles it.
    #[default]
    Fail,
    /// The run goes on; dependents see the node as succeeded.
    Continue,
    /// The task waits until a person decides: try again, go on with an output, or fail.
    Pause,
}

/// What a failure that nothing handles does to the rest of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum WorkflowOnFailure {
    /// A policy; no nodes run.
    Policy(FailurePolicy),
    /// The rest runs to its end, then these nodes run; `error` is in scope. The run has failed all the same.
    Nodes(Vec<TaskNode>),
}

/// What a failure that nothing handles does to what still runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailurePolicy {
    /// Independent branches run to their end first.
    #[default]
    Finish,
    /// What runs is cancelled at once.
    Cancel,
}
