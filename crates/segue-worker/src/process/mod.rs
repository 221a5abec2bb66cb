//! `process.run`: one program, without a shell.
//!
//! | input | |
//! |---|---|
//! | `argv` | the program and its arguments; numbers and booleans become text |
//! | `stdin` | a string as it is, anything else as JSON; without it stdin is empty |
//! | `env` | variables, on top of a short list that every process gets |
//! | `cwd` | the folder it starts in, relative to the workflow's; default: the workflow's |
//! | `expect_exit` | the exit code, or the list of codes, that mean success; default 0 |
//!
//! The output is what it prints to stdout, as `hints.process.output` says: `json` (anything else is an error of kind
//! `output`), `text` (without the final line break), or, by default, whichever fits: JSON if all of it is one JSON
//! value, else text. A number counts as JSON only if it is written as JSON would write it, so that `1.10` stays a text.
//! Further hints: `env` (names of the engine's variables to pass on), `output_bytes_max`, `concurrency`.

mod answer;
mod inputs;
mod run;

use std::time::Duration;

use async_trait::async_trait;
use segue_core::{
    outcome::{TaskError, TaskOutcome},
    ports::{Adapter, Invocation},
    spec::{Diagnostic, TaskNode, WorkflowSpec},
};
use serde_json::{Map, Value, json};

pub use inputs::OUTPUT_BYTES_MAX;

/// The handler's name.
pub const HANDLER: &str = "process.run";
/// The key of its hints.
pub const HINTS: &str = "process";

/// Carries out `process.run`.
#[derive(Debug, Default)]
pub struct ProcessAdapter;

#[async_trait]
impl Adapter for ProcessAdapter {
    fn name(&self) -> &'static str {
        HINTS
    }

    fn handlers(&self) -> &[&'static str] {
        &[HANDLER]
    }

    fn translate_workflow(&self, workflow: &WorkflowSpec) -> Vec<Diagnostic> {
        inputs::diagnose(workflow)
    }

    fn translate_task(&self, node: &TaskNode) -> Result<Value, TaskError> {
        let fields = ["argv", "cwd", "expect_exit"];
        let shown: Map<String, Value> = fields
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), node.spec.inputs.get(name)?.clone())))
            .collect();
        match inputs::problems(&node.spec.inputs, true).into_iter().next() {
            Some(problem) => Err(problem.into_error()),
            None => Ok(json!({ HANDLER: shown })),
        }
    }

    async fn execute(&self, invocation: Invocation) -> TaskOutcome {
        if invocation.cancel.is_cancelled() {
            return TaskOutcome::Cancelled { usage: Default::default() };
        }
        match inputs::ProcessTask::read(&invocation) {
            Ok(task) => run::run(task, &invocation).await,
            Err(error) => TaskOutcome::Failed { error, usage: Default::default() },
        }
    }
}

/// How long the output of a process that has ended, with everything that could be found of its family, may stay open.
const OUTPUT_LINGERS_MAX: Duration = Duration::from_secs(1);
