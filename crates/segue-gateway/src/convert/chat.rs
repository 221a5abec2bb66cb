//! `chat.completion` and its chunks.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Look;
use crate::figures::Figures;

/// Looks at a chunk.
pub(super) fn look(chunk: &Value) -> Look {
    let choices = chunk["choices"].as_array().map(Vec::as_slice).unwrap_or_default();
    Look {
        figures: chunk.get("usage").and_then(Figures::of),
        output_bytes: choices.iter().map(|choice| text_bytes(&choice["delta"])).sum(),
        finished: choices.iter().filter(|choice| !choice["finish_reason"].is_null()).count(),
        ..Look::default()
    }
}

/// The letters of all texts in a delta.
fn text_bytes(delta: &Value) -> usize {
    match delta {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(text_bytes).sum(),
        Value::Object(fields) => {
            let said = fields.iter().filter(|(name, _)| !matches!(name.as_str(), "role" | "id" | "type"));
            said.map(|(_, value)| text_bytes(value)).sum()
        }
        _ => 0,
    }
}

/// The whole answer that these chunks are the parts of.
pub(crate) fn whole(chunks: &[Value]) -> Value {
    let mut document = Map::new();
    let mut choices: BTreeMap<u64, Map<String, Value>> = BTreeMap::new();
    for chunk in chunks.iter().filter_map(Value::as_object) {
        for (name, value) in chunk.iter().filter(|(name, _)| *name != "choices") {
            if !value.is_null() || !document.contains_key(name) {
                document.insert(name.clone(), value.clone());
            }
        }
        for choice in chunk.get("choices").and_then(Value::as_array).into_iter().flatten() {
            let index = choice["index"].as_u64().unwrap_or(0);
            add(choices.entry(index).or_default(), choice);
        }
    }
    document.insert("object".to_owned(), json!("chat.completion"));
    document.insert("choices".to_owned(), choices.into_values().map(Value::Object).collect());
    Value::Object(document)
}

/// Adds a chunk's choice to the choice.
fn add(choice: &mut Map<String, Value>, part: &Value) {
    choice.entry("index").or_insert_with(|| part["index"].clone());
    let message = choice.entry("message").or_insert_with(|| json!({ "role": "assistant", "content": null }));
    merge(message, &part["delta"]);
    for name in ["finish_reason", "stop_reason"] {
        if let Some(reason) = part.get(name).filter(|reason| !reason.is_null()) {
            choice.insert(name.to_owned(), reason.clone());
        }
    }
    if let Some(logprobs) = part.get("logprobs").filter(|logprobs| !logprobs.is_null()) {
        merge(choice.entry("logprobs").or_insert(Value::Null), logprobs);
    }
}

/// Texts are joined, lists are joined (items with an index by their index), the rest is replaced.
fn merge(whole: &mut Value, part: &Value) {
    match (whole, part) {
        (_, Value::Null) => {}
        (Value::Object(whole), Value::Object(part)) => {
            for (name, value) in part {
                match whole.get_mut(name) {
                    // These come whole, and some providers repeat them.
                    Some(known) if !known.is_null() && matches!(name.as_str(), "role" | "id" | "type" | "index") => {
                        if !value.is_null() {
                            *known = value.clone();
                        }
                    }
                    Some(known) => merge(known, value),
                    None => {
                        let mut first = Value::Null;
                        merge(&mut first, value);
                        whole.insert(name.clone(), first);
                    }
                }
            }
        }
        (Value::String(whole), Value::String(part)) => whole.push_str(part),
        (whole, Value::Array(items)) => {
            if !whole.is_array() {
                *whole = json!([]);
            }
            let Value::Array(list) = whole else { return };
            for item in items {
                match item
                    .get("index")
                    .and_then(|index| list.iter_mut().find(|known| known.get("index") == Some(index)))
                {
                    Some(known) => merge(known, item),
                    None => list.push(item.clone()),
                }
            }
        }
        (whole, part) => *whole = part.clone(),
    }
}

