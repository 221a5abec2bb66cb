//! Runs as programs see them: documents, lists, results, keys, retries, several processes on one store.

use std::fs;

use crate::support::{Place, end_of, until};
use serde_json::{Value, json};

const THREE: &str = r#"
id: three
name: Three steps
params:
  word: { type: string, default: tea }
nodes:
  - id: first
    task: process.run
    inputs: { argv: [sh, -c, "echo \"{\\\"word\\\": \\\"$0\\\"}\"", "{{ params.word }}"] }
  - id: second
    task: process.run
    depends_on: [first]
    inputs: { argv: [cat], stdin: "{{ nodes.first.output.word }}!" }
  - { id: third, task: pass, depends_on: [second], inputs: { said: "{{ nodes.second.output }}" } }
outputs:
  said: "{{ nodes.third.output.said }}"
"#;

#[test]
fn a_run_is_one_document_everywhere() {
    let place = Place::new();
    place.write("flow/three.yaml", THREE);
    let document = place.json(&["run", "flow/three.yaml", "-i", "word=12", "--json"]);
    assert_eq!(document["workflow_id"], "three");
    assert_eq!(document["status"], "SUCCEEDED");
    assert_eq!(document["outputs"], json!({"said": "12!"}), "a text stays a text");
    assert_eq!(document["error"], Value::Null);
    let fields: Vec<&String> = document.as_object().unwrap().keys().collect();
    let documented =
        ["run_id", "workflow_id", "status", "outputs", "error", "usage", "started_at", "finished_at", "tasks"];
    assert_eq!(fields, documented);
    let tasks: Vec<&String> = document["tasks"].as_object().unwrap().keys().collect();
    assert_eq!(tasks, ["first", "second", "third"]);
    let second = &document["tasks"]["second"];
    assert_eq!(
        (&second["status"], &second["attempts"], &second["output"]),
        (&json!("SUCCEEDED"), &json!(1), &json!("12!"))
    );

    let run = document["run_id"].as_str().unwrap();
    assert_eq!(place.json(&["runs", "show", run, "--json"]), document);
    assert_eq!(place.json(&["runs", "show", &run[..13], "--json"]), document);
    assert_eq!(place.segue(&["runs", "result", "@last", "second"]).stdout, "12!\n");
    assert_eq!(place.segue(&["runs", "result", "@last", "second", "--json"]).stdout, "\"12!\"\n");
    assert_eq!(place.json(&["runs", "result", run, "--json"]), json!({"said": "12!"}));
    let list = place.json(&["runs", "list", "--json"]);
    assert_eq!(list["items"][0]["run_id"], run);
    assert_eq!(list["items"][0]["tasks_done"], 3);
    assert_eq!(place.json(&["runs", "list", "--status", "FAILED", "--json"]), json!({"items": []}));
    assert!(
        place.segue(&["runs", "list"]).stdout.contains("SUCCEEDED  3/3"),
        "{}",
        place.segue(&["runs", "list"]).stdout
    );

    let events = place.events(run);
    let seqs: Vec<u64> = events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=events.len() as u64).collect::<Vec<_>>());
    assert!(events.iter().all(|event| event["run_id"] == run && event["workflow_id"] == "three"));
    assert_eq!(place.segue(&["runs", "events", run, "--json", "--after", "3"]).lines_of_json(), events[3..]);
    assert_eq!(place.segue(&["runs", "watch", run, "--json"]).lines_of_json(), events);
    assert_eq!(place.segue(&["runs", "events", run, "--follow", "--json"]).lines_of_json(), events);

    let graph = place.json(&["graph", run, "--format", "json"]);
    assert_eq!(graph["nodes"][1]["status"], "SUCCEEDED");
    assert_eq!(graph["edges"][0], json!({"from": "first", "to": "second", "when": null}));
    assert!(place.segue(&["graph", "flow/three.yaml", "--format", "mermaid"]).stdout.starts_with("flowchart TD"));
    assert!(place.segue(&["graph", "@last", "--format", "dot"]).stdout.starts_with("digraph \"three\""));
}

