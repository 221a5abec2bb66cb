//! What is run under faults. Each step notes its idempotency key and its attempt in a file before it answers.

use segue_core::{ids::HandlerId, plan::Plan, spec::WorkflowSpec, status::Status};
use serde_json::{Value, json};

/// A workflow, and what must come of it whatever happens on the way.
#[derive(Debug, Clone)]
pub struct Workload {
    /// Its name.
    pub name: &'static str,
    /// The document.
    pub document: Value,
    /// How its run ends.
    pub ends: Status,
    /// The tasks that have effects.
    pub effects: Vec<String>,
    /// The task that runs until somebody cancels the run, after its effect was seen.
    pub cancel_at: Option<&'static str>,
    /// The task whose first attempt fails by itself.
    pub fails_once: Option<&'static str>,
}

impl Workload {
    /// Its plan, for the fold of its log.
    pub fn plan(&self) -> Plan {
        let spec: WorkflowSpec = serde_json::from_value(self.document.clone()).unwrap();
        Plan::compile(&spec, &HandlerId::from("crewai.agent")).unwrap()
    }

    /// How many attempts of a task fail by themselves.
    pub fn own_failures(&self, task: &str) -> u32 {
        u32::from(self.fails_once == Some(task))
    }
}

/// A step: notes its effect, then does `more`.
fn step(more: &str) -> Value {
    let script = format!("printf '%s %s\\n' \"$SEGUE_IDEMPOTENCY_KEY\" \"$SEGUE_ATTEMPT_NUMBER\" >> effects; {more}");
    json!({ "argv": ["sh", "-c", script] })
}

fn names(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

/// Four steps, one after the other.
pub fn linear() -> Workload {
    let document = json!({ "id": "linear", "nodes": [
        { "id": "a", "task": "process.run", "inputs": step("echo 1") },
        { "id": "b", "task": "process.run", "depends_on": ["a"], "inputs": step("echo 2") },
        { "id": "p", "task": "pass", "depends_on": ["b"], "inputs": { "b": "{{ nodes.b.output }}" } },
        { "id": "c", "task": "process.run", "depends_on": ["p"], "inputs": step("echo 3") },
    ], "outputs": { "sum": "{{ nodes.a.output + nodes.p.output.b + nodes.c.output }}" } });
    Workload {
        name: "linear",
        document,
        ends: Status::Succeeded,
        effects: names(&["a", "b", "c"]),
        cancel_at: None,
        fails_once: None,
    }
}

/// Five instances, three at a time, and one step after all of them.
pub fn fan_out() -> Workload {
    let document = json!({ "id": "fan_out", "nodes": [
        { "id": "part", "task": "process.run", "foreach": "range(5) | list", "parallelism": 3,
          "inputs": step("echo $SEGUE_ATTEMPT_NUMBER > /dev/null; echo 2") },
        { "id": "join", "task": "process.run", "depends_on": ["part"], "inputs": step("echo 7") },
    ], "outputs": { "sum": "{{ (nodes.part.output | sum) + nodes.join.output }}" } });
    let mut effects: Vec<String> = (0..5).map(|n| format!("part[{n}]")).collect();
    effects.push("join".to_owned());
    Workload { name: "fan_out", document, ends: Status::Succeeded, effects, cancel_at: None, fails_once: None }
}

/// So many steps at the same time, two of which may run at once, over all engines; and one after them.
pub fn limited(steps: usize) -> Workload {
    let document = json!({ "id": "limited", "limits": { "desk": { "concurrent": 2 } }, "nodes": [
        { "id": "at", "task": "process.run", "foreach": format!("range({steps}) | list"), "limits": ["desk"],
          "inputs": step("echo 2") },
        { "id": "after", "task": "process.run", "depends_on": ["at"], "inputs": step("echo 7") },
    ], "outputs": { "sum": "{{ (nodes.at.output | sum) + nodes.after.output }}" } });
    let mut effects: Vec<String> = (0..steps).map(|n| format!("at[{n}]")).collect();
    effects.push("after".to_owned());
    Workload { name: "limited", document, ends: Status::Succeeded, effects, cancel_at: None, fails_once: None }
}

/// A step that fails the first time.
pub fn retry() -> Workload {
    let mut flaky = step("[ \"$SEGUE_ATTEMPT_NUMBER\" -ge 2 ] && echo 5");
    flaky["expect_exit"] = json!(0);
    let document = json!({ "id": "retry", "nodes": [
        { "id": "flaky", "task": "process.run", "inputs": flaky,
          "retry_policy": { "max_attempts": 4, "initial_interval_seconds": 0.02, "jitter": "none", "retry_on": ["exit"] } },
        { "id": "after", "task": "process.run", "depends_on": ["flaky"], "inputs": step("echo 6") },
    ], "outputs": { "sum": "{{ nodes.flaky.output + nodes.after.output }}" } });
    Workload {
        name: "retry",
        document,
        ends: Status::Succeeded,
        effects: names(&["flaky", "after"]),
        cancel_at: None,
        fails_once: Some("flaky"),
    }
}

/// A step that never ends by itself, with a grandchild in a session of its own.
pub fn cancel() -> Workload {
    let document = json!({ "id": "cancel", "nodes": [
        { "id": "before", "task": "process.run", "inputs": step("echo 1") },
        { "id": "long", "task": "process.run", "depends_on": ["before"],
          "inputs": step("setsid sleep 300 & exec sleep 300") },
        { "id": "never", "task": "process.run", "depends_on": ["long"], "inputs": step("echo 2") },
    ] });
    Workload {
        name: "cancel",
        document,
        ends: Status::Cancelled,
        effects: names(&["before", "long"]),
        cancel_at: Some("long"),
        fails_once: None,
    }
}

/// So many steps one after the other, each of which takes a moment, after a pause of `pause` seconds.
pub fn chain(steps: usize, pause: f64) -> Workload {
    let mut nodes = vec![json!({ "id": "pause", "wait": { "seconds": pause } })];
    let mut effects = Vec::new();
    for n in 0..steps {
        let before = n.checked_sub(1).map_or("pause".to_owned(), |before| format!("s{before}"));
        let inputs = step("sleep 0.03; echo 1");
        nodes.push(json!({ "id": format!("s{n}"), "task": "process.run", "depends_on": [before], "inputs": inputs }));
        effects.push(format!("s{n}"));
    }
    let document = json!({ "id": "chain", "nodes": nodes });
    Workload { name: "chain", document, ends: Status::Succeeded, effects, cancel_at: None, fails_once: None }
}

/// Those that are killed.
pub fn all() -> Vec<Workload> {
    vec![linear(), fan_out(), limited(3), retry(), cancel()]
}
