//! Random workflows with every feature of the language, small enough that all of it meets all of it.

use fastrand::Rng;
use segue_core::{
    ids::{NodeId, WorkflowId},
    outcome::ErrorKind,
    spec::{
        Defaults, EdgeSpec, FailureAction, FailurePolicy, Jitter, Join, OnExhausted, OnFailure, RetryPolicy, Seconds,
        TaskNode, TaskSpec, WorkflowOnFailure, WorkflowSpec,
    },
};
use serde_json::{Map, Value, json};

/// A workflow and what a run of it is started with.
#[derive(Debug, Clone)]
pub struct Case {
    /// The workflow.
    pub spec: WorkflowSpec,
    /// The values of its params.
    pub params: Value,
}

/// The kinds of error that the simulated workers report.
pub(super) const KINDS: [ErrorKind; 6] = [
    ErrorKind::RateLimited,
    ErrorKind::Timeout,
    ErrorKind::User,
    ErrorKind::WorkerLost,
    ErrorKind::InvalidInput,
    ErrorKind::Auth,
];

/// Draws a case.
pub fn case(rng: &mut Rng) -> Case {
    let size = if rng.u8(..20) == 0 { rng.usize(12..30) } else { rng.usize(1..9) };
    let dependencies = shape(rng, size);
    let mut draft = Draft { ancestors: ancestors(&dependencies), edges: Vec::new(), rng };
    let nodes = dependencies.iter().enumerate().map(|(ix, from)| draft.node(ix, from)).collect();
    let edges = std::mem::take(&mut draft.edges);
    let spec = WorkflowSpec {
        segue: Some(1),
        id: WorkflowId::from("simulated"),
        name: None,
        description: None,
        params: params(),
        secrets: Vec::new(),
        finally: Vec::new(),
        defaults: rarely(rng, 5, defaults),
        timeout_seconds: rarely(rng, 8, |rng| Seconds(rng.u32(5..120).into())),
        max_parallel_nodes: rarely(rng, 4, |rng| rng.u32(1..4)),
        nodes,
        edges,
        outputs: rarely(rng, 4, |rng| outputs(rng, size)),
        on_failure: rarely(rng, 4, |_| WorkflowOnFailure::Policy(FailurePolicy::Cancel)),
        metadata: Map::new(),
    };
    Case { spec, params: json!({ "p": rng.u8(..4), "flag": rng.bool() }) }
}

fn params() -> Map<String, Value> {
    let fields = json!({ "p": { "type": "integer" }, "flag": { "type": "boolean" } });
    fields.as_object().cloned().unwrap_or_default()
}

/// The dependencies of each node: all of them come before it.
fn shape(rng: &mut Rng, size: usize) -> Vec<Vec<usize>> {
    let density = rng.u8(10..80);
    let layer = rng.usize(1..4);
    let kind = rng.u8(..5);
    let edge = |rng: &mut Rng, from: usize, to: usize| match kind {
        0 => from + 1 == to,
        1 => from == 0 || to + 1 == size,
        2 => from / layer + 1 == to / layer && rng.u8(..100) < density,
        _ => rng.u8(..100) < density / 2,
    };
    (0..size).map(|to| (0..to).filter(|&from| edge(rng, from, to)).collect()).collect()
}

fn ancestors(dependencies: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut all: Vec<Vec<usize>> = Vec::with_capacity(dependencies.len());
    for from in dependencies {
        let mut above: Vec<usize> = from.iter().flat_map(|&ix| all[ix].iter().copied().chain([ix])).collect();
        above.sort_unstable();
        above.dedup();
        all.push(above);
    }
    all
}

pub(super) fn node_id(ix: usize) -> NodeId {
    NodeId::new(format!("n{ix}"))
}

/// One time in `n`, what `draw` draws.
fn rarely<T>(rng: &mut Rng, n: u8, draw: impl FnOnce(&mut Rng) -> T) -> Option<T> {
    (rng.u8(..n) == 0).then(|| draw(rng))
}

