//! What a model's answer means.

use axum::http::{HeaderMap, StatusCode, header};
use segue_core::{
    outcome::{ErrorKind, TaskError},
    spec::Mismatch,
};
use serde_json::{Value, json};

use super::inputs::ChatTask;

/// What of a refusal's text is repeated.
const MESSAGE_CHARS_MAX: usize = 500;

/// An answer, understood.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) output: Value,
    pub(super) warnings: Vec<String>,
}

/// The output that an answer is.
pub(super) fn understand(task: &ChatTask, document: &Value) -> Result<Said, TaskError> {
    let choice = &document["choices"][0];
    let message = &choice["message"];
    if !message.is_object() {
        return Err(unreadable("it holds no message"));
    }
    if let Some(refusal) = message["refusal"].as_str().filter(|text| !text.is_empty()) {
        return Err(misfit(format!("the model refused: {}", shortened(refusal))));
    }
    let is_cut = choice["finish_reason"] == "length";
    match choice["finish_reason"].as_str() {
        Some("content_filter") => return Err(misfit("the provider's filter withheld the answer".to_owned())),
        Some("length") if task.is_json => {
            return Err(misfit("the answer was cut off at its longest; raise `max_tokens`".to_owned()));
        }
        _ => {}
    }
    let content = match &message["content"] {
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        content => content.as_str().unwrap_or_default().to_owned(),
    };
    let calls = if task.has_tools { calls(&message["tool_calls"])? } else { Vec::new() };
    let content = match task.is_json && calls.is_empty() {
        true => value_of(task, &content)?,
        false if content.is_empty() && task.has_tools => Value::Null,
        false => Value::String(content),
    };
    let output = if task.has_tools { json!({ "content": content, "tool_calls": calls }) } else { content };
    let warnings = is_cut.then(|| "the answer was cut off at its longest; raise `max_tokens`".to_owned());
    Ok(Said { output, warnings: warnings.into_iter().collect() })
}

/// The value that a text is, as the task wants it.
fn value_of(task: &ChatTask, text: &str) -> Result<Value, TaskError> {
    let value: Value = serde_json::from_str(unfenced(text))
        .map_err(|error| misfit(format!("the answer is not the JSON that was asked for: {error}")))?;
    let misfits = task.schema.as_ref().map(|schema| schema.misfits(&value)).unwrap_or_default();
    match misfits.first() {
        None => Ok(value),
        Some(Mismatch { pointer, message }) => {
            let place = if pointer.is_empty() { "its whole" } else { pointer };
            let all: Vec<Value> =
                misfits.iter().map(|misfit| json!({ "pointer": misfit.pointer, "message": misfit.message })).collect();
            let error = misfit(format!("the answer does not fit `schema`: {place}: {message}"));
            Err(error.with_detail(json!({ "misfits": all })))
        }
    }
}

/// What stands in a fence of Markdown, which many models put around JSON whatever they are told.
fn unfenced(text: &str) -> &str {
    let text = text.trim();
    let inside = text.strip_prefix("```").and_then(|rest| rest.strip_suffix("```"));
    inside.map_or(text, |inside| inside.strip_prefix("json").unwrap_or(inside))
}

fn calls(calls: &Value) -> Result<Vec<Value>, TaskError> {
    let call = |call: &Value| {
        let function = &call["function"];
        let text = function["arguments"].as_str().filter(|text| !text.trim().is_empty()).unwrap_or("{}");
        let arguments: Value = serde_json::from_str(text).map_err(|error| {
            misfit(format!("the arguments of the call of {} are not JSON: {error}", function["name"]))
        })?;
        Ok(json!({ "id": call["id"], "name": function["name"], "arguments": arguments }))
    };
    calls.as_array().into_iter().flatten().map(call).collect()
}

fn misfit(message: String) -> TaskError {
    TaskError::new(ErrorKind::ModelOutput, message)
}

/// The answer is none.
pub(super) fn unreadable(why: &str) -> TaskError {
    TaskError::new(ErrorKind::Provider, format!("the provider's answer cannot be read: {why}"))
}

/// A stream says that it has failed.
pub(super) fn failed_midway(error: &Value) -> TaskError {
    let message = error["message"].as_str().map_or_else(|| error.to_string(), str::to_owned);
    TaskError::new(ErrorKind::Provider, format!("the provider failed within its answer: {}", shortened(&message)))
}

/// A status that means failure, by what can be done about it.
pub(super) fn refusal(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> TaskError {
    let document: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = &document["error"];
    let code = error["code"].as_str().or(error["type"].as_str()).unwrap_or_default();
    let kind = match (status.as_u16(), code) {
        (429, "insufficient_quota") | (402, _) => ErrorKind::Quota,
        (429, _) => ErrorKind::RateLimited,
        (400, "context_length_exceeded") | (413, _) => ErrorKind::ContextOverflow,
        (401 | 403, _) => ErrorKind::Auth,
        (408, _) => ErrorKind::Timeout,
        (409, _) | (500.., _) => ErrorKind::Provider,
        _ => ErrorKind::InvalidInput,
    };
    let said = error["message"].as_str().or(document["message"].as_str()).map(shortened);
    let message = match said {
        Some(said) => format!("the provider said {}: {said}", status.as_u16()),
        None => format!("the provider said {}", status.as_u16()),
    };
    let mut failure =
        TaskError::new(kind, message).with_detail(json!({ "status": status.as_u16(), "code": error["code"] }));
    let pause = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse::<f64>().ok());
    failure.retry_after = pause.filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    failure
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
