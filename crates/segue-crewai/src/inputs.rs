//! What a node of `crewai.agent`, `crewai.crew` or `crewai.flow` may say.

use segue_core::spec::{Diagnostic, WorkflowSpec};
use segue_worker::problems::{NodeRules, Problem, is_template, kind_of, unknown};
use serde_json::{Map, Value};

use crate::hints::{HINTS, Hints};

/// One agent: a prompt, and who it is that answers.
pub const AGENT: &str = "crewai.agent";
/// A crew: by import path, folder, files or inline.
pub const CREW: &str = "crewai.crew";
/// A flow: by import path, folder, document or inline.
pub const FLOW: &str = "crewai.flow";

const AGENT_INPUTS: [&str; 9] =
    ["prompt", "role", "goal", "backstory", "expected_output", "response_schema", "agent", "tools", "human_input"];
const WHO: [&str; 3] = ["role", "goal", "backstory"];
const FORMS: &str = "\"module:attr\", the folder of a CrewAI project, a JSON crew, `{ agents: agents.yaml, tasks: tasks.yaml }`, \
                     or the agents and tasks themselves";
const FLOW_FORMS: &str = "\"module:Class\", the folder of a CrewAI project, a `crewai.flow/v1` document, or its path";

/// What is wrong with these inputs. With `templates`, a text with `{{` may become anything and is accepted anywhere.
pub(crate) fn problems(handler: &str, inputs: &Map<String, Value>, templates: bool) -> Vec<Problem> {
    match handler {
        AGENT => agent(inputs, templates),
        CREW => crew(inputs, templates),
        FLOW => flow(inputs, templates),
        _ => Vec::new(),
    }
}

fn agent(inputs: &Map<String, Value>, templates: bool) -> Vec<Problem> {
    let mut found = unknown(inputs, &AGENT_INPUTS, AGENT, "input");
    for (name, value) in inputs {
        match name.as_str() {
            "response_schema" if !(value.is_object() || templates && is_template(value)) => {
                let message = format!("`response_schema` is {}, not a JSON Schema of an object", kind_of(value));
                found.push(Problem::new(&[name], message));
            }
            "response_schema" => {}
            "tools" if !(is_list_of_texts(value) || templates && is_template(value)) => {
                let problem = Problem::new(&[name], "`tools` is a list of texts");
                found.push(problem.with_help("for example: tools: [\"my_project.tools:search\"]"));
            }
            "tools" => {}
            "human_input" if !(value.is_boolean() || templates && is_template(value)) => {
                found.push(Problem::new(&[name], format!("`human_input` is {}, not true or false", kind_of(value))));
            }
            "human_input" => {}
            // What a template has given is made a text; what the document says must be one.
            _ if templates && AGENT_INPUTS.contains(&name.as_str()) && !value.is_string() => {
                found.push(Problem::new(&[name], format!("`{name}` is {}, not a text", kind_of(value))));
            }
            _ => {}
        }
    }
    if let (true, Some(name)) = (inputs.contains_key("agent"), WHO.iter().find(|name| inputs.contains_key(**name))) {
        let problem = Problem::new(&[name], format!("`agent` and `{name}` exclude each other"));
        found.push(problem.with_help("an agent of the project's code says itself who it is"));
    }
    found
}

fn is_list_of_texts(value: &Value) -> bool {
    value.as_array().is_some_and(|items| items.iter().all(Value::is_string))
}

fn flow(inputs: &Map<String, Value>, templates: bool) -> Vec<Problem> {
    let example = "for example: inputs: { flow: \"my_project.main:MyFlow\", topic: rivers }";
    let Some(named) = inputs.get("flow") else {
        return vec![Problem::new(&[], "`crewai.flow` needs `flow`, the flow to run").with_help(example)];
    };
    let problem = |message: String| vec![Problem::new(&["flow"], message).with_help(format!("it is {FLOW_FORMS}"))];
    match named {
        _ if templates && is_template(named) => Vec::new(),
        Value::String(text) if text.trim().is_empty() => problem("`flow` is empty".to_owned()),
        Value::String(_) => Vec::new(),
        Value::Object(document) => match document.get("schema") {
            Some(Value::String(schema)) if schema.starts_with("crewai.flow/") => Vec::new(),
            Some(schema) if templates && is_template(schema) => Vec::new(),
            _ => problem("the flow's `schema` is not `crewai.flow/v1`".to_owned()),
        },
        value => problem(format!("`flow` is {}", kind_of(value))),
    }
}

