//! The configuration's JSON Schema, made from the table of settings.

use serde_json::{Map, Value, json};

use super::setting::{Kind, SETTINGS, Setting};

/// JSON Schema (2020-12) of `segue.toml`.
pub(crate) fn schema() -> Value {
    let mut properties: Map<String, Value> =
        SETTINGS.iter().map(|setting| (setting.key.to_owned(), of_setting(setting))).collect();
    properties.insert("secrets".to_owned(), of_secrets());
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "segue.toml",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    })
}

fn of_secrets() -> Value {
    let field = |name: &str, about: &str| {
        json!({
            "type": "object",
            "properties": { name: { "type": "string", "description": about } },
            "required": [name],
            "additionalProperties": false,
        })
    };
    json!({
        "type": "object",
        "description": "Where the secrets are that workflows refer to, by name. Without an entry: in the environment variable of the secret's own name.",
        "additionalProperties": { "oneOf": [
            field("env", "The environment variable that holds it."),
            field("file", "The file that holds it; a relative path starts in the folder of this file."),
        ] },
    })
}

fn of_setting(setting: &Setting) -> Value {
    let mut schema = match setting.kind {
        Kind::Text => json!({ "type": "string", "default": setting.default }),
        Kind::Choice(words) => json!({ "enum": words, "default": setting.default }),
        Kind::Number => {
            let default: f64 = setting.default.parse().expect("the table's numbers are numbers");
            json!({ "type": "number", "minimum": 0, "default": default })
        }
    };
    schema["description"] = json!(setting.about);
    schema
}
