//! `docs/reference/semantics.md`: nodes of several parts, and nodes that wait.

use segue_core::{
    outcome::TaskOutcome,
    run::{Address, Input, Rejected},
};
use serde_json::{Value, json};

use crate::{
    tables::of_page,
    world::{World, failure},
};

/// Adds the options that stand behind the kind of a node: `repeat, on_exhausted: continue`.
fn with_options(mut node: Value, kind: &str) -> Value {
    for option in kind.split(", ").skip(1) {
        let (name, value) = option.split_once(": ").unwrap();
        match name {
            "on_failure" => node["on_failure"] = json!({ "action": value }),
            "on_exhausted" => node["repeat"]["on_exhausted"] = json!(value),
            "on_timeout" | "on_reject" => node["approval"][name] = json!(value),
            other => panic!("no such option: {other}"),
        }
    }
    node
}

fn of_parts(kind: &str, parts: &str) -> World {
    let first = kind.split(", ").next().unwrap();
    if first == "loop edge" {
        return of_loop(kind, parts);
    }
    let node = match (first, parts) {
        ("foreach", "there are none") => json!({ "foreach": [] }),
        ("foreach", _) => json!({ "foreach": [1, 2, 3], "parallelism": 2 }),
        ("repeat", _) => json!({ "repeat": { "until": "output == 3", "max_iterations": 3 } }),
        ("group", "all are skipped") => json!({ "group": { "nodes": [{ "id": "x", "when": "false" }] } }),
        ("group", "one fails, and another in it handles that") => {
            json!({ "group": { "nodes": [{ "id": "x" }, { "id": "y", "depends_on": ["x"], "join": "any_failure" }] } })
        }
        ("group", _) => json!({ "group": { "nodes": [{ "id": "x" }, { "id": "y", "depends_on": ["x"] }] } }),
        other => panic!("no such row: {other:?}"),
    };
    let mut node = with_options(node, kind);
    node["id"] = json!("node");
    let mut world = World::of(json!({ "id": "w", "nodes": [node] }));
    let fails = ["node[1]", "node#2", "node/x"];
    world.play(|task, _| match parts {
        "one fails; the others run to their end first"
        | "one fails"
        | "an iteration fails"
        | "one fails, and nothing in it handles that"
        | "one fails, and another in it handles that"
            if fails.contains(&task) =>
        {
            failure()
        }
        "until holds" => TaskOutcome::success(json!(task.split('#').nth(1).unwrap().parse::<u32>().unwrap())),
        _ => TaskOutcome::success(json!(1)),
    });
    if parts == "one fails; the others run to their end first" {
        assert_eq!(world.story().matches("succeeded:node[").count(), 2, "{}", world.story());
    }
    world
}

fn of_loop(kind: &str, parts: &str) -> World {
    let when = if parts == "its when is false" { "false" } else { "true" };
    let mut edge = json!({ "from": "node", "to": "top", "when": when, "max_iterations": 2 });
    if kind.ends_with("on_exhausted: continue") {
        edge["on_exhausted"] = json!("continue");
    }
    let nodes = json!([{ "id": "top" }, { "id": "node", "depends_on": ["top"] }]);
    let mut world = World::of(json!({ "id": "w", "nodes": nodes, "edges": [edge] }));
    let fails = parts.starts_with("its source fails");
    world.play(|task, _| if fails && task == "node" { failure() } else { TaskOutcome::success(json!(1)) });
    let rounds = if parts.contains("last round") { 1 } else { 0 };
    assert_eq!(world.story().matches("loop.iterated").count(), rounds, "{}", world.story());
    world
}

#[test]
fn nodes_of_several_parts() {
    let page = of_page("semantics.md");
    let table = &page["Nodes of several parts"];
    assert_eq!(table.rows.len(), 17);
    for row in &table.rows {
        let world = of_parts(&row[0], &row[1]);
        assert_eq!(world.status("node").as_str(), row[2], "{row:?}: {}", world.story());
        assert_eq!(world.run.status().as_str(), row[3], "{row:?}: {}", world.story());
    }
}

fn say(world: &mut World, data: Value) -> Result<(), Rejected> {
    world.input(Input::Signal { to: Address::Task("node".into()), data, request: None })
}

#[test]
fn nodes_that_wait() {
    let page = of_page("semantics.md");
    let table = &page["Nodes that wait"];
    assert_eq!(table.rows.len(), 13);
    for row in &table.rows {
        let node = match row[0].split(", ").next().unwrap() {
            "approval" => {
                json!({ "timeout_seconds": 9, "approval": { "title": "?", "form": { "n": { "type": "integer", "default": 1 } } } })
            }
            "wait.event" => json!({ "timeout_seconds": 9, "wait": { "event": "e", "match": "output > 1" } }),
            "wait.seconds" => json!({ "wait": { "seconds": 9 } }),
            other => panic!("no such node: {other}"),
        };
        let mut node = with_options(node, &row[0]);
        node["id"] = json!("node");
        let mut world = World::of(json!({ "id": "w", "nodes": [node] }));
        assert_eq!(world.run.status().as_str(), "WAITING");
        let signal = |world: &mut World, data| {
            world.input(Input::Signal { to: Address::Event("e".into()), data, request: None })
        };
        match row[1].as_str() {
            "approve" | "reject" => say(&mut world, json!({ "decision": row[1] })).unwrap(),
            "an answer that does not fit the form" => {
                let answer = json!({ "decision": "approve", "form": { "n": "many" } });
                assert_eq!(say(&mut world, answer), Err(Rejected::BadAnswer));
            }
            "a signal that match wants" => signal(&mut world, json!(2)).unwrap(),
            "a signal that match does not want" => {
                assert_eq!(signal(&mut world, json!(1)), Err(Rejected::NobodyWaits));
            }
            "nothing in time" | "the time passes" => world.wait(9),
            other => panic!("no such event: {other}"),
        }
        let error = world.error("node").map(|kind| format!(", {kind}")).unwrap_or_default();
        assert_eq!(format!("{}{error}", world.status("node")), row[2], "{row:?}: {}", world.story());
        assert_eq!(world.run.status().as_str(), row[3], "{row:?}: {}", world.story());
        if row[2] != "WAITING" {
            assert!(say(&mut world, json!({ "decision": "approve" })).is_err(), "a second answer is refused");
        }
    }
}
