//! The JSON Schema of workflow documents, for editors.

use serde_json::{Map, Value, json};

use super::WorkflowSpec;

/// The JSON Schema (2020-12) of workflow documents, made from the types. Fields of the language that are not built yet
/// are not in it.
pub fn workflow_schema() -> Value {
    let mut schema = schemars::schema_for!(WorkflowSpec).to_value();
    tidy(&mut schema, true);
    if let Some(fields) = schema.as_object_mut() {
        fields.insert("title".to_owned(), json!("Segue workflow"));
    }
    schema
}

/// Puts right, everywhere, what the types say differently from the language: absent is absent and not null, objects take
/// no unknown keys, and `x-…` keys are always allowed.
fn tidy(schema: &mut Value, is_schema: bool) {
    match schema {
        Value::Object(fields) => {
            if is_schema {
                drop_null(fields);
                close(fields);
            }
            for (name, part) in fields.iter_mut() {
                // Below these stand names that the user gives, each with a schema.
                let names = matches!(name.as_str(), "properties" | "$defs" | "patternProperties");
                if names {
                    part.as_object_mut().into_iter().flatten().for_each(|(_, inner)| tidy(inner, true));
                } else if !matches!(name.as_str(), "default" | "enum" | "const" | "required") {
                    tidy(part, true);
                }
            }
        }
        Value::Array(parts) => parts.iter_mut().for_each(|part| tidy(part, true)),
        _ => {}
    }
}

fn drop_null(fields: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = fields.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            fields.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = fields.get_mut("anyOf") {
        choices.retain(|choice| choice.get("type").is_none_or(|name| name != "null"));
        if let [only] = choices.as_slice() {
            let only = only.clone();
            fields.remove("anyOf");
            for (name, value) in only.as_object().cloned().unwrap_or_default() {
                fields.entry(name).or_insert(value);
            }
        }
    }
    fields.retain(|name, value| !(name == "default" && value.is_null()));
}

/// Closes an object with declared properties to unknown keys.
fn close(fields: &mut Map<String, Value>) {
    if fields.contains_key("properties") && fields.get("type").is_some_and(|name| name == "object") {
        fields.insert("additionalProperties".to_owned(), Value::Bool(false));
        fields.insert("patternProperties".to_owned(), json!({"^x-": true}));
    }
}
