//! What a node of `langchain.runnable` or `langgraph.graph` may say.

use segue_core::{
    problems::{NodeRules, Problem, is_template, kind_of, unknown},
    spec::{Diagnostic, WorkflowSpec},
};
use segue_worker::python::{Hints, is_reference};
use serde_json::{Map, Value};

use crate::hints::{self, HINTS};

/// Anything that LangChain can invoke: a chain, a model, a tool, an agent.
pub const RUNNABLE: &str = "langchain.runnable";
/// A graph of LangGraph: an agent, a compiled graph or one to compile, a workflow of functions.
pub const GRAPH: &str = "langgraph.graph";

/// The input that says what to run.
pub(crate) fn target_key(handler: &str) -> &'static str {
    if handler == GRAPH { "graph" } else { "runnable" }
}

/// What is wrong with these inputs. With `templates`, a text with `{{` may become anything and is accepted anywhere.
pub(crate) fn problems(handler: &str, inputs: &Map<String, Value>, templates: bool) -> Vec<Problem> {
    if ![RUNNABLE, GRAPH].contains(&handler) {
        return Vec::new();
    }
    let key = target_key(handler);
    let mut found: Vec<Problem> = target(handler, key, inputs.get(key), templates).into_iter().collect();
    if inputs.contains_key("input") {
        // What else is there would be lost without a word.
        let names = [key, "input", "context"];
        let names = if handler == GRAPH { &names[..] } else { &names[..2] };
        found.extend(unknown(inputs, names, handler, "input beside `input` called"));
    }
    found
}

fn target(handler: &str, key: &str, given: Option<&Value>, templates: bool) -> Option<Problem> {
    let example = match handler {
        GRAPH => "for example: inputs: { graph: \"my_project.agent:graph\", prompt: \"Hello\" }",
        _ => "for example: inputs: { runnable: \"my_project.chain:chain\", topic: rivers }",
    };
    match given {
        None => {
            let what = if handler == GRAPH { "the graph to run" } else { "what to run" };
            Some(Problem::new(&[], format!("`{handler}` needs `{key}`, {what}")).with_help(example))
        }
        Some(value) if templates && is_template(value) => None,
        Some(Value::String(text)) if is_reference(text) || handler == GRAPH && is_name(text) => None,
        Some(Value::String(text)) => {
            let forms = match handler {
                GRAPH => "`module:attr`, `./file.py:attr` or a name in `langgraph.json`",
                _ => "`module:attr` or `./file.py:attr`",
            };
            Some(Problem::new(&[key], format!("`{text}` is none of {forms}")).with_help(example))
        }
        Some(value) => {
            Some(Problem::new(&[key], format!("`{key}` is {}, not a text", kind_of(value))).with_help(example))
        }
    }
}

/// May it stand in a `langgraph.json`?
fn is_name(text: &str) -> bool {
    !text.trim().is_empty() && !text.contains([':', '/']) && !text.ends_with(".py")
}

/// What is wrong with the nodes for LangChain in a workflow.
pub(crate) fn diagnose(workflow: &WorkflowSpec) -> Vec<Diagnostic> {
    NodeRules {
        inputs: |handler, inputs| problems(handler, inputs, true),
        input_code: "langchain-input",
        hints_name: HINTS,
        hints: |hints| hints::problems(Hints::of(hints, HINTS)),
        hint_code: "langchain-hint",
    }
    .diagnose(workflow)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(nodes: Value) -> Vec<(String, String)> {
        let workflow: WorkflowSpec = serde_json::from_value(json!({ "id": "w", "nodes": nodes })).expect("a workflow");
        let text = |diagnostic: Diagnostic| format!("{} {}", diagnostic.message, diagnostic.help.unwrap_or_default());
        diagnose(&workflow).into_iter().map(|found| (found.path.clone(), text(found))).collect()
    }

    fn one(node: Value) -> (String, String) {
        let mut all = found(json!([node]));
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    #[test]
    fn what_is_right_is_left_alone() {
        let nodes = json!([
            { "id": "a", "task": "langgraph.graph", "inputs": { "graph": "agent", "prompt": "hi" } },
            { "id": "b", "task": "langgraph.graph", "inputs": { "graph": "./a.py:make", "input": [], "context": {} } },
            { "id": "c", "task": "langchain.runnable", "inputs": { "runnable": "a.b:c", "topic": 1, "graph": 2 } },
            { "id": "d", "task": "langchain.runnable", "inputs": { "runnable": "{{ params.chain }}" },
              "hints": { "langchain": {
                "recursion_limit": 5, "max_concurrency": 2, "configurable": { "user": "u" }, "checkpoint": "exit",
                "inner_retries": "keep", "stream": ["updates"], "input": "raw", "output": { "key": "plan" },
                "isolation": "process", "journal": "off", "python": ".venv", "project": "code", "env": ["X"] } } },
            { "id": "e", "task": "pass", "inputs": { "graph": 3 } },
        ]);
        assert_eq!(found(nodes), []);
    }

    #[test]
    fn what_is_wrong_is_told_with_place_and_cure() {
        let graph = |inputs: Value| one(json!({ "id": "a", "task": "langgraph.graph", "inputs": inputs }));
        let (path, text) = graph(json!({}));
        assert!(path == "/nodes/0/inputs" && text.contains("needs `graph`"), "{path} {text}");
        assert_eq!(graph(json!({ "graph": 3 })).0, "/nodes/0/inputs/graph");
        assert!(graph(json!({ "graph": "./agent.py" })).1.contains("./file.py:attr"));
        let (path, text) = graph(json!({ "graph": "agent", "input": {}, "promt": 1 }));
        assert!(path == "/nodes/0/inputs/promt" && text.contains("beside `input`"), "{path} {text}");
        let chain = |inputs: Value| one(json!({ "id": "a", "task": "langchain.runnable", "inputs": inputs }));
        assert!(chain(json!({ "runnable": "agent" })).1.contains("none of"), "a name is for graphs");

        let hint = |hints: Value| one(json!({ "id": "a", "hints": { "langchain": hints } }));
        assert!(hint(json!({ "recursion_limits": 5 })).1.contains("did you mean `recursion_limit`?"));
        assert!(hint(json!({ "recursion_limit": 0 })).1.contains("1 or more"));
        assert!(hint(json!({ "checkpoint": "on" })).1.contains("sync or async or exit or off"));
        assert!(hint(json!({ "stream": ["values"] })).1.contains("tasks, updates"));
        assert!(hint(json!({ "output": { "name": "x" } })).1.contains("{ key: NAME }"));
        let (path, _) = hint(json!({ "configurable": { "thread_id": "1" } }));
        assert_eq!(path, "/nodes/0/hints/langchain/configurable/thread_id");
        assert!(hint(json!({ "configurable": { "__pregel_send": 1 } })).1.contains("set by Segue"));
    }
}
