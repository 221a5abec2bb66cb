//! Reads a conversation: what is the task, what is expected, what is it to be made from?

use serde_json::Value;

use crate::chat::ChatRequest;

/// What separates the parts of a CrewAI task.
const TASK: &str = "Current Task:";
const EXPECTED: &str = "This is the expected criteria for your final answer:";
const EXPECTED_END: &str = "you MUST return the actual complete content";
const CONTEXT: &str = "This is the context you're working with:";
const CONTEXT_END: [&str; 3] =
    ["\n\nProvide your complete response:", "\n\nBegin! This is VERY important", "\n\n# Memories from"];
/// What comes before a schema that is part of the prompt.
const SCHEMA: &str = "OpenAPI schema:";

/// A conversation, as the model understands it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Task {
    /// What is to be done.
    pub(super) description: String,
    /// What the result should be.
    pub(super) expected: Option<String>,
    /// What earlier tasks produced.
    pub(super) context: Option<String>,
    /// What the last tool answered, if tools were called.
    pub(super) tool_result: Option<String>,
    /// The JSON Schema that the prompt spells out.
    pub(super) schema: Option<Value>,
    /// Must the answer begin with `Thought:` and `Final Answer:`?
    pub(super) is_react: bool,
    /// Must the answer end by saying that the plan is ready?
    pub(super) is_plan: bool,
}

impl Task {
    /// Understands `request`: its last user message, and the format that any message asks for.
    pub(super) fn of(request: &ChatRequest) -> Self {
        let said = |role: &'static str| request.messages.iter().rev().filter(move |message| message.role == role);
        let texts = request.messages.iter().filter(|message| message.role != "assistant" && message.role != "tool");
        let instructions = texts.map(|message| message.text()).collect::<Vec<_>>().join("\n");
        // A later user message may only urge the model on; the task is in the message that names it.
        let user = said("user").map(|message| message.text()).collect::<Vec<_>>();
        let prompt = user.iter().find(|text| text.contains(TASK)).or(user.first()).map_or("", String::as_str);
        let task = prompt.split_once(TASK).map_or(prompt, |(_, task)| task);
        let (description, rest) = split(task, EXPECTED);
        let expected = rest.map(|rest| split(rest, EXPECTED_END).0.trim().to_owned());
        let (description, _) = split(description, CONTEXT);
        let context = split(task, CONTEXT).1.map(|context| {
            let end = CONTEXT_END.iter().filter_map(|end| context.find(end)).min().unwrap_or(context.len());
            context[..end].trim().to_owned()
        });
        Self {
            description: split(without_end(description), SCHEMA).0.trim().to_owned(),
            expected: expected.filter(|text| !text.is_empty()),
            context: context.filter(|text| !text.is_empty()),
            tool_result: said("tool").map(|message| message.text()).next(),
            schema: spelled_schema(&instructions),
            is_react: instructions.contains("Final Answer:"),
            is_plan: instructions.contains("Conclude with READY") || instructions.contains("\"READY: I am ready"),
        }
    }
}

fn split<'a>(text: &'a str, marker: &str) -> (&'a str, Option<&'a str>) {
    match text.split_once(marker) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

fn without_end(text: &str) -> &str {
    let end = CONTEXT_END.iter().filter_map(|end| text.find(end)).min().unwrap_or(text.len());
    &text[..end]
}

/// The schema that a prompt gives as text: `… OpenAPI schema: {…}`, bare or in the envelope of `response_format`.
fn spelled_schema(text: &str) -> Option<Value> {
    let at = text.rfind(SCHEMA)? + SCHEMA.len();
    let value = serde_json::Deserializer::from_str(&text[at..]).into_iter::<Value>().next()?.ok()?;
    let schema = value.pointer("/json_schema/schema").cloned().unwrap_or(value);
    schema.is_object().then_some(schema)
}