/// The chunks of a whole answer; with `usage`, the last one holds it and no choice.
pub(crate) fn chunks(document: &Value, usage: bool) -> Vec<Value> {
    let mut chunks = Vec::new();
    let mut push = |choices: Value, figures: Option<&Value>| {
        let mut chunk = document.as_object().cloned().unwrap_or_default();
        chunk.shift_remove("usage");
        chunk.insert("object".to_owned(), json!("chat.completion.chunk"));
        chunk.insert("choices".to_owned(), choices);
        if usage {
            chunk.insert("usage".to_owned(), figures.cloned().unwrap_or_default());
        }
        chunks.push(Value::Object(chunk));
    };
    for choice in document["choices"].as_array().into_iter().flatten() {
        let mut delta = choice["message"].as_object().cloned().unwrap_or_default();
        if let Some(calls) = delta.get_mut("tool_calls").and_then(Value::as_array_mut) {
            for (at, call) in calls.iter_mut().enumerate() {
                call["index"] = json!(at);
            }
        }
        let (index, logprobs) = (&choice["index"], &choice["logprobs"]);
        push(json!([{ "index": index, "delta": delta, "logprobs": logprobs, "finish_reason": null }]), None);
        let reason = &choice["finish_reason"];
        push(json!([{ "index": index, "delta": {}, "logprobs": null, "finish_reason": reason }]), None);
    }
    if usage {
        push(json!([]), Some(&document["usage"]));
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Value {
        json!({
            "id": "c", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [
                { "index": 0, "message": { "role": "assistant", "content": "two words" }, "finish_reason": "stop" },
                { "index": 1, "finish_reason": "tool_calls", "message": { "role": "assistant", "content": null,
                  "tool_calls": [
                    { "id": "a", "type": "function", "function": { "name": "f", "arguments": "{\"x\":1}" } },
                    { "id": "b", "type": "function", "function": { "name": "g", "arguments": "{}" } },
                  ] } },
            ],
            "usage": { "prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7 },
        })
    }

    /// As clients see it: without the indices that only streams have.
    fn plain(mut document: Value) -> Value {
        for choice in document["choices"].as_array_mut().into_iter().flatten() {
            choice.as_object_mut().map(|choice| choice.shift_remove("logprobs"));
            let calls = choice["message"].get_mut("tool_calls").and_then(Value::as_array_mut);
            for call in calls.into_iter().flatten() {
                call.as_object_mut().map(|call| call.shift_remove("index"));
            }
        }
        document
    }

    #[test]
    fn there_and_back_is_the_same_answer() {
        let chunks = chunks(&answer(), true);
        assert_eq!(chunks.len(), 5);
        assert_eq!(chunks.iter().map(|chunk| look(chunk).finished).sum::<usize>(), 2);
        assert_eq!(plain(whole(&chunks)), answer());
        assert!(super::chunks(&answer(), false).iter().all(|chunk| chunk.get("usage").is_none()));
    }

    #[test]
    fn pieces_are_put_together() {
        let chunk =
            |delta: Value| json!({ "id": "c", "choices": [{ "index": 0, "delta": delta, "finish_reason": null }] });
        let call = |index: u64, more: Value| {
            let mut call = json!({ "index": index });
            call["function"] = more;
            json!({ "tool_calls": [call] })
        };
        let pieces = [
            chunk(json!({ "role": "assistant", "content": "" })),
            chunk(json!({ "content": "Hel" })),
            chunk(json!({ "content": "lo" })),
            chunk(json!({ "tool_calls": [{ "index": 0, "id": "a", "type": "function",
                "function": { "name": "f", "arguments": "" } }] })),
            chunk(call(0, json!({ "arguments": "{\"x\"" }))),
            chunk(call(1, json!({ "name": "g", "arguments": "{}" }))),
            chunk(call(0, json!({ "arguments": ":1}" }))),
            json!({ "id": "c", "choices": [{ "index": 0, "delta": {}, "finish_reason": "tool_calls" }] }),
            json!({ "id": "c", "choices": [], "usage": { "prompt_tokens": 1, "completion_tokens": 2 } }),
        ];
        let whole = whole(&pieces);
        let message = &whole["choices"][0]["message"];
        assert_eq!((&message["role"], &message["content"]), (&json!("assistant"), &json!("Hello")));
        assert_eq!(message["tool_calls"][0]["function"], json!({ "name": "f", "arguments": "{\"x\":1}" }));
        assert_eq!(message["tool_calls"][0]["id"], "a");
        assert_eq!(message["tool_calls"][1]["function"]["name"], "g");
        assert_eq!((&whole["usage"]["completion_tokens"], &whole["object"]), (&json!(2), &json!("chat.completion")));
        assert_eq!(pieces.iter().map(|piece| look(piece).output_bytes).sum::<usize>(), 5 + 1 + 4 + 1 + 2 + 3);
    }
}
