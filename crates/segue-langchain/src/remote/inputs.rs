//! What a node of `langgraph.remote` may say, and what it comes to.

use segue_core::{
    outcome::TaskError,
    ports::Invocation,
    problems::{NodeRules, Problem, concurrency, is_template, kind_of, unknown},
    spec::{Diagnostic, WorkflowSpec},
};
use segue_http::{
    Policy, Url,
    api::{headers_of, is_secret, secret_value, server_problems},
    header::{HeaderMap, HeaderName},
};
use serde_json::{Map, Value};

use super::{HINTS, REMOTE};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// Inputs that are not the graph's.
const OURS: [&str; 7] = ["url", "assistant", "input", "config", "context", "api_key", "headers"];
const HINT_NAMES: [&str; 3] = ["output", "stream", "concurrency"];

/// What of the final state becomes the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    Full,
    LastMessage,
    Text,
    Key(String),
}

/// A run to be made, read from the rendered inputs.
#[derive(Debug)]
pub(super) struct RemoteTask {
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) assistant: String,
    pub(super) input: Value,
    pub(super) config: Option<Value>,
    pub(super) context: Option<Value>,
    pub(super) form: Form,
    pub(super) streams: bool,
}

impl RemoteTask {
    pub(super) fn read(invocation: &Invocation) -> Result<Self, TaskError> {
        let empty = Map::new();
        let inputs = invocation.inputs.as_object().unwrap_or(&empty);
        let wrong = problems(inputs, false).into_iter().chain(hint_problems(&invocation.hints)).next();
        if let Some(problem) = wrong.or_else(|| Policy::problems(&invocation.hints).into_iter().next()) {
            return Err(problem.into_error());
        }
        let text = |name: &str| inputs.get(name).and_then(Value::as_str).unwrap_or_default();
        let url = Url::parse(text("url"))
            .map_err(|error| Problem::new(&["url"], format!("`url` is no address ({error})")).into_error())?;
        let mut headers = headers_of(inputs.get("headers"))?;
        if !text("api_key").is_empty() {
            headers.insert(API_KEY, secret_value("api_key", text("api_key"))?);
        }
        let others = inputs.iter().filter(|(name, _)| !OURS.contains(&name.as_str()));
        let others = || Value::Object(others.map(|(name, value)| (name.clone(), value.clone())).collect());
        let given = |name: &str| inputs.get(name).filter(|value| !value.is_null()).cloned();
        let hints = invocation.hints.get(HINTS);
        let hint = |name: &str| hints.and_then(|hints| hints.get(name));
        Ok(Self {
            url,
            headers,
            assistant: text("assistant").to_owned(),
            input: inputs.get("input").cloned().unwrap_or_else(others),
            config: given("config"),
            context: given("context"),
            form: hint("output").and_then(form).unwrap_or(Form::Full),
            streams: hint("stream") == Some(&Value::Bool(true)) && invocation.progress.is_wanted(),
        })
    }
}

fn form(value: &Value) -> Option<Form> {
    match value {
        Value::String(text) => match text.as_str() {
            "full" => Some(Form::Full),
            "last_message" => Some(Form::LastMessage),
            "text" => Some(Form::Text),
            _ => None,
        },
        Value::Object(object) if object.len() == 1 => Some(Form::Key(object.get("key")?.as_str()?.to_owned())),
        _ => None,
    }
}

/// What is wrong with these inputs. With `templates`, a text with `{{` may become anything.
pub(super) fn problems(inputs: &Map<String, Value>, templates: bool) -> Vec<Problem> {
    let open = |value: &Value| templates && (is_template(value) || is_secret(value));
    let mut found = server_problems(inputs, REMOTE, templates);
    match inputs.get("assistant") {
        None => found.push(Problem::new(&[], format!("`{REMOTE}` needs `assistant`, the name of the graph"))),
        Some(value) if open(value) || value.as_str().is_some_and(|name| !name.trim().is_empty()) => {}
        Some(_) => found.push(Problem::new(&["assistant"], "`assistant` is the name of a graph, or an assistant's id")),
    }
    if inputs.get("api_key").is_some_and(|key| !open(key) && key.as_str().is_none_or(str::is_empty)) {
        found.push(
            Problem::new(&["api_key"], "`api_key` is a text")
                .with_help("for example: api_key: { $secret: LANGGRAPH_KEY }"),
        );
    }
    for name in ["config", "context"] {
        if let Some(value) = inputs.get(name).filter(|value| !open(value) && !value.is_object() && !value.is_null()) {
            found.push(Problem::new(&[name], format!("`{name}` is {}, not an object", kind_of(value))));
        }
    }
    found
}

/// What is wrong with `hints.langgraph_remote`, of all these hints.
pub(super) fn hint_problems(hints: &Map<String, Value>) -> Vec<Problem> {
    let own = match hints.get(HINTS) {
        None => return Vec::new(),
        Some(Value::Object(own)) => own,
        Some(other) => return vec![Problem::new(&[], format!("`hints.{HINTS}` is {}, not an object", kind_of(other)))],
    };
    let mut found = unknown(own, &HINT_NAMES, HINTS, "hint");
    if own.get("output").is_some_and(|value| form(value).is_none()) {
        let message = format!("`hints.{HINTS}.output` is `full`, `last_message`, `text` or {{ key: NAME }}");
        found.push(Problem::new(&["output"], message));
    }
    if own.get("stream").is_some_and(|value| !value.is_boolean()) {
        found.push(Problem::new(&["stream"], format!("`hints.{HINTS}.stream` is true or false")));
    }
    found.extend(concurrency(own));
    found
}

/// What is wrong with the nodes of `langgraph.remote` in a workflow.
pub(super) fn diagnose(workflow: &WorkflowSpec) -> Vec<Diagnostic> {
    NodeRules {
        inputs: |handler, inputs| if handler == REMOTE { problems(inputs, true) } else { Vec::new() },
        input_code: "langgraph-remote-input",
        hints_name: HINTS,
        hints: hint_problems,
        hint_code: "langgraph-remote-hint",
    }
    .diagnose(workflow)
}