struct Draft<'a> {
    rng: &'a mut Rng,
    ancestors: Vec<Vec<usize>>,
    edges: Vec<EdgeSpec>,
}

impl Draft<'_> {
    fn node(&mut self, ix: usize, dependencies: &[usize]) -> TaskNode {
        let depends_on = dependencies.iter().filter(|&&from| !self.drew_edge(from, ix)).map(|&from| node_id(from));
        let depends_on = depends_on.collect();
        let rng = &mut *self.rng;
        let joins = [Join::NoFailure, Join::AllSuccess, Join::AnySuccess, Join::AllDone, Join::AnyFailure];
        let join = if rng.bool() { Join::NoFailure } else { joins[rng.usize(..joins.len())] };
        let inputs = rarely(rng, 2, |rng| inputs(rng, &self.ancestors[ix]));
        let mut node = TaskNode {
            spec: TaskSpec {
                task: Some("pass".into()).filter(|_| rng.bool()),
                inputs: inputs.and_then(|inputs| inputs.as_object().cloned()).unwrap_or_default(),
                hints: Map::new(),
            },
            depends_on,
            join: if dependencies.is_empty() { Join::NoFailure } else { join },
            retry_policy: rarely(rng, 2, retry_policy),
            timeout_seconds: rarely(rng, 3, |rng| Seconds(rng.u32(1..15).into())),
            deadline_seconds: rarely(rng, 5, |rng| Seconds(rng.u32(2..40).into())),
            on_failure: rarely(rng, 5, |rng| on_failure(rng, &self.ancestors[ix])),
            ..TaskNode::new(node_id(ix))
        };
        if self.rng.u8(..5) == 0 {
            node.when = Some(condition(self.rng, &self.ancestors[ix], None));
        }
        node
    }

    /// Writes a dependency as an edge, or as both; says whether that is enough.
    fn drew_edge(&mut self, from: usize, to: usize) -> bool {
        let (source, target) = (node_id(from), node_id(to));
        match self.rng.u8(..10) {
            0..=4 => false,
            5..=6 => {
                self.edges.push(EdgeSpec::Pair(source, target));
                self.rng.bool()
            }
            _ => {
                let when = Some(condition(self.rng, &self.ancestors[from], Some(from)));
                self.edges.push(EdgeSpec::Full {
                    from: source,
                    to: target,
                    when,
                    max_iterations: None,
                    on_exhausted: OnExhausted::Fail,
                });
                self.rng.bool()
            }
        }
    }
}

/// A condition over `above`, and preferably over `from`.
fn condition(rng: &mut Rng, above: &[usize], from: Option<usize>) -> String {
    let pick = |rng: &mut Rng| match from {
        Some(from) if above.is_empty() || rng.u8(..3) > 0 => Some(from),
        _ if above.is_empty() => None,
        _ => Some(above[rng.usize(..above.len())]),
    };
    let Some(x) = pick(rng) else {
        return if rng.bool() { "params.flag".into() } else { format!("params.p == {}", rng.u8(..4)) };
    };
    let (k, p) = (rng.u8(..3), rng.u8(..4));
    match rng.u8(..24) {
        0..=3 => format!("nodes.n{x}.output.n == {k}"),
        4..=6 => format!("nodes.n{x}.output.n != {k}"),
        7..=8 => format!("nodes.n{x}.output.go"),
        9..=10 => format!("not nodes.n{x}.output.go"),
        11..=12 => format!("nodes.n{x}.status == \"SUCCEEDED\""),
        13 => format!("nodes.n{x}.status != \"SKIPPED\" and params.p < 3"),
        14..=15 => format!("nodes.n{x}.output.go or params.p == {p}"),
        16 => format!("nodes.n{x}.output.go and nodes.n{x}.output.n < 2"),
        17 => match pick(rng) {
            Some(y) => format!("nodes.n{x}.output.n == nodes.n{y}.output.n"),
            None => "true".into(),
        },
        18 => format!("params.flag and (params.p > 1 or nodes.n{x}.output.n == {k})"),
        19 => format!("nodes.n{x}.attempts > 1"),
        20 => format!("nodes.n{x}.status == \"FAILED\""),
        21..=22 => "true".into(),
        // Has no answer where the output has no `deep`.
        _ => format!("nodes.n{x}.output.deep.s == \"x\""),
    }
}

