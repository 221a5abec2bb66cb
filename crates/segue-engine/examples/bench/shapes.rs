//! The workloads' workflows.

use anyhow::{Result, bail};
use segue_core::spec::WorkflowSpec;
use serde_json::{Map, Value, json};

/// One workload: a workflow, and how many runs of it.
#[derive(Clone)]
pub struct Load {
    pub nodes: Vec<Value>,
    pub inputs: Map<String, Value>,
    pub runs: usize,
    /// Runs at once.
    pub live: usize,
    pub tasks_of_run: usize,
}

impl Load {
    pub fn spec(&self) -> WorkflowSpec {
        let mut spec = spec(self.nodes.clone());
        spec.params = self.inputs.keys().map(|key| (key.clone(), json!({}))).collect();
        spec
    }

    /// The same where several engines share the work: a single run is driven by one of them, so there is one for each.
    pub fn shared_by(mut self, engines: usize) -> Self {
        if self.runs == 1 {
            (self.runs, self.live) = (engines, engines);
        }
        self
    }
}

pub fn spec(nodes: Vec<Value>) -> WorkflowSpec {
    serde_json::from_value(json!({"id": "bench", "nodes": nodes})).expect("a workflow of the bench")
}

/// Workloads of any size, run only when they are named: `map-100000` (instances of one node), `wide-100000` (nodes that
/// depend on nothing), `chain-1000`. What a task costs must not grow with their number.
pub fn sized(name: &str) -> Option<(&str, usize)> {
    let (kind, size) = name.split_once('-')?;
    Some((kind, size.parse().ok()?)).filter(|(kind, _)| ["map", "wide", "chain"].contains(kind))
}

/// The workload of this name.
pub fn load(name: &str) -> Result<Load> {
    let one = |nodes: Vec<Value>| Load { tasks_of_run: nodes.len(), nodes, inputs: Map::new(), runs: 1, live: 1 };
    Ok(match name {
        "W1" => one(chain(1_000, |_| json!({}))),
        "W2" => one(fan(1_000)),
        "W3" => Load { runs: 1_000, live: 64, ..one(diamond()) },
        "W4" => one(layers(100, 100)),
        "W4x10" => one(layers(1_000, 100)),
        "W5" => Load { runs: 200, ..one(vec![pass("only", &[], json!({"x": 1}))]) },
        "W8" => {
            let data = |previous: Option<String>| match previous {
                Some(node) => json!({"data": format!("{{{{ nodes.{node}.output.data }}}}")}),
                None => json!({"data": "{{ params.data }}"}),
            };
            let inputs = Map::from_iter([("data".to_owned(), Value::String("x".repeat(1 << 20)))]);
            Load { inputs, ..one(chain(100, data)) }
        }
        other => match sized(other) {
            Some(("map", size)) => {
                let items: Vec<usize> = (0..size).collect();
                let each = json!({
                    "id": "each", "task": "pass", "inputs": {"x": "{{ item }}"},
                    "foreach": "params.data", "parallelism": 1_000,
                });
                let inputs = Map::from_iter([("data".to_owned(), json!(items))]);
                Load { inputs, tasks_of_run: size, ..one(vec![each]) }
            }
            Some(("wide", size)) => one((0..size).map(|n| pass(&format!("n{n}"), &[], json!({}))).collect()),
            Some(("chain", size)) => one(chain(size, |_| json!({}))),
            _ => bail!("there is no workload `{other}`"),
        },
    })
}

fn pass(id: &str, depends_on: &[String], inputs: Value) -> Value {
    json!({"id": id, "task": "pass", "depends_on": depends_on, "inputs": inputs})
}

fn chain(length: usize, inputs: impl Fn(Option<String>) -> Value) -> Vec<Value> {
    let id = |n: usize| format!("n{n}");
    (0..length)
        .map(|n| {
            let previous = n.checked_sub(1).map(id);
            pass(&id(n), previous.as_slice(), inputs(previous.clone()))
        })
        .collect()
}

fn fan(width: usize) -> Vec<Value> {
    let middle: Vec<String> = (0..width).map(|n| format!("n{n}")).collect();
    let mut nodes = vec![pass("first", &[], json!({})), pass("last", &middle, json!({}))];
    nodes.extend(middle.iter().map(|id| pass(id, &["first".to_owned()], json!({}))));
    nodes
}

/// One node, three after it, one after those.
pub fn diamond() -> Vec<Value> {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let mut nodes = vec![pass("a", &[], json!({"x": 1})), pass("e", &names(&["b", "c", "d"]), json!({}))];
    nodes.extend(["b", "c", "d"].map(|id| pass(id, &names(&["a"]), json!({"x": "{{ nodes.a.output.x }}"}))));
    nodes
}

fn layers(depth: usize, width: usize) -> Vec<Value> {
    let id = |layer: usize, n: usize| format!("l{layer}n{}", n % width);
    let node = |layer: usize, n: usize| {
        let before: Vec<String> = match layer {
            0 => Vec::new(),
            _ => (0..3).map(|step| id(layer - 1, n + step)).collect(),
        };
        pass(&id(layer, n), &before, json!({}))
    };
    (0..depth).flat_map(|layer| (0..width).map(move |n| (layer, n))).map(|(layer, n)| node(layer, n)).collect()
}
