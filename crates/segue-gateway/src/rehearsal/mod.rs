//! The rehearsal model: a built-in model that answers every request by itself and always in the same way.
//!
//! It takes no clock and draws nothing: an answer is a pure function of the request. It understands enough of what is
//! asked to be useful in a trial run: it says what it is and repeats the gist of the task, keeps to a wanted JSON
//! Schema, and calls a tool when it must, but never when it merely may (so that no agent loops).

mod merge;
mod pattern;
mod prompt;
mod scalar;
mod schema;
mod text;

use std::sync::Arc;

use segue_core::outcome::Usage;
use serde_json::{Value, json};

use crate::{
    AttemptToken, GatewayError,
    chat::{Answer, ApiError, ChatRequest, Finish, ResponseFormat, ToolCall, ToolChoice},
    routes,
    server::Server,
    tokens::Tokens,
};

/// A running rehearsal model. Dropping it breaks the calls in progress; [`Rehearsal::shutdown`] lets them finish.
pub struct Rehearsal {
    server: Server,
    tokens: Arc<Tokens>,
}

impl Rehearsal {
    /// Listens on a free port of 127.0.0.1. Runs on the current tokio runtime.
    pub async fn start() -> Result<Self, GatewayError> {
        let tokens = Arc::new(Tokens::default());
        let server = Server::start(routes::rehearsal_api(tokens.clone())).await?;
        Ok(Self { server, tokens })
    }

    /// What a client takes as its base URL: `http://127.0.0.1:PORT/v1`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.server.address())
    }

    /// Gives an attempt the right to call. `attempt` is its name in the logs.
    pub fn issue(&self, attempt: &str) -> AttemptToken {
        self.tokens.issue(attempt)
    }

    /// What all attempts have consumed so far.
    pub fn usage(&self) -> Usage {
        self.tokens.total()
    }

    /// Takes no more calls, lets those in progress finish for two seconds, then breaks them. Repeatable.
    pub async fn shutdown(&self) {
        self.server.shutdown().await;
    }
}

/// What `GET /v1/models/{id}` says: every name is a model here.
pub(crate) fn model_card(id: &str) -> Value {
    json!({ "id": id, "object": "model", "created": crate::chat::CREATED, "owned_by": "segue" })
}

/// The model's answer.
pub(crate) fn answer(request: &ChatRequest) -> Result<Answer, ApiError> {
    if let Some(call) = forced_call(request)? {
        return Ok(Answer::Call(call));
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

/// The call of a tool, if the request leaves no choice.
fn forced_call(request: &ChatRequest) -> Result<Option<ToolCall>, ApiError> {
    let refused = |message: String| Err(ApiError::bad_request(message, Some("tool_choice")));
    let function = match &request.tool_choice {
        Some(ToolChoice::Named { function: wanted }) => {
            match request.functions().find(|function| function.name == wanted.name) {
                Some(function) => function,
                None => return refused(format!("'tool_choice' names '{}', which is not in 'tools'.", wanted.name)),
            }
        }
        Some(ToolChoice::Mode(mode)) if mode == "required" => match request.functions().next() {
            Some(function) => function,
            None => return refused("'tool_choice' is 'required', but 'tools' holds no function.".to_owned()),
        },
        _ => return Ok(None),
    };
    let arguments = match &function.parameters {
        Value::Null => json!({}),
        parameters => schema::instance(parameters).map_err(|error| unsatisfiable(&error, "tools"))?,
    };
    Ok(Some(ToolCall { name: function.name.clone(), arguments: arguments.to_string() }))
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
