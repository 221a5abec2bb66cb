//! From the specification to the plan.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Map, Value};

use super::{Dependent, Incoming, NodeIx, Outputs, Plan, PlanNode, RetryRule, version_json};
use crate::{
    expr::{ExprError, Expression, References, Template, TemplateError},
    ids::{HandlerId, NodeId, TaskId},
    spec::{
        Backoff, Defaults, FailureAction, OnFailure, RetryPolicy, Seconds, TaskNode, WorkflowOnFailure, WorkflowSpec,
    },
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
        let mut by_id = BTreeMap::new();
        for (at, node) in spec.nodes.iter().enumerate() {
            let ix = NodeIx(u32::try_from(at).expect("a document has fewer than 2^32 nodes"));
            if by_id.insert(node.id.clone(), ix).is_some() {
                return Err(PlanError::DuplicateNode(node.id.clone()));
            }
        }
        let mut nodes = Vec::with_capacity(spec.nodes.len());
        let compiler = Compiler { defaults: spec.defaults.clone().unwrap_or_default(), default_handler };
        for node in &spec.nodes {
            nodes.push(compiler.node(node)?);
        }
        connect(spec, &by_id, &mut nodes)?;
        reject_cycles(&nodes)?;
        let outputs = outputs_of(spec, &nodes)?;
        let mut plan = Self {
            workflow_id: spec.id.clone(),
            hash: version_json(spec).0,
            max_parallel: spec.max_parallel_nodes.map(|n| n.max(1) as usize),
            timeout: spec.timeout_seconds.map(Seconds::as_duration),
            cancel_on_failure: spec.on_failure == Some(WorkflowOnFailure::Cancel),
            readers: vec![0; nodes.len()],
            nodes,
            by_id,
            outputs,
        };
        plan.count_readers();
        Ok(plan)
    }

    fn count_readers(&mut self) {
        for ix in 0..self.nodes.len() {
            let reads = self.reads_of(&self.nodes[ix]);
            for &read in &reads {
                self.readers[read.index()] += 1;
            }
            self.nodes[ix].reads = reads;
        }
        let at_the_end: Vec<NodeIx> = match &self.outputs {
            Outputs::Declared(template) => self.resolve(template.references()).into_iter().collect(),
            Outputs::Sinks(sinks) => sinks.clone(),
        };
        for read in at_the_end {
            self.readers[read.index()] += 1;
        }
    }

    fn reads_of(&self, node: &PlanNode) -> Vec<NodeIx> {
        let mut reads = self.resolve(node.inputs.references());
        let conditions = node.dependents.iter().filter_map(|edge| edge.when.as_ref()).chain(&node.when);
        for condition in conditions {
            reads.extend(self.resolve(condition.references()));
        }
        if let Some(template) = &node.continue_with {
            reads.extend(self.resolve(template.references()));
        }
        if node.takes_material {
            reads.extend(node.incoming.iter().map(|edge| edge.from));
        }
        reads.into_iter().collect()
    }

    fn resolve(&self, references: &References) -> BTreeSet<NodeIx> {
        references.nodes.iter().filter_map(|id| self.by_id.get(id).copied()).collect()
    }
}

struct Compiler<'a> {
    defaults: Defaults,
    default_handler: &'a HandlerId,
}

impl Compiler<'_> {
    fn node(&self, node: &TaskNode) -> Result<PlanNode, PlanError> {
        let defaults = &self.defaults;
        let named = node.spec.task.clone();
        let takes_material = named.is_none() && !node.spec.inputs.contains_key("prompt");
        let on_failure = node.on_failure.clone().or_else(|| defaults.on_failure.clone()).unwrap_or_default();
        Ok(PlanNode {
            id: node.id.clone(),
            task_id: TaskId::from(&node.id),
            name: node.name.clone(),
            description: node.description.clone(),
            handler: named.or_else(|| defaults.task.clone()).unwrap_or_else(|| self.default_handler.clone()),
            hints: merge_hints(&defaults.hints, &node.spec.hints),
            timeout: node.timeout_seconds.or(defaults.timeout_seconds).map(Seconds::as_duration),
            deadline: node.deadline_seconds.map(Seconds::as_duration),
            retry: retry_rule(node.retry_policy.as_ref(), defaults.retry_policy.as_ref()),
            inputs: template(&Value::Object(node.spec.inputs.clone()), || format!("{}.inputs", node.id))?,
            takes_material,
            incoming: Vec::new(),
            dependents: Vec::new(),
            join: node.join,
            when: node.when.as_deref().map(|text| condition(text, || format!("{}.when", node.id))).transpose()?,
            continue_with: stand_in(&on_failure, &node.id)?,
            reads: Vec::new(),
        })
    }
}

fn stand_in(on_failure: &OnFailure, node: &NodeId) -> Result<Option<Template>, PlanError> {
    match on_failure.action {
        FailureAction::Fail => Ok(None),
        FailureAction::Continue => {
            let output = on_failure.output.clone().unwrap_or_default();
            template(&output, || format!("{node}.on_failure.output")).map(Some)
        }
    }
}

