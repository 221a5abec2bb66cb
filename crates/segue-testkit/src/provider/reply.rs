//! What the stub does with a request.

use segue_core::outcome::Usage;
use serde_json::{Value, json};

use super::Request;

/// One answer, or one way not to answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub(super) hold: Hold,
    pub(super) end: End,
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Body,
    usage: Usage,
    says_usage_always: bool,
}

/// Where an answer waits for [`super::StubProvider::release`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    No,
    Before,
    Midway,
}

/// How much of an answer is sent before the connection is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Whole,
    Nothing,
    Half,
}

#[derive(Debug, Clone)]
enum Body {
    /// What the model says.
    Message { text: Option<String>, tool_calls: Value },
    /// An answer without a choice.
    NoChoices,
    /// As it is; also for streams.
    Raw(String),
}

/// An answer as it goes over the wire, in the pieces in which it is sent.
pub(super) struct Rendered {
    pub(super) pieces: Vec<Vec<u8>>,
    /// What is billed once the first piece is sent.
    pub(super) usage: Usage,
}

impl Default for Reply {
    fn default() -> Self {
        Self::text("A stub's answer.")
    }
}

impl Reply {
    fn new(status: u16, body: Body) -> Self {
        let usage = if status == 200 { (10, 5) } else { (0, 0) };
        let reply = Self {
            hold: Hold::No,
            end: End::Whole,
            status,
            headers: Vec::new(),
            body,
            usage: Usage::default(),
            says_usage_always: false,
        };
        reply.with_usage(usage.0, usage.1)
    }

    /// The model says this. Streamed if the request wants it. Bills 10 + 5 tokens unless told otherwise.
    pub fn text(text: &str) -> Self {
        Self::new(200, Body::Message { text: Some(text.to_owned()), tool_calls: Value::Null })
    }

    /// The model says this JSON.
    pub fn json(value: &Value) -> Self {
        Self::text(&value.to_string())
    }

    /// The model calls a tool.
    pub fn tool_call(name: &str, arguments: &Value) -> Self {
        let function = json!({ "name": name, "arguments": arguments.to_string() });
        let tool_calls = json!([{ "id": "call_stub", "type": "function", "function": function }]);
        Self::new(200, Body::Message { text: None, tool_calls })
    }

    /// An error with this status, in OpenAI's shape and with the code OpenAI would give.
    pub fn status(status: u16) -> Self {
        let (kind, code) = match status {
            401 => ("invalid_request_error", json!("invalid_api_key")),
            404 => ("invalid_request_error", json!("model_not_found")),
            429 => ("requests", json!("rate_limit_exceeded")),
            400..=499 => ("invalid_request_error", Value::Null),
            _ => ("server_error", Value::Null),
        };
        Self::error(status, kind, &code)
    }

    /// An error 400 that says the prompt is too long.
    pub fn context_overflow() -> Self {
        Self::error(400, "invalid_request_error", &json!("context_length_exceeded"))
    }

    /// An error 429, with `Retry-After` in seconds if given.
    pub fn rate_limited(retry_after_s: Option<u32>) -> Self {
        let mut reply = Self::status(429);
        reply.headers.extend(retry_after_s.map(|seconds| ("retry-after", seconds.to_string())));
        reply
    }

    /// An error 429 that means: the account's quota is used up.
    pub fn quota() -> Self {
        Self::error(429, "insufficient_quota", &json!("insufficient_quota"))
    }

    fn error(status: u16, kind: &str, code: &Value) -> Self {
        let message = format!("The stub was told to answer with status {status}.");
        let error = json!({ "error": { "message": message, "type": kind, "param": null, "code": code } });
        Self::new(status, Body::Raw(error.to_string()))
    }

    /// Status 200 with a body that is no JSON.
    pub fn malformed() -> Self {
        Self::new(200, Body::Raw("{\"id\": \"chatcmpl-stub\", \"choices\": [{".to_owned()))
    }

    /// Status 200 without a choice.
    pub fn no_choices() -> Self {
        Self::new(200, Body::NoChoices)
    }

