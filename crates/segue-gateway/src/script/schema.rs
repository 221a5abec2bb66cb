//! The JSON Schema of scripts, for editors.

use serde_json::{Value, json};

/// The JSON Schema (2020-12) of scripts.
pub fn script_schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Segue rehearsal script",
        "description": "What the model of a rehearsal answers.",
        "type": "object",
        "additionalProperties": false,
        "patternProperties": { "^x-": true },
        "properties": {
            "script": { "const": 1, "description": "The version of the format." },
            "counters": {
                "enum": ["task", "attempt", "run"],
                "default": "task",
                "description": "What is counted together: the calls of a task over all its attempts, of one attempt, or of a run.",
            },
            "rules": {
                "type": "array",
                "items": { "$ref": "#/$defs/rule" },
                "description": "Looked at in their order: the first that fits and is not used up answers.",
            },
            "default": {
                "$ref": "#/$defs/reply",
                "description": "Answers chats that no rule answers; without it the built-in model does.",
            },
        },
        "$defs": { "rule": rule(), "when": when(), "reply": reply(), "call": call() },
    })
}

fn rule() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "patternProperties": { "^x-": true },
        "oneOf": [{ "required": ["reply"] }, { "required": ["replies"] }],
        "properties": {
            "when": { "$ref": "#/$defs/when" },
            "reply": { "$ref": "#/$defs/reply", "description": "Given whenever the rule fits." },
            "replies": {
                "type": "array",
                "items": { "$ref": "#/$defs/reply" },
                "description": "Given one after the other; then the rule is used up.",
            },
        },
    })
}

fn when() -> Value {
    let number = json!({ "type": "integer", "minimum": 1 });
    let text = json!({ "type": "string" });
    json!({
        "type": "object",
        "additionalProperties": false,
        "patternProperties": { "^x-": true },
        "description": "All that is said must hold.",
        "properties": {
            "task": { "type": "string", "description": "A task's id, with `*` for any text; without the numbers of instances and rounds it stands for all of them." },
            "model": { "type": "string", "description": "A model's name, with `*` for any text." },
            "contains": { "anyOf": [text, { "type": "array", "items": text }], "description": "Texts that the conversation holds." },
            "kind": { "enum": ["chat", "embeddings"], "default": "chat" },
            "nth": { "anyOf": [number, { "type": "array", "items": number }], "description": "The how manieth of the calls that the rest fits, from 1." },
        },
    })
}

fn reply() -> Value {
    let seconds = json!({ "type": "number", "minimum": 0 });
    let yes = json!({ "const": true });
    let count = json!({ "type": "integer", "minimum": 0 });
    json!({
        "type": "object",
        "additionalProperties": false,
        "patternProperties": { "^x-": true },
        "description": "One of text, json, calls, built_in, status, malformed, drop, hang; none of them: the built-in model's answer.",
        "properties": {
            "text": { "type": "string" },
            "json": { "description": "A value; the answer is its JSON text." },
            "calls": { "type": "array", "items": { "$ref": "#/$defs/call" }, "minItems": 1 },
            "built_in": yes,
            "status": { "type": "integer", "minimum": 400, "maximum": 599 },
            "malformed": { "anyOf": [yes, { "type": "string" }], "description": "A body that is no answer." },
            "drop": yes,
            "hang": yes,
            "retry_after": seconds,
            "message": { "type": "string" },
            "code": { "type": "string" },
            "usage": {
                "type": "object",
                "additionalProperties": false,
                "properties": { "input_tokens": count, "output_tokens": count, "cached_input_tokens": count },
            },
            "delay_seconds": seconds,
            "chunk_delay_seconds": seconds,
            "cut_after": { "type": "integer", "minimum": 0, "description": "A stream breaks off after so many pieces, another body in its middle." },
            "stall_after": { "type": "integer", "minimum": 0, "description": "A stream says no more after so many pieces, another body stops in its middle; neither ends." },
            "times": { "type": "integer", "minimum": 0 },
        },
    })
}

fn call() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["name"],
        "properties": { "name": { "type": "string" }, "arguments": {} },
    })
}
