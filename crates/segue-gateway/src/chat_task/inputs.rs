//! What a node of `llm.chat` may say, and the request that it comes to.

use segue_core::{
    outcome::{ErrorKind, TaskError},
    ports::Invocation,
    spec::{Diagnostic, OutputSchema, WorkflowSpec, kind_of},
};
use serde_json::{Map, Value, json};

use super::{HANDLER, HINTS};

const INPUTS: [&str; 13] = [
    "prompt",
    "messages",
    "system",
    "model",
    "schema",
    "response_format",
    "tools",
    "tool_choice",
    "temperature",
    "top_p",
    "max_tokens",
    "stop",
    "seed",
];
const HINT_NAMES: [&str; 3] = ["model", "journal", "concurrency"];
/// Given on as they are.
const GIVEN_ON: [&str; 6] = ["tools", "tool_choice", "temperature", "top_p", "stop", "seed"];

/// One call, read from the rendered inputs.
#[derive(Debug)]
pub(super) struct ChatTask {
    request: Map<String, Value>,
    /// What the answer must fit.
    pub(super) schema: Option<OutputSchema>,
    /// Is the answer a JSON value?
    pub(super) is_json: bool,
    /// May it be calls?
    pub(super) has_tools: bool,
}

impl ChatTask {
    pub(super) fn read(invocation: &Invocation) -> Result<Self, TaskError> {
        let empty = Map::new();
        let inputs = invocation.inputs.as_object().unwrap_or(&empty);
        if let Some(problem) = problems(inputs, &invocation.hints, false).into_iter().next() {
            return Err(problem.into_error());
        }
        let schema = given(inputs, "schema").map(compiled).transpose()?;
        let model = given(inputs, "model").or_else(|| invocation.hints.get(HINTS)?.get("model"));
        let model = model.and_then(Value::as_str).unwrap_or_default();
        let mut request = Map::from_iter([
            ("model".to_owned(), json!(model)),
            ("messages".to_owned(), Value::Array(conversation(inputs))),
        ]);
        for name in GIVEN_ON {
            if let Some(value) = given(inputs, name) {
                request.insert(name.to_owned(), value.clone());
            }
        }
        if let Some(value) = given(inputs, "max_tokens") {
            request.insert(longest(model).to_owned(), value.clone());
        }
        let format = match given(inputs, "schema") {
            Some(schema) => {
                Some(json!({ "type": "json_schema", "json_schema": { "name": "output", "schema": schema } }))
            }
            None => given(inputs, "response_format").cloned(),
        };
        let is_json = format.as_ref().is_some_and(|format| format["type"] != "text");
        if let Some(format) = format {
            request.insert("response_format".to_owned(), format);
        }
        let has_tools = given(inputs, "tools").is_some();
        Ok(Self { request, schema, is_json, has_tools })
    }

    /// The request, streamed or not.
    pub(super) fn body(&self, streams: bool) -> Value {
        let mut request = self.request.clone();
        if streams {
            request.insert("stream".to_owned(), json!(true));
        }
        Value::Object(request)
    }
}

/// Models that think take their bound under another name, and refuse the old one.
fn longest(model: &str) -> &'static str {
    let name = model.rsplit('/').next().unwrap_or(model);
    let is_new = name.starts_with("gpt-5") || ["o1", "o3", "o4"].iter().any(|family| name.starts_with(family));
    if is_new { "max_completion_tokens" } else { "max_tokens" }
}

fn given<'v>(inputs: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    inputs.get(name).filter(|value| !value.is_null())
}

fn conversation(inputs: &Map<String, Value>) -> Vec<Value> {
    let system = given(inputs, "system").map(|text| json!({ "role": "system", "content": text }));
    let messages = given(inputs, "messages").and_then(Value::as_array).cloned().unwrap_or_default();
    let prompt = given(inputs, "prompt").map(|text| match text {
        Value::String(_) => json!({ "role": "user", "content": text }),
        // What a template brings along: the material itself.
        other => json!({ "role": "user", "content": other.to_string() }),
    });
    system.into_iter().chain(messages).chain(prompt).collect()
}

fn compiled(schema: &Value) -> Result<OutputSchema, TaskError> {
    OutputSchema::compile(schema).map_err(|wrong| {
        let place = wrong.first().map_or_else(String::new, |wrong| format!("{}: {}", wrong.pointer, wrong.message));
        TaskError::new(ErrorKind::InvalidInput, format!("`schema` is no JSON Schema: {place}"))
    })
}

/// What is wrong with an input or a hint.
pub(super) struct Problem {
    path: [&'static str; 2],
    name: String,
    message: String,
}

impl Problem {
    pub(super) fn into_error(self) -> TaskError {
        TaskError::new(ErrorKind::InvalidInput, self.message)
    }

