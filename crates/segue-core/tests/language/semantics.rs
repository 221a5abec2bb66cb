//! `docs/reference/semantics.md`: each row of its tables is played.

use std::collections::BTreeMap;

use segue_core::{event::EventKind, outcome::TaskOutcome, run::Input, status::Status};
use serde_json::{Value, json};

use crate::{
    tables::{Table, of_page},
    world::{World, failure},
};

fn page() -> BTreeMap<String, Table> {
    of_page("semantics.md")
}

/// How a dependency ends, as the tables name it.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Succeeded,
    Failed,
    Continued,
    Skipped,
    SucceededUntaken,
    FailedUntaken,
    Cancelled,
}

impl End {
    fn named(name: &str) -> Self {
        match name {
            "SUCCEEDED" => Self::Succeeded,
            "FAILED" => Self::Failed,
            "FAILED, on_failure: continue" => Self::Continued,
            "SKIPPED" => Self::Skipped,
            "SUCCEEDED, edge not taken" => Self::SucceededUntaken,
            "FAILED, edge not taken" => Self::FailedUntaken,
            "CANCELLED" => Self::Cancelled,
            other => panic!("no such end: {other}"),
        }
    }

    fn node(self, id: &str) -> Value {
        let mut node = json!({ "id": id });
        match self {
            Self::Continued => node["on_failure"] = json!({ "action": "continue" }),
            Self::Skipped => node["when"] = json!("1 == 2"),
            _ => {}
        }
        node
    }

    fn edge(self, id: &str) -> Value {
        match self {
            Self::SucceededUntaken | Self::FailedUntaken => json!({ "from": id, "to": "node", "when": "1 == 2" }),
            _ => json!([id, "node"]),
        }
    }

    fn happens(self, world: &mut World, id: &str) {
        match self {
            Self::Succeeded | Self::SucceededUntaken => world.end(id, TaskOutcome::success(json!(1))),
            Self::Failed | Self::Continued | Self::FailedUntaken => world.end(id, failure()),
            Self::Skipped => {}
            Self::Cancelled => world.end(id, TaskOutcome::Cancelled { usage: Default::default() }),
        }
    }
}

fn document(join: &str, dependencies: &[(&str, End)]) -> Value {
    let mut nodes: Vec<Value> = dependencies.iter().map(|(id, end)| end.node(id)).collect();
    nodes.push(json!({ "id": "node", "join": join }));
    let edges: Vec<Value> = dependencies.iter().map(|(id, end)| end.edge(id)).collect();
    json!({ "id": "w", "nodes": nodes, "edges": edges })
}

/// A run in which the dependencies have begun.
fn begun(join: &str, dependencies: &[(&str, End)]) -> World {
    let mut world = World::of(document(join, dependencies));
    for (id, _) in dependencies.iter().filter(|(_, end)| *end != End::Skipped) {
        world.begin(id);
    }
    world
}

/// Lets the node do its work if it is its turn.
fn works(world: &mut World) {
    if world.ready() == ["node"] {
        world.succeed("node", json!(1));
    }
}

/// `runs`, `waits`, `cancelled`, or why the node was skipped.
fn said_of_node(world: &World) -> String {
    let about = world.log.iter().filter(|event| event.task_id.as_ref().is_some_and(|task| task.as_str() == "node"));
    let said = about.map(|event| match &event.kind {
        EventKind::TaskStarted {} => "**runs**".to_owned(),
        EventKind::TaskSkipped { reason } => json!(reason.code).as_str().unwrap().to_owned(),
        EventKind::TaskCancelled { .. } => "cancelled".to_owned(),
        EventKind::TaskFailed { error, .. } => format!("fails with {}", json!(error.kind).as_str().unwrap()),
        other => panic!("{other:?}"),
    });
    let first = said.into_iter().next();
    first.unwrap_or_else(|| if world.ready() == ["node"] { "**runs**" } else { "waits" }.to_owned())
}

fn said(world: &World) -> String {
    format!("{}, {}", said_of_node(world), world.run.status())
}

/// Each cell of a table whose columns are joins, from column `from` on: the row, the join, and what stands there.
fn by_join(table: &Table, from: usize) -> Vec<(&Vec<String>, &str, &str)> {
    let mut cells = Vec::new();
    for row in &table.rows {
        assert_eq!(row.len(), table.header.len(), "{row:?}");
        cells.extend((from..row.len()).map(|at| (row, table.header[at].as_str(), row[at].as_str())));
    }
    cells
}

