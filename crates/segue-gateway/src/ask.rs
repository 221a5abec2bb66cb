//! What a client asks, as far as the gateway must know it.

use std::fmt::Write as _;

use hyper::body::Bytes;
use segue_core::ids::ContentHash;
use serde_json::{Map, Value, json};

use crate::chat::ApiError;

/// Fields that say how an answer is given, or for whom, and not what it is: they do not tell one call from another.
pub(crate) const ASIDE: [&str; 7] =
    ["stream", "stream_options", "user", "metadata", "store", "safety_identifier", "prompt_cache_key"];
/// A rule of thumb for English.
const BYTES_PER_TOKEN: u64 = 4;

/// The paths that are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Endpoint {
    /// `POST /chat/completions`
    Chat,
    /// `POST /responses`
    Responses,
    /// `POST /embeddings`
    Embeddings,
}

impl Endpoint {
    /// Below the base URL.
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Chat => "/chat/completions",
            Self::Responses => "/responses",
            Self::Embeddings => "/embeddings",
        }
    }

    /// `gen_ai.operation.name`.
    pub(crate) const fn operation(self) -> &'static str {
        match self {
            Self::Chat | Self::Responses => "chat",
            Self::Embeddings => "embeddings",
        }
    }
}

/// One call.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) endpoint: Endpoint,
    pub(crate) model: String,
    /// Is a streamed answer wanted?
    pub(crate) stream: bool,
    /// Shall a stream say its usage?
    pub(crate) wants_usage: bool,
    /// How many choices are asked for.
    pub(crate) choices: usize,
    /// The most tokens of an answer that are wanted.
    pub(crate) output_tokens_max: Option<u64>,
    /// Names what is asked, whoever asks and however the answer is given.
    pub(crate) hash: ContentHash,
    /// As it came.
    pub(crate) body: Bytes,
    fields: Map<String, Value>,
}

impl Ask {
    /// Reads a body; the provider checks the rest of it.
    pub(crate) fn parse(endpoint: Endpoint, body: Bytes) -> Result<Self, ApiError> {
        let value: Value = serde_json::from_slice(&body)
            .map_err(|error| ApiError::bad_request(format!("The body of the request is not JSON: {error}."), None))?;
        let Value::Object(fields) = value else {
            return Err(ApiError::bad_request("The body of the request is not a JSON object.", None));
        };
        let Some(model) = fields.get("model").and_then(Value::as_str).filter(|name| !name.is_empty()) else {
            return Err(ApiError::bad_request("Missing required parameter: 'model'.", Some("model")));
        };
        let number = |name: &str| fields.get(name).and_then(Value::as_u64);
        let longest = ["max_completion_tokens", "max_output_tokens", "max_tokens"].into_iter().find_map(number);
        let choices = number("n").unwrap_or(1).max(1);
        let wants_usage = fields.get("stream_options").is_some_and(|options| options["include_usage"] == true);
        Ok(Self {
            endpoint,
            model: model.to_owned(),
            stream: fields.get("stream") == Some(&Value::Bool(true)),
            // The stream of a response always says it.
            wants_usage: wants_usage || endpoint == Endpoint::Responses,
            choices: usize::try_from(choices).unwrap_or(usize::MAX),
            output_tokens_max: longest.map(|tokens| tokens.saturating_mul(choices)),
            hash: hash_of(endpoint, &fields),
            body,
            fields,
        })
    }

    /// The body for the provider: where a stream would not say its usage, it is asked to.
    pub(crate) fn body_for(&self, stream_usage: bool) -> Bytes {
        if !self.stream || self.wants_usage || !stream_usage {
            return self.body.clone();
        }
        let mut fields = self.fields.clone();
        match fields.get_mut("stream_options").and_then(Value::as_object_mut) {
            Some(options) => {
                options.insert("include_usage".to_owned(), Value::Bool(true));
            }
            None => {
                fields.insert("stream_options".to_owned(), json!({ "include_usage": true }));
            }
        }
        Bytes::from(Value::Object(fields).to_string())
    }

    /// About how many tokens are read.
    pub(crate) fn input_tokens(&self) -> u64 {
        tokens(self.body.len())
    }

    /// More tokens are never read: one is at least a byte.
    pub(crate) fn input_tokens_most(&self) -> u64 {
        self.body.len() as u64
    }
}

/// About how many tokens a text of this length is.
pub(crate) const fn tokens(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(BYTES_PER_TOKEN)
}

fn hash_of(endpoint: Endpoint, fields: &Map<String, Value>) -> ContentHash {
    let mut text = format!("{}\n", endpoint.path());
    let kept = fields.iter().filter(|(name, _)| !ASIDE.contains(&name.as_str()));
    write_object(&mut text, kept.map(|(name, value)| (name.as_str(), value)).collect());
    ContentHash::of(text.as_bytes())
}

/// JSON without spaces whose objects are sorted: equal values have equal texts.
fn write_sorted(text: &mut String, value: &Value) {
    match value {
        Value::Object(fields) => {
            write_object(text, fields.iter().map(|(name, value)| (name.as_str(), value)).collect())
        }
        Value::Array(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                write_sorted(text, item);
            }
            text.push(']');
        }
        leaf => write!(text, "{leaf}").expect("a text can be written to"),
    }
}

fn write_object(text: &mut String, mut fields: Vec<(&str, &Value)>) {
    fields.sort_unstable_by_key(|(name, _)| *name);
    text.push('{');
    for (at, (name, value)) in fields.into_iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        write!(text, "{}:", Value::from(name)).expect("a text can be written to");
        write_sorted(text, value);
    }
    text.push('}');
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn ask(body: &Value) -> Ask {
        Ask::parse(Endpoint::Chat, Bytes::from(body.to_string())).unwrap()
    }

    #[test]
    fn what_is_asked_has_one_name_however_it_is_written() {
        let plain = ask(&json!({ "model": "m", "messages": [{ "role": "user", "content": "a" }], "n": 1 }));
        let other = json!({ "n": 1, "user": "me", "stream": true, "stream_options": { "include_usage": true },
            "messages": [{ "content": "a", "role": "user" }], "model": "m" });
        assert_eq!(plain.hash, ask(&other).hash);
        for (field, value) in [
            ("model", json!("m2")),
            ("messages", json!([])),
            ("temperature", json!(0.5)),
            ("tools", json!([])),
            ("n", json!(2)),
        ] {
            let mut changed = other.clone();
            changed[field] = value;
            assert_ne!(plain.hash, ask(&changed).hash, "{field}");
        }
        let embeddings = Ask::parse(Endpoint::Embeddings, plain.body.clone()).unwrap();
        assert_ne!(plain.hash, embeddings.hash);
    }

    #[test]
    fn a_stream_is_asked_for_its_usage() {
        let of = |body: Value| -> Value { serde_json::from_slice(&ask(&body).body_for(true)).unwrap() };
        assert_eq!(of(json!({ "model": "m", "stream": true }))["stream_options"], json!({ "include_usage": true }));
        let own = json!({ "model": "m", "stream": true, "stream_options": { "include_usage": false, "x": 1 } });
        assert_eq!(of(own.clone())["stream_options"], json!({ "include_usage": true, "x": 1 }));
        assert_eq!(ask(&own).body_for(false), ask(&own).body, "not where a provider would refuse it");
        assert!(of(json!({ "model": "m" })).get("stream_options").is_none());
    }
}
