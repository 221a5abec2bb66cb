//! From the specification to the plan: nodes are numbered [block by block](blocks), each is [compiled](node), blocks are
//! connected, and at the end it is counted who [reads](readers) what.

mod blocks;
mod node;
mod readers;

use std::collections::BTreeMap;

use serde_json::Value;

use self::{
    blocks::{block_ix, ix, later_stages, number},
    node::Compiler,
};
use super::{Block, Plan, version_json};
use crate::{
    expr::{ExprError, Expression, Template, TemplateError},
    ids::{HandlerId, NodeId},
    spec::{FailurePolicy, Seconds, WorkflowOnFailure, WorkflowSpec},
};

/// Why a specification cannot become a plan. [`crate::spec::check`] finds all of this, and more, with places for a
/// person; this is the last line, for specifications that were never checked.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Two nodes with one id.
    #[error("two nodes are called `{0}`")]
    DuplicateNode(NodeId),
    /// An edge or `depends_on` names no node.
    #[error("`{0}` depends on `{1}`, which does not exist")]
    UnknownNode(NodeId, NodeId),
    /// The dependencies go in a circle.
    #[error("the dependencies of `{0}` lead back to it")]
    Cycle(NodeId),
    /// A condition cannot be read.
    #[error("in `{place}`: {source}")]
    Condition {
        /// The node, and which of its conditions.
        place: String,
        /// Why.
        source: ExprError,
    },
    /// An `output_schema` is none.
    #[error("in `{node}.output_schema{pointer}`: {why}")]
    Schema {
        /// The node.
        node: NodeId,
        /// JSON Pointer into the schema.
        pointer: String,
        /// Why.
        why: String,
    },
    /// A template cannot be read.
    #[error("in `{place}`: {}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Template {
        /// The node, and which of its values.
        place: String,
        /// Why.
        errors: Vec<TemplateError>,
    },
}

impl Plan {
    /// Compiles a checked specification. Nodes without a handler of their own get the workflow's default, else
    /// `default_handler`.
    pub fn compile(spec: &WorkflowSpec, default_handler: &HandlerId) -> Result<Self, PlanError> {
        let drafts = number(spec);
        let mut by_id = BTreeMap::new();
        let mut nodes = Vec::new();
        let compiler =
            Compiler { defaults: spec.defaults.clone().unwrap_or_default(), default_handler, limits: &spec.limits };
        for (block, draft) in drafts.iter().enumerate() {
            for (at, node) in draft.nodes.iter().enumerate() {
                if by_id.insert(node.id.clone(), ix(draft.first + at)).is_some() {
                    return Err(PlanError::DuplicateNode(node.id.clone()));
                }
                let inner = draft.inner.get(&at).copied();
                let is_later_stage = block > 0 && draft.owner.is_none();
                nodes.push(compiler.node(node, block_ix(block), inner, is_later_stage)?);
            }
        }
        let mut blocks = Vec::with_capacity(drafts.len());
        for draft in &drafts {
            draft.connect(&by_id, &mut nodes)?;
            draft.reject_cycles(&nodes)?;
            draft.close_loops(&by_id, &mut nodes)?;
            let outputs = draft.outputs(&nodes)?;
            blocks.push(Block { first: ix(draft.first), len: draft.nodes.len(), owner: draft.owner, outputs });
        }
        let (failure, finally) = later_stages(spec);
        let mut plan = Self {
            workflow_id: spec.id.clone(),
            hash: version_json(spec).0,
            labels: labels(spec),
            budget: spec.budget,
            max_parallel: spec.max_parallel_nodes.map(|n| n.max(1) as usize),
            timeout: spec.timeout_seconds.map(Seconds::as_duration),
            cancel_on_failure: spec.on_failure == Some(WorkflowOnFailure::Policy(FailurePolicy::Cancel)),
            failure,
            finally,
            readers: vec![0; nodes.len()],
            nodes,
            by_id,
            blocks,
        };
        plan.count_readers();
        Ok(plan)
    }
}

/// A number or a truth value is a label as its text; anything else is none.
fn labels(spec: &WorkflowSpec) -> BTreeMap<String, String> {
    let declared = spec.metadata.get("labels").and_then(Value::as_object).into_iter().flatten();
    let labels = declared.filter_map(|(name, value)| match value {
        Value::String(text) => Some((name.clone(), text.clone())),
        Value::Number(_) | Value::Bool(_) => Some((name.clone(), value.to_string())),
        _ => None,
    });
    labels.collect()
}

fn template(value: &Value, place: impl FnOnce() -> String) -> Result<Template, PlanError> {
    Template::compile(value).map_err(|errors| PlanError::Template { place: place(), errors })
}

fn condition(text: &str, place: impl FnOnce() -> String) -> Result<Expression, PlanError> {
    Expression::compile(text).map_err(|source| PlanError::Condition { place: place(), source })
}
