//! Answers to chats: one JSON document, or the same in chunks.

use segue_core::{ids::ContentHash, outcome::Usage};
use serde_json::{Map, Value, json};

use super::ChatRequest;

/// Answers carry a point in time that never changes: they are a pure function of the request.
pub(crate) const CREATED: u64 = 1_767_225_600;
const FINGERPRINT: &str = "segue_rehearsal";
/// A rule of thumb for English.
const CHARS_PER_TOKEN: usize = 4;
/// What the format of a conversation adds to each message.
const TOKENS_PER_MESSAGE: usize = 4;
/// Streamed text comes in pieces of about this many characters.
const PIECE_CHARS: usize = 24;

/// What the model says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    /// A text, and why it ends.
    Text(String, Finish),
    /// Calls of tools, at least one.
    Calls(Vec<ToolCall>),
}

/// Why an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    /// It is complete, or a stop text was reached.
    Stop,
    /// The request wanted no more tokens.
    Length,
}

/// A function and its arguments as JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ToolCall {
    pub(crate) name: String,
    pub(crate) arguments: String,
}

/// The answer to one request, ready to be written.
#[derive(Debug)]
pub(crate) struct Completion {
    pub(super) id: String,
    pub(super) model: String,
    choices: u32,
    pub(super) answer: Answer,
    /// What the answer says that it consumed.
    pub(super) usage: Usage,
}

impl Completion {
    /// Puts `answer` into its envelope. `body` is the request as it came; ids are derived from it.
    pub(crate) fn new(body: &[u8], request: &ChatRequest, answer: Answer) -> Self {
        let id = ContentHash::of(body).to_string()[..24].to_owned();
        let answer_tokens = match &answer {
            Answer::Text(text, _) => tokens(text.chars().count()),
            Answer::Calls(calls) => {
                calls.iter().map(|call| tokens(call.name.chars().count() + call.arguments.chars().count())).sum()
            }
        };
        let usage = Usage {
            model_calls: 1,
            input_tokens: prompt_tokens(request),
            output_tokens: answer_tokens * u64::from(request.choices()),
            ..Usage::default()
        };
        Self { id, model: request.model.clone(), choices: request.choices(), answer, usage }
    }

    /// The same answer, which says that it consumed this.
    #[must_use]
    pub(crate) fn with_usage(self, usage: Usage) -> Self {
        Self { usage, ..self }
    }

    /// What the call consumed, as the answer itself says.
    pub(crate) fn usage(&self) -> Usage {
        self.usage
    }

    /// The whole answer: `chat.completion`.
    pub(crate) fn to_json(&self) -> Value {
        let message = match &self.answer {
            Answer::Text(text, _) => json!({ "role": "assistant", "content": text, "refusal": null }),
            Answer::Calls(_) => {
                json!({ "role": "assistant", "content": null, "refusal": null, "tool_calls": self.calls_json() })
            }
        };
        let choice = |index: u32| json!({ "index": index, "message": message, "logprobs": null, "finish_reason": self.finish_reason() });
        let mut document = self.envelope("chat.completion", (0..self.choices).map(choice).collect());
        document.insert("usage".to_owned(), self.usage_json());
        Value::Object(document)
    }

    /// The same answer as `chat.completion.chunk`s; the last one holds the usage and no choice.
    pub(crate) fn chunks(&self) -> Vec<Value> {
        let mut chunks = Vec::new();
        let mut push = |index: u32, delta: Value, finish: Option<&str>| {
            let choice = json!({ "index": index, "delta": delta, "logprobs": null, "finish_reason": finish });
            let mut chunk = self.envelope("chat.completion.chunk", vec![choice]);
            chunk.insert("usage".to_owned(), Value::Null);
            chunks.push(Value::Object(chunk));
        };
        for index in 0..self.choices {
            self.deltas().into_iter().for_each(|delta| push(index, delta, None));
            push(index, json!({}), Some(self.finish_reason()));
        }
        let mut last = self.envelope("chat.completion.chunk", Vec::new());
        last.insert("usage".to_owned(), self.usage_json());
        chunks.push(Value::Object(last));
        chunks
    }

