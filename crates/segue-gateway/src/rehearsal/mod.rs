//! The rehearsal model: a built-in model that answers every request by itself and always in the same way.
//!
//! It takes no clock and draws nothing: an answer is a pure function of the request. It understands enough of what is
//! asked to be useful in a trial run: it says what it is and repeats the gist of the task, keeps to a wanted JSON
//! Schema, and calls a tool when it must, but never when it merely may (so that no agent loops).

mod embedding;
mod merge;
mod pattern;
mod prompt;
mod scalar;
mod schema;
mod text;

use serde_json::{Value, json};

use crate::chat::{Answer, ApiError, ChatRequest, Finish, Function, ResponseFormat, ToolCall, ToolChoice};

pub(crate) use embedding::EmbeddingRequest;

/// The most tools that are called at once.
const PARALLEL_CALLS_MAX: usize = 8;

/// The model's answer.
pub(crate) fn answer(request: &ChatRequest) -> Result<Answer, ApiError> {
    if let Some(calls) = forced_calls(request)? {
        return Ok(Answer::Calls(calls));
    }
    let task = prompt::Task::of(request);
    match &request.response_format {
        Some(ResponseFormat::JsonSchema { json_schema }) => instance_text(&json_schema.schema, "response_format"),
        Some(ResponseFormat::JsonObject) => {
            Ok(Answer::Text(json!({ "answer": text::say(&task) }).to_string(), Finish::Stop))
        }
        Some(ResponseFormat::Text) | None => match &task.schema {
            Some(schema) => instance_text(schema, "messages"),
            None => Ok(bounded(text::write(&task), request)),
        },
    }
}

/// The calls of tools, if the request leaves no choice: one, or where several at once are asked for, one of each.
fn forced_calls(request: &ChatRequest) -> Result<Option<Vec<ToolCall>>, ApiError> {
    let refused = |message: String| Err(ApiError::bad_request(message, Some("tool_choice")));
    let functions: Vec<&Function> = match &request.tool_choice {
        Some(ToolChoice::Named { function: wanted }) => {
            match request.functions().find(|function| function.name == wanted.name) {
                Some(function) => vec![function],
                None => return refused(format!("'tool_choice' names '{}', which is not in 'tools'.", wanted.name)),
            }
        }
        Some(ToolChoice::Mode(mode)) if mode == "required" => {
            let calls_max = if request.wants_parallel_calls() { PARALLEL_CALLS_MAX } else { 1 };
            request.functions().take(calls_max).collect()
        }
        _ => return Ok(None),
    };
    if functions.is_empty() {
        return refused("'tool_choice' is 'required', but 'tools' holds no function.".to_owned());
    }
    functions.into_iter().map(call_of).collect::<Result<_, _>>().map(Some)
}

/// A call with arguments that the function's schema takes.
fn call_of(function: &Function) -> Result<ToolCall, ApiError> {
    let arguments = match &function.parameters {
        Value::Null => json!({}),
        parameters => schema::instance(parameters).map_err(|error| unsatisfiable(&error, "tools"))?,
    };
    Ok(ToolCall { name: function.name.clone(), arguments: arguments.to_string() })
}

fn instance_text(schema: &Value, param: &'static str) -> Result<Answer, ApiError> {
    let instance = schema::instance(schema).map_err(|error| unsatisfiable(&error, param))?;
    Ok(Answer::Text(instance.to_string(), Finish::Stop))
}

fn unsatisfiable(error: &schema::Unsatisfiable, param: &'static str) -> ApiError {
    let message = format!("The rehearsal model cannot make a value for this JSON Schema: {error}.");
    ApiError::bad_request(message, Some(param))
}

/// Ends a text where the request wants it to end.
fn bounded(mut text: String, request: &ChatRequest) -> Answer {
    let stops = request.stops().iter().filter(|stop| !stop.is_empty());
    if let Some(at) = stops.filter_map(|stop| text.find(stop.as_str())).min() {
        text.truncate(at);
    }
    let chars_max = request.answer_tokens_max().map_or(usize::MAX, crate::chat::chars_of);
    match text.char_indices().nth(chars_max) {
        Some((at, _)) => {
            text.truncate(at);
            Answer::Text(text, Finish::Length)
        }
        None => Answer::Text(text, Finish::Stop),
    }
}

#[cfg(test)]
mod tests;
