//! Plain paths: `nodes.n1.output.x`, `params["a-b"]`, `item[0]`. They are looked up here, never by the template engine,
//! so that they mean the same in a condition, in a template and inside a larger expression.

use std::{fmt, ops::Range, sync::Arc};

use serde_json::{Map, Value, json};

use super::{
    error::{ExprError, ExprErrorKind},
    nearest::Nearest,
    scope::{NodeView, Scope},
};

/// The names that an expression may begin with. Which of them have a value depends on the place.
pub const NAMES: [&str; 9] = ["params", "nodes", "run", "item", "index", "output", "previous", "iteration", "error"];

/// The fields of `nodes.ID`.
pub(crate) const NODE_FIELDS: [&str; 4] = ["output", "status", "error", "attempts"];
/// The fields of `run`.
pub(crate) const RUN_FIELDS: [&str; 3] = ["id", "workflow_id", "status"];

/// A name and the way from it into its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// One of [`NAMES`].
    pub root: &'static str,
    /// The way.
    pub steps: Vec<Step>,
}

/// One step into a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Into an object.
    Key(Arc<str>),
    /// Into a list; a negative one counts from the end.
    Index(i64),
}

/// A value that belongs to the scope.
#[derive(Debug, Clone)]
pub(crate) enum Root {
    Value(Arc<Value>),
    Params(Arc<Map<String, Value>>),
}

/// What a path leads to.
pub(crate) enum Found<'s> {
    /// A shared value as a whole.
    Shared(&'s Arc<Value>),
    /// A part of a shared value: the steps that lead from it to the part.
    Inside(Root, &'s [Step], &'s Value),
    /// A value made for the occasion.
    Fresh(Value),
    /// Nothing: the last step names a field that is not there.
    Missing(ExprError),
}

impl Path {
    /// Looks the path up. A field that is not there is [`Found::Missing`] if it comes last, and an error if the path goes
    /// on from there. Whatever is asked of `null` is `null`: a skipped node's output is, and so is all that it would hold.
    pub(crate) fn find<'s>(&'s self, scope: &'s Scope, at: &Range<usize>) -> Result<Found<'s>, ExprError> {
        match self.root {
            "params" => match self.steps.first() {
                None => Ok(Found::Fresh(Value::Object((*scope.params).clone()))),
                Some(step) => match scope.params.get(&step.as_name()) {
                    Some(value) => self.walk(
                        1,
                        value,
                        || Found::Inside(Root::Params(scope.params.clone()), &self.steps, value),
                        at,
                    ),
                    None => Err(unknown(at, "param", &step.as_name(), scope.params.keys().map(String::as_str))),
                },
            },
            "nodes" => match self.steps.first() {
                None => {
                    let all = scope.nodes.iter().map(|(id, node)| (id.to_string(), node_as_json(node)));
                    Ok(Found::Fresh(Value::Object(all.collect())))
                }
                Some(step) => {
                    let id = step.as_name();
                    match scope.node(&id) {
                        Some(node) => self.find_in_node(node, at),
                        None => Err(unknown(at, "node", &id, scope.nodes.iter().map(|(id, _)| id.as_str()))),
                    }
                }
            },
            "run" => {
                let run = &scope.run;
                let Some(step) = self.steps.first() else {
                    return Ok(Found::Fresh(
                        json!({"id": run.id, "workflow_id": run.workflow_id, "status": run.status}),
                    ));
                };
                match step.as_name().as_str() {
                    "id" => self.fresh(1, Value::from(run.id.as_str()), at),
                    "workflow_id" => self.fresh(1, Value::from(run.workflow_id.as_str()), at),
                    "status" => self.fresh(1, Value::from(run.status.as_str()), at),
                    other => Err(unknown(at, "field of `run`", other, RUN_FIELDS)),
                }
            }
            name => match scope.extra.iter().find(|(known, _)| *known == name) {
                Some((_, value)) => self.in_shared(0, value, at),
                None => Err(ExprError::new(
                    ExprErrorKind::UnknownName,
                    at.clone(),
                    format!("`{name}` has no value in this place"),
                )),
            },
        }
    }

    fn find_in_node<'s>(&'s self, node: &'s NodeView, at: &Range<usize>) -> Result<Found<'s>, ExprError> {
        let Some(field) = self.steps.get(1) else { return Ok(Found::Fresh(node_as_json(node))) };
        match field.as_name().as_str() {
            "output" => self.in_shared(2, &node.output, at),
            "status" => self.fresh(2, Value::from(node.status.as_str()), at),
            "attempts" => self.fresh(2, Value::from(node.attempts), at),
            "error" => match &node.error {
                Some(error) => self.in_shared(2, error, at),
                None => Ok(Found::Fresh(Value::Null)),
            },
            other => Err(unknown(at, "field of a node", other, NODE_FIELDS)),
        }
    }

