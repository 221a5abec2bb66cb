//! The questions. Each takes any bytes, must come back soon and in little memory, and panics if a promise is broken.

use std::sync::Arc;

use segue_core::{
    event::{Event, RunCreated},
    expr::{ExprError, Expression, NodeView, Scope, Template},
    ids::{HandlerId, NodeId, RunId},
    outcome::TaskOutcome,
    payload::Payload,
    plan::Plan,
    run::{Fold, Input, Run},
    spec::{CheckOptions, Parsed, WorkflowSpec, check, parse_bytes, resolve_inputs},
    status::Status,
    time::Timestamp,
};
use serde_json::{Map, Value, json};

use super::{
    documents, logs,
    pieces::{MARK, unfold},
};

/// Of documents, YAML as JSON.
const DOCUMENT_PIECES: [&str; 72] = [
    "[",
    "]",
    "{",
    "}",
    "[[",
    "{a: ",
    "{\"a\":",
    "[\"a\",",
    "- ",
    "? ",
    ": ",
    ", ",
    ",",
    "a: ",
    "a:\n ",
    "\n",
    "\n  ",
    "\n    ",
    "\r",
    "\r\n",
    "\t",
    " ",
    "&a ",
    "*a ",
    "*a, ",
    "&a [*a, ",
    "<<: ",
    "!!x ",
    "!",
    "|\n",
    ">\n",
    "|-\n  ",
    "\"",
    "'",
    "\\",
    "\\u",
    "#",
    "---\n",
    "...\n",
    "%YAML 1.2\n",
    "\u{feff}",
    "é",
    "\u{2028}",
    "\u{10ffff}",
    "0",
    "-",
    "1e",
    "9",
    ".",
    "~",
    "{{",
    "}}",
    "{%",
    "{#",
    "x",
    "id: w\n",
    "segue: 1\n",
    "nodes:\n",
    "nodes: [",
    "- id: a\n",
    "{id: a}, ",
    "  inputs:\n    x: ",
    "  depends_on: [",
    "edges: [[a, a]]\n",
    "outputs: ",
    "params:\n  p: ",
    "{type: array, items: ",
    "  foreach: ",
    "  nodes:\n  - id: b\n",
    "  when: ",
    "{ $secret: K }",
    "  output_schema: ",
];
/// Of conditions and templates.
const EXPRESSION_PIECES: [&str; 60] = [
    "-",
    "+",
    "not ",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "{}",
    "()",
    "[]",
    ".b",
    "|e",
    "|upper",
    "|join(',')",
    "|sort",
    "|map('upper')",
    "|default(1)",
    "|length",
    "|list",
    "|replace('x', 'xx')",
    "|tojson",
    "|batch(2)",
    " is ",
    " is not ",
    " is defined",
    " if ",
    " else ",
    " and ",
    " or ",
    " in ",
    "1",
    "1.5",
    "1e9",
    "9",
    "'x'",
    "\"",
    "'",
    "\\",
    "params",
    "params.p",
    "params.long",
    "nodes.a.output",
    "item",
    "['x']",
    "[0]",
    "[-1]",
    "[1:]",
    "[::-1]",
    ",",
    ":",
    "~",
    "*",
    "**",
    "//",
    "%",
    "==",
    "é",
    "}}",
];

/// Reads a document; every problem lies in the text, and what has none becomes a plan.
pub fn parser(bytes: &[u8]) {
    let text = unfold(bytes, &DOCUMENT_PIECES);
    let options = CheckOptions { handlers: vec![HandlerId::from("pass")], ..CheckOptions::default() };
    for name in ["w.yaml", "w.json"] {
        judge(&parse_bytes(&text, Some(name), &options), &text);
    }
}

/// Builds a document that is nearly right, and does what a run of it would begin with.
pub fn document(bytes: &[u8]) {
    let document = documents::draw(bytes);
    let text = document.to_string();
    let parsed = parse_bytes(text.as_bytes(), Some("w.json"), &CheckOptions::default());
    judge(&parsed, text.as_bytes());
    // What is built in Rust has not been through the reader.
    if let Ok(spec) = serde_json::from_value::<WorkflowSpec>(document) {
        check(&spec, &CheckOptions::default());
        let _ = Plan::compile(&spec, &HandlerId::from("pass"));
    }
}

/// A condition: is it compiled, is it evaluated, and where does its error lie?
pub fn expression(bytes: &[u8]) {
    let text = unfold(bytes, &EXPRESSION_PIECES);
    let Ok(source) = std::str::from_utf8(&text) else { return };
    match Expression::compile(source) {
        Err(error) => lies_inside(&error, source),
        Ok(expression) => {
            let scope = scope();
            let value = expression.evaluate(&scope);
            if let Err(error) = &value {
                lies_inside(error, source);
            }
            let truth = expression.is_true(&scope);
            // A path that leads nowhere has no value, and does not hold.
            assert!(value.is_ok() || truth != Ok(true), "{source}: it holds, and has no value");
        }
    }
}

/// A text with `{{ … }}`, alone and inside a value.
pub fn template(bytes: &[u8]) {
    let text = unfold(bytes, &EXPRESSION_PIECES);
    let Ok(source) = std::str::from_utf8(&text) else { return };
    for value in [json!(source), json!(format!("a {{{{ {source} }}}} b")), json!({ "deep": [{ "x": source }, 1] })] {
        match Template::compile(&value) {
            Ok(template) => drop(template.render(&scope())),
            Err(errors) => assert!(!errors.is_empty()),
        }
    }
}

