//! Logs of one workflow that uses everything, from bytes.

use std::sync::Arc;

use segue_core::{
    ids::HandlerId,
    plan::Plan,
    spec::{CheckOptions, parse_bytes},
};
use serde_json::{Value, json};

use super::pieces::MARK;

/// The workflow whose logs these are.
pub fn plan() -> Arc<Plan> {
    const WORKFLOW: &[u8] = b"id: w
params: { list: { type: array, default: [1, 2] } }
nodes:
- id: a
  retry_policy: { max_attempts: 3 }
- { id: many, depends_on: [a], foreach: params.list, inputs: { x: '{{ item }}' } }
- id: again
  depends_on: [a]
  repeat: { until: output.x > 1, max_iterations: 3 }
- id: g
  depends_on: [many]
  group: { nodes: [{ id: ask, approval: { title: 'Well?' } }, { id: b, depends_on: [ask] }] }
- { id: pause, wait: { event: go }, depends_on: [again], join: all_done }
- { id: c, depends_on: [g, pause], when: nodes.a.output.x, on_failure: { action: continue } }
";
    let parsed = parse_bytes(WORKFLOW, None, &CheckOptions::default());
    let spec = parsed.spec.unwrap_or_else(|| panic!("{:?}", parsed.diagnostics));
    Arc::new(Plan::compile(&spec, &HandlerId::from("pass")).expect("it is checked"))
}

/// The lines of a log: those of the text, or made from the bytes, with a beginning that fits.
pub fn lines(bytes: &[u8], created: &Value) -> Vec<String> {
    let Some((&MARK, bytes)) = bytes.split_first() else {
        return String::from_utf8_lossy(bytes)
            .lines()
            .map(|line| line.replace("HASH", created["workflow_hash"].as_str().unwrap_or_default()))
            .collect();
    };
    const TASKS: [&str; 16] = [
        "a",
        "many",
        "many[0]",
        "many[1]",
        "many[2]",
        "again",
        "again#1",
        "again#2",
        "g",
        "g/ask",
        "g/b",
        "pause",
        "c",
        "",
        "nobody",
        "many[4294967295]",
    ];
    let error = json!({ "kind": "user", "message": "no", "retryable": true });
    let due = "2026-09-21T13:46:40Z";
    let kinds = [
        ("run.created", created.clone()),
        ("run.started", json!({})),
        ("run.waiting", json!({})),
        ("run.cancelling", json!({ "by": "user", "reason": "no" })),
        ("run.succeeded", json!({ "outputs": {} })),
        ("run.failed", json!({ "error": error })),
        ("run.cancelled", json!({ "reason": "no" })),
        ("run.reopened", json!({})),
        ("task.started", json!({})),
        ("task.waiting", json!({ "kind": "approval", "title": "Well?", "due": due })),
        ("task.waiting", json!({ "kind": "time", "due": due })),
        ("task.waiting", json!({ "kind": "event", "event": "go" })),
        ("task.signaled", json!({ "data": { "decision": "approve", "form": {} } })),
        ("task.mapped", json!({ "n": 2 })),
        ("task.mapped", json!({ "n": u32::MAX })),
        ("loop.iterated", json!({ "iteration": 1 })),
        ("loop.iterated", json!({ "iteration": 2 })),
        ("loop.iterated", json!({ "iteration": u32::MAX })),
        ("task.retrying", json!({ "error": error, "due": due })),
        ("task.succeeded", json!({ "output": { "x": 2 } })),
        ("task.failed", json!({ "error": error })),
        ("task.failed", json!({ "error": error, "continue_with": null })),
        ("task.skipped", json!({ "reason": { "code": "upstream_failed", "message": "no" } })),
        ("task.cancelled", json!({})),
    ];
    let mut lines = vec![line("run.created", created, "", 0), line("run.started", &json!({}), "", 0)];
    for step in bytes.chunks_exact(2).take(2_000) {
        let (name, data) = &kinds[usize::from(step[0]) % kinds.len()];
        let task = if name.starts_with("run.") { "" } else { TASKS[usize::from(step[1]) % TASKS.len()] };
        lines.push(line(name, data, task, step[1] / 16 % 5));
    }
    lines
}

fn line(name: &str, data: &Value, task: &str, attempt: u8) -> String {
    let mut event = json!({ "seq": 1, "time": "2026-09-21T13:46:40Z", "type": name, "data": data });
    if !task.is_empty() {
        event["task_id"] = json!(task);
    }
    if attempt > 0 {
        event["attempt"] = json!(if attempt == 4 { u32::MAX } else { attempt.into() });
    }
    event.to_string()
}
