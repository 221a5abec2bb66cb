//! What a node does beside a handler's work: groups, child workflows, approvals, waits; and results that stand in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{edge::EdgeSpec, node::TaskNode, param::ParamSpec, seconds::Seconds};
use crate::ids::WorkflowId;

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