    /// The connection is dropped before anything is answered.
    pub fn dropped() -> Self {
        Self { end: End::Nothing, ..Self::default() }.with_usage(0, 0)
    }

    /// The connection is dropped in the middle of this reply; a stream is cut off.
    #[must_use]
    pub fn cut(self) -> Self {
        Self { end: End::Half, ..self }
    }

    /// The reply waits for [`super::StubProvider::release`] before anything of it is sent.
    #[must_use]
    pub fn held(self) -> Self {
        Self { hold: Hold::Before, ..self }
    }

    /// The reply waits for [`super::StubProvider::release`] after its first half has been sent.
    #[must_use]
    pub fn held_midway(self) -> Self {
        Self { hold: Hold::Midway, ..self }
    }

    /// Bills these tokens for the reply.
    #[must_use]
    pub fn with_usage(mut self, input_tokens: u64, output_tokens: u64) -> Self {
        let model_calls = u64::from(self.status == 200 && self.end != End::Nothing);
        self.usage = Usage { model_calls, input_tokens, output_tokens, ..Usage::default() };
        self
    }

    /// Bills so many of the input tokens as cached.
    #[must_use]
    pub fn with_cached(mut self, cached_input_tokens: u64) -> Self {
        self.usage.cached_input_tokens = cached_input_tokens;
        self
    }

    /// Every piece of a stream says what is billed, as some servers do; else only the last one, if it is asked for.
    #[must_use]
    pub fn with_usage_in_every_piece(self) -> Self {
        Self { says_usage_always: true, ..self }
    }

    /// An answer with this status and body, whatever is asked.
    pub fn raw(status: u16, body: &str) -> Self {
        Self::new(status, Body::Raw(body.to_owned()))
    }