#[test]
fn people_read_progress_on_stderr_and_outputs_on_stdout() {
    let place = Place::new();
    place.write("three.yaml", THREE);
    let ran = place.segue(&["run", "three.yaml"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_eq!(ran.stdout, "said: tea!\n");
    for part in ["run.created", "task.started     first", "task.succeeded   third", "SUCCEEDED in ", "3 tasks"] {
        assert!(ran.stderr.contains(part), "`{part}` is missing: {ran:#?}");
    }
    assert!(!ran.stderr.contains('\x1b'), "no colour without a terminal: {ran:#?}");
}

#[test]
fn inputs_come_from_flags_files_and_defaults() {
    let place = Place::new();
    place.write(
        "typed.yaml",
        "id: typed\nparams:\n  n: { type: integer }\n  list: { type: array, default: [] }\n  text: { type: string, default: x }\nnodes:\n  - { id: a, task: pass, inputs: { all: \"{{ params }}\" } }\n",
    );
    place.write("inputs.json", r#"{"n": 1, "list": ["a"]}"#);
    let all = |args: &[&str]| {
        let args = [&["run", "typed.yaml", "--json", "--store", "memory:"], args].concat();
        place.json(&args)["outputs"]["a"]["all"].clone()
    };
    assert_eq!(all(&["-i", "n=3"]), json!({"n": 3, "list": [], "text": "x"}));
    assert_eq!(
        all(&["--inputs", "inputs.json", "-i", "n=2", "-i", "text=7"]),
        json!({"n": 2, "list": ["a"], "text": "7"})
    );
    assert!(!place.file(".segue").exists(), "memory: leaves nothing behind");
}

#[test]
fn one_key_is_one_run() {
    let place = Place::new();
    place.write(
        "once.yaml",
        "id: once\nnodes:\n  - id: a\n    task: process.run\n    inputs: { argv: [sh, -c, 'echo once >> log'] }\n",
    );
    let first = place.json(&["run", "once.yaml", "--idempotency-key", "k1", "--json"]);
    let second = place.json(&["run", "once.yaml", "--idempotency-key", "k1", "--json"]);
    assert_eq!(first, second);
    assert_eq!(place.read("log"), "once\n");
    assert_eq!(place.json(&["runs", "list", "--json"])["items"].as_array().unwrap().len(), 1);

    let third = place.json(&["run", "once.yaml", "--idempotency-key", "k2", "--json"]);
    assert_ne!(third["run_id"], first["run_id"]);

    place.write("once.yaml", "id: once\nnodes:\n  - { id: a, task: pass }\n");
    let ran = place.segue(&["run", "once.yaml", "--idempotency-key", "k1"]);
    assert_eq!(ran.code, 10, "the key of another request: {ran:#?}");
    assert!(ran.stderr.contains("help: use another key"), "{ran:#?}");
}

/// Two starts with one key at the same moment, in two processes: one carries it out, the other watches.
#[test]
fn one_key_is_one_run_in_two_processes_too() {
    let place = Place::new();
    place.write(
        "gate.yaml",
        "id: gate\nnodes:\n  - id: a\n    task: process.run\n    inputs: { argv: [sh, -c, 'echo x >> log; while [ ! -e go ]; do sleep 0.02; done'] }\n",
    );
    let start = || place.spawn(&["run", "gate.yaml", "--idempotency-key", "k", "--json"]);
    let children = [start(), start()];
    until("the task runs", || (!place.read("log").is_empty()).then_some(()));
    place.write("go", "");
    let [one, two] = children.map(end_of);
    assert_eq!((one.code, two.code), (0, 0), "{one:#?} {two:#?}");
    assert_eq!(one.document(), two.document());
    assert_eq!(place.read("log"), "x\n");
}

#[test]
fn a_failed_run_is_retried_and_keeps_what_succeeded() {
    let place = Place::new();
    place.write(
        "flaky.yaml",
        "id: flaky\nnodes:\n  - id: a\n    task: process.run\n    inputs: { argv: [sh, -c, 'echo a >> log'] }\n  - id: b\n    task: process.run\n    depends_on: [a]\n    retry_policy: { max_attempts: 1 }\n    inputs: { argv: [sh, -c, 'echo b >> log; test -e fixed'] }\n",
    );
    let ran = place.segue(&["run", "flaky.yaml", "--json"]);
    assert_eq!(ran.code, 4, "{ran:#?}");
    assert_eq!(place.segue(&["runs", "retry", "@last"]).code, 4, "not fixed yet");
    place.write("fixed", "");
    let document = place.json(&["runs", "retry", "@last", "--json"]);
    assert_eq!(document["status"], "SUCCEEDED");
    assert_eq!(document["run_id"], ran.document()["run_id"]);
    assert_eq!(document["tasks"]["a"]["attempts"], 1);
    assert_eq!(document["tasks"]["b"]["attempts"], 3);
    assert_eq!(place.read("log"), "a\nb\nb\nb\n");
    assert_eq!(place.segue(&["runs", "retry", "@last"]).code, 10, "it has succeeded");
}

#[test]
fn a_skip_says_why() {
    let place = Place::new();
    place.write(
        "skip.yaml",
        "id: skip\nnodes:\n  - { id: a, task: pass, when: \"1 == 2\" }\n  - { id: b, task: pass, inputs: { x: 1 } }\n",
    );
    let document = place.json(&["run", "skip.yaml", "--json"]);
    assert_eq!(document["tasks"]["a"]["status"], "SKIPPED");
    assert_eq!(document["tasks"]["a"]["reason"]["code"], "when");
    assert!(document["tasks"]["b"].get("reason").is_none());
    let shown = place.segue(&["runs", "show", "@last"]).stdout;
    let message = document["tasks"]["a"]["reason"]["message"].as_str().unwrap();
    assert!(shown.contains(message), "{shown}");
}

#[test]
fn a_recorded_run_is_carried_out_by_resume() {
    let place = Place::new();
    place.write(
        "once.yaml",
        "id: once\nnodes:\n  - id: a\n    task: process.run\n    inputs: { argv: [sh, -c, 'echo once >> log'] }\n",
    );
    let ran = place.segue(&["submit", "once.yaml"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let run = ran.stdout.trim();
    assert!(ran.stderr.contains("segue resume "), "{ran:#?}");
    assert_eq!(place.read("log"), "", "nothing has run yet");
    let document = place.json(&["resume", run, "--json"]);
    assert_eq!(document["status"], "SUCCEEDED");
    assert_eq!(document["tasks"]["a"]["attempts"], 1);
    assert_eq!(place.read("log"), "once\n");
    let ran = place.segue(&["resume", "--all"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert!(ran.stderr.contains("nothing to resume"), "{ran:#?}");
}

/// Ten runs at once in ten processes on one file: all end, and none disturbs another.
#[test]
fn processes_share_a_store() {
    let place = Place::new();
    place.write("three.yaml", THREE);
    place.json(&["run", "three.yaml", "--json"]);
    let children: Vec<_> =
        (0..10).map(|n| place.spawn(&["run", "three.yaml", "-i", &format!("word=w{n}"), "--json"])).collect();
    for (n, child) in children.into_iter().enumerate() {
        let ran = end_of(child);
        assert_eq!(ran.code, 0, "{ran:#?}");
        assert_eq!(ran.document()["outputs"]["said"], format!("w{n}!"));
    }
    let list = place.json(&["runs", "list", "--json", "--limit", "0"]);
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), 11);
    assert!(items.iter().all(|row| row["status"] == "SUCCEEDED"), "{list:#}");
}

/// One of two may run: the other one says what it waits for, to programs and to people.
#[test]
fn a_task_says_which_limit_it_waits_for() {
    let place = Place::new();
    let node = |id| {
        json!({ "id": id, "task": "process.run", "limits": ["site"],
            "inputs": { "argv": ["sh", "-c", "touch begun; while [ ! -e go ]; do sleep 0.02; done"] } })
    };
    let workflow = json!({ "id": "two", "limits": { "site": { "concurrent": 1 } }, "nodes": [node("a"), node("b")] });
    place.write("two.json", &workflow.to_string());
    let child = place.spawn(&["run", "two.json", "--json"]);
    let waits = until("one runs and one waits", || {
        let shown = place.file("begun").exists().then(|| place.json(&["runs", "show", "@last", "--json"]))?;
        ["a", "b"].iter().find_map(|id| shown["tasks"][id].get("waits_for").cloned())
    });
    assert_eq!(waits, json!([{ "limit": "site", "why": "full", "held": 1, "concurrent": 1 }]));
    let shown = place.segue(&["runs", "show", "@last"]).stdout;
    assert!(shown.contains("waits for the limit site: 1 of 1 run"), "{shown}");
    place.write("go", "");
    let document = end_of(child).document();
    assert_eq!(document["status"], "SUCCEEDED");
    assert!(document["tasks"]["b"].get("waits_for").is_none());
}

#[test]
fn init_writes_what_runs_and_never_over_what_is_there() {
    let place = Place::new();
    for template in ["linear", "crewai", "langgraph"] {
        let ran = place.segue(&["init", template, "--template", template]);
        assert_eq!(ran.code, 0, "{ran:#?}");
        let workflow = format!("{template}/workflow.yaml");
        assert!(ran.stderr.contains(&format!("segue run {workflow} --rehearse")), "{ran:#?}");
        let ran = place.segue(&["validate", &workflow, "--strict"]);
        assert_eq!(ran.code, 0, "{ran:#?}");
    }
    let text = place.read("linear/workflow.yaml");
    fs::write(place.file("linear/workflow.yaml"), "mine").unwrap();
    assert_eq!(place.segue(&["init", "linear"]).code, 10);
    assert_eq!(place.read("linear/workflow.yaml"), "mine");
    assert!(text.contains("id: first_workflow"));
    assert_eq!(place.segue(&["init", "none", "--template", "no-such"]).code, 2);
}

#[test]
fn settings_tell_where_they_come_from() {
    let place = Place::new();
    place.write("segue.toml", "store = \"sqlite:here.db\"\n");
    let shown = place.json(&["config", "show", "--origin", "--json"]);
    assert_eq!(shown["store"]["value"], "sqlite:here.db");
    assert!(shown["store"]["origin"].as_str().unwrap().ends_with("segue.toml"));
    assert_eq!(shown["default_task"]["origin"], "default");
    let mut command = place.command(&["config", "show", "--json"]);
    let ran = crate::support::Ran::from(command.env("SEGUE_STORE", "memory:").output().unwrap());
    assert_eq!(ran.document()["store"], "memory:");

    for subject in ["workflow", "events", "config"] {
        let schema: Value = serde_json::from_str(&place.segue(&["schema", subject]).stdout).unwrap();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{subject}");
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(place.segue(&["completions", shell]).stdout.contains("segue"), "{shell}");
    }
    let doctor = place.segue(&["doctor", "--json"]);
    assert!(doctor.document()["checks"].as_array().unwrap().len() >= 4, "{doctor:#?}");
}
