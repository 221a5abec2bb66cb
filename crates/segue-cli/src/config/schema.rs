//! The configuration's JSON Schema, made from the table of settings.

use segue_core::spec::LIMIT_MAX;
use serde_json::{Map, Value, json};

use super::setting::{Kind, SETTINGS, Setting};

/// JSON Schema (2020-12) of `segue.toml`.
pub(crate) fn schema() -> Value {
    let mut properties: Map<String, Value> =
        SETTINGS.iter().map(|setting| (setting.key.to_owned(), of_setting(setting))).collect();
    properties.insert("secrets".to_owned(), of_secrets());
    properties.insert("providers".to_owned(), of_providers());
    properties.insert("models".to_owned(), of_models());
    properties.insert("limits".to_owned(), of_limits());
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

fn of_providers() -> Value {
    let text = |about: &str| json!({ "type": "string", "description": about });
    json!({
        "type": "object",
        "description": "Who has models, by a name of your own: any OpenAI-compatible endpoint. Without any: the variables OPENAI_API_KEY and OPENAI_BASE_URL.",
        "additionalProperties": {
            "type": "object",
            "properties": {
                "base_url": text("Its address, up to and with /v1. Only `openai` has one by itself."),
                "api_key_env": text("The environment variable that holds its key. No worker sees it."),
                "api_key_file": text("The file that holds its key; a relative path starts in the folder of this file."),
                "models": {
                    "type": "array",
                    "items": { "type": "string" },
                    "description": "The models it serves: names, or patterns with *. The closest one counts. None: all that no other provider names.",
                },
                "stream_usage": {
                    "type": "boolean",
                    "default": true,
                    "description": "Whether it takes stream_options, by which a stream is asked to say its usage.",
                },
                "proxy": text("An HTTP proxy on the way there. The environment's proxies are never used."),
            },
            "additionalProperties": false,
        },
    })
}

fn of_models() -> Value {
    let limit = |about: &str| json!({ "type": "integer", "minimum": 1, "description": about });
    let price = |about: &str| json!({ "type": "number", "minimum": 0, "description": about });
    json!({
        "type": "object",
        "description": "Limits and prices, by the name of a model or a pattern with *. All models that an entry fits share its limits.",
        "additionalProperties": {
            "type": "object",
            "properties": {
                "concurrent": limit("Calls at once."),
                "requests_per_minute": limit("Calls in any 60 seconds."),
                "tokens_per_minute": limit("Tokens in any 60 seconds, read and written."),
                "price": {
                    "type": "object",
                    "description": "US dollars a million tokens.",
                    "properties": {
                        "input": price("Tokens read."),
                        "cached_input": price("Tokens read that the provider had cached. Default: as the others."),
                        "output": price("Tokens written."),
                    },
                    "required": ["input", "output"],
                    "additionalProperties": false,
                },
            },
            "additionalProperties": false,
        },
    })
}

fn of_limits() -> Value {
    let limit = |about: &str| json!({ "type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "description": about });
    json!({
        "type": "object",
        "description": "Limits that the nodes of all workflows can name in `limits`. They hold over all engines of a store.",
        "additionalProperties": {
            "type": "object",
            "properties": {
                "concurrent": limit("Attempts at once."),
                "per_minute": limit("Attempts that begin in any 60 seconds."),
                "tokens_per_minute": limit("Tokens of models in any 60 seconds, read and written."),
                "key": {
                    "type": "string",
                    "description": "An expression over `params` and `run`. Each of its values has a limit of its own.",
                },
            },
            "additionalProperties": false,
        },
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
