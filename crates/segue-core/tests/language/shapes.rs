//! Graphs as large as they come: every task once, nothing before what it needs.

use std::collections::BTreeMap;

use segue_core::{event::EventKind, status::Status};
use serde_json::{Value, json};

use crate::world::World;

/// 1,000 layers of 100 nodes; each node depends on three of the layer before it.
fn layers() -> Value {
    let nodes: Vec<Value> = (0..100_000)
        .map(|n: usize| {
            let (layer, at) = (n / 100, n % 100);
            let depends_on: Vec<String> = match layer {
                0 => Vec::new(),
                _ => [0, 7, 31].map(|shift| format!("n{}", (layer - 1) * 100 + (at + shift) % 100)).to_vec(),
            };
            json!({ "id": format!("n{n}"), "task": "pass", "depends_on": depends_on })
        })
        .collect();
    json!({ "id": "layers", "nodes": nodes, "outputs": {} })
}

#[test]
fn a_hundred_thousand_nodes() {
    let mut world = World::of(layers());
    world.pass();
    assert_eq!(world.run.status(), Status::Succeeded);
    assert_eq!(world.log.len(), 2 + 2 * 100_000 + 1);
    let mut ended: BTreeMap<String, u64> = BTreeMap::new();
    for event in &world.log {
        let Some(task) = event.task_id.as_ref().map(ToString::to_string) else { continue };
        match &event.kind {
            EventKind::TaskStarted {} => {
                let node: usize = task[1..].parse().unwrap();
                if let Some(layer) = (node / 100).checked_sub(1) {
                    let needs = [0, 7, 31].map(|shift| format!("n{}", layer * 100 + (node + shift) % 100));
                    assert!(needs.iter().all(|need| ended.contains_key(need)), "{task} began too early");
                }
            }
            EventKind::TaskSucceeded { .. } => assert_eq!(ended.insert(task, event.seq), None),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(ended.len(), 100_000);
}

/// Instances and iterations are tasks as others: ten thousand of the one, a thousand of the other.
#[test]
fn ten_thousand_instances_and_a_thousand_iterations() {
    let mut world = World::of(json!({ "id": "w", "nodes": [
        { "id": "all", "foreach": "range(10000) | list", "parallelism": 50, "inputs": { "n": "{{ item }}" } },
        { "id": "again", "repeat": { "until": "output.n == 1000", "max_iterations": 1000 }, "inputs": { "n": "{{ iteration }}" } },
        { "id": "sum", "depends_on": ["all", "again"], "inputs": {
            "sum": "{{ nodes.all.output | sum(attribute='n') }}", "last": "{{ nodes.again.output.n }}" } }
    ] }));
    world.pass();
    assert_eq!(world.outputs(), json!({ "sum": { "sum": 49_995_000, "last": 1_000 } }));
}
