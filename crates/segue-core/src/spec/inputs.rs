//! The inputs of a run: what is given, checked against the workflow's params, with defaults filled in.

use serde_json::{Map, Value};

use super::{Diagnostic, WorkflowSpec, codes, problem::Problem};
use crate::expr::Nearest;

/// A value, or a part of one, that does not fit its param.
#[derive(Debug)]
pub(crate) struct Misfit {
    /// JSON Pointer from the value to the part.
    pub(crate) pointer: String,
    pub(crate) message: String,
}

/// The values of all params of `spec` from what is given to a start. Gives all problems at once, with JSON Pointers into
/// `given`. A param that is neither given nor has a default, and need not be given, is `null`.
pub fn resolve_inputs(spec: &WorkflowSpec, given: Map<String, Value>) -> Result<Map<String, Value>, Vec<Diagnostic>> {
    resolve_form(&spec.params, given)
}

/// As [`resolve_inputs`], for any set of typed fields: the form of an approval.
pub fn resolve_form(
    params: &Map<String, Value>,
    mut given: Map<String, Value>,
) -> Result<Map<String, Value>, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let mut nearest = Nearest::default();
    for name in given.keys().filter(|name| !params.contains_key(*name)) {
        let message = format!("the workflow takes no input `{name}`");
        let help = nearest.help(name, params.keys().map(String::as_str)).unwrap_or_else(|| listed(params));
        problems.push(Problem::new(&codes::UNKNOWN_INPUT, pointer_to(name), message).help(help));
    }
    let mut inputs = Map::with_capacity(params.len());
    for (name, param) in params {
        match given.remove(name) {
            // Given as nothing is as good as not given, where that is allowed.
            Some(Value::Null) | None if !is_required(param) => drop(inputs.insert(name.clone(), default_of(param))),
            Some(value) => {
                for misfit in misfits(param, &value) {
                    let message = format!("`{name}` does not fit: {}", misfit.message);
                    problems.push(Problem::new(&codes::BAD_INPUT, pointer_to(name) + &misfit.pointer, message));
                }
                inputs.insert(name.clone(), with_defaults(param, value));
            }
            None => {
                let what = param.get("description").and_then(Value::as_str);
                let message = match what {
                    Some(what) => format!("the input `{name}` is missing ({what})"),
                    None => format!("the input `{name}` is missing"),
                };
                let problem = Problem::new(&codes::MISSING_INPUT, pointer_to(name), message);
                problems.push(problem.help(codes::MISSING_INPUT.cure));
            }
        }
    }
    if problems.is_empty() { Ok(inputs) } else { Err(problems.into_iter().map(Problem::into_diagnostic).collect()) }
}

/// The value that a text from a command line means for a param: the text itself where a text is declared, else its JSON,
/// and the text where it is not JSON.
pub fn input_from_text(spec: &WorkflowSpec, name: &str, text: &str) -> Value {
    let kind = spec.params.get(name).and_then(|param| param.get("type")).and_then(Value::as_str);
    if kind == Some("string") {
        return Value::from(text);
    }
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

fn pointer_to(name: &str) -> String {
    super::problem::At::ROOT.key(name).to_string()
}

fn listed(params: &Map<String, Value>) -> String {
    if params.is_empty() {
        return "it takes no inputs; declare `params` in the workflow".to_owned();
    }
    let names: Vec<&str> = params.keys().map(String::as_str).take(20).collect();
    format!("it takes {}", names.join(", "))
}

fn is_required(param: &Value) -> bool {
    let has_default = param.get("default").is_some_and(|default| !default.is_null());
    match param.get("required").and_then(Value::as_bool) {
        Some(required) => required && !has_default,
        None => param.get("default").is_none(),
    }
}

fn default_of(param: &Value) -> Value {
    with_defaults(param, param.get("default").cloned().unwrap_or_default())
}

/// Fills in the defaults of the fields of an object, and of the items of a list.
fn with_defaults(param: &Value, mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            for (name, property) in param.get("properties").and_then(Value::as_object).into_iter().flatten() {
                let own = match fields.get_mut(name) {
                    Some(own) => own.take(),
                    None if property.get("default").is_some() => default_of(property),
                    None => continue,
                };
                fields.insert(name.clone(), with_defaults(property, own));
            }
        }
        Value::Array(items) => {
            if let Some(item) = param.get("items") {
                for value in items {
                    *value = with_defaults(item, value.take());
                }
            }
        }
        _ => {}
    }
    value
}

/// Where `value` does not fit the declaration `param`; a hundred places at most.
pub(crate) fn misfits(param: &Value, value: &Value) -> Vec<Misfit> {
    let mut found = Vec::new();
    look(param, value, &mut String::new(), &mut found);
    found
}

fn look(param: &Value, value: &Value, pointer: &mut String, found: &mut Vec<Misfit>) {
    if found.len() >= 100 {
        return;
    }
    let mut misfit = |message: String| found.push(Misfit { pointer: pointer.clone(), message });
    let kind = param.get("type").and_then(Value::as_str);
    let fits = match kind {
        Some("string") => value.is_string(),
        Some("integer") => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        Some("number") => value.is_number(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => true,
    };
    if !fits {
        return misfit(format!(
            "it is of type {}, and this is {}",
            kind.unwrap_or("any"),
            super::decode::kind_of(value)
        ));
    }
    if let Some(choices) = param.get("enum").and_then(Value::as_array)
        && !choices.contains(value)
    {
        let listed: Vec<String> = choices.iter().take(20).map(Value::to_string).collect();
        return misfit(format!("it is one of {}", listed.join(", ")));
    }
    if let Some(number) = value.as_f64() {
        let limit = |name: &str| param.get(name).and_then(Value::as_f64);
        if let Some(least) = limit("minimum").filter(|least| number < *least) {
            misfit(format!("it is {least} or more"));
        }
        if let Some(greatest) = limit("maximum").filter(|greatest| number > *greatest) {
            misfit(format!("it is {greatest} or less"));
        }
    }
    let length = pointer.len();
    match value {
        Value::Array(items) => {
            let Some(item) = param.get("items") else { return };
            for (index, value) in items.iter().enumerate() {
                pointer.push_str(&format!("/{index}"));
                look(item, value, pointer, found);
                pointer.truncate(length);
            }
        }
        Value::Object(fields) => {
            for (name, property) in param.get("properties").and_then(Value::as_object).into_iter().flatten() {
                match fields.get(name) {
                    Some(Value::Null) | None if !is_required(property) => {}
                    None => found
                        .push(Misfit { pointer: pointer.clone(), message: format!("its field `{name}` is missing") }),
                    Some(value) => {
                        pointer.push_str(&pointer_to(name));
                        look(property, value, pointer, found);
                        pointer.truncate(length);
                    }
                }
            }
        }
        _ => {}
    }
}
