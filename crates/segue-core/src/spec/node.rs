//! A node as it is declared.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    budget::BudgetSpec,
    edge::Join,
    failure::{OnFailure, RetryPolicy},
    repeat::RepeatSpec,
    seconds::Seconds,
    work::{ApprovalSpec, CacheSpec, ChildSpec, GroupSpec, WaitSpec},
};
use crate::ids::{HandlerId, NodeId};

/// A vertex of the graph: a task, what it depends on, and the rules for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskNode {
    /// The node's id, unique in its workflow.
    pub id: NodeId,
    /// A name for people. Of a node of the default handler without a prompt: its instruction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What runs.
    #[serde(flatten)]
    pub spec: TaskSpec,
    /// The nodes it depends on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<NodeId>,
    /// It runs only if this expression is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Which outcomes of its dependencies let it run.
    #[serde(default, skip_serializing_if = "Join::is_default")]
    pub join: Join,
    /// One instance an item: an expression that gives a list, or the list itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreach: Option<Value>,
    /// Instances of `foreach` at once. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub parallelism: Option<u32>,
    /// It runs again until it is good enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat: Option<RepeatSpec>,
    /// It runs these nodes, as one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupSpec>,
    /// It runs another workflow, as a run of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<ChildSpec>,
    /// It waits for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalSpec>,
    /// It waits for a time or an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<WaitSpec>,
    /// JSON Schema (2020-12) of its output. An attempt whose output does not fit fails with kind `model_output`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Value>,
    /// Its result is used again, by this and by other runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheSpec>,
    /// How attempts are repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_policy: Option<RetryPolicy>,
    /// The longest an attempt may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<Seconds>,
    /// The longest the task may take over all its attempts, from the start of the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_seconds: Option<Seconds>,
    /// What the task may consume of models, over all its attempts; each instance and iteration for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<BudgetSpec>,
    /// The limits that its attempts run under, each instance and iteration for itself: those of the workflow, and those of
    /// the configuration. All of them have room before an attempt begins; until then the task is `PENDING`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Vec<String>>,
    /// What its failure does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
    /// Anything; kept and shown, without meaning to Segue.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
}

impl TaskNode {
    /// A node of which nothing is said but its id.
    pub fn new(id: NodeId) -> Self {
        Self {
            id,
            name: None,
            description: None,
            spec: TaskSpec::default(),
            depends_on: Vec::new(),
            when: None,
            join: Join::default(),
            foreach: None,
            parallelism: None,
            repeat: None,
            group: None,
            workflow: None,
            approval: None,
            wait: None,
            output_schema: None,
            cache: None,
            retry_policy: None,
            timeout_seconds: None,
            deadline_seconds: None,
            budget: None,
            limits: None,
            on_failure: None,
            metadata: Map::new(),
        }
    }
}

/// What a node runs, for whoever carries it out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TaskSpec {
    /// The handler; without it the workflow's or the orchestrator's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<HandlerId>,
    /// What it is given; strings may hold `{{ … }}`.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub inputs: Map<String, Value>,
    /// Tuning, one object an adapter. Never changes what a result means.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub hints: Map<String, Value>,
}