fn template(value: &Value, place: impl FnOnce() -> String) -> Result<Template, PlanError> {
    Template::compile(value).map_err(|errors| PlanError::Template { place: place(), errors })
}

fn condition(text: &str, place: impl FnOnce() -> String) -> Result<Expression, PlanError> {
    Expression::compile(text).map_err(|source| PlanError::Condition { place: place(), source })
}

/// The node's hints over the defaults, adapter by adapter and key by key.
fn merge_hints(defaults: &Map<String, Value>, own: &Map<String, Value>) -> Map<String, Value> {
    let mut merged = defaults.clone();
    for (adapter, hints) in own {
        match (merged.get_mut(adapter), hints) {
            (Some(Value::Object(under)), Value::Object(over)) => {
                under.extend(over.iter().map(|(key, value)| (key.clone(), value.clone())));
            }
            _ => {
                merged.insert(adapter.clone(), hints.clone());
            }
        }
    }
    merged
}

fn retry_rule(own: Option<&RetryPolicy>, defaults: Option<&RetryPolicy>) -> RetryRule {
    fn pick<T>(
        own: Option<&RetryPolicy>,
        defaults: Option<&RetryPolicy>,
        get: impl Fn(&RetryPolicy) -> Option<T>,
    ) -> Option<T> {
        own.and_then(&get).or_else(|| defaults.and_then(&get))
    }
    let basis = Backoff::default();
    let seconds = |get: fn(&RetryPolicy) -> Option<Seconds>, otherwise: Duration| {
        pick(own, defaults, get).map_or(otherwise, Seconds::as_duration)
    };
    RetryRule {
        backoff: Backoff {
            attempts_max: pick(own, defaults, |p| p.max_attempts).unwrap_or(basis.attempts_max).max(1),
            initial: seconds(|p| p.initial_interval_seconds, basis.initial),
            coefficient: pick(own, defaults, |p| p.backoff_coefficient).unwrap_or(basis.coefficient),
            longest: seconds(|p| p.max_interval_seconds, basis.longest),
            jitter: pick(own, defaults, |p| p.jitter).unwrap_or(basis.jitter),
        },
        retry_on: pick(own, defaults, |p| p.retry_on.clone()),
        do_not_retry_on: pick(own, defaults, |p| p.do_not_retry_on.clone()).unwrap_or_default(),
    }
}

/// Unites `depends_on` and `edges`. A dependency that is named twice is one; a condition, wherever given, holds.
fn connect(spec: &WorkflowSpec, by_id: &BTreeMap<NodeId, NodeIx>, nodes: &mut [PlanNode]) -> Result<(), PlanError> {
    let find = |who: &NodeId, what: &NodeId| {
        by_id.get(what).copied().ok_or_else(|| PlanError::UnknownNode(who.clone(), what.clone()))
    };
    let mut edges: BTreeMap<(NodeIx, NodeIx), Option<Expression>> = BTreeMap::new();
    for node in &spec.nodes {
        let to = find(&node.id, &node.id)?;
        for dependency in &node.depends_on {
            edges.entry((find(&node.id, dependency)?, to)).or_default();
        }
    }
    for edge in &spec.edges {
        let (from, to) = (find(edge.to(), edge.from())?, find(edge.from(), edge.to())?);
        let when =
            edge.when().map(|text| condition(text, || format!("edge {} -> {}", edge.from(), edge.to()))).transpose()?;
        let known = edges.entry((from, to)).or_default();
        *known = when.or(known.take());
    }
    for ((from, to), when) in edges {
        nodes[to.index()].incoming.push(Incoming { from });
        nodes[from.index()].dependents.push(Dependent { to, when });
    }
    Ok(())
}

/// Kahn's algorithm: whatever cannot be removed is on a cycle or behind one.
fn reject_cycles(nodes: &[PlanNode]) -> Result<(), PlanError> {
    let mut open: Vec<usize> = nodes.iter().map(|node| node.incoming.len()).collect();
    let mut free: Vec<usize> = (0..nodes.len()).filter(|&ix| open[ix] == 0).collect();
    let mut removed = 0;
    while let Some(ix) = free.pop() {
        removed += 1;
        for edge in &nodes[ix].dependents {
            open[edge.to.index()] -= 1;
            if open[edge.to.index()] == 0 {
                free.push(edge.to.index());
            }
        }
    }
    match open.iter().position(|&left| left > 0) {
        Some(ix) if removed < nodes.len() => Err(PlanError::Cycle(nodes[ix].id.clone())),
        _ => Ok(()),
    }
}

fn outputs_of(spec: &WorkflowSpec, nodes: &[PlanNode]) -> Result<Outputs, PlanError> {
    match &spec.outputs {
        Some(outputs) => template(&Value::Object(outputs.clone()), || "outputs".to_owned()).map(Outputs::Declared),
        None => {
            let sinks = nodes.iter().enumerate().filter(|(_, node)| node.dependents.is_empty());
            Ok(Outputs::Sinks(sinks.map(|(ix, _)| NodeIx(u32::try_from(ix).expect("counted above"))).collect()))
        }
    }
}