fn crew(inputs: &Map<String, Value>, templates: bool) -> Vec<Problem> {
    let example = "for example: inputs: { crew: \"my_project.crew:MyCrew\", topic: rivers }";
    match inputs.get("crew") {
        None => vec![Problem::new(&[], "`crewai.crew` needs `crew`, the crew to run").with_help(example)],
        Some(value) if templates && is_template(value) => Vec::new(),
        Some(Value::String(text)) if text.trim().is_empty() => {
            vec![Problem::new(&["crew"], "`crew` is empty").with_help(format!("it is {FORMS}"))]
        }
        Some(Value::String(text)) if text.ends_with(".yaml") || text.ends_with(".yml") => {
            vec![Problem::new(&["crew"], "a crew in YAML is two files").with_help(format!(
                "write crew: {{ agents: config/agents.yaml, tasks: config/tasks.yaml }} instead of `{text}`"
            ))]
        }
        Some(Value::String(_)) => Vec::new(),
        Some(Value::Object(definition)) => definition_problems(definition, templates),
        Some(value) => {
            vec![Problem::new(&["crew"], format!("`crew` is {}", kind_of(value))).with_help(format!("it is {FORMS}"))]
        }
    }
}

fn definition_problems(definition: &Map<String, Value>, templates: bool) -> Vec<Problem> {
    let mut found = Vec::new();
    for name in ["agents", "tasks"] {
        let path = ["crew", name];
        match definition.get(name) {
            None => found.push(Problem::new(&["crew"], format!("the crew has no `{name}`"))),
            Some(Value::String(_) | Value::Object(_)) => {}
            Some(Value::Array(items)) if name == "tasks" && items.iter().all(Value::is_object) => {}
            Some(value) if templates && is_template(value) => {}
            Some(value) => {
                let message = format!("`crew.{name}` is {}, not an object or the path of a YAML file", kind_of(value));
                found.push(Problem::new(&path, message));
            }
        }
    }
    let is_path = |name: &str| definition.get(name).is_some_and(Value::is_string);
    if found.is_empty() && is_path("agents") != is_path("tasks") {
        found.push(Problem::new(&["crew"], "`agents` and `tasks` are both paths, or both written out"));
    }
    found
}

/// Inputs of an agent that are no texts.
const AS_THEY_ARE: [&str; 3] = ["response_schema", "tools", "human_input"];

/// Texts that a template has made something else of, as texts again: `prompt: "{{ nodes.facts.output }}"` may be an object.
pub(crate) fn with_texts(handler: &str, inputs: &Value) -> Value {
    let mut inputs = inputs.clone();
    if let (AGENT, Some(fields)) = (handler, inputs.as_object_mut()) {
        for (name, value) in fields.iter_mut() {
            if !AS_THEY_ARE.contains(&name.as_str()) && !value.is_string() {
                *value = Value::String(value.to_string());
            }
        }
    }
    inputs
}

