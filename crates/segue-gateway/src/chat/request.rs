//! Requests: the fields that change an answer. Others are allowed and ignored, as compatible servers do.

use serde::Deserialize;
use serde_json::Value;

use super::ApiError;

/// The most choices that one request may ask for; OpenAI's own bound.
const CHOICES_MAX: u32 = 128;
const ROLES: [&str; 6] = ["system", "developer", "user", "assistant", "tool", "function"];

/// The body of `POST /v1/chat/completions`.
#[derive(Debug, Deserialize)]
pub(crate) struct ChatRequest {
    pub(crate) model: String,
    pub(crate) messages: Vec<Message>,
    n: Option<u32>,
    stop: Option<OneOrMany>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    pub(crate) response_format: Option<ResponseFormat>,
    #[serde(default)]
    tools: Option<Vec<Tool>>,
    pub(crate) tool_choice: Option<ToolChoice>,
    parallel_tool_calls: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// One message of the conversation.
#[derive(Debug, Deserialize)]
pub(crate) struct Message {
    pub(crate) role: String,
    content: Option<Content>,
    tool_calls: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

/// A part of a message; only text is read.
#[derive(Debug, Deserialize)]
struct Part {
    text: Option<String>,
}

/// What the answer must look like.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum ResponseFormat {
    Text,
    JsonObject,
    JsonSchema { json_schema: NamedSchema },
}

/// A schema with the name its author gave it.
#[derive(Debug, Deserialize)]
pub(crate) struct NamedSchema {
    #[serde(default)]
    pub(crate) schema: Value,
}

/// A tool that the model may call.
#[derive(Debug, Deserialize)]
pub(crate) struct Tool {
    pub(crate) function: Option<Function>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Function {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) description: Option<String>,
    /// JSON Schema of the arguments; none: no arguments.
    #[serde(default)]
    pub(crate) parameters: Value,
}

/// May, must or must not the model call a tool?
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum ToolChoice {
    /// `auto`, `none`, `required`.
    Mode(String),
    /// `{"type": "function", "function": {"name": …}}`.
    Named { function: FunctionName },
}

#[derive(Debug, Deserialize)]
pub(crate) struct FunctionName {
    pub(crate) name: String,
}

impl ChatRequest {
    /// Reads and checks a body.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let value: Value = serde_json::from_slice(body)
            .map_err(|error| ApiError::bad_request(format!("The body of the request is not JSON: {error}."), None))?;
        Self::of(value)
    }

    /// As [`ChatRequest::parse`], of a body that has been read.
    pub(crate) fn of(value: Value) -> Result<Self, ApiError> {
        let Some(fields) = value.as_object() else {
            return Err(ApiError::bad_request("The body of the request is not a JSON object.", None));
        };
        for param in ["model", "messages"] {
            if fields.get(param).is_none_or(Value::is_null) {
                let message = format!("Missing required parameter: '{param}'.");
                return Err(ApiError::bad_request(message, Some(param)));
            }
        }
        let request: Self = serde_json::from_value(value)
            .map_err(|error| ApiError::bad_request(format!("The request cannot be understood: {error}."), None))?;
        request.check()?;
        Ok(request)
    }

    fn check(&self) -> Result<(), ApiError> {
        if self.messages.is_empty() {
            return Err(ApiError::bad_request(
                "'messages' is empty: at least one message is needed.",
                Some("messages"),
            ));
        }
        if let Some(message) = self.messages.iter().find(|message| !ROLES.contains(&message.role.as_str())) {
            let text = format!("'{}' is not a role; roles are: {}.", message.role, ROLES.join(", "));
            return Err(ApiError::bad_request(text, Some("messages")));
        }
        if self.n.is_some_and(|n| n == 0 || n > CHOICES_MAX) {
            return Err(ApiError::bad_request(format!("'n' must be 1 to {CHOICES_MAX}."), Some("n")));
        }
        if let Some(ToolChoice::Mode(mode)) = &self.tool_choice
            && !["auto", "none", "required"].contains(&mode.as_str())
        {
            let message = "'tool_choice' must be 'auto', 'none', 'required' or name a function.";
            return Err(ApiError::bad_request(message, Some("tool_choice")));
        }
        Ok(())
    }

    /// Is it asked for that several tools be called at once?
    pub(crate) fn wants_parallel_calls(&self) -> bool {
        self.parallel_tool_calls.unwrap_or(false)
    }

    /// How many choices are asked for.
    pub(crate) fn choices(&self) -> u32 {
        self.n.unwrap_or(1)
    }

    /// Texts before which an answer ends.
    pub(crate) fn stops(&self) -> &[String] {
        match &self.stop {
            None => &[],
            Some(OneOrMany::One(stop)) => std::slice::from_ref(stop),
            Some(OneOrMany::Many(stops)) => stops,
        }
    }

    /// The longest answer that is wanted.
    pub(crate) fn answer_tokens_max(&self) -> Option<u64> {
        self.max_completion_tokens.or(self.max_tokens)
    }

    /// The functions that may be called.
    pub(crate) fn functions(&self) -> impl Iterator<Item = &Function> {
        self.tools.iter().flatten().filter_map(|tool| tool.function.as_ref())
    }
}

impl Message {
    /// Its text; parts that are not text are left out.
    pub(crate) fn text(&self) -> String {
        match &self.content {
            None => String::new(),
            Some(Content::Text(text)) => text.clone(),
            Some(Content::Parts(parts)) => {
                parts.iter().filter_map(|part| part.text.as_deref()).collect::<Vec<_>>().join("\n")
            }
        }
    }

    /// Characters of the calls that it holds.
    pub(crate) fn tool_calls_chars(&self) -> usize {
        self.tool_calls.as_ref().map_or(0, |calls| calls.to_string().chars().count())
    }
}