    /// With this header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(super) fn render(&self, request: &Request) -> Rendered {
        let mut pieces = match &self.body {
            Body::Raw(body) => self.with_length(body),
            _ if request.path.ends_with("/embeddings") => self.with_length(&self.embedding(request).to_string()),
            _ if request.path.ends_with("/responses") && request.is_stream() => {
                self.in_chunks(&self.response_events(request))
            }
            _ if request.path.ends_with("/responses") => self.with_length(&self.response(request).to_string()),
            _ if request.is_stream() => self.in_chunks(&self.events(request)),
            _ => self.with_length(&self.completion(request).to_string()),
        };
        match self.end {
            End::Whole => {}
            End::Half => pieces.truncate(pieces.len() / 2),
            End::Nothing => pieces.clear(),
        }
        Rendered { pieces, usage: self.usage }
    }

    fn head(&self, content_type: &str, framing: &str) -> String {
        let own = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect::<String>();
        format!("HTTP/1.1 {} Stub\r\ncontent-type: {content_type}\r\n{framing}\r\n{own}\r\n", self.status)
    }

    /// Two halves, the first with the head.
    fn with_length(&self, body: &str) -> Vec<Vec<u8>> {
        let head = self.head("application/json", &format!("content-length: {}", body.len()));
        let (first, second) = body.as_bytes().split_at(body.len() / 2);
        vec![[head.as_bytes(), first].concat(), second.to_vec()]
    }

    /// Server-sent events in HTTP chunks: without the last, empty one a client knows that something is missing.
    fn in_chunks(&self, events: &[String]) -> Vec<Vec<u8>> {
        let chunk = |data: &str| format!("{:x}\r\n{data}\r\n", data.len()).into_bytes();
        let head = self.head("text/event-stream", "transfer-encoding: chunked").into_bytes();
        let events = events.iter().map(|event| chunk(&format!("data: {event}\n\n")));
        [head].into_iter().chain(events).chain([chunk("")]).collect()
    }

    fn envelope(&self, request: &Request, object: &str, choices: Value) -> Value {
        json!({
            "id": "chatcmpl-stub", "object": object, "created": 1_767_225_600, "model": request.model(), "choices": choices,
        })
    }

    fn usage_json(&self) -> Value {
        json!({
            "prompt_tokens": self.usage.input_tokens,
            "completion_tokens": self.usage.output_tokens,
            "total_tokens": self.usage.total_tokens(),
            "prompt_tokens_details": { "cached_tokens": self.usage.cached_input_tokens },
        })
    }

    fn embedding(&self, request: &Request) -> Value {
        let data = json!([{ "object": "embedding", "index": 0, "embedding": [0.25, -0.5] }]);
        let tokens = self.usage.input_tokens;
        let usage = json!({ "prompt_tokens": tokens, "total_tokens": tokens });
        json!({ "object": "list", "model": request.model(), "data": data, "usage": usage })
    }

    fn response(&self, request: &Request) -> Value {
        let text = match &self.body {
            Body::Message { text, .. } => text.clone().unwrap_or_default(),
            Body::NoChoices | Body::Raw(_) => String::new(),
        };
        let content = json!([{ "type": "output_text", "text": text, "annotations": [] }]);
        let message = json!({ "id": "msg_stub", "type": "message", "role": "assistant", "status": "completed", "content": content });
        json!({
            "id": "resp_stub", "object": "response", "created_at": 1_767_225_600, "status": "completed",
            "model": request.model(), "output": [message],
            "usage": {
                "input_tokens": self.usage.input_tokens,
                "output_tokens": self.usage.output_tokens,
                "total_tokens": self.usage.total_tokens(),
                "input_tokens_details": { "cached_tokens": self.usage.cached_input_tokens },
            },
        })
    }

    fn response_events(&self, request: &Request) -> Vec<String> {
        let whole = self.response(request);
        let mut begun = whole.clone();
        (begun["status"], begun["output"], begun["usage"]) = (json!("in_progress"), json!([]), Value::Null);
        let text = whole["output"][0]["content"][0]["text"].as_str().unwrap_or_default();
        let words = text.split_inclusive(' ').map(|word| {
            json!({ "type": "response.output_text.delta", "item_id": "msg_stub", "output_index": 0, "content_index": 0, "delta": word })
        });
        let first = json!({ "type": "response.created", "response": begun });
        let last = json!({ "type": "response.completed", "response": whole });
        [first].into_iter().chain(words).chain([last]).map(|event| event.to_string()).collect()
    }

    fn completion(&self, request: &Request) -> Value {
        let choices = match &self.body {
            Body::Message { text, tool_calls } => {
                let mut message = json!({ "role": "assistant", "content": text });
                if !tool_calls.is_null() {
                    message["tool_calls"] = tool_calls.clone();
                }
                json!([{ "index": 0, "message": message, "finish_reason": self.finish_reason() }])
            }
            Body::NoChoices | Body::Raw(_) => json!([]),
        };
        let mut document = self.envelope(request, "chat.completion", choices);
        document["usage"] = self.usage_json();
        document
    }

    fn finish_reason(&self) -> &'static str {
        match &self.body {
            Body::Message { tool_calls, .. } if !tool_calls.is_null() => "tool_calls",
            _ => "stop",
        }
    }

    fn events(&self, request: &Request) -> Vec<String> {
        let mut events = Vec::new();
        let mut push = |delta: Value, finish: Option<&str>| {
            let choices = json!([{ "index": 0, "delta": delta, "finish_reason": finish }]);
            let mut chunk = self.envelope(request, "chat.completion.chunk", choices);
            if self.says_usage_always {
                chunk["usage"] = self.usage_json();
            }
            events.push(chunk.to_string());
        };
        if let Body::Message { text, tool_calls } = &self.body {
            push(json!({ "role": "assistant", "content": text.as_ref().map(|_| "") }), None);
            for word in text.iter().flat_map(|text| text.split_inclusive(' ')) {
                push(json!({ "content": word }), None);
            }
            for (index, call) in tool_calls.as_array().into_iter().flatten().enumerate() {
                let mut call = call.clone();
                call["index"] = json!(index);
                push(json!({ "tool_calls": [call] }), None);
            }
            push(json!({}), Some(self.finish_reason()));
        }
        if request.wants_usage() {
            let mut last = self.envelope(request, "chat.completion.chunk", json!([]));
            last["usage"] = self.usage_json();
            events.push(last.to_string());
        }
        events.push("[DONE]".to_owned());
        events
    }
}