fn retry_policy(rng: &mut Rng) -> RetryPolicy {
    let kinds = |rng: &mut Rng| KINDS.into_iter().filter(|_| rng.bool()).collect::<Vec<_>>();
    RetryPolicy {
        max_attempts: rarely(rng, 2, |rng| rng.u32(1..5)),
        initial_interval_seconds: rarely(rng, 2, |rng| Seconds(f64::from(rng.u8(..8)) / 2.0)),
        backoff_coefficient: rarely(rng, 2, |rng| [0.5, 1.0, 1.7, 3.0, 1e200][rng.usize(..5)]),
        max_interval_seconds: rarely(rng, 3, |rng| Seconds(rng.u8(1..10).into())),
        jitter: rarely(rng, 2, |rng| if rng.bool() { Jitter::Full } else { Jitter::None }),
        retry_on: rarely(rng, 5, kinds),
        do_not_retry_on: rarely(rng, 5, kinds),
    }
}

/// Reads values from all over the part of the graph that is above.
fn inputs(rng: &mut Rng, above: &[usize]) -> Value {
    let Some(x) = any_of(rng, above) else { return json!({ "prompt": "{{ params.p }}" }) };
    match rng.u8(..4) {
        0 => json!({ "prompt": "{{ params.p }}", "all": format!("{{{{ nodes.n{x}.output }}}}") }),
        1 => json!({ "all": [format!("{{{{ nodes.n{x}.output }}}}")], "how": format!("{{{{ nodes.n{x}.status }}}}") }),
        2 => json!({ "n": format!("{{{{ nodes.n{x}.output.n }}}}") }),
        _ => json!({ "fixed": true }),
    }
}

fn any_of(rng: &mut Rng, nodes: &[usize]) -> Option<usize> {
    (!nodes.is_empty()).then(|| nodes[rng.usize(..nodes.len())])
}

fn on_failure(rng: &mut Rng, above: &[usize]) -> OnFailure {
    let action = if rng.u8(..4) == 0 { FailureAction::Fail } else { FailureAction::Continue };
    let output = rarely(rng, 2, |rng| match any_of(rng, above).filter(|_| rng.bool()) {
        Some(x) => json!({ "n": format!("{{{{ nodes.n{x}.output.n }}}}"), "go": true }),
        None => json!({ "n": rng.u8(..3), "go": rng.bool(), "p": "{{ params.p }}" }),
    });
    OnFailure { action, output }
}

fn defaults(rng: &mut Rng) -> Defaults {
    Defaults {
        task: None,
        retry_policy: rarely(rng, 2, retry_policy),
        timeout_seconds: rarely(rng, 3, |rng| Seconds(rng.u32(1..15).into())),
        hints: Map::new(),
        on_failure: rarely(rng, 5, |rng| on_failure(rng, &[])),
    }
}

fn outputs(rng: &mut Rng, size: usize) -> Map<String, Value> {
    let ix = rng.usize(..size);
    let fields = json!({
        "status": format!("{{{{ nodes.n{ix}.status }}}}"),
        "output": format!("{{{{ nodes.n{ix}.output }}}}"),
        "p": if rng.u8(..4) == 0 { format!("{{{{ nodes.n{ix}.output.n }}}}") } else { "{{ params.p }}".into() },
        "fixed": rng.u8(..9),
    });
    fields.as_object().cloned().unwrap_or_default()
}
