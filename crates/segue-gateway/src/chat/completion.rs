//! Answers: one JSON document, or the same in chunks.

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
    /// A call of one tool.
    Call(ToolCall),
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
    id: String,
    model: String,
    choices: u32,
    answer: Answer,
    prompt_tokens: u64,
    answer_tokens: u64,
}

impl Completion {
    /// Puts `answer` into its envelope. `body` is the request as it came; ids are derived from it.
    pub(crate) fn new(body: &[u8], request: &ChatRequest, answer: Answer) -> Self {
        let id = ContentHash::of(body).to_string()[..24].to_owned();
        let answer_chars = match &answer {
            Answer::Text(text, _) => text.chars().count(),
            Answer::Call(call) => call.name.chars().count() + call.arguments.chars().count(),
        };
        Self {
            id,
            model: request.model.clone(),
            choices: request.choices(),
            answer_tokens: tokens(answer_chars) * u64::from(request.choices()),
            answer,
            prompt_tokens: prompt_tokens(request),
        }
    }

    /// What the call consumed, as the answer itself says.
    pub(crate) fn usage(&self) -> Usage {
        Usage {
            model_calls: 1,
            input_tokens: self.prompt_tokens,
            output_tokens: self.answer_tokens,
            ..Usage::default()
        }
    }

    /// The whole answer: `chat.completion`.
    pub(crate) fn to_json(&self) -> Value {
        let message = match &self.answer {
            Answer::Text(text, _) => json!({ "role": "assistant", "content": text, "refusal": null }),
            Answer::Call(call) => {
                json!({ "role": "assistant", "content": null, "refusal": null, "tool_calls": [self.call_json(call)] })
            }
        };
        let choice = |index: u32| json!({ "index": index, "message": message, "logprobs": null, "finish_reason": self.finish_reason() });
        let mut document = self.envelope("chat.completion", (0..self.choices).map(choice).collect());
        document.insert("usage".to_owned(), self.usage_json());
        Value::Object(document)
    }

    /// The same answer as `chat.completion.chunk`s; with `usage`, the last one holds it and no choice.
    pub(crate) fn chunks(&self, usage: bool) -> Vec<Value> {
        let mut chunks = Vec::new();
        let mut push = |index: u32, delta: Value, finish: Option<&str>| {
            let choice = json!({ "index": index, "delta": delta, "logprobs": null, "finish_reason": finish });
            let mut chunk = self.envelope("chat.completion.chunk", vec![choice]);
            if usage {
                chunk.insert("usage".to_owned(), Value::Null);
            }
            chunks.push(Value::Object(chunk));
        };
        for index in 0..self.choices {
            match &self.answer {
                Answer::Text(text, _) => {
                    push(index, json!({ "role": "assistant", "content": "", "refusal": null }), None);
                    for piece in pieces(text) {
                        push(index, json!({ "content": piece }), None);
                    }
                }
                Answer::Call(call) => {
                    let mut first = self.call_json(call);
                    first["index"] = json!(0);
                    first["function"]["arguments"] = json!("");
                    push(index, json!({ "role": "assistant", "content": null, "tool_calls": [first] }), None);
                    for piece in pieces(&call.arguments) {
                        push(
                            index,
                            json!({ "tool_calls": [{ "index": 0, "function": { "arguments": piece } }] }),
                            None,
                        );
                    }
                }
            }
            push(index, json!({}), Some(self.finish_reason()));
        }
        if usage {
            let mut last = self.envelope("chat.completion.chunk", Vec::new());
            last.insert("usage".to_owned(), self.usage_json());
            chunks.push(Value::Object(last));
        }
        chunks
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

    fn call_json(&self, call: &ToolCall) -> Value {
        json!({
            "id": format!("call_{}", self.id),
            "type": "function",
            "function": { "name": call.name, "arguments": call.arguments },
        })
    }

    fn finish_reason(&self) -> &'static str {
        match &self.answer {
            Answer::Text(_, Finish::Stop) => "stop",
            Answer::Text(_, Finish::Length) => "length",
            Answer::Call(_) => "tool_calls",
        }
    }

    fn usage_json(&self) -> Value {
        json!({
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.answer_tokens,
            "total_tokens": self.prompt_tokens + self.answer_tokens,
            "prompt_tokens_details": { "cached_tokens": 0, "audio_tokens": 0 },
            "completion_tokens_details": { "reasoning_tokens": 0, "audio_tokens": 0 },
        })
    }
}

fn tokens(chars: usize) -> u64 {
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
fn pieces(text: &str) -> Vec<&str> {
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
