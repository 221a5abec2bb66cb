//! What a node of `process.run` may say, and what it comes to.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use segue_core::{
    outcome::TaskError,
    ports::Invocation,
    spec::{Diagnostic, WorkflowSpec},
};
use serde_json::{Map, Value};

use super::{HANDLER, HINTS};
use crate::{
    contain::scrubbed_environment,
    problems::{NodeRules, Problem, concurrency, is_template, kind_of, unknown},
};

/// The longest output, unless `hints.process.output_bytes_max` says less.
pub const OUTPUT_BYTES_MAX: usize = 64 * 1024 * 1024;

const INPUTS: [&str; 5] = ["argv", "stdin", "env", "cwd", "expect_exit"];
const HINT_NAMES: [&str; 4] = ["output", "env", "output_bytes_max", "concurrency"];

/// How stdout becomes the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// JSON if it is, else text.
    Either,
    Json,
    Text,
}

/// A process to run, read from the rendered inputs.
#[derive(Debug)]
pub(super) struct ProcessTask {
    pub(super) argv: Vec<OsString>,
    pub(super) stdin: Option<Vec<u8>>,
    pub(super) env: BTreeMap<OsString, OsString>,
    pub(super) cwd: PathBuf,
    pub(super) expect_exit: Vec<i32>,
    pub(super) form: Form,
    pub(super) output_bytes_max: usize,
}

impl ProcessTask {
    pub(super) fn read(invocation: &Invocation) -> Result<Self, TaskError> {
        let empty = Map::new();
        let inputs = invocation.inputs.as_object().unwrap_or(&empty);
        let hints = invocation.hints.get(HINTS).and_then(Value::as_object).unwrap_or(&empty);
        if let Some(problem) = problems(inputs, false).into_iter().chain(hint_problems(hints)).next() {
            return Err(problem.into_error());
        }
        let base = invocation.base_dir.clone().unwrap_or_else(|| PathBuf::from("."));
        let base = std::path::absolute(&base).unwrap_or(base);
        let context = &invocation.context;
        let named: Vec<&str> = items(hints.get("env")).filter_map(Value::as_str).collect();
        let mut env = scrubbed_environment(&named);
        for (name, value) in inputs.get("env").and_then(Value::as_object).into_iter().flatten() {
            env.insert(name.into(), text_of(value).unwrap_or_default().into());
        }
        env.extend(
            [
                ("SEGUE_IDEMPOTENCY_KEY", context.idempotency_key()),
                ("SEGUE_RUN_ID", context.run_id.to_string()),
                ("SEGUE_WORKFLOW_ID", context.workflow_id.to_string()),
                ("SEGUE_TASK_ID", context.task_id.to_string()),
                ("SEGUE_ATTEMPT_NUMBER", context.attempt.to_string()),
            ]
            .map(|(name, value)| (name.into(), value.into())),
        );
        let codes = inputs.get("expect_exit");
        Ok(Self {
            argv: items(inputs.get("argv")).filter_map(text_of).map(OsString::from).collect(),
            stdin: inputs.get("stdin").filter(|value| !value.is_null()).map(|value| match value {
                Value::String(text) => text.clone().into_bytes(),
                other => other.to_string().into_bytes(),
            }),
            env,
            cwd: inputs
                .get("cwd")
                .and_then(Value::as_str)
                .map_or_else(|| base.clone(), |cwd| base.join(Path::new(cwd))),
            expect_exit: match codes.and_then(exit_code) {
                Some(code) => vec![code],
                None if codes.is_some() => items(codes).filter_map(exit_code).collect(),
                None => vec![0],
            },
            form: match hints.get("output").and_then(Value::as_str) {
                Some("json") => Form::Json,
                Some("text") => Form::Text,
                _ => Form::Either,
            },
            output_bytes_max: hints
                .get("output_bytes_max")
                .and_then(Value::as_u64)
                .map_or(OUTPUT_BYTES_MAX, |bytes| usize::try_from(bytes).unwrap_or(OUTPUT_BYTES_MAX)),
        })
    }
}

