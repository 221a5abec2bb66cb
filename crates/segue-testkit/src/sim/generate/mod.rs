//! Random workflows with every feature of the language, small enough that all of it meets all of it.

mod expressions;
mod node;
mod shape;

use fastrand::Rng;
use segue_core::{
    ids::NodeId,
    outcome::ErrorKind,
    spec::{Defaults, EdgeSpec, FailurePolicy, OnExhausted, Seconds, TaskNode, WorkflowOnFailure, WorkflowSpec},
    time::Timestamp,
};
use serde_json::{Map, Value, json};

use self::expressions::{Names, condition};
pub(super) use self::node::EVENTS;

/// A workflow and what a run of it is started with.
#[derive(Debug, Clone)]
pub struct Case {
    /// The workflow.
    pub spec: WorkflowSpec,
    /// The values of its params.
    pub params: Value,
}

/// When simulated runs begin.
pub(super) const BEGIN: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);

/// The workflow that all child runs are of.
pub(super) const CHILD: &str = "letter";

/// The kinds of error that the simulated workers report.
pub(super) const KINDS: [ErrorKind; 8] = [
    ErrorKind::RateLimited,
    ErrorKind::Timeout,
    ErrorKind::User,
    ErrorKind::WorkerLost,
    ErrorKind::InvalidInput,
    ErrorKind::Auth,
    ErrorKind::ModelOutput,
    ErrorKind::Budget,
];

/// Draws a case.
pub fn case(rng: &mut Rng) -> Case {
    let loopy = rng.u8(..6) == 0;
    let richness = match rng.u8(..3) {
        _ if loopy => rng.u8(..12),
        0 => 0,
        _ => rng.u8(6..35),
    };
    let size = match (richness, rng.u8(..20)) {
        _ if loopy => rng.usize(2..6),
        (0, 0) => rng.usize(12..30),
        (0, _) => rng.usize(1..9),
        _ => rng.usize(1..6),
    };
    let mut draft = Draft { rng, richness, loopy, plain: false, nodes: 0 };
    let (nodes, edges) = draft.block(size, &Names::default());
    let (failure, finally) = draft.later_stages(&nodes);
    let spec = WorkflowSpec {
        params: params(),
        finally,
        defaults: rarely(rng, 5, defaults),
        timeout_seconds: rarely(rng, 8, |rng| Seconds(rng.u32(5..120).into())),
        max_parallel_nodes: rarely(rng, 4, |rng| rng.u32(1..4)),
        outputs: rarely(rng, 4, |rng| outputs(rng, &nodes)),
        nodes,
        edges,
        on_failure: match failure {
            Some(failure) => Some(WorkflowOnFailure::Nodes(failure)),
            None => rarely(rng, 4, |_| WorkflowOnFailure::Policy(FailurePolicy::Cancel)),
        },
        budget: rarely(rng, 6, node::budget),
        ..blank()
    };
    let when = BEGIN.plus(std::time::Duration::from_secs(rng.u64(..30))).to_string();
    let list: Vec<u8> = (0..rng.u8(..4)).collect();
    Case { spec, params: json!({ "p": rng.u8(..4), "flag": rng.bool(), "list": list, "when": when }) }
}

/// A workflow of which nothing is said but its id.
fn blank() -> WorkflowSpec {
    serde_json::from_value(json!({ "segue": 1, "id": "simulated", "nodes": [] })).expect("it is one")
}

fn params() -> Map<String, Value> {
    let fields = json!({ "p": { "type": "integer" }, "flag": { "type": "boolean" }, "list": { "type": "array" },
        "when": { "type": "string" } });
    fields.as_object().cloned().unwrap_or_default()
}

/// One time in `n`, what `draw` draws.
fn rarely<T>(rng: &mut Rng, n: u8, draw: impl FnOnce(&mut Rng) -> T) -> Option<T> {
    (rng.u8(..n) == 0).then(|| draw(rng))
}

struct Draft<'a> {
    rng: &'a mut Rng,
    /// Of a hundred nodes, so many are of each kind that an adapter does not carry out.
    richness: u8,
    /// Blocks are chains, in which loops find room.
    loopy: bool,
    /// There is no list of edges: what a node depends on stands in the node.
    plain: bool,
    /// Drawn so far.
    nodes: usize,
}

