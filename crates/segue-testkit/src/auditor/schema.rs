//! `output_schema`, as far as the simulator's workflows use JSON Schema.

use segue_core::ids::TaskId;
use serde_json::Value;

use super::{Auditor, tree::Layer};

impl Auditor {
    /// Where a result of the task does not fit its schema, as a JSON Pointer. The schema is that of what a node does,
    /// not of the list of its instances.
    pub(super) fn misfit(&self, ix: usize, output: &Value) -> Option<String> {
        let schema = self.node(ix).schema.as_ref().filter(|_| self.tasks[ix].layer == Layer::Work)?;
        misfit(schema, output)
    }

    /// Where this output of the attempt that runs does not fit.
    pub fn misfit_of(&self, task: &TaskId, output: &Value) -> Option<String> {
        self.index_of(Some(task)).ok().and_then(|ix| self.misfit(ix, output))
    }
}

pub(super) fn misfit(schema: &Value, value: &Value) -> Option<String> {
    let is_of_type = match schema["type"].as_str() {
        None => true,
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("null") => value.is_null(),
        Some(_) => false,
    };
    let is_too_much = schema["maximum"].as_f64().is_some_and(|most| value.as_f64().is_some_and(|value| value > most));
    let lacks = |name: &Value| value.is_object() && value.get(name.as_str().unwrap_or_default()).is_none();
    let is_incomplete = schema["required"].as_array().is_some_and(|names| names.iter().any(lacks));
    if !is_of_type || is_too_much || is_incomplete {
        return Some(String::new());
    }
    let properties = schema["properties"].as_object().into_iter().flatten();
    properties.into_iter().find_map(|(name, schema)| {
        let inside = misfit(schema, value.get(name)?)?;
        Some(format!("/{name}{inside}"))
    })
}