    /// What one choice of a stream adds, chunk by chunk.
    fn deltas(&self) -> Vec<Value> {
        match &self.answer {
            Answer::Text(text, _) => {
                let first = json!({ "role": "assistant", "content": "", "refusal": null });
                std::iter::once(first)
                    .chain(pieces(text).into_iter().map(|piece| json!({ "content": piece })))
                    .collect()
            }
            Answer::Calls(calls) => {
                let mut deltas = Vec::new();
                for (at, (call, mut first)) in calls.iter().zip(self.calls_json()).enumerate() {
                    first["index"] = json!(at);
                    first["function"]["arguments"] = json!("");
                    let mut delta = json!({ "tool_calls": [first] });
                    if at == 0 {
                        delta = json!({ "role": "assistant", "content": null, "tool_calls": delta["tool_calls"] });
                    }
                    deltas.push(delta);
                    deltas.extend(
                        pieces(&call.arguments).into_iter().map(
                            |piece| json!({ "tool_calls": [{ "index": at, "function": { "arguments": piece } }] }),
                        ),
                    );
                }
                deltas
            }
        }
    }

    fn envelope(&self, object: &str, choices: Vec<Value>) -> Map<String, Value> {
        let fields = [
            ("id", json!(format!("chatcmpl-{}", self.id))),
            ("object", json!(object)),
            ("created", json!(CREATED)),
            ("model", json!(self.model)),
            ("system_fingerprint", json!(FINGERPRINT)),
            ("choices", Value::Array(choices)),
        ];
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn calls_json(&self) -> Vec<Value> {
        let Answer::Calls(calls) = &self.answer else { return Vec::new() };
        let call_json = |(at, call): (usize, &ToolCall)| {
            json!({
                "id": self.call_id(at),
                "type": "function",
                "function": { "name": call.name, "arguments": call.arguments },
            })
        };
        calls.iter().enumerate().map(call_json).collect()
    }

    /// What a tool's answer refers to.
    pub(super) fn call_id(&self, at: usize) -> String {
        match at {
            0 => format!("call_{}", self.id),
            _ => format!("call_{}_{at}", self.id),
        }
    }

    fn finish_reason(&self) -> &'static str {
        match &self.answer {
            Answer::Text(_, Finish::Stop) => "stop",
            Answer::Text(_, Finish::Length) => "length",
            Answer::Calls(_) => "tool_calls",
        }
    }

    fn usage_json(&self) -> Value {
        json!({
            "prompt_tokens": self.usage.input_tokens,
            "completion_tokens": self.usage.output_tokens,
            "total_tokens": self.usage.total_tokens(),
            "prompt_tokens_details": { "cached_tokens": self.usage.cached_input_tokens, "audio_tokens": 0 },
            "completion_tokens_details": { "reasoning_tokens": 0, "audio_tokens": 0 },
        })
    }
}

/// About how many tokens a text of so many characters is.
pub(crate) fn tokens(chars: usize) -> u64 {
    chars.div_ceil(CHARS_PER_TOKEN) as u64
}

/// Characters of the longest text that counts as `tokens`.
pub(crate) fn chars_of(tokens: u64) -> usize {
    usize::try_from(tokens).unwrap_or(usize::MAX).saturating_mul(CHARS_PER_TOKEN)
}

fn prompt_tokens(request: &ChatRequest) -> u64 {
    let messages = request
        .messages
        .iter()
        .map(|message| tokens(message.text().chars().count() + message.tool_calls_chars()) + TOKENS_PER_MESSAGE as u64);
    let functions = request.functions().map(|function| {
        let description = function.description.as_ref().map_or(0, |text| text.chars().count());
        tokens(function.name.chars().count() + description + function.parameters.to_string().chars().count())
    });
    messages.chain(functions).sum()
}

/// `text` in order, cut after spaces.
pub(super) fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut start, mut chars) = (0, 0);
    for (at, character) in text.char_indices() {
        chars += 1;
        if chars >= PIECE_CHARS && character == ' ' || chars >= 4 * PIECE_CHARS {
            let end = at + character.len_utf8();
            pieces.push(&text[start..end]);
            (start, chars) = (end, 0);
        }
    }
    if start < text.len() {
        pieces.push(&text[start..]);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_the_text() {
        for text in ["", "short", &"word ".repeat(40), &"ä".repeat(500)] {
            assert_eq!(pieces(text).concat(), text);
        }
        assert!(pieces(&"word ".repeat(40)).len() > 4);
    }
}
