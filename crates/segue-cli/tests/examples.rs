//! Every example runs, with real CrewAI where it has agents, and leaves the log that stands beside it.
//!
//! `expected-events.jsonl` holds type, task and attempt of each event; what runs at once stands in the order of the
//! document there, and the order that matters (no task before what it depends on) is checked on the log itself. The
//! managed Python environment is shared: `SEGUE_HOME`, else `target/segue-home`.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};
use support::Place;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").canonicalize().unwrap()
}

fn run_example(name: &str, args: &[&str]) -> Value {
    let place = Place::new();
    let folder = examples().join(name);
    let workflow = folder.join("workflow.yaml");
    let workflow = workflow.to_str().unwrap();
    let mut command = place.command(&[&["run", workflow, "--json"], args].concat());
    command.env("SEGUE_HOME", support::home());
    let ran = support::Ran::from(command.output().unwrap());
    assert_eq!(ran.code, 0, "{name}: {ran:#?}");
    let document = ran.document();
    assert_eq!(document["status"], "SUCCEEDED", "{name}");

    let events = place.events("@last");
    let graph = place.json(&["graph", "@last", "--format", "json"]);
    nothing_started_too_early(&events, &graph);
    let log = canonical(&events, &graph);
    let golden = folder.join("expected-events.jsonl");
    if std::env::var_os("SEGUE_BLESS").is_some() {
        fs::write(&golden, &log).unwrap();
    }
    let expected = fs::read_to_string(&golden).unwrap();
    assert!(log == expected, "{name} left the log\n{log}\nand not that of {}", golden.display());
    document
}

/// Type, task and attempt of each event; those of tasks in the order of the document.
fn canonical(events: &[Value], graph: &Value) -> String {
    let order: BTreeMap<&str, usize> = graph["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
        .map(|(at, node)| (node["id"].as_str().unwrap(), at))
        .collect();
    let mut sorted: Vec<&Value> = events.iter().collect();
    sorted.sort_by_key(|event| match event["task_id"].as_str() {
        Some(task) => (1, order[task]),
        None if event["type"] == "run.created" || event["type"] == "run.started" => (0, 0),
        None => (2, 0),
    });
    let line = |event: &Value| {
        let fields = ["type", "task_id", "attempt"];
        let shown: Map<String, Value> =
            fields.iter().filter_map(|name| Some(((*name).to_owned(), event.get(*name)?.clone()))).collect();
        Value::Object(shown).to_string() + "\n"
    };
    sorted.into_iter().map(line).collect()
}

fn nothing_started_too_early(events: &[Value], graph: &Value) {
    let seq_of = |kinds: &[&str], task: &str| {
        let found = events
            .iter()
            .find(|event| event["task_id"] == task && kinds.contains(&event["type"].as_str().unwrap_or_default()));
        found.map(|event| event["seq"].as_u64().unwrap())
    };
    for edge in graph["edges"].as_array().unwrap() {
        let (from, to) = (edge["from"].as_str().unwrap(), edge["to"].as_str().unwrap());
        let ended = seq_of(&["task.succeeded", "task.skipped", "task.failed"], from).unwrap();
        if let Some(started) = seq_of(&["task.started"], to) {
            assert!(started > ended, "{to} started before {from} ended");
        }
    }
}

#[test]
fn etl_moves_data_through_programs() {
    let document = run_example("etl", &["-i", "minimum=30"]);
    assert_eq!(document["outputs"]["totals"], json!({"Ada": 40.5, "Linus": 250.0, "Grace": 33.25}));
    assert_eq!(document["outputs"]["report"], "3 customers, largest order o-4");
    assert_eq!(document["usage"]["model_calls"], 0);
}

#[test]
fn linear_is_the_seeds_document() {
    let document = run_example("linear", &["--rehearse"]);
    assert!(document["outputs"]["n2"].is_string() || document["outputs"]["n2"].is_object(), "{document:#}");
    assert!(document["usage"]["model_calls"].as_u64().unwrap() >= 2, "{document:#}");
}

#[test]
fn parallel_takes_three_views_together() {
    let document = run_example("parallel", &["--rehearse", "-i", "topic=the sea"]);
    assert!(document["usage"]["model_calls"].as_u64().unwrap() >= 4, "{document:#}");
    assert!(!document["outputs"]["article"].is_null(), "{document:#}");
}

#[test]
fn branch_answers_what_was_asked() {
    let document = run_example("branch", &["--rehearse"]);
    assert_eq!(document["outputs"]["kind"], "billing");
    assert_eq!(document["tasks"]["bug"]["status"], "SKIPPED");
    assert!(!document["outputs"]["answer"].is_null(), "{document:#}");
}

#[test]
fn crew_project_runs_a_conventional_project() {
    let document = run_example("crew_project", &["--rehearse"]);
    assert!(document["usage"]["input_tokens"].as_u64().unwrap() > 0, "{document:#}");
    assert!(document["outputs"]["report"].is_string(), "{document:#}");
}

/// What `segue init` writes, run as its last line says.
#[test]
fn templates_run_as_they_are() {
    for template in ["linear", "crewai"] {
        let place = Place::new();
        assert_eq!(place.segue(&["init", "--template", template]).code, 0);
        let mut command = place.command(&["run", "workflow.yaml", "--rehearse", "--json"]);
        let ran = support::Ran::from(command.env("SEGUE_HOME", support::home()).output().unwrap());
        assert_eq!(ran.code, 0, "{template}: {ran:#?}");
        assert!(ran.document()["usage"]["model_calls"].as_u64().unwrap() >= 2, "{template}: {ran:#?}");
    }
}

#[test]
fn no_example_is_without_a_test() {
    let known = ["branch", "crew_project", "etl", "linear", "parallel"];
    let mut found: Vec<String> =
        fs::read_dir(examples()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    found.retain(|name| examples().join(name).join("workflow.yaml").is_file());
    found.sort();
    assert_eq!(found, known);
}
