//! `response` and its events.

use serde_json::{Value, json};

use super::Look;
use crate::figures::Figures;

/// Looks at an event.
pub(super) fn look(event: &Value) -> Look {
    let kind = event["type"].as_str().unwrap_or_default();
    let is_end = matches!(kind, "response.completed" | "response.incomplete");
    Look {
        figures: event["response"].get("usage").and_then(Figures::of),
        output_bytes: event["delta"].as_str().map_or(0, str::len),
        is_error: matches!(kind, "error" | "response.failed" | "response.cancelled"),
        is_last_word: is_end,
        // This protocol has no other end.
        is_done: is_end,
        ..Look::default()
    }
}

/// The whole answer: the last event holds it.
pub(crate) fn whole(events: &[Value]) -> Value {
    let holds = |event: &&Value| matches!(event["type"].as_str(), Some("response.completed" | "response.incomplete"));
    events.iter().rev().find(holds).map(|event| event["response"].clone()).unwrap_or_default()
}

/// The events of a whole answer.
pub(crate) fn events(document: &Value) -> Vec<Value> {
    let mut events = Events::default();
    let mut begun = document.clone();
    begun["status"] = json!("in_progress");
    begun["output"] = json!([]);
    begun["usage"] = Value::Null;
    events.push(json!({ "type": "response.created", "response": begun }));
    events.push(json!({ "type": "response.in_progress", "response": begun }));
    for (at, item) in document["output"].as_array().into_iter().flatten().enumerate() {
        events.item(at, item);
    }
    let is_cut = document["status"] == "incomplete";
    let kind = if is_cut { "response.incomplete" } else { "response.completed" };
    events.push(json!({ "type": kind, "response": document }));
    events.0
}

#[derive(Default)]
struct Events(Vec<Value>);

impl Events {
    fn push(&mut self, mut event: Value) {
        event["sequence_number"] = json!(self.0.len());
        self.0.push(event);
    }

    fn item(&mut self, at: usize, item: &Value) {
        let mut empty = item.clone();
        for field in ["content", "summary"] {
            if empty.get(field).is_some() {
                empty[field] = json!([]);
            }
        }
        if empty.get("arguments").is_some() {
            empty["arguments"] = json!("");
        }
        empty["status"] = json!("in_progress");
        self.push(json!({ "type": "response.output_item.added", "output_index": at, "item": empty }));
        let id = &item["id"];
        for (number, part) in item["content"].as_array().into_iter().flatten().enumerate() {
            self.part(at, id, number, part);
        }
        if let Some(arguments) = item.get("arguments") {
            let kind = "response.function_call_arguments";
            self.push(
                json!({ "type": format!("{kind}.delta"), "output_index": at, "item_id": id, "delta": arguments }),
            );
            self.push(
                json!({ "type": format!("{kind}.done"), "output_index": at, "item_id": id, "arguments": arguments }),
            );
        }
        self.push(json!({ "type": "response.output_item.done", "output_index": at, "item": item }));
    }

    fn part(&mut self, at: usize, id: &Value, number: usize, part: &Value) {
        let name = if part["type"] == "refusal" { "refusal" } else { "text" };
        let text = &part[name];
        let kind = if name == "text" { "response.output_text" } else { "response.refusal" };
        let mut empty = part.clone();
        empty[name] = json!("");
        let place = |kind: &str| json!({ "type": kind, "output_index": at, "item_id": id, "content_index": number, "logprobs": [] });
        let with = |kind: &str, field: &str, value: &Value| {
            let mut event = place(kind);
            event[field] = value.clone();
            event
        };
        self.push(with("response.content_part.added", "part", &empty));
        self.push(with(&format!("{kind}.delta"), "delta", text));
        self.push(with(&format!("{kind}.done"), name, text));
        self.push(with("response.content_part.done", "part", part));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back_is_the_same_answer() {
        let document = json!({
            "id": "r", "object": "response", "status": "completed", "model": "m",
            "output": [
                { "id": "m", "type": "message", "role": "assistant", "status": "completed",
                  "content": [{ "type": "output_text", "text": "Hello", "annotations": [] }] },
                { "id": "f", "type": "function_call", "name": "f", "arguments": "{}", "status": "completed" },
            ],
            "usage": { "input_tokens": 3, "output_tokens": 4, "total_tokens": 7 },
        });
        let events = events(&document);
        assert_eq!(whole(&events), document);
        let numbers: Vec<_> = events.iter().map(|event| event["sequence_number"].as_u64()).collect();
        assert!(numbers.iter().enumerate().all(|(at, number)| *number == Some(at as u64)));
        let ends: Vec<_> = events.iter().map(|event| look(event).is_done).collect();
        assert_eq!(ends.iter().position(|end| *end), Some(events.len() - 1));
        assert_eq!(look(&events[events.len() - 1]).figures, Figures::of(&document["usage"]));
        assert_eq!(events.iter().map(|event| look(event).output_bytes).sum::<usize>(), 5 + 2);
    }
}