fn items(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

/// `{ $secret: NAME }`: a text, once the attempt is dispatched.
fn is_secret(value: &Value) -> bool {
    value.as_object().is_some_and(|object| object.len() == 1 && object.contains_key("$secret"))
}

/// A string, number or boolean as text.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

fn exit_code(value: &Value) -> Option<i32> {
    value.as_i64().filter(|code| (0..=255).contains(code)).and_then(|code| i32::try_from(code).ok())
}

/// What is wrong with these inputs. With `templates`, a text with `{{` may become anything and is accepted anywhere.
pub(super) fn problems(inputs: &Map<String, Value>, templates: bool) -> Vec<Problem> {
    let open = |value: &Value| templates && (is_template(value) || is_secret(value));
    let mut found = unknown(inputs, &INPUTS, HANDLER, "input");
    match inputs.get("argv") {
        None => found.push(
            Problem::new(&[], "`process.run` needs `argv`, the program and its arguments")
                .with_help("for example: inputs: { argv: [\"python3\", \"step.py\"] }"),
        ),
        Some(Value::Array(parts)) if parts.is_empty() => {
            found.push(Problem::new(&["argv"], "`argv` is empty; its first item is the program"));
        }
        Some(Value::Array(parts)) => {
            for (index, part) in parts.iter().enumerate().filter(|(_, part)| text_of(part).is_none() && !open(part)) {
                let message = format!("`argv[{index}]` is {}, not a text", kind_of(part));
                found.push(Problem::new(&["argv", &index.to_string()], message));
            }
        }
        Some(value) if open(value) => {}
        Some(value) => found.push(
            Problem::new(&["argv"], format!("`argv` is {}, not a list of texts", kind_of(value)))
                .with_help("there is no shell: give the program and each argument as an item of its own"),
        ),
    }
    match inputs.get("env") {
        Some(Value::Object(variables)) => {
            for (name, value) in variables {
                if name.is_empty() || name.contains(['=', '\0']) {
                    found.push(Problem::new(&["env", name], format!("`{name}` cannot be the name of a variable")));
                } else if name.starts_with("SEGUE_") {
                    found.push(Problem::new(&["env", name], format!("`{name}` is set by Segue itself")));
                } else if text_of(value).is_none() && !open(value) {
                    let message = format!("`env.{name}` is {}, not a text", kind_of(value));
                    found.push(Problem::new(&["env", name], message));
                }
            }
        }
        Some(value) if !open(value) => {
            found.push(Problem::new(&["env"], format!("`env` is {}, not an object", kind_of(value))));
        }
        _ => {}
    }
    if let Some(value) = inputs.get("cwd").filter(|value| !value.is_string()) {
        found.push(Problem::new(&["cwd"], format!("`cwd` is {}, not the path of a folder", kind_of(value))));
    }
    if let Some(value) = inputs.get("expect_exit") {
        let is_list =
            value.as_array().is_some_and(|codes| !codes.is_empty() && codes.iter().all(|c| exit_code(c).is_some()));
        if !is_list && exit_code(value).is_none() && !open(value) {
            found
                .push(Problem::new(&["expect_exit"], "`expect_exit` is an exit code from 0 to 255, or a list of them"));
        }
    }
    found
}

fn hint_problems(hints: &Map<String, Value>) -> impl Iterator<Item = Problem> {
    let form = hints.get("output").filter(|value| !matches!(value.as_str(), Some("json" | "text")));
    let form = form.map(|_| Problem::new(&["output"], "`hints.process.output` is `json` or `text`"));
    let is_names = |value: &&Value| value.as_array().is_some_and(|names| names.iter().all(Value::is_string));
    let env = hints.get("env").filter(|value| !is_names(value));
    let env = env.map(|_| {
        Problem::new(&["env"], "`hints.process.env` is a list of names of variables to pass on")
            .with_help("variables with values of their own belong into `inputs.env`")
    });
    let limit = hints.get("output_bytes_max");
    let limit = limit.filter(|value| value.as_u64().is_none_or(|bytes| bytes == 0 || bytes > OUTPUT_BYTES_MAX as u64));
    let limit = limit.map(|_| {
        Problem::new(&["output_bytes_max"], format!("`output_bytes_max` is a number from 1 to {OUTPUT_BYTES_MAX}"))
    });
    form.into_iter().chain(env).chain(limit).chain(concurrency(hints))
}

/// What is wrong with the nodes of `process.run` in a workflow.
pub(super) fn diagnose(workflow: &WorkflowSpec) -> Vec<Diagnostic> {
    NodeRules {
        inputs: |handler, inputs| if handler == HANDLER { problems(inputs, true) } else { Vec::new() },
        input_code: "process-input",
        hints_name: HINTS,
        hints: |hints| {
            let Some(Value::Object(own)) = hints.get(HINTS) else { return Vec::new() };
            unknown(own, &HINT_NAMES, HANDLER, "hint").into_iter().chain(hint_problems(own)).collect()
        },
        hint_code: "process-hint",
    }
    .diagnose(workflow)
}
