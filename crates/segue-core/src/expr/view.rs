//! Shows a JSON value to the template engine without copying it.

use std::{fmt, sync::Arc};

use minijinja::value::{Enumerator, Object, ObjectRepr, Value};
use serde_json::Value as Json;

use super::path::{Root, Step};

/// A list or object somewhere inside a shared value.
#[derive(Debug)]
pub(crate) struct View {
    root: Root,
    steps: Vec<Step>,
}

impl View {
    /// The value seen.
    pub(crate) fn value(&self) -> &Json {
        self.root.at(&self.steps)
    }

    /// What `steps` lead to from `root`, which is `value`, for the engine: scalars as they are, the rest as a view.
    pub(crate) fn show(root: &Root, steps: &[Step], value: &Json) -> Value {
        Self::scalar(value).unwrap_or_else(|| Value::from_object(Self { root: root.clone(), steps: steps.to_vec() }))
    }

    fn scalar(value: &Json) -> Option<Value> {
        Some(match value {
            Json::Null => Value::from(()),
            Json::Bool(flag) => Value::from(*flag),
            Json::Number(number) => {
                if let Some(int) = number.as_i64() {
                    Value::from(int)
                } else if let Some(int) = number.as_u64() {
                    Value::from(int)
                } else {
                    Value::from(number.as_f64().unwrap_or(f64::NAN))
                }
            }
            Json::String(text) => Value::from(text.as_str()),
            Json::Array(_) | Json::Object(_) => return None,
        })
    }

    fn child(&self, step: Step) -> Option<Value> {
        let value = step.child(self.value())?;
        Some(Self::scalar(value).unwrap_or_else(|| {
            let mut steps = self.steps.clone();
            steps.push(step);
            Value::from_object(Self { root: self.root.clone(), steps })
        }))
    }
}

impl Object for View {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        if self.value().is_array() { ObjectRepr::Seq } else { ObjectRepr::Map }
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str() {
            Some(key) => self.get_value_by_str(key),
            None => self.child(Step::Index(key.as_i64()?)),
        }
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        self.child(Step::Key(key.into()))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        match self.value() {
            Json::Array(items) => Enumerator::Seq(items.len()),
            Json::Object(fields) => Enumerator::Values(fields.keys().map(|key| Value::from(key.as_str())).collect()),
            _ => Enumerator::Empty,
        }
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        match self.value() {
            Json::Array(items) => Some(items.len()),
            Json::Object(fields) => Some(fields.len()),
            _ => Some(0),
        }
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.value())
    }
}
