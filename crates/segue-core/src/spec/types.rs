//! The types of the workflow document, version 1.

use std::{collections::BTreeMap, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    budget::BudgetSpec,
    failure::{OnFailure, RetryPolicy, WorkflowOnFailure},
    limit::LimitSpec,
};
use crate::ids::{HandlerId, NodeId, WorkflowId};

/// A span of time in seconds; not negative.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Seconds(#[schemars(range(min = 0.0))] pub f64);

impl Seconds {
    /// As a duration; what cannot be one (negative, too large) becomes the nearest that can.
    pub fn as_duration(self) -> Duration {
        Duration::try_from_secs_f64(self.0.max(0.0)).unwrap_or(Duration::MAX)
    }
}

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

/// A value that a run is started with.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ParamSpec {
    /// Its type; any if absent.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<ParamKind>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its value where a start gives none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// Must a start give it? Yes, unless it has a default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
    /// The values it may have.
    #[serde(rename = "enum", skip_serializing_if = "Option::is_none")]
    pub choices: Option<Vec<Value>>,
    /// The least number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum: Option<f64>,
    /// The greatest number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum: Option<f64>,
    /// Of an array: what its items are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<Box<ParamSpec>>,
    /// Of an object: what its fields are.
    #[serde(skip_serializing_if = "Map::is_empty")]
    #[schemars(with = "std::collections::BTreeMap<String, ParamSpec>")]
    pub properties: Map<String, Value>,
}

/// The type of a param.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum ParamKind {
    String,
    Integer,
    Number,
    Boolean,
    Array,
    Object,
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
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Nodes that run as one: the group succeeds when they have, and its output is theirs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupSpec {
    /// The nodes. Their ids are unique in the whole document.
    #[schemars(length(min = 1))]
    pub nodes: Vec<TaskNode>,
    /// Dependencies between them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edges: Vec<EdgeSpec>,
    /// The group's output. Without it: an object with the outputs of its final nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
}

/// Another workflow, run as a run of its own: the node's `inputs` are its params, its outputs are the node's output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChildSpec {
    /// The workflow's id: a deployed workflow, or one in a file beside this document.
    pub id: WorkflowId,
    /// Its version: the first digits of its hash, 8 at least. Without it: the one that is current when the run starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The node does not wait: it succeeds when the run has started, and its output is `{run_id}`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub detach: bool,
}

/// How long a result is used again, and by whom.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CacheSpec {
    /// Results with one key are one; may hold `{{ … }}`. Without it: the rendered inputs are the key. Either way only
    /// tasks of one node of one workflow share a result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How long a result is used. Without it: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<Seconds>,
}

/// A question to a person. The task waits, without a worker, until it is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalSpec {
    /// The question, in a few words; may hold `{{ … }}`.
    pub title: String,
    /// What the person needs to know; may hold `{{ … }}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What the person is to fill in: a name and a type each.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(with = "std::collections::BTreeMap<String, ParamSpec>")]
    pub form: Map<String, Value>,
    /// Who may answer; anybody if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvers: Vec<String>,
    /// What it means that nobody answers within the node's `timeout_seconds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_timeout: Option<ApprovalTimeout>,
    /// What a "no" means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_reject: Option<ApprovalRejection>,
}

/// What it means that nobody answers an approval in time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalTimeout {
    /// The task fails, with kind `timeout`.
    #[default]
    Fail,
    /// As if somebody had said yes.
    Approve,
    /// As if somebody had said no.
    Reject,
}

/// What it means that a person says no.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalRejection {
    /// The task fails, with kind `rejected`.
    #[default]
    Fail,
    /// The task succeeds; its output says `decision: reject`.
    Continue,
}

/// What a node waits for: exactly one of `seconds`, `until` and `event`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WaitSpec {
    /// This long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<Seconds>,
    /// Until this time: RFC 3339; may hold `{{ … }}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// For a signal of this name; may hold `{{ … }}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Only for a signal for whose data, `output`, this expression is true.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub matches: Option<String>,
}

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
    fn is_default(&self) -> bool {
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