impl Draft<'_> {
    /// Nodes side by side, in the surroundings of `names`, and the edges between them.
    fn block(&mut self, size: usize, names: &Names) -> (Vec<TaskNode>, Vec<EdgeSpec>) {
        let plain = std::mem::take(&mut self.plain);
        let dependencies = match self.loopy {
            true => shape::chain(self.rng, size),
            false => shape::dependencies(self.rng, size),
        };
        let ancestors = shape::ancestors(&dependencies);
        let has_loops = !plain && (self.loopy || (self.richness > 0 && self.rng.u8(..3) > 0));
        let loops = if has_loops { shape::loops(self.rng, &dependencies) } else { Vec::new() };
        let ids: Vec<String> = (self.nodes..self.nodes + size).map(|ix| format!("n{ix}")).collect();
        self.nodes += size;
        let inside = |at: usize| loops.iter().any(|found| found.body.contains(&at));
        let seen: Vec<Names> = (0..size)
            .map(|at| names.beside(ancestors[at].iter().map(|&above| ids[above].clone()), inside(at)))
            .collect();
        let mut edges = Vec::new();
        let mut nodes = Vec::with_capacity(size);
        for at in 0..size {
            let mut depends_on = Vec::new();
            for &from in &dependencies[at] {
                if plain || !self.drew_edge(&mut edges, &ids[from], &ids[at], &seen[from]) {
                    depends_on.push(NodeId::new(&*ids[from]));
                }
            }
            let has_dependencies = !dependencies[at].is_empty();
            nodes.push(self.node(&ids[at], depends_on, has_dependencies, &seen[at]));
        }
        for found in loops {
            let when = match self.rng.u8(..8) {
                0..=1 => None,
                2..=3 => Some(format!("iteration < {}", self.rng.u8(1..4))),
                _ => Some(condition(self.rng, &seen[found.from], Some(&ids[found.from]))),
            };
            edges.push(EdgeSpec::Full {
                from: NodeId::new(&*ids[found.from]),
                to: NodeId::new(&*ids[found.to]),
                when,
                max_iterations: Some(self.rng.u32(1..4)),
                on_exhausted: exhausted(self.rng),
            });
        }
        (nodes, edges)
    }

    /// The nodes of `on_failure` and of `finally`, where there are any. They see what the workflow's own nodes gave.
    fn later_stages(&mut self, nodes: &[TaskNode]) -> (Option<Vec<TaskNode>>, Vec<TaskNode>) {
        let nodes = nodes.iter().map(|node| node.id.to_string()).collect();
        let names = Names { nodes, later: true, error: true, ..Names::default() };
        let mut stage = |n: u8| {
            (self.rng.u8(..n) == 0).then(|| {
                self.plain = true;
                let size = self.rng.usize(1..4);
                self.block(size, &names).0
            })
        };
        (stage(6), stage(4).unwrap_or_default())
    }

    /// Is this one of the nodes that are out of the ordinary?
    fn draws(&mut self) -> bool {
        self.rng.u8(..100) < self.richness
    }

    /// Writes a dependency as an edge, or as both; says whether that is enough.
    fn drew_edge(&mut self, edges: &mut Vec<EdgeSpec>, from: &str, to: &str, seen: &Names) -> bool {
        let (source, target) = (NodeId::new(from), NodeId::new(to));
        match self.rng.u8(..10) {
            0..=4 => false,
            5..=6 => {
                edges.push(EdgeSpec::Pair(source, target));
                self.rng.bool()
            }
            _ => {
                let when = Some(condition(self.rng, seen, Some(from)));
                let on_exhausted = OnExhausted::Fail;
                edges.push(EdgeSpec::Full { from: source, to: target, when, max_iterations: None, on_exhausted });
                self.rng.bool()
            }
        }
    }
}

fn exhausted(rng: &mut Rng) -> OnExhausted {
    if rng.bool() { OnExhausted::Continue } else { OnExhausted::Fail }
}

fn defaults(rng: &mut Rng) -> Defaults {
    Defaults {
        task: None,
        retry_policy: rarely(rng, 2, node::retry_policy),
        timeout_seconds: rarely(rng, 3, |rng| Seconds(rng.u32(1..15).into())),
        limits: None,
        hints: Map::new(),
        on_failure: rarely(rng, 5, |rng| node::on_failure(rng, &Names::default())),
    }
}

fn outputs(rng: &mut Rng, nodes: &[TaskNode]) -> Map<String, Value> {
    let id = &nodes[rng.usize(..nodes.len())].id;
    let fields = json!({
        "status": format!("{{{{ nodes.{id}.status }}}}"),
        "output": format!("{{{{ nodes.{id}.output }}}}"),
        "p": if rng.u8(..4) == 0 { format!("{{{{ nodes.{id}.output.n }}}}") } else { "{{ params.p }}".into() },
        "fixed": rng.u8(..9),
    });
    fields.as_object().cloned().unwrap_or_default()
}
