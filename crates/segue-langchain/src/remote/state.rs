//! What a thread's state and a run's end mean.

use segue_core::{
    outcome::{ErrorKind, TaskError, Usage},
    question::{Question, QuestionItem},
};
use serde_json::{Value, json};

use super::inputs::Form;

const PROMPT_KEYS: [&str; 6] = ["question", "prompt", "message", "instruction", "description", "task"];
const PROMPT_CHARS_MAX: usize = 1000;

/// What the state's AI messages have consumed. A server knows no sum.
pub(super) fn usage(values: &Value) -> Usage {
    let mut sum = Usage::default();
    let mut open = vec![values];
    while let Some(value) = open.pop() {
        match value {
            Value::Array(items) => open.extend(items),
            Value::Object(fields) => {
                let figures = fields.get("usage_metadata").filter(|it| it.is_object() && is_ai(value));
                match figures {
                    Some(figures) => sum += figures_of(figures),
                    None => open.extend(fields.values()),
                }
            }
            _ => {}
        }
    }
    sum
}

fn is_ai(message: &Value) -> bool {
    matches!(message["type"].as_str(), Some("ai" | "AIMessageChunk"))
}

fn figures_of(figures: &Value) -> Usage {
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    Usage {
        model_calls: 1,
        input_tokens: number(&figures["input_tokens"]),
        output_tokens: number(&figures["output_tokens"]),
        cached_input_tokens: number(&figures["input_token_details"]["cache_read"]),
        cost_nanousd: 0,
    }
}

/// What came on top of what had been there before.
pub(super) fn beyond(now: Usage, before: Usage) -> Usage {
    Usage {
        model_calls: now.model_calls.saturating_sub(before.model_calls),
        input_tokens: now.input_tokens.saturating_sub(before.input_tokens),
        output_tokens: now.output_tokens.saturating_sub(before.output_tokens),
        cached_input_tokens: now.cached_input_tokens.saturating_sub(before.cached_input_tokens),
        cost_nanousd: 0,
    }
}

/// The output out of the final state.
pub(super) fn output(values: &Value, form: &Form) -> Result<Value, TaskError> {
    let missing = |what: String| TaskError::new(ErrorKind::Output, format!("the graph's final state has {what}"));
    let last = || {
        let messages = values["messages"].as_array();
        messages.and_then(|messages| messages.last()).ok_or_else(|| missing("no `messages`".to_owned()))
    };
    match form {
        Form::Full => Ok(values.clone()),
        Form::LastMessage => last().cloned(),
        Form::Text => Ok(Value::String(text_of(&last()?["content"]))),
        Form::Key(key) => values.get(key).cloned().ok_or_else(|| missing(format!("no `{key}`"))),
    }
}

/// A message's text: a text, or the texts of its blocks.
pub(super) fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => {
            blocks.iter().filter_map(|block| block.as_str().or_else(|| block["text"].as_str())).collect()
        }
        _ => String::new(),
    }
}

/// The interrupts of a thread's state: id, value, schema of the answer.
pub(super) fn interrupts(state: &Value) -> Vec<QuestionItem> {
    let of_tasks = state["tasks"].as_array().into_iter().flatten().filter_map(|task| task["interrupts"].as_array());
    let all = state["interrupts"].as_array().into_iter().chain(of_tasks).flatten();
    let mut found: Vec<QuestionItem> = Vec::new();
    for interrupt in all {
        let Some(id) = interrupt["id"].as_str().or_else(|| interrupt["interrupt_id"].as_str()) else { continue };
        if found.iter().all(|item| item.id != id) {
            let schema = interrupt.get("response_schema").filter(|schema| schema.is_object()).cloned();
            found.push(QuestionItem { id: id.to_owned(), value: interrupt["value"].clone(), schema });
        }
    }
    found
}