/// What is wrong with the nodes for CrewAI in a workflow.
pub(crate) fn diagnose(workflow: &WorkflowSpec) -> Vec<Diagnostic> {
    NodeRules {
        inputs: |handler, inputs| problems(handler, inputs, true),
        input_code: "crewai-input",
        hints_name: HINTS,
        hints: |hints| Hints::of(hints).problems(),
        hint_code: "crewai-hint",
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
    fn what_stands_in_a_group_is_looked_at_and_what_is_no_task_is_not() {
        let crew = json!({ "id": "a", "task": "crewai.crew" });
        let (path, _) = one(json!({ "id": "g", "group": { "nodes": [crew] } }));
        assert!(path.starts_with("/nodes/0/group/nodes/0/inputs"), "{path}");
        let workflow = json!({ "id": "w", "defaults": { "task": "crewai.crew" }, "nodes": [
            { "id": "sign", "approval": { "title": "Go?" } },
            { "id": "rest", "wait": { "seconds": 1 } },
        ] });
        let workflow: WorkflowSpec = serde_json::from_value(workflow).expect("a workflow");
        assert_eq!(diagnose(&workflow), []);
    }

    #[test]
    fn what_is_right_is_left_alone() {
        let nodes = json!([
            { "id": "a", "inputs": { "prompt": "Write hello world" } },
            { "id": "b", "task": "crewai.agent", "inputs": { "prompt": "{{ nodes.a.output }}", "response_schema": { "type": "object" } } },
            { "id": "c", "task": "crewai.crew", "inputs": { "crew": "crews.billing:BillingCrew", "text": [1, 2] },
              "hints": { "crewai": { "model": "gpt-4o", "concurrency": 2, "inner_retries": "off", "env": ["SERPER_API_KEY"] } } },
            { "id": "d", "task": "crewai.crew", "inputs": { "crew": { "agents": { "x": {} }, "tasks": [{}] } } },
            { "id": "e", "task": "crewai.crew", "inputs": { "crew": { "agents": "a.yaml", "tasks": "t.yaml", "process": "sequential" } } },
            { "id": "f", "task": "crewai.crew", "inputs": { "crew": "{{ params.crew }}" } },
            { "id": "g", "task": "pass", "inputs": { "anything": 1 } },
            { "id": "h", "task": "crewai.agent", "inputs": { "prompt": "p", "agent": "mine:poet", "tools": ["mine:search"], "human_input": true } },
            { "id": "i", "task": "crewai.flow", "inputs": { "flow": "mine:Flow", "topic": 3 } },
            { "id": "j", "task": "crewai.flow", "inputs": { "flow": { "schema": "crewai.flow/v1", "methods": {} } } },
            { "id": "k", "task": "crewai.flow", "inputs": { "flow": "{{ params.flow }}" },
              "hints": { "crewai": { "models": { "Writer of {topic}": "gpt-4o" }, "llm_timeout_s": 2.5, "isolation": "process", "storage": "project",
                                     "human": "fail", "tool_failures": "fail", "workdir": "out/{run_id}", "journal": "always", "python": ".venv" } } },
        ]);
        assert_eq!(found(nodes), []);
    }

    #[test]
    fn what_is_wrong_is_told_with_place_and_cure() {
        let crew = |inputs: Value| one(json!({ "id": "a", "task": "crewai.crew", "inputs": inputs }));
        let (path, text) = crew(json!({}));
        assert!(path == "/nodes/0/inputs" && text.contains("needs `crew`"), "{path} {text}");
        let (path, text) = crew(json!({ "crew": 3 }));
        assert!(path == "/nodes/0/inputs/crew" && text.contains("is a number"), "{path} {text}");
        assert!(crew(json!({ "crew": "crew.yaml" })).1.contains("two files"));
        assert!(crew(json!({ "crew": { "agents": {} } })).1.contains("no `tasks`"));
        assert!(crew(json!({ "crew": { "agents": {}, "tasks": "t.yaml" } })).1.contains("both"));
        assert_eq!(crew(json!({ "crew": { "agents": [], "tasks": {} } })).0, "/nodes/0/inputs/crew/agents");

        let agent = |inputs: Value| one(json!({ "id": "a", "task": "crewai.agent", "inputs": inputs }));
        assert!(agent(json!({ "promt": "x" })).1.contains("did you mean `prompt`?"));
        assert!(agent(json!({ "prompt": 1 })).1.contains("is a number"));
        assert!(agent(json!({ "response_schema": "object" })).1.contains("JSON Schema"));

        assert!(agent(json!({ "tools": "mine:search" })).1.contains("list of texts"));
        assert!(agent(json!({ "human_input": "yes" })).1.contains("true or false"));
        assert_eq!(agent(json!({ "agent": "mine:poet", "goal": "write" })).0, "/nodes/0/inputs/goal");

        let flow = |inputs: Value| one(json!({ "id": "a", "task": "crewai.flow", "inputs": inputs }));
        assert!(flow(json!({})).1.contains("needs `flow`"));
        assert!(flow(json!({ "flow": " " })).1.contains("is empty"));
        assert!(flow(json!({ "flow": 3 })).1.contains("is a number"));
        assert!(flow(json!({ "flow": { "methods": {} } })).1.contains("crewai.flow/v1"));

        let hint = |hints: Value| one(json!({ "id": "a", "hints": { "crewai": hints } }));
        let (path, text) = hint(json!({ "modle": "x" }));
        assert!(path == "/nodes/0/hints/crewai/modle" && text.contains("did you mean `model`?"), "{path} {text}");
        assert!(hint(json!({ "inner_retries": "on" })).1.contains("`off` or `provider` or `crewai`"));
        assert!(hint(json!({ "isolation": "shared" })).1.contains("`process`"));
        assert!(hint(json!({ "storage": "task" })).1.contains("`run` or `project`"));
        assert!(hint(json!({ "human": "block" })).1.contains("`suspend` or `fail`"));
        assert!(hint(json!({ "journal": true })).1.contains("`crash`"));
        assert!(hint(json!({ "models": { "Writer": 3 } })).1.contains("role of an agent"));
        assert!(hint(json!({ "models": ["gpt-4o"] })).1.contains("role of an agent"));
        assert!(hint(json!({ "llm_timeout_s": 0 })).1.contains("more than 0"));
        assert!(hint(json!({ "llm_timeout_s": "10" })).1.contains("number of seconds"));
        assert!(hint(json!({ "workdir": "" })).1.contains("not empty"));
        assert!(hint(json!({ "concurrency": 0 })).1.contains("1 or more"));
        assert!(hint(json!({ "env": { "KEY": "secret" } })).1.contains("list of names"));
    }

    #[test]
    fn what_a_template_gives_becomes_a_text() {
        let inputs = json!({ "prompt": { "a": 1 }, "role": 3, "response_schema": { "type": "object" } });
        let texts = with_texts(AGENT, &inputs);
        assert_eq!(texts, json!({ "prompt": "{\"a\":1}", "role": "3", "response_schema": { "type": "object" } }));
        assert_eq!(with_texts(CREW, &inputs), inputs);
    }
}
