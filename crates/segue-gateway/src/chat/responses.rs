//! `POST /v1/responses`: the request as a chat, the answer as a response or as the events of one.

use serde_json::{Map, Value, json};

use super::{Answer, ApiError, ChatRequest, Completion, Finish, completion::pieces};

/// Reads a request of this endpoint as the chat that asks the same.
pub(crate) fn chat_of(body: &[u8]) -> Result<ChatRequest, ApiError> {
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| ApiError::bad_request(format!("The body of the request is not JSON: {error}."), None))?;
    let mut messages = Vec::new();
    if let Some(instructions) = value["instructions"].as_str() {
        messages.push(json!({ "role": "developer", "content": instructions }));
    }
    match &value["input"] {
        Value::String(text) => messages.push(json!({ "role": "user", "content": text })),
        Value::Array(items) => messages.extend(items.iter().filter_map(message_of)),
        _ => return Err(ApiError::bad_request("Missing required parameter: 'input'.", Some("input"))),
    }
    let mut chat = Map::new();
    for (name, field) in [
        ("model", value["model"].clone()),
        ("messages", Value::Array(messages)),
        ("stream", value["stream"].clone()),
        ("max_completion_tokens", value["max_output_tokens"].clone()),
        ("parallel_tool_calls", value["parallel_tool_calls"].clone()),
        ("response_format", format_of(&value["text"]["format"])),
        ("tools", tools_of(&value["tools"])),
        ("tool_choice", choice_of(&value["tool_choice"])),
    ] {
        if !field.is_null() {
            chat.insert(name.to_owned(), field);
        }
    }
    ChatRequest::of(Value::Object(chat))
}

/// An item of the input as a message; none of those that say nothing.
fn message_of(item: &Value) -> Option<Value> {
    match item["type"].as_str() {
        Some("function_call") => {
            let function = json!({ "name": item["name"], "arguments": item["arguments"] });
            let call = json!({ "id": item["call_id"], "type": "function", "function": function });
            Some(json!({ "role": "assistant", "content": null, "tool_calls": [call] }))
        }
        Some("function_call_output") => {
            let output = match &item["output"] {
                Value::String(_) | Value::Array(_) => item["output"].clone(),
                other => json!(other.to_string()),
            };
            Some(json!({ "role": "tool", "tool_call_id": item["call_id"], "content": output }))
        }
        Some("message") | None => Some(json!({ "role": item["role"], "content": item["content"] })),
        // Reasoning, references, calls of built-in tools.
        Some(_) => None,
    }
}

fn format_of(format: &Value) -> Value {
    match format["type"].as_str() {
        Some("json_schema") => {
            json!({ "type": "json_schema", "json_schema": { "name": format["name"], "schema": format["schema"] } })
        }
        Some(_) => format.clone(),
        None => Value::Null,
    }
}

fn tools_of(tools: &Value) -> Value {
    let Some(tools) = tools.as_array() else { return Value::Null };
    let functions = tools.iter().filter(|tool| tool["type"] == "function");
    functions
        .map(|tool| {
            let mut function = json!({ "name": tool["name"], "parameters": tool["parameters"] });
            if tool["description"].is_string() {
                function["description"] = tool["description"].clone();
            }
            json!({ "type": "function", "function": function })
        })
        .collect()
}

fn choice_of(choice: &Value) -> Value {
    match choice {
        Value::Object(choice) if choice.get("type").is_some_and(|kind| kind == "function") => {
            json!({ "type": "function", "function": { "name": choice.get("name") } })
        }
        Value::String(_) => choice.clone(),
        _ => Value::Null,
    }
}

impl Completion {
    /// The whole answer: `response`.
    pub(crate) fn to_response(&self) -> Value {
        let status = if self.is_cut() { "incomplete" } else { "completed" };
        self.response(status, self.items(status), self.response_usage())
    }

    /// The same answer as named events.
    pub(crate) fn response_events(&self) -> Vec<(&'static str, Value)> {
        let mut events = Events::default();
        for name in ["response.created", "response.in_progress"] {
            events.push(name, json!({ "response": self.response("in_progress", Vec::new(), Value::Null) }));
        }
        let finished = self.to_response();
        for (at, item) in finished["output"].as_array().into_iter().flatten().enumerate() {
            match &self.answer {
                Answer::Text(text, _) => text_events(&mut events, at, item, text),
                Answer::Calls(calls) => call_events(&mut events, at, item, &calls[at].arguments),
            }
        }
        let last = if self.is_cut() { "response.incomplete" } else { "response.completed" };
        events.push(last, json!({ "response": finished }));
        events.list
    }

