//! A workflow as it is declared.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    budget::BudgetSpec,
    edge::EdgeSpec,
    failure::{OnFailure, RetryPolicy, WorkflowOnFailure},
    limit::LimitSpec,
    node::TaskNode,
    param::ParamSpec,
    seconds::Seconds,
};
use crate::ids::{HandlerId, WorkflowId};

/// A workflow: what runs, in which order, and the rules for it. Immutable; its version is its content's hash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowSpec {
    /// Version of the document's language; 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segue: Option<u32>,
    /// The workflow's id.
    pub id: WorkflowId,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The values that a run is started with.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(with = "std::collections::BTreeMap<String, ParamSpec>")]
    pub params: Map<String, Value>,
    /// The names of the secrets that its nodes may refer to, as `{ $secret: NAME }`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// What holds for every node that does not say otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defaults: Option<Defaults>,
    /// Limits of this workflow: so many at once, so many a minute, over all its runs and all engines.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, LimitSpec>,
    /// The longest a run may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<Seconds>,
    /// What a run may consume of models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<BudgetSpec>,
    /// Nodes of a run that may run at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_parallel_nodes: Option<u32>,
    /// The nodes.
    pub nodes: Vec<TaskNode>,
    /// Dependencies, united with the nodes' `depends_on`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edges: Vec<EdgeSpec>,
    /// What a run gives back: a name and a template each. Without it: the outputs of the final nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Map<String, Value>>,
    /// What a failure that nothing handles does to the rest of the run, or the nodes that run after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<WorkflowOnFailure>,
    /// Nodes that run at the end, however the rest went: also when the run is cancelled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub finally: Vec<TaskNode>,
    /// Anything; kept and shown, without meaning to Segue.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
}

/// What holds for every node that does not say otherwise.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Defaults {
    /// The handler of nodes that name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<HandlerId>,
    /// How attempts are repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_policy: Option<RetryPolicy>,
    /// The longest an attempt may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<Seconds>,
    /// The limits that attempts run under.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<Vec<String>>,
    /// Tuning for adapters.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub hints: Map<String, Value>,
    /// What a failure does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
}