    fn in_shared<'s>(&'s self, done: usize, value: &'s Arc<Value>, at: &Range<usize>) -> Result<Found<'s>, ExprError> {
        if self.steps.len() == done {
            return Ok(Found::Shared(value));
        }
        self.walk(done, value, || Found::Inside(Root::Value(value.clone()), &self.steps[done..], value), at)
    }

    fn fresh(&self, done: usize, value: Value, at: &Range<usize>) -> Result<Found<'static>, ExprError> {
        if self.steps.len() == done {
            return Ok(Found::Fresh(value));
        }
        Err(self.lost(done, &value, at))
    }

    /// Takes the steps from `done` on, into `value`.
    fn walk<'s>(
        &'s self,
        done: usize,
        mut value: &'s Value,
        found: impl FnOnce() -> Found<'s>,
        at: &Range<usize>,
    ) -> Result<Found<'s>, ExprError> {
        for (taken, step) in self.steps.iter().enumerate().skip(done) {
            if value.is_null() {
                return Ok(Found::Fresh(Value::Null));
            }
            match step.child(value) {
                Some(child) => value = child,
                None if taken + 1 == self.steps.len() => return Ok(Found::Missing(self.lost(taken, value, at))),
                None => return Err(self.lost(taken, value, at)),
            }
        }
        Ok(match found() {
            Found::Inside(root, steps, _) => Found::Inside(root, steps, value),
            other => other,
        })
    }

    /// The error that step number `taken` leads nowhere in `value`.
    fn lost(&self, taken: usize, value: &Value, at: &Range<usize>) -> ExprError {
        let so_far = Self { root: self.root, steps: self.steps[..taken].to_vec() };
        let step = &self.steps[taken];
        let message = match (value, step) {
            (Value::Object(_), step) => format!("`{so_far}` has no field `{}`", step.as_name()),
            (Value::Array(items), Step::Index(index)) => {
                format!("`{so_far}` has {} items, there is none at {index}", items.len())
            }
            (other, step) => format!("`{so_far}` is {}, it has no field `{}`", kind_of(other), step.as_name()),
        };
        let help = value.as_object().and_then(|fields| {
            Nearest::default().help(&step.as_name(), fields.keys().map(String::as_str)).or_else(|| fields_of(fields))
        });
        ExprError::new(ExprErrorKind::Evaluation, at.clone(), message).maybe_help(help)
    }
}

impl Step {
    /// What the step leads to in `value`.
    pub(crate) fn child<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        match (value, self) {
            (Value::Object(fields), Self::Key(key)) => fields.get(&**key),
            (Value::Array(items), Self::Index(index)) => {
                let index = usize::try_from(*index)
                    .ok()
                    .or_else(|| items.len().checked_sub(usize::try_from(index.unsigned_abs()).ok()?))?;
                items.get(index)
            }
            _ => None,
        }
    }
}

impl Root {
    /// What `steps` lead to. They have been taken before, and values do not change.
    pub(crate) fn at(&self, steps: &[Step]) -> &Value {
        const NULL: &Value = &Value::Null;
        let (start, rest) = match self {
            Self::Value(value) => (Some(&**value), steps),
            Self::Params(params) => {
                (steps.first().and_then(|step| params.get(&step.as_name())), &steps[1.min(steps.len())..])
            }
        };
        rest.iter().try_fold(start.unwrap_or(NULL), |value, step| step.child(value)).unwrap_or(NULL)
    }
}

/// What a JSON value is, for a message.
pub(crate) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn node_as_json(node: &NodeView) -> Value {
    json!({
        "output": *node.output,
        "status": node.status,
        "error": node.error.as_deref(),
        "attempts": node.attempts,
    })
}

fn fields_of(fields: &Map<String, Value>) -> Option<String> {
    if fields.is_empty() || fields.len() > 12 {
        return None;
    }
    let names: Vec<String> = fields.keys().map(|key| format!("`{key}`")).collect();
    Some(format!("it has {}", names.join(", ")))
}

fn unknown<'k>(at: &Range<usize>, what: &str, name: &str, known: impl IntoIterator<Item = &'k str>) -> ExprError {
    ExprError::new(ExprErrorKind::UnknownName, at.clone(), format!("there is no {what} `{name}` here"))
        .maybe_help(Nearest::default().help(name, known))
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.root)?;
        for step in &self.steps {
            match step {
                Step::Key(key) if is_plain(key) => write!(f, ".{key}")?,
                Step::Key(key) => write!(f, "[{}]", Value::from(&**key))?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// Can the field be written after a dot?
pub(crate) fn is_plain(key: &str) -> bool {
    key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !key.starts_with(|c: char| c.is_ascii_digit())
        && !key.is_empty()
}
