//! `llm.chat`: one call of a model, without a framework and without a worker.
//!
//! | input | |
//! |---|---|
//! | `prompt` | what the user says; or |
//! | `messages` | the whole conversation, as the chat API takes it |
//! | `system` | what is said before it |
//! | `model` | the model's name; or `hints.llm.model` |
//! | `schema` | a JSON Schema: the answer is a value that fits it |
//! | `response_format` | as the API takes it; `{ type: json_object }`: the answer is a value |
//! | `tools`, `tool_choice` | as the API takes them; the calls are part of the output and not carried out |
//! | `temperature`, `top_p`, `max_tokens`, `stop`, `seed` | as the API takes them |
//!
//! The output is the answer's text; with `schema` or a JSON format the value; with `tools` `{ content, tool_calls: [{ id, name,
//! arguments }] }`. A value that does not fit is an error of kind `model_output`. The call goes the way of every call: journal,
//! budget, limits, usage. While somebody listens, the text comes as `task.token` as it is made.

mod answer;
mod inputs;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use futures_util::StreamExt as _;
use hyper::body::Bytes;
use segue_core::{
    outcome::{ErrorKind, TaskError, TaskOutcome, Usage},
    payload::Payload,
    ports::{Adapter, Invocation, ModelDoor as _, Progress},
    spec::{Diagnostic, TaskNode, WorkflowSpec},
};
use serde_json::{Value, json};

use self::{answer::Said, inputs::ChatTask};
use crate::{Gateway, ask::Endpoint, convert, door::Door, server::is_severed, sse};

/// The handler's name.
pub const HANDLER: &str = "llm.chat";
/// The key of its hints.
const HINTS: &str = "llm";
/// The longest answer.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Carries out `llm.chat`.
pub struct ChatAdapter {
    gateway: Option<Arc<Gateway>>,
}

impl ChatAdapter {
    /// Asks through this gateway. Without one it can look at workflows, and carry out nothing.
    pub const fn new(gateway: Option<Arc<Gateway>>) -> Self {
        Self { gateway }
    }
}

#[async_trait]
impl Adapter for ChatAdapter {
    fn name(&self) -> &'static str {
        HINTS
    }

    fn handlers(&self) -> &[&'static str] {
        &[HANDLER]
    }

    fn translate_workflow(&self, workflow: &WorkflowSpec) -> Vec<Diagnostic> {
        inputs::diagnose(workflow)
    }

    fn translate_task(&self, node: &TaskNode) -> Result<Value, TaskError> {
        match inputs::problems(&node.spec.inputs, &node.spec.hints, true).into_iter().next() {
            Some(problem) => Err(problem.into_error()),
            None => Ok(json!({ HANDLER: node.spec.inputs })),
        }
    }

    async fn execute(&self, invocation: Invocation) -> TaskOutcome {
        if invocation.cancel.is_cancelled() {
            return TaskOutcome::Cancelled { usage: Usage::default() };
        }
        let failed = |error| TaskOutcome::Failed { error, usage: Usage::default() };
        let Some(gateway) = &self.gateway else {
            return failed(TaskError::new(ErrorKind::Load, "there is no model gateway in this process"));
        };
        let task = match ChatTask::read(&invocation) {
            Ok(task) => task,
            Err(error) => return failed(error),
        };
        let door = match gateway.door(&invocation) {
            Ok(door) => door,
            Err(error) => return failed(error),
        };
        let outcome = tokio::select! {
            biased;
            () = invocation.cancel.cancelled() => TaskOutcome::Cancelled { usage: Usage::default() },
            answered = ask(gateway, &door, &task, &invocation) => match answered {
                Ok(said) => TaskOutcome::Succeeded {
                    output: Payload::new(said.output),
                    usage: Usage::default(),
                    warnings: said.warnings,
                },
                // The connection is broken off because the attempt is over.
                Err(_) if invocation.cancel.is_cancelled() => TaskOutcome::Cancelled { usage: Usage::default() },
                Err(error) => TaskOutcome::Failed { error, usage: Usage::default() },
            },
        };
        door.settle(outcome)
    }
}

/// Asks, and understands the answer.
async fn ask(gateway: &Gateway, door: &Door, task: &ChatTask, invocation: &Invocation) -> Result<Said, TaskError> {
    let streams = invocation.progress.is_wanted();
    let body = Bytes::from(task.body(streams).to_string());
    let response = gateway.ask(door, Endpoint::Chat, body).await;
    if is_severed(&response) {
        return Err(broken_off());
    }
    let (status, headers) = (response.status(), response.headers().clone());
    if status.is_success() && is_stream(&headers) {
        let document = listen(response, invocation).await?;
        return answer::understand(task, &document);
    }
    let body = axum::body::to_bytes(response.into_body(), BODY_BYTES_MAX).await.map_err(|_| broken_off())?;
    if !status.is_success() {
        return Err(answer::refusal(status, &headers, &body));
    }
    match serde_json::from_slice(&body) {
        Ok(document) => answer::understand(task, &document),
        Err(error) => Err(answer::unreadable(&error.to_string())),
    }
}

fn is_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("text/event-stream"))
}

fn broken_off() -> TaskError {
    TaskError::new(ErrorKind::Connection, "the connection to the model broke off before its answer was whole")
}

/// Hears a stream to its end, tells what is new in it, and gives the whole.
async fn listen(response: Response, invocation: &Invocation) -> Result<Value, TaskError> {
    let mut body = response.into_body().into_data_stream();
    let mut splitter = sse::Splitter::default();
    let (mut chunks, mut bytes, mut is_done) = (Vec::new(), 0, false);
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|_| broken_off())?;
        bytes += piece.len();
        if bytes > BODY_BYTES_MAX || splitter.is_too_long() {
            return Err(answer::unreadable("it is longer than any answer may be"));
        }
        splitter.push(&piece);
        while let Some(event) = splitter.next() {
            let Some(data) = event.data() else { continue };
            if data == "[DONE]" {
                is_done = true;
                continue;
            }
            let chunk: Value = serde_json::from_str(&data).map_err(|error| answer::unreadable(&error.to_string()))?;
            if let Some(error) = chunk.get("error").filter(|error| !error.is_null()) {
                return Err(answer::failed_midway(error));
            }
            if let Some(text) = chunk["choices"][0]["delta"]["content"].as_str().filter(|text| !text.is_empty()) {
                invocation.progress.emit(Progress { name: "task.token", data: json!({ "text": text }) });
            }
            chunks.push(chunk);
        }
    }
    let document = convert::chat::whole(&chunks);
    let is_finished = !document["choices"][0]["finish_reason"].is_null();
    // Some servers leave out the end of the protocol, and none the reason why the answer ends.
    if is_done || is_finished { Ok(document) } else { Err(broken_off()) }
}
