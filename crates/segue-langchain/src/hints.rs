//! `hints.langchain`.

use segue_core::problems::{Problem, kind_of};
use segue_worker::python::Hints;
use serde_json::Value;

/// The key.
pub(crate) const HINTS: &str = "langchain";
/// Those that the worker is to know; the others are common to all adapters of Python code.
pub(crate) const FOR_THE_WORKER: [&str; 9] = [
    "recursion_limit",
    "max_concurrency",
    "configurable",
    "checkpoint",
    "inner_retries",
    "stream",
    "input",
    "output",
    "tags",
];
const STREAMS: [&str; 4] = ["tasks", "updates", "messages", "custom"];
const OUTPUTS: [&str; 3] = ["full", "last_message", "text"];

/// Is it of use that tokens are streamed, if somebody listens?
pub(crate) fn streams_messages(hints: Hints<'_>) -> bool {
    hints.get("stream").and_then(Value::as_array).is_none_or(|modes| modes.iter().any(|mode| mode == "messages"))
}

/// What is wrong with them.
pub(crate) fn problems(hints: Hints<'_>) -> Vec<Problem> {
    let mut found = hints.problems(&FOR_THE_WORKER);
    for name in ["recursion_limit", "max_concurrency"] {
        let is_number = |value: &Value| value.as_u64().is_some_and(|number| (1..=1_000_000).contains(&number));
        if hints.get(name).is_some_and(|value| !is_number(value)) {
            found.push(Problem::new(&[name], format!("`hints.langchain.{name}` is a number of 1 or more")));
        }
    }
    found.extend(hints.choice("checkpoint", &["sync", "async", "exit", "off"]));
    found.extend(hints.choice("inner_retries", &["off", "keep"]));
    found.extend(hints.choice("input", &["raw", "messages"]));
    let is_texts = |value: &Value| value.as_array().is_some_and(|tags| tags.iter().all(Value::is_string));
    if hints.get("tags").is_some_and(|value| !is_texts(value)) {
        found.push(Problem::new(&["tags"], "`hints.langchain.tags` is a list of texts"));
    }
    found.extend(hints.get("stream").and_then(stream));
    found.extend(hints.get("output").and_then(output));
    found.extend(hints.get("configurable").into_iter().flat_map(configurable));
    found
}

fn stream(value: &Value) -> Option<Problem> {
    let is_mode = |mode: &Value| mode.as_str().is_some_and(|mode| STREAMS.contains(&mode));
    let is_right = value.as_array().is_some_and(|modes| modes.iter().all(is_mode));
    let message = format!("`hints.langchain.stream` is a list of {}", STREAMS.join(", "));
    (!is_right).then(|| Problem::new(&["stream"], message))
}

fn output(value: &Value) -> Option<Problem> {
    let is_right = match value {
        Value::String(text) => OUTPUTS.contains(&text.as_str()),
        Value::Object(map) => map.len() == 1 && map.get("key").is_some_and(Value::is_string),
        _ => false,
    };
    let message = format!("`hints.langchain.output` is {} or {{ key: NAME }}", OUTPUTS.join(", "));
    (!is_right).then(|| Problem::new(&["output"], message))
}

/// What LangGraph keeps there for itself is not a user's to set: it decides about state.
fn configurable(value: &Value) -> Vec<Problem> {
    let Some(map) = value.as_object() else {
        let message = format!("`hints.langchain.configurable` is {}, not an object", kind_of(value));
        return vec![Problem::new(&["configurable"], message)];
    };
    let is_ours = |key: &str| key.starts_with("__") || key == "thread_id" || key.starts_with("checkpoint_");
    map.keys()
        .filter(|key| is_ours(key))
        .map(|key| {
            let problem = Problem::new(&["configurable", key], format!("`configurable.{key}` is set by Segue"));
            problem.with_help("the thread of a task is its own, so that a graph that was lost goes on where it was")
        })
        .collect()
}