    fn is_cut(&self) -> bool {
        matches!(self.answer, Answer::Text(_, Finish::Length))
    }

    fn items(&self, status: &str) -> Vec<Value> {
        match &self.answer {
            Answer::Text(text, _) => {
                let part = json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] });
                let id = format!("msg_{}", self.id);
                vec![json!({ "type": "message", "id": id, "status": status, "role": "assistant", "content": [part] })]
            }
            Answer::Calls(calls) => {
                let item = |(at, call): (usize, &super::ToolCall)| {
                    json!({
                        "type": "function_call",
                        "id": format!("fc_{}_{at}", self.id),
                        "call_id": self.call_id(at),
                        "name": call.name,
                        "arguments": call.arguments,
                        "status": status,
                    })
                };
                calls.iter().enumerate().map(item).collect()
            }
        }
    }

    fn response(&self, status: &str, output: Vec<Value>, usage: Value) -> Value {
        let incomplete = if status == "incomplete" { json!({ "reason": "max_output_tokens" }) } else { Value::Null };
        json!({
            "id": format!("resp_{}", self.id),
            "object": "response",
            "created_at": super::CREATED,
            "status": status,
            "background": false,
            "error": null,
            "incomplete_details": incomplete,
            "instructions": null,
            "max_output_tokens": null,
            "metadata": {},
            "model": self.model,
            "output": output,
            "parallel_tool_calls": true,
            "previous_response_id": null,
            "reasoning": { "effort": null, "summary": null },
            "store": false,
            "temperature": 1.0,
            "text": { "format": { "type": "text" } },
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "truncation": "disabled",
            "usage": usage,
        })
    }

    fn response_usage(&self) -> Value {
        let usage = self.usage();
        json!({
            "input_tokens": usage.input_tokens,
            "input_tokens_details": { "cached_tokens": usage.cached_input_tokens },
            "output_tokens": usage.output_tokens,
            "output_tokens_details": { "reasoning_tokens": 0 },
            "total_tokens": usage.total_tokens(),
        })
    }
}

/// Events in their order, numbered.
#[derive(Default)]
struct Events {
    list: Vec<(&'static str, Value)>,
}

impl Events {
    fn push(&mut self, name: &'static str, fields: Value) {
        let mut event =
            Map::from_iter([("type".to_owned(), json!(name)), ("sequence_number".to_owned(), json!(self.list.len()))]);
        event.extend(fields.as_object().cloned().unwrap_or_default());
        self.list.push((name, Value::Object(event)));
    }
}

fn text_events(events: &mut Events, at: usize, item: &Value, text: &str) {
    let place = |more: Value| {
        let mut fields = json!({ "item_id": item["id"], "output_index": at, "content_index": 0 });
        fields
            .as_object_mut()
            .into_iter()
            .for_each(|fields| fields.extend(more.as_object().cloned().unwrap_or_default()));
        fields
    };
    let empty = json!({ "type": "output_text", "text": "", "annotations": [], "logprobs": [] });
    let begun =
        json!({ "type": "message", "id": item["id"], "status": "in_progress", "role": "assistant", "content": [] });
    events.push("response.output_item.added", json!({ "output_index": at, "item": begun }));
    events.push("response.content_part.added", place(json!({ "part": empty })));
    for piece in pieces(text) {
        events.push("response.output_text.delta", place(json!({ "delta": piece, "logprobs": [] })));
    }
    events.push("response.output_text.done", place(json!({ "text": text, "logprobs": [] })));
    events.push("response.content_part.done", place(json!({ "part": item["content"][0] })));
    events.push("response.output_item.done", json!({ "output_index": at, "item": item }));
}

fn call_events(events: &mut Events, at: usize, item: &Value, arguments: &str) {
    let mut begun = item.clone();
    begun["arguments"] = json!("");
    begun["status"] = json!("in_progress");
    events.push("response.output_item.added", json!({ "output_index": at, "item": begun }));
    for piece in pieces(arguments) {
        let delta = json!({ "item_id": item["id"], "output_index": at, "delta": piece });
        events.push("response.function_call_arguments.delta", delta);
    }
    let done = json!({ "item_id": item["id"], "output_index": at, "arguments": arguments });
    events.push("response.function_call_arguments.done", done);
    events.push("response.output_item.done", json!({ "output_index": at, "item": item }));
}
