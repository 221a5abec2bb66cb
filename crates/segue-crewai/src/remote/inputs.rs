//! What a node of `crewai.remote` may say, and what it comes to.

use segue_core::{
    outcome::TaskError,
    ports::Invocation,
    problems::{NodeRules, Problem, concurrency, is_template, kind_of, unknown},
    spec::{Diagnostic, WorkflowSpec},
};
use segue_http::{
    Policy, Url,
    api::{headers_of, is_secret, secret_value, server_problems},
    header::{AUTHORIZATION, HeaderMap},
};
use serde_json::{Map, Value};

use super::{HINTS, REMOTE};

/// Inputs that are not the crew's.
const OURS: [&str; 4] = ["url", "token", "inputs", "headers"];
const HINT_NAMES: [&str; 1] = ["concurrency"];

/// A kickoff to be made, read from the rendered inputs.
#[derive(Debug)]
pub(super) struct RemoteCrew {
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) inputs: Value,
}

impl RemoteCrew {
    pub(super) fn read(invocation: &Invocation) -> Result<Self, TaskError> {
        let empty = Map::new();
        let given = invocation.inputs.as_object().unwrap_or(&empty);
        let wrong = problems(given, false).into_iter().chain(hint_problems(&invocation.hints)).next();
        if let Some(problem) = wrong.or_else(|| Policy::problems(&invocation.hints).into_iter().next()) {
            return Err(problem.into_error());
        }
        let text = |name: &str| given.get(name).and_then(Value::as_str).unwrap_or_default();
        let url = Url::parse(text("url"))
            .map_err(|error| Problem::new(&["url"], format!("`url` is no address ({error})")).into_error())?;
        let mut headers = headers_of(given.get("headers"))?;
        if !text("token").is_empty() {
            headers.insert(AUTHORIZATION, secret_value("token", &format!("Bearer {}", text("token")))?);
        }
        let own = given.get("inputs").and_then(Value::as_object).unwrap_or(given);
        let is_theirs = |name: &str| given.contains_key("inputs") || !OURS.contains(&name);
        let inputs = own.iter().filter(|(name, _)| is_theirs(name)).map(|(name, value)| (name.clone(), as_text(value)));
        Ok(Self { url, headers, inputs: Value::Object(inputs.collect()) })
    }
}

/// The documented values are texts.
fn as_text(value: &Value) -> Value {
    match value {
        Value::Number(_) | Value::Bool(_) => Value::String(value.to_string()),
        other => other.clone(),
    }
}

/// What is wrong with these inputs. With `templates`, a text with `{{` may become anything.
pub(super) fn problems(inputs: &Map<String, Value>, templates: bool) -> Vec<Problem> {
    let open = |value: &Value| templates && (is_template(value) || is_secret(value));
    let mut found = server_problems(inputs, REMOTE, templates);
    if inputs.get("token").is_some_and(|token| !open(token) && token.as_str().is_none_or(str::is_empty)) {
        found.push(
            Problem::new(&["token"], "`token` is a text").with_help("for example: token: { $secret: CREWAI_TOKEN }"),
        );
    }
    if let Some(value) = inputs.get("inputs").filter(|value| !open(value) && !value.is_object()) {
        found.push(Problem::new(&["inputs"], format!("`inputs` is {}, not an object", kind_of(value))));
    }
    found
}

/// What is wrong with `hints.crewai_remote`, of all these hints.
pub(super) fn hint_problems(hints: &Map<String, Value>) -> Vec<Problem> {
    match hints.get(HINTS) {
        None => Vec::new(),
        Some(Value::Object(own)) => {
            unknown(own, &HINT_NAMES, HINTS, "hint").into_iter().chain(concurrency(own)).collect()
        }
        Some(other) => vec![Problem::new(&[], format!("`hints.{HINTS}` is {}, not an object", kind_of(other)))],
    }
}

/// What is wrong with the nodes of `crewai.remote` in a workflow.
pub(super) fn diagnose(workflow: &WorkflowSpec) -> Vec<Diagnostic> {
    NodeRules {
        inputs: |handler, inputs| if handler == REMOTE { problems(inputs, true) } else { Vec::new() },
        input_code: "crewai-remote-input",
        hints_name: HINTS,
        hints: hint_problems,
        hint_code: "crewai-remote-hint",
    }
    .diagnose(workflow)
}
