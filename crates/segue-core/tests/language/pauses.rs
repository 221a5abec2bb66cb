//! `docs/reference/semantics.md`: failures that wait for a person.

use segue_core::{
    event::EventKind,
    ids::TaskId,
    outcome::TaskOutcome,
    run::{Address, Input, Rejected},
};
use serde_json::{Value, json};

use crate::{
    tables::of_page,
    world::{World, failure},
};

/// Every kind of node that can fail, and which of its tasks does.
fn nodes() -> [(Value, &'static str); 4] {
    [
        (json!({}), "node"),
        (json!({ "foreach": [1, 2, 3], "parallelism": 2 }), "node[1]"),
        (json!({ "repeat": { "until": "iteration == 3", "max_iterations": 3 } }), "node#2"),
        (json!({ "group": { "nodes": [{ "id": "x" }, { "id": "y" }] } }), "node/x"),
    ]
}

/// A run in which the node has failed.
fn paused(node: &Value, fails: &str, join: &str) -> World {
    let mut node = node.clone();
    node["id"] = json!("node");
    node["on_failure"] = json!({ "action": "pause" });
    node["deadline_seconds"] = json!(50);
    let then = json!({ "id": "then", "depends_on": ["node"], "join": join });
    let mut world = World::of(json!({ "id": "w", "timeout_seconds": 100, "nodes": [node, then] }));
    play(&mut world, Some(fails));
    world
}

/// Goes on until only a person can.
fn play(world: &mut World, fails: Option<&str>) {
    world.play(|task, _| if Some(task) == fails { failure() } else { TaskOutcome::success(json!(1)) });
}

/// The task that waits for a decision.
fn asked(world: &World) -> TaskId {
    let mut waiting = world.run.waiting();
    let (task, _) = waiting.next().expect("something waits");
    assert!(waiting.next().is_none());
    task.clone()
}

fn say(world: &mut World, task: &TaskId, data: Value) -> Result<(), Rejected> {
    world.input(Input::Signal { to: Address::Task(task.clone()), data, request: None })
}

/// What the table says of the dependent.
fn said_of_dependent(world: &World) -> String {
    let about = |kind: &EventKind| match kind {
        EventKind::TaskStarted {} => "**runs**".to_owned(),
        EventKind::TaskSkipped { reason } => json!(reason.code).as_str().unwrap().to_owned(),
        EventKind::TaskCancelled { .. } => "cancelled".to_owned(),
        other => panic!("{other:?}"),
    };
    let mut events = world.log.iter().filter(|event| event.task_id == Some("then".into()));
    events.next().map_or_else(|| "waits".to_owned(), |event| about(&event.kind))
}

/// Lets happen what the row says.
fn happens(world: &mut World, task: &TaskId, fails: &str, what: &str) {
    let decision = |decision: &str| json!({ "decision": decision });
    match what {
        "nothing yet" => {}
        "retry, and it goes well" => {
            say(world, task, decision("retry")).unwrap();
            play(world, None);
            let tries = |task: &str| world.story().matches(&format!("started:{task}@")).count();
            assert_eq!(tries(fails), 2, "{}", world.story());
            for well in ["node[0]", "node#1", "node/y"] {
                assert!(tries(well) <= 1, "only what had failed runs again: {}", world.story());
            }
        }
        "retry, and it fails again" => {
            say(world, task, decision("retry")).unwrap();
            play(world, Some(fails));
            assert!(world.story().contains(&format!("started:{fails}@2")), "{}", world.story());
        }
        "continue" => {
            say(world, task, json!({ "decision": "continue", "output": "instead" })).unwrap();
            play(world, None);
        }
        "fail" => {
            say(world, task, decision("fail")).unwrap();
            play(world, None);
        }
        "an answer that is none of these" => {
            for wrong in [decision("maybe"), json!({ "decision": "fail", "output": 1 }), json!(1)] {
                assert_eq!(say(world, task, wrong), Err(Rejected::BadAnswer));
            }
        }
        "the run is cancelled" => world.input(Input::Cancel { reason: "enough".into() }).unwrap(),
        "the workflow's timeout_seconds pass" => world.wait(100),
        row if row.contains("deadline_seconds") => world.wait(50),
        other => panic!("no such row: {other}"),
    }
}

#[test]
fn failures_that_pause() {
    let page = of_page("semantics.md");
    let table = &page["Failures that pause"];
    assert_eq!(table.rows.len(), 11);
    let mut wrong = String::new();
    for row in &table.rows {
        for (node, fails) in nodes() {
            let is_mapped = node.get("foreach").is_some();
            let is_meant = match row[0].as_str() {
                row if row.contains("deadline_seconds") => row.contains("foreach") == is_mapped,
                _ => true,
            };
            if !is_meant {
                continue;
            }
            let join = if row[0].ends_with("any_failure") { "any_failure" } else { "no_failure" };
            let mut world = paused(&node, fails, join);
            let task = asked(&world);
            assert_eq!(task.as_str(), if is_mapped { "node[1]" } else { "node" }, "an instance waits for itself");
            happens(&mut world, &task, fails, row[0].split(", and the dependent").next().unwrap());
            let said = [world.status(task.as_str()).as_str(), &said_of_dependent(&world), world.run.status().as_str()];
            if said != [&*row[1], &*row[2], &*row[3]] {
                wrong += &format!("{row:?} {node}: {said:?}\n{}\n", world.story());
            }
            let again = say(&mut world, &task, json!({ "decision": "retry" }));
            assert_eq!(again.is_ok(), row[1] == "WAITING", "a second answer is refused: {row:?} {node}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
