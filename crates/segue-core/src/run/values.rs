//! Values: what expressions see, what an attempt is given, what the run gives back.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Run, TaskIx, join::EdgeEnd, scope::ScopeIx, stage::Stage, task::Parts};
use crate::{
    event::{SkipCode, SkipReason},
    expr::{ExprError, Expression, NodeView, References, RunView, Scope, Template},
    ids::{NodeId, TaskId},
    outcome::{ErrorKind, TaskError},
    payload::Payload,
    plan::Outputs,
    spec::Join,
    status::Status,
};

/// What an attempt is given.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// The node's inputs: an object.
    pub inputs: Arc<Value>,
    /// The outputs of the node's dependencies, where it has no prompt of its own and takes them as material.
    pub material: Vec<(NodeId, Arc<Value>)>,
}

impl Run {
    /// Renders a task's inputs: a pure function of plan and state. An expression that cannot be evaluated is the
    /// task's error, of kind `invalid_input`, which names the place.
    pub fn render(&self, task: &TaskId) -> Result<Rendered, TaskError> {
        let ix = self
            .find(task)
            .ok_or_else(|| TaskError::new(ErrorKind::InvalidInput, format!("there is no task `{task}`")))?;
        let node = self.node_of(ix);
        let inputs = node
            .inputs
            .render(&self.scope_for(ix, node.inputs.references()))
            .map_err(|error| TaskError::new(ErrorKind::InvalidInput, format!("inputs of `{}`: {error}", node.id)))?;
        let material = match node.takes_material {
            true => node.incoming.iter().filter_map(|edge| self.material(self.sibling(ix, edge.from))).collect(),
            false => Vec::new(),
        };
        Ok(Rendered { inputs, material })
    }

    /// The key under which the task's result is used again, rendered; `None` where the node's `cache` names none, or it
    /// has no `cache` at all: then the rendered inputs are the key.
    pub fn cache_key(&self, task: &TaskId) -> Result<Option<String>, TaskError> {
        let Some(ix) = self.find(task) else { return Ok(None) };
        let key = self.node_of(ix).cache().and_then(|cache| cache.key.as_ref());
        key.map(|key| self.text(ix, "cache.key", key)).transpose()
    }

    /// What an expression about a task says now: the key of a limit. `place` names it in the error, which is of kind
    /// `invalid_input`.
    pub fn evaluate(&self, task: &TaskId, place: &str, expression: &Expression) -> Result<Value, TaskError> {
        let Some(ix) = self.find(task) else { return Ok(Value::Null) };
        expression
            .evaluate(&self.scope_for(ix, expression.references()))
            .map_err(|error| TaskError::new(ErrorKind::InvalidInput, format!("`{place}`, for `{task}`: {error}")))
    }

