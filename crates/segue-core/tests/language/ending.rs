//! `docs/reference/semantics.md`: the end of a run, and failures that wait for a person.

use segue_core::{outcome::TaskOutcome, run::Input};
use serde_json::json;

use crate::{
    tables::of_page,
    world::{World, failure},
};

fn run() -> World {
    World::of(json!({ "id": "w", "timeout_seconds": 60,
        "nodes": [{ "id": "work" }, { "id": "handler", "depends_on": ["work"], "join": "any_failure", "when": "run.id == ''" }],
        "on_failure": [{ "id": "tell", "inputs": { "text": "{{ error.node }}" } }],
        "finally": [{ "id": "tidy", "inputs": { "text": "{{ run.status }}", "work": "{{ nodes.work.output }}" } }]
    }))
}

/// As [`run`], with a handler that runs.
fn handled() -> World {
    World::of(json!({ "id": "w",
        "nodes": [{ "id": "work" }, { "id": "handler", "depends_on": ["work"], "join": "any_failure" }],
        "on_failure": [{ "id": "tell" }],
        "finally": [{ "id": "tidy", "inputs": { "text": "{{ run.status }}" } }]
    }))
}

fn cancel(world: &mut World) {
    world.input(Input::Cancel { reason: "enough".into() }).unwrap();
    for task in ["work", "tidy"] {
        if world.run.running().any(|(running, _)| running.as_str() == task) && world.run.is_stopping() {
            world.end(task, TaskOutcome::Cancelled { usage: Default::default() });
        }
    }
}

fn play(world: &mut World, fails: &'static [&'static str]) {
    world.play(|task, inputs| if fails.contains(&task) { failure() } else { TaskOutcome::success(inputs.clone()) });
}

#[test]
fn the_end_of_a_run() {
    let page = of_page("semantics.md");
    let table = &page["The end of a run"];
    assert_eq!(table.rows.len(), 9);
    for row in &table.rows {
        let mut world = if row[0].ends_with("a dependent handles it") { handled() } else { run() };
        match row[0].as_str() {
            "all goes well" => play(&mut world, &[]),
            "a node fails" | "a node fails, and a dependent handles it" => play(&mut world, &["work"]),
            "a node fails, and then an on_failure node" => play(&mut world, &["work", "tell"]),
            "all goes well, and then a finally node fails" => play(&mut world, &["tidy"]),
            "the run is cancelled" => {
                world.begin("work");
                cancel(&mut world);
                play(&mut world, &[]);
            }
            "the run is cancelled, and once more" => {
                world.begin("work");
                cancel(&mut world);
                world.begin("tidy");
                cancel(&mut world);
            }
            "the run is cancelled, and finally takes more than 30 s" => {
                world.begin("work");
                cancel(&mut world);
                world.begin("tidy");
                world.wait(30);
                world.end("tidy", TaskOutcome::Cancelled { usage: Default::default() });
            }
            "the workflow's timeout_seconds pass" => {
                world.begin("work");
                world.wait(60);
                world.end("work", TaskOutcome::Cancelled { usage: Default::default() });
                play(&mut world, &[]);
            }
            other => panic!("no such row: {other}"),
        }
        let ends = [world.status("tell"), world.status("tidy"), world.run.status()].map(|status| status.as_str());
        assert_eq!(ends, [&*row[1], &*row[2], &*row[3]], "{row:?}: {}", world.story());
        if row[2] == "SUCCEEDED" {
            let inputs = world.run.render(&"tidy".into()).unwrap().inputs;
            assert_eq!(inputs["text"], row[3], "`run.status` is what the run will be");
        }
    }
}