#[test]
fn one_dependency() {
    let page = page();
    let cells = by_join(&page["One dependency"], 1);
    assert_eq!(cells.len(), 6 * 5);
    for (row, join, expected) in cells {
        let end = End::named(&row[0]);
        let mut world = begun(join, &[("a", end)]);
        end.happens(&mut world, "a");
        works(&mut world);
        assert_eq!(said(&world), expected, "{} and {join}: {}", row[0], world.story());
    }
}

#[test]
fn two_dependencies_in_either_order() {
    let page = page();
    let cells = by_join(&page["Two dependencies"], 2);
    assert_eq!(cells.len(), 15 * 5, "every pair of five");
    for (row, join, expected) in cells {
        let (one, other) = (End::named(&row[0]), End::named(&row[1]));
        for dependencies in [[("a", one), ("b", other)], [("a", other), ("b", one)]] {
            for order in [[0, 1], [1, 0]] {
                let mut world = begun(join, &dependencies);
                for at in order {
                    let (id, end) = dependencies[at];
                    end.happens(&mut world, id);
                }
                works(&mut world);
                assert_eq!(said(&world), expected, "{} | {} and {join}: {}", row[0], row[1], world.story());
            }
        }
    }
}

/// Of three and more only the numbers count: each of the pairs' results holds for the pair with one of the two doubled.
#[test]
fn a_further_dependency_of_the_same_kind_changes_nothing() {
    let page = page();
    for (row, join, expected) in by_join(&page["Two dependencies"], 2) {
        let (one, other) = (End::named(&row[0]), End::named(&row[1]));
        let dependencies = [("a", one), ("b", other), ("c", one), ("d", other)];
        let mut world = begun(join, &dependencies);
        for (id, end) in dependencies {
            end.happens(&mut world, id);
        }
        works(&mut world);
        assert_eq!(said(&world), expected, "{} | {} and {join}: {}", row[0], row[1], world.story());
    }
}

#[test]
fn the_first_of_two_has_ended() {
    let page = page();
    let cells = by_join(&page["The first of two has ended"], 1);
    assert_eq!(cells.len(), 5 * 5);
    for (row, join, expected) in cells {
        let end = End::named(&row[0]);
        let mut world = begun(join, &[("a", end), ("b", End::Succeeded)]);
        end.happens(&mut world, "a");
        assert_eq!(said_of_node(&world), expected, "{} and {join}: {}", row[0], world.story());
        assert_eq!(world.status("b"), Status::Running);
    }
}

#[test]
fn one_of_two_was_cancelled() {
    let page = page();
    let cells = by_join(&page["One of two was cancelled"], 2);
    assert_eq!(cells.len(), 6 * 5);
    for (row, join, expected) in cells {
        let (one, other) = (End::named(&row[0]), End::named(&row[1]));
        let mut world = begun(join, &[("a", one), ("b", other)]);
        if one != End::Cancelled {
            one.happens(&mut world, "a");
        }
        if world.ready() == ["node"] {
            world.begin("node");
        }
        world.input(Input::Cancel { reason: "enough".into() }).unwrap();
        for id in ["a", "b", "node"] {
            if world.status(id) == Status::Running {
                world.end(id, TaskOutcome::Cancelled { usage: Default::default() });
            }
        }
        assert_eq!(said(&world), expected, "{} | {} and {join}: {}", row[0], row[1], world.story());
    }
}

const JOINS: [&str; 5] = ["no_failure", "all_success", "any_success", "all_done", "any_failure"];

/// `first` runs, `then` has not begun; and so in a group of its own, and in the body of a loop.
fn cancelled(what: &str, join: &str) -> World {
    let pair = json!([{ "id": "first" }, { "id": "then", "depends_on": ["first"], "join": join }]);
    let stopped = |mut document: Value, more: Value| {
        document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        World::of(document)
    };
    let flat = json!({ "id": "w", "nodes": pair });
    match what {
        "segue runs cancel" => {
            let mut world = stopped(flat, json!({}));
            world.begin("first");
            world.input(Input::Cancel { reason: "enough".into() }).unwrap();
            world.end("first", TaskOutcome::Cancelled { usage: Default::default() });
            world
        }
        "the workflow's timeout_seconds pass" => {
            let mut world = stopped(flat, json!({ "timeout_seconds": 5 }));
            world.begin("first");
            world.wait(5);
            world.end("first", TaskOutcome::Cancelled { usage: Default::default() });
            world
        }
        "the workflow says on_failure: cancel, and another node fails" => {
            let mut document = flat;
            document["nodes"].as_array_mut().unwrap().push(json!({ "id": "other" }));
            let mut world = stopped(document, json!({ "on_failure": "cancel" }));
            world.begin("first");
            world.fail("other");
            world.end("first", TaskOutcome::Cancelled { usage: Default::default() });
            world
        }
        "the deadline_seconds of the group that both are in pass" => {
            let group = json!({ "id": "g", "deadline_seconds": 5, "group": { "nodes": pair } });
            let mut world = World::of(json!({ "id": "w", "nodes": [group] }));
            world.begin("g/first");
            world.wait(5);
            world
        }
        other => panic!("no such event: {other}"),
    }
}