/// The question that these interrupts ask.
pub(super) fn question(items: Vec<QuestionItem>, resume: Value) -> Question {
    let mut prompts: Vec<String> = Vec::new();
    for prompt in items.iter().map(|item| prompt(&item.value)) {
        if !prompts.contains(&prompt) {
            prompts.push(prompt);
        }
    }
    let prompt = prompts.join("; ").chars().take(PROMPT_CHARS_MAX).collect();
    Question { prompt, items, resume }
}

fn prompt(value: &Value) -> String {
    if let Some(text) = value.as_str().map(str::trim).filter(|text| !text.is_empty()) {
        return text.to_owned();
    }
    let requests = value["action_requests"].as_array().filter(|requests| !requests.is_empty());
    if let Some(requests) = requests {
        let names: Vec<&str> = requests.iter().map(|request| request["name"].as_str().unwrap_or("?")).collect();
        return format!("The agent wants to use {}: approve, edit or reject", names.join(", "));
    }
    let named = PROMPT_KEYS.iter().find_map(|key| value[*key].as_str());
    named.unwrap_or("The graph asks").to_owned()
}

/// The error of a run that failed. All that a server tells is a class and a message.
pub(super) fn failure(told: &Value) -> TaskError {
    let class = told["error"].as_str().unwrap_or_default();
    let message = told["message"].as_str().or_else(|| told.as_str()).unwrap_or("the graph failed");
    let kind = kind_of(class);
    let shown = if class.is_empty() { message.to_owned() } else { format!("{class}: {message}") };
    TaskError::new(kind, shown).with_detail(json!({ "class": class }))
}

fn kind_of(class: &str) -> ErrorKind {
    match class {
        "RateLimitError" | "ResourceExhausted" | "TooManyRequests" => ErrorKind::RateLimited,
        "APITimeoutError" | "TimeoutError" | "ReadTimeout" | "ConnectTimeout" => ErrorKind::Timeout,
        "APIConnectionError" | "ConnectError" | "ConnectionError" | "RemoteProtocolError" => ErrorKind::Connection,
        "InternalServerError" | "ServiceUnavailable" | "OverloadedError" | "APIStatusError" => ErrorKind::Provider,
        "AuthenticationError" | "PermissionDeniedError" => ErrorKind::Auth,
        "ContextOverflowError" => ErrorKind::ContextOverflow,
        "OutputParserException" | "StructuredOutputValidationError" => ErrorKind::ModelOutput,
        "GraphRecursionError" => ErrorKind::Limit,
        "InvalidUpdateError" | "EmptyInputError" | "BadRequestError" | "ValidationError" => ErrorKind::InvalidInput,
        _ => ErrorKind::User,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_that_of_every_ai_message_wherever_it_is() {
        let ai =
            |tokens: u64| json!({ "type": "ai", "usage_metadata": { "input_tokens": tokens, "output_tokens": 1 } });
        let values = json!({ "messages": [ai(3), { "type": "human" }, { "type": "ai", "usage_metadata": null }], "sub": { "x": [ai(4)] } });
        let found = usage(&values);
        assert_eq!((found.model_calls, found.input_tokens, found.output_tokens), (2, 7, 2));
        assert_eq!(beyond(found, usage(&json!([ai(3)]))).input_tokens, 4);
    }

    #[test]
    fn what_a_failure_is_about() {
        let found = failure(&json!({ "error": "ValueError", "message": "kaboom" }));
        assert_eq!((found.kind, found.message.as_str()), (ErrorKind::User, "ValueError: kaboom"));
        assert_eq!(failure(&json!({ "error": "RateLimitError", "message": "" })).kind, ErrorKind::RateLimited);
        assert_eq!(failure(&json!("in words")).message, "in words");
    }

    #[test]
    fn forms_of_the_output() {
        let values = json!({ "messages": [{ "content": [{ "type": "text", "text": "a" }, "b"] }], "n": 1 });
        assert_eq!(output(&values, &Form::Text).expect("a text"), json!("ab"));
        assert_eq!(output(&values, &Form::Key("n".to_owned())).expect("it is there"), json!(1));
        assert_eq!(output(&json!({}), &Form::Text).expect_err("no messages").kind, ErrorKind::Output);
    }
}