    /// Renders a text.
    pub(super) fn text(&self, ix: TaskIx, place: &str, template: &Template) -> Result<String, TaskError> {
        let value = template.render(&self.scope_for(ix, template.references())).map_err(|error| {
            TaskError::new(ErrorKind::InvalidInput, format!("`{place}` of `{}`: {error}", self.task_id(ix)))
        })?;
        Ok(match &*value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    }

    fn material(&self, ix: TaskIx) -> Option<(NodeId, Arc<Value>)> {
        let value = self.task(ix).output.as_ref()?.value()?;
        Some((self.node_of(ix).id.clone(), value.clone()))
    }

    pub(super) fn is_true(&self, condition: &Expression, ix: TaskIx) -> Result<bool, ExprError> {
        condition.is_true(&self.scope_for(ix, condition.references()))
    }

    /// `on_failure: continue`: the output that stands in for what failed with `error`.
    pub(super) fn stand_in(&self, ix: TaskIx, error: &TaskError) -> Result<Option<Payload>, TaskError> {
        let node = self.node_of(ix);
        let Some(template) = &node.continue_with else { return Ok(None) };
        let mut scope = self.scope_for(ix, template.references());
        scope.extra.insert(0, ("error", Arc::new(error_value(error))));
        template.render(&scope).map(|value| Some(Payload::from_arc(value))).map_err(|wrong| {
            let message = format!("on_failure.output of `{}`: {wrong} (after: {error})", node.id);
            TaskError::new(ErrorKind::InvalidInput, message)
        })
    }

    /// The outputs of a scope whose tasks have ended: those that the workflow or the group declares, else those of its
    /// final nodes that have one.
    pub(super) fn outputs(&self, scope: ScopeIx) -> Result<Payload, TaskError> {
        let scope = self.scope(scope);
        match &self.plan.block(scope.block).outputs {
            Outputs::Declared(template) => {
                let mut values = self.scope_for(TaskIx(scope.base), template.references());
                // What is around the group, not around its first node, which may be in a loop of its own.
                values.extra = scope.owner.map_or_else(Vec::new, |owner| self.surroundings(owner));
                template.render(&values).map(Payload::from_arc).map_err(|error| {
                    let whose = scope.owner.map_or("outputs of the workflow".to_owned(), |owner| {
                        format!("`group.output` of `{}`", self.task_id(owner))
                    });
                    TaskError::new(ErrorKind::InvalidInput, format!("{whose}: {error}"))
                })
            }
            Outputs::Sinks(sinks) => {
                let outputs = sinks.iter().filter_map(|&node| self.material(scope.member(&self.plan, node)));
                let outputs: Map<String, Value> =
                    outputs.map(|(id, value)| (id.to_string(), Value::clone(&value))).collect();
                Ok(Payload::new(Value::Object(outputs)))
            }
        }
    }

    /// The names that an expression of `ix` sees, as far as it uses them.
    pub(super) fn scope_for(&self, ix: TaskIx, references: &References) -> Scope {
        let nodes = references.nodes.iter().filter_map(|id| {
            let seen = self.visible(ix, *self.plan.by_id.get(id)?)?;
            Some((id.clone(), self.view(seen)))
        });
        let status = if references.names.contains("run") { self.status_for(ix) } else { Status::Running };
        Scope {
            params: self.state.params.clone(),
            run: RunView { id: self.id.to_string(), workflow_id: self.plan.workflow_id.to_string(), status },
            nodes: nodes.collect(),
            extra: if references.names.is_empty() { Vec::new() } else { self.surroundings(ix) },
        }
    }

    /// Where the run stands, for an expression of `ix`: it runs. At its end it is what it will be.
    fn status_for(&self, ix: TaskIx) -> Status {
        match self.stage_around(ix) {
            Stage::Main => Status::Running,
            Stage::Failure | Stage::Finally => self.fate(),
        }
    }

    fn stage_around(&self, ix: TaskIx) -> Stage {
        let mut scope = self.task(ix).scope;
        while let Some(owner) = self.scope(scope).owner {
            scope = self.task(owner).scope;
        }
        self.stage_of(scope).unwrap_or(Stage::Main)
    }

    /// The failure that a member with `any_failure` is about: the first one of its dependencies.
    fn failure_before(&self, ix: TaskIx) -> Option<Arc<Value>> {
        let incoming = self.node_of(ix).incoming.iter().map(|edge| self.sibling(ix, edge.from));
        let failed = incoming.filter(|&from| self.task(from).told && self.edge_end(from) == EdgeEnd::Failed);
        let first = failed.min_by_key(|&from| self.task(from).result_seq)?;
        let mut error = self.task(first).error.clone()?;
        error.node = Some(self.node_of(first).id.clone());
        Some(Arc::new(error_value(&error)))
    }

    /// `item` and `index` of the nearest instance around `ix`, `iteration` and `previous` of the nearest iteration, `error` of
    /// the nearest failure that is being handled.
    fn surroundings(&self, ix: TaskIx) -> Vec<(&'static str, Arc<Value>)> {
        let mut found: Vec<(&'static str, Arc<Value>)> = Vec::new();
        let mut add = |name, value: &dyn Fn() -> Arc<Value>| {
            if found.iter().all(|(known, _)| *known != name) {
                found.push((name, value()));
            }
        };
        let mut part = Some(ix);
        while let Some(ix) = part {
            let task = self.task(ix);
            if task.round > 0 {
                add("iteration", &|| Arc::new(task.round.into()));
            }
            match task.parent.map(|whole| &self.task(whole).parts) {
                Some(Some(Parts::Instances { items, .. })) => {
                    add("item", &|| items.get(task.number as usize).cloned().unwrap_or_default());
                    add("index", &|| Arc::new(task.number.into()));
                }
                Some(Some(Parts::Iteration { previous, .. })) => {
                    add("iteration", &|| Arc::new(task.number.into()));
                    add("previous", &|| previous.as_ref().and_then(Payload::value).cloned().unwrap_or_default());
                }
                _ => {}
            }
            if self.is_member(ix) && self.node_of(ix).join == Join::AnyFailure {
                add("error", &|| self.failure_before(ix).unwrap_or_default());
            }
            part = self.parent(ix);
        }
        if self.stage_around(ix) != Stage::Main {
            add("error", &|| self.state.failure.as_ref().map(|error| Arc::new(error_value(error))).unwrap_or_default());
        }
        found
    }

    /// What a task produced; `null` if nothing, or nothing that anybody may still read.
    pub(super) fn value(&self, ix: TaskIx) -> Arc<Value> {
        self.task(ix).output.as_ref().and_then(Payload::value).cloned().unwrap_or_default()
    }

    fn view(&self, ix: TaskIx) -> NodeView {
        let task = self.task(ix);
        NodeView {
            output: self.value(ix),
            status: task.status,
            error: task.error.as_ref().map(|error| Arc::new(error_value(error))),
            attempts: task.attempt,
        }
    }

    /// A condition of `ix` cannot be evaluated: what it fails with, without having started.
    pub(super) fn no_answer(&self, ix: TaskIx, place: &str, error: &ExprError) -> TaskError {
        TaskError::new(ErrorKind::InvalidInput, format!("{place} of `{}`: {error}", self.node_of(ix).id))
    }

    pub(super) fn skip_reason(&self, ix: TaskIx, code: SkipCode) -> SkipReason {
        let node = self.node_of(ix);
        let decisive = match code {
            SkipCode::UpstreamFailed => Some(EdgeEnd::Failed),
            SkipCode::JoinNeverHolds => Some(EdgeEnd::Skipped),
            _ => None,
        };
        let because = decisive.and_then(|end| {
            let mut dependencies = node.incoming.iter().map(|edge| self.sibling(ix, edge.from));
            let found = dependencies.find(|&from| {
                let untaken = self.state.untaken.contains(&(ix, from));
                self.task(from).told && if untaken { EdgeEnd::Skipped } else { self.edge_end(from) } == end
            });
            found.map(|from| self.node_of(from).id.clone())
        });
        let who = because.as_ref().map_or_else(String::new, |id| format!(" `{id}`"));
        let message = match code {
            SkipCode::When => "its condition is false".to_owned(),
            SkipCode::NotReached => "nothing that leads to it was taken".to_owned(),
            SkipCode::UpstreamFailed => format!("its dependency{who} failed"),
            SkipCode::NothingFailed => "nothing that it handles failed".to_owned(),
            SkipCode::JoinNeverHolds => format!("join all_success can never hold: its dependency{who} was skipped"),
        };
        SkipReason { code, message, because }
    }
}

fn error_value(error: &TaskError) -> Value {
    serde_json::to_value(error).expect("a task's error can be written as JSON")
}