    fn into_diagnostic(self, node: &str) -> Diagnostic {
        let [place, hints] = self.path;
        let below = if hints.is_empty() { String::new() } else { format!("/{hints}") };
        let name = self.name.replace('~', "~0").replace('/', "~1");
        let name = if name.is_empty() { name } else { format!("/{name}") };
        let code = if place == "hints" { "llm-hint" } else { "llm-input" };
        let help = match place {
            "hints" => "hints: { llm: { model, journal: off | crash | always, concurrency } }",
            _ => "for example: inputs: { model: gpt-4o-mini, prompt: \"{{ params.question }}\" }",
        };
        Diagnostic::error(code, format!("{node}/{place}{below}{name}"), self.message).with_help(help)
    }
}

/// What is wrong with these inputs and hints. With `templates`, a text with `{{` may become anything.
pub(super) fn problems(inputs: &Map<String, Value>, hints: &Map<String, Value>, templates: bool) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut wrong = |name: &str, message: String| {
        found.push(Problem { path: ["inputs", ""], name: name.to_owned(), message });
    };
    for name in inputs.keys().filter(|name| !INPUTS.contains(&name.as_str())) {
        wrong(name, format!("`llm.chat` has no input `{name}`; it has {}", INPUTS.join(", ")));
    }
    let is_open = |value: &Value| templates && is_template(value);
    let mut check = |name: &str, rule: &str, is_right: fn(&Value) -> bool| {
        if let Some(value) = given(inputs, name).filter(|value| !is_right(value) && !is_open(value)) {
            wrong(name, format!("`{name}` is {rule}; this is {}", kind_of(value)));
        }
    };
    check("messages", "a list of messages", |value| value.as_array().is_some_and(|list| !list.is_empty()));
    check("system", "a text", Value::is_string);
    check("model", "a text", |value| value.as_str().is_some_and(|name| !name.is_empty()));
    check("schema", "a JSON Schema, a mapping", Value::is_object);
    check("response_format", "a mapping with `type`", |value| value["type"].is_string());
    check("tools", "a list of tools", |value| value.as_array().is_some_and(|list| !list.is_empty()));
    check("temperature", "a number", Value::is_number);
    check("top_p", "a number", Value::is_number);
    check("max_tokens", "a whole number from 1", |value| value.as_u64().is_some_and(|number| number > 0));
    check("seed", "a whole number", Value::is_i64);
    if given(inputs, "prompt").is_none() && given(inputs, "messages").is_none() {
        wrong("", "`llm.chat` needs `prompt` or `messages`: what the model is asked".to_owned());
    }
    if given(inputs, "schema").is_some() && given(inputs, "response_format").is_some() {
        wrong("response_format", "`schema` says the format; leave `response_format` out".to_owned());
    }
    let own = hints.get(HINTS).and_then(Value::as_object);
    if given(inputs, "model").is_none() && own.is_none_or(|own| !own.contains_key("model")) {
        wrong("", "`llm.chat` needs `model`: in its inputs, or as `hints.llm.model`".to_owned());
    }
    found.extend(own.into_iter().flat_map(hint_problems));
    found
}

fn hint_problems(hints: &Map<String, Value>) -> Vec<Problem> {
    let problem = |name: &str, message: String| Problem { path: ["hints", HINTS], name: name.to_owned(), message };
    let unknown = hints.keys().filter(|name| !HINT_NAMES.contains(&name.as_str()));
    let mut found: Vec<Problem> = unknown
        .map(|name| problem(name, format!("`hints.llm` has no `{name}`; it has {}", HINT_NAMES.join(", "))))
        .collect();
    if hints.get("model").is_some_and(|model| model.as_str().is_none_or(str::is_empty)) {
        found.push(problem("model", "`hints.llm.model` is the name of a model".to_owned()));
    }
    if hints.get("concurrency").is_some_and(|limit| limit.as_u64().is_none_or(|limit| limit == 0)) {
        found.push(problem("concurrency", "`hints.llm.concurrency` is a whole number from 1".to_owned()));
    }
    if hints.get("journal").is_some_and(|word| !matches!(word.as_str(), Some("off" | "crash" | "always"))) {
        found.push(problem("journal", "`hints.llm.journal` is `off`, `crash` or `always`".to_owned()));
    }
    found
}

/// May it become something else when it is rendered?
fn is_template(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains("{{") || text.contains("{%"),
        Value::Object(fields) => fields.contains_key("$secret"),
        _ => false,
    }
}

/// What is wrong with the nodes of `llm.chat` in a workflow.
pub(super) fn diagnose(workflow: &WorkflowSpec) -> Vec<Diagnostic> {
    let defaults = workflow.defaults.as_ref();
    let default = defaults.and_then(|defaults| defaults.task.as_ref());
    let mut found = Vec::new();
    for (pointer, node) in workflow.every_node() {
        let is_ours = node.spec.task.as_ref().or(default).is_some_and(|task| task.as_str() == HANDLER);
        if is_ours && node.has_handler() {
            let mut hints = defaults.map(|defaults| defaults.hints.clone()).unwrap_or_default();
            hints.extend(node.spec.hints.clone());
            let problems = problems(&node.spec.inputs, &hints, true).into_iter();
            found.extend(problems.map(|problem| problem.into_diagnostic(&pointer)));
            if let Some(schema) = given(&node.spec.inputs, "schema").filter(|schema| schema.is_object()) {
                let wrong = OutputSchema::compile(schema).err().unwrap_or_default();
                found.extend(wrong.into_iter().map(|wrong| {
                    let place = format!("{pointer}/inputs/schema{}", wrong.pointer);
                    let message = format!("`schema` is no JSON Schema: {}", wrong.message);
                    Diagnostic::error("llm-input", place, message).with_help("correct the place shown")
                }));
            }
        }
    }
    found
}