/// A log, as text (an event a line) or made of pieces: it is folded or refused, and what is folded can be asked.
pub fn event(bytes: &[u8]) {
    let plan = logs::plan();
    let run_id = RunId::from_bytes([7; 16]);
    let created = json!({ "workflow_hash": plan.hash(), "inputs": { "list": [1, 2] } });
    let mut fold = Fold::new(plan, run_id);
    let mut seq = 0;
    for line in logs::lines(bytes, &created) {
        let Ok(mut event) = serde_json::from_str::<Event>(&line) else { continue };
        let again = serde_json::to_string(&event).expect("what was read can be written");
        assert_eq!(serde_json::from_str::<Event>(&again).expect("what was written can be read"), event);
        if bytes.first() == Some(&MARK) {
            event.seq = seq + 1;
        }
        // The end of a run whose values are not here is another's: a blob is loaded before it is pushed.
        let is_loaded = event.kind.payload().is_none_or(|payload| payload.value().is_some());
        if !is_loaded || fold.push(&event).is_err() {
            continue;
        }
        seq = event.seq;
    }
    if let Ok(run) = fold.finish() {
        ask(run);
    }
}

fn judge(parsed: &Parsed, text: &[u8]) {
    assert_eq!(parsed.spec.is_none(), parsed.has_errors());
    // Where the text is no text, there is none to lie in.
    let source = std::str::from_utf8(text).ok();
    for diagnostic in &parsed.diagnostics {
        let span = diagnostic.span.unwrap_or_else(|| panic!("{diagnostic:?} has no place"));
        assert!(span.line >= 1 && span.column >= 1, "{diagnostic:?}");
        let lies_inside = source.is_none_or(|source| source.get(span.start..span.end).is_some());
        assert!(lies_inside || diagnostic.code == "too-large", "{diagnostic:?}");
    }
    let Some(spec) = &parsed.spec else { return };
    let inputs = resolve_inputs(spec, Map::new());
    let plan = Plan::compile(spec, &HandlerId::from("pass"))
        .unwrap_or_else(|error| panic!("checked, and not compiled: {error}\n{}", String::from_utf8_lossy(text)));
    if let Ok(inputs) = inputs {
        begin(Arc::new(plan), inputs);
    }
}

/// Creates a run, starts what is ready, and lets all of it succeed with odd values.
fn begin(plan: Arc<Plan>, inputs: Map<String, Value>) {
    let created = RunCreated::new(plan.hash(), Payload::new(Value::Object(inputs)));
    let run_id = RunId::from_bytes([7; 16]);
    let now = Timestamp::from_micros(1_790_000_000_000_000);
    let (mut run, mut log) = Run::create(plan.clone(), run_id, created, now);
    for _ in 0..40 {
        let Some(task) = run.ready(now).next().cloned() else { break };
        let _ = run.render(&task);
        let Ok(events) = run.handle(Input::TaskAccepted { task: task.clone() }, now) else { break };
        log.extend(events);
        let Some((_, attempt)) = run.task_status(&task) else { break };
        let outcome = TaskOutcome::Succeeded {
            output: Payload::new(json!({ "x": [1, "é", null], "decision": "approve" })),
            usage: Default::default(),
            warnings: Vec::new(),
        };
        match run.handle(Input::TaskEnded { task, attempt, outcome, jitter: 0.5 }, now) {
            Ok(events) => log.extend(events),
            Err(_) => break,
        }
    }
    let folded = Run::fold(plan, run_id, &log).expect("the log of a run can be folded");
    assert_eq!(folded.status(), run.status());
    assert_eq!(folded.all_task_rows(), run.all_task_rows());
    ask(folded);
}

/// Everything that can be asked of a run.
fn ask(mut run: Run) {
    let now = Timestamp::from_micros(1_790_000_000_000_000);
    let _ = (run.owed(now).count(), run.wake_at(now), run.run_row(), run.all_task_rows(), run.room());
    let ready: Vec<_> = run.ready(now).take(10).cloned().collect();
    for task in &ready {
        let _ = run.render(task);
    }
    let _ = run.handle(Input::Woke { jitter: 0.5 }, now);
    let _ = run.handle(Input::Cancel { reason: "enough".to_owned() }, now);
    let _ = run.handle(Input::Reopen, now);
}

fn lies_inside(error: &ExprError, source: &str) {
    let place = source.get(error.offset.start..error.offset.end);
    assert!(place.is_some(), "{source}: {error:?}");
}

fn scope() -> Scope {
    let params = json!({ "p": [1, "x", { "x": null, "b": "é" }], "x": 1.5, "long": "x".repeat(100_000) });
    let Value::Object(params) = params else { unreachable!("it is written above") };
    let view =
        |output: Value| NodeView { output: Arc::new(output), status: Status::Succeeded, error: None, attempts: 1 };
    Scope {
        params: params.into(),
        nodes: vec![(NodeId::from("a"), view(json!({ "b": [1, 2], "x": { "b": "text" } })))],
        extra: vec![("item", Arc::new(json!({ "b": 9_007_199_254_740_993_u64 })))],
        ..Scope::default()
    }
}
