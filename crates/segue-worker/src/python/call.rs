//! `python.call`: a function of the user's, synchronous or not.

use std::path::Path;

use async_trait::async_trait;
use segue_core::{
    ids::HandlerId,
    outcome::{TaskError, TaskOutcome, Usage},
    ports::{Adapter, Invocation},
    problems::{NodeRules, Problem, is_template, kind_of},
    spec::{Diagnostic, TaskNode, WorkflowSpec},
};
use serde_json::{Map, Value, json};

use super::{Hints, Runtime, RuntimeOptions, Work};
use crate::{
    environment::{Explanation, Framework},
    pool::Workers,
};

/// A function.
pub const CALL: &str = "python.call";
/// The key of its hints, and the worker's name for it.
const NAME: &str = "python";
const EXAMPLE: &str = "for example: inputs: { call: \"my_module:my_function\", city: Paris }";

/// Carries out `python.call`.
pub struct PythonAdapter {
    runtime: Runtime,
}

impl PythonAdapter {
    /// An adapter with these options.
    pub fn new(options: RuntimeOptions) -> Self {
        Self { runtime: Runtime::new(Framework::PYTHON, &[], options) }
    }

    /// Finds the interpreters that a workflow's nodes will need.
    pub async fn prepare(
        &self,
        workflow: &WorkflowSpec,
        default_handler: &HandlerId,
        base_dir: Option<&Path>,
    ) -> Result<(), TaskError> {
        self.runtime.prepare(workflow, default_handler, &[CALL], base_dir).await
    }

    /// Which Python a workflow in this folder would get, and why.
    pub async fn explain(&self, base_dir: Option<&Path>) -> Explanation {
        self.runtime.explain(base_dir).await
    }

    /// What its worker processes do at this moment.
    pub fn workers(&self) -> Workers {
        self.runtime.workers()
    }

    async fn carry_out(&self, invocation: &Invocation) -> Result<TaskOutcome, TaskError> {
        let none = Map::new();
        let inputs = invocation.inputs.as_object().unwrap_or(&none);
        let hints = Hints::of(&invocation.hints, NAME);
        if let Some(problem) = problems(inputs, false).into_iter().chain(hints.problems(&[])).next() {
            return Err(problem.into_error());
        }
        let work = Work { hints, for_the_worker: json!({}), may_stream: true };
        self.runtime.carry_out(invocation, work).await
    }
}

#[async_trait]
impl Adapter for PythonAdapter {
    fn name(&self) -> &'static str {
        NAME
    }

    fn handlers(&self) -> &[&'static str] {
        &[CALL]
    }

    fn translate_workflow(&self, workflow: &WorkflowSpec) -> Vec<Diagnostic> {
        diagnose(workflow)
    }

    fn translate_task(&self, node: &TaskNode) -> Result<Value, TaskError> {
        let hints = Hints::of(&node.spec.hints, NAME);
        let problems = problems(&node.spec.inputs, true).into_iter().chain(hints.problems(&[]));
        if let Some(problem) = { problems }.next() {
            return Err(problem.into_error());
        }
        Ok(json!({ CALL: { "call": node.spec.inputs.get("call") } }))
    }

    async fn execute(&self, invocation: Invocation) -> TaskOutcome {
        if invocation.cancel.is_cancelled() {
            return TaskOutcome::Cancelled { usage: Usage::default() };
        }
        match self.carry_out(&invocation).await {
            Ok(outcome) => outcome,
            Err(error) => TaskOutcome::Failed { error, usage: Usage::default() },
        }
    }

    async fn shutdown(&self) {
        self.runtime.shutdown().await;
    }
}

/// What is wrong with these inputs. With `templates`, a text with `{{` may become anything.
fn problems(inputs: &Map<String, Value>, templates: bool) -> Vec<Problem> {
    let mut found = Vec::new();
    match inputs.get("call") {
        None => found.push(Problem::new(&[], "`python.call` needs `call`, the function").with_help(EXAMPLE)),
        Some(value) if templates && is_template(value) => {}
        Some(Value::String(text)) if is_reference(text) => {}
        Some(Value::String(text)) => {
            let message = format!("`{text}` names no function: it is `module:function` or `./file.py:function`");
            found.push(Problem::new(&["call"], message).with_help(EXAMPLE));
        }
        Some(value) => {
            found.push(Problem::new(&["call"], format!("`call` is {}, not a text", kind_of(value))).with_help(EXAMPLE));
        }
    }
    match inputs.get("args") {
        None | Some(Value::Array(_) | Value::Object(_)) => {}
        Some(value) if templates && is_template(value) => {}
        Some(value) => {
            let message = format!("`args` is {}, not a list of arguments or an object of named ones", kind_of(value));
            found.push(Problem::new(&["args"], message));
        }
    }
    found
}

/// Is it `module:attr` or `./file.py:attr`?
pub fn is_reference(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(code, attribute)| {
        let is_name = |part: &str| {
            !part.is_empty()
                && !part.starts_with(|first: char| first.is_ascii_digit())
                && part.chars().all(|each| each.is_alphanumeric() || each == '_')
        };
        let is_file = Path::new(code).extension().is_some_and(|extension| extension == "py");
        attribute.split('.').all(is_name) && (is_file || code.split('.').all(is_name))
    })
}

fn diagnose(workflow: &WorkflowSpec) -> Vec<Diagnostic> {
    NodeRules {
        inputs: |handler, inputs| if handler == CALL { problems(inputs, true) } else { Vec::new() },
        input_code: "python-input",
        hints_name: NAME,
        hints: |hints| Hints::of(hints, NAME).problems(&[]),
        hint_code: "python-hint",
    }
    .diagnose(workflow)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(inputs: Value) -> Vec<(String, String)> {
        let nodes = json!([{ "id": "a", "task": CALL, "inputs": inputs }]);
        let workflow = serde_json::from_value(json!({ "id": "w", "nodes": nodes })).expect("a workflow");
        diagnose(&workflow).into_iter().map(|found| (found.path, found.message)).collect()
    }

    #[test]
    fn what_is_right_is_left_alone() {
        for call in ["json:dumps", "a.b:c.d", "./tools/x.py:main", "{{ params.f }}", "x.py:main"] {
            assert_eq!(told(json!({ "call": call, "args": [1], "anything": 2 })), []);
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        assert_eq!(told(json!({}))[0].0, "/nodes/0/inputs");
        for call in ["dumps", "json:", ":x", "a b:c", "json:1x", "a/x.txt:main"] {
            let found = told(json!({ "call": call }));
            assert!(found.len() == 1 && found[0].0 == "/nodes/0/inputs/call", "{call}: {found:?}");
        }
        assert!(told(json!({ "call": 3 }))[0].1.contains("a number"));
        assert_eq!(told(json!({ "call": "a:b", "args": "x" }))[0].0, "/nodes/0/inputs/args");
    }
}