#[test]
fn where_a_task_is_cancelled() {
    let page = page();
    let table = &page["Where a task is cancelled"];
    assert_eq!(table.rows.len(), 5);
    for row in &table.rows {
        for join in JOINS {
            let world = if row[0].starts_with("a loop goes round") {
                goes_round(join)
            } else {
                let world = cancelled(&row[0], join);
                let then = if row[0].contains("group") { "g/then" } else { "then" };
                assert_eq!(world.status(then).as_str(), row[1], "{} and {join}: {}", row[0], world.story());
                world
            };
            assert_eq!(world.run.status().as_str(), row[2], "{} and {join}: {}", row[0], world.story());
        }
    }
}

/// The loop ends with `last`, which does not wait for `slow`: it goes round while `slow` runs and `then`, which depends on
/// it, has not begun.
fn goes_round(join: &str) -> World {
    let mut world = World::of(json!({ "id": "w",
        "nodes": [
            { "id": "top" },
            { "id": "fast", "depends_on": ["top"] },
            { "id": "slow", "depends_on": ["top"] },
            { "id": "then", "depends_on": ["slow"], "join": join },
            { "id": "last", "depends_on": ["fast", "then"], "join": "any_success" }
        ],
        "edges": [{ "from": "last", "to": "top", "max_iterations": 2, "on_exhausted": "continue" }]
    }));
    world.succeed("top", json!(1));
    world.begin("slow");
    world.succeed("fast", json!(1));
    world.succeed("last", json!(1));
    assert!(world.story().contains("cancelled:slow@1 cancelled:then"), "{}", world.story());
    assert_eq!(world.ready(), ["top"], "it starts over");
    world.pass();
    // The second round is the last; in it every task of the body is decided anew.
    assert!(world.status("then").is_terminal() && world.status("then") != Status::Cancelled, "{}", world.story());
    world
}

#[test]
fn when() {
    let page = page();
    let table = &page["When"];
    assert_eq!(table.rows.len(), 6);
    for row in &table.rows {
        let (end, mut edge) = match row[0].as_str() {
            "does not hold" => (End::Skipped, json!(["a", "node"])),
            _ => (End::Succeeded, json!(["a", "node"])),
        };
        if row[0].starts_with("the when of the edge") {
            edge = json!({ "from": "a", "to": "node", "when": "nodes.a.output.x.y" });
        }
        let conditions: &[Option<&str>] = match row[1].as_str() {
            "none, or true" => &[None, Some("1 == 1")],
            "false" => &[Some("1 == 2")],
            "cannot be evaluated" => &[Some("nodes.a.output.x.y")],
            _ => &[None, Some("1 == 1"), Some("1 == 2"), Some("nodes.a.output.x.y")],
        };
        for when in conditions {
            let mut node = json!({ "id": "node" });
            if let Some(when) = when {
                node["when"] = json!(when);
            }
            let nodes = json!([end.node("a"), node]);
            let mut world = World::of(json!({ "id": "w", "nodes": nodes, "edges": [edge] }));
            if end != End::Skipped {
                world.begin("a");
            }
            if row[0] == "is still open" {
                assert_eq!(said_of_node(&world), row[2], "{row:?} {when:?}");
                continue;
            }
            end.happens(&mut world, "a");
            works(&mut world);
            let expected = row[2].strip_prefix("skipped by the join").map_or(&*row[2], |_| "not_reached");
            assert_eq!(said_of_node(&world), expected, "{row:?} {when:?}");
            assert_eq!(world.run.status().as_str(), row[3], "{row:?} {when:?}");
        }
    }
}
