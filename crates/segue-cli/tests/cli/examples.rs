//! Every example runs, with real CrewAI where it has agents, and leaves the log that stands beside it.
//!
//! `expected-events.jsonl` holds type, task and attempt of each event; what runs at once stands in the order of the
//! document there, and the order that matters (no task before what it depends on) is checked on the log itself. The
//! managed Python environment is shared: `SEGUE_HOME`, else `target/segue-home`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use crate::support::{Place, Ran};
use segue_core::spec::{CheckOptions, Format, TaskNode, WorkflowOnFailure, WorkflowSpec, parse};
use serde_json::{Map, Value, json};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").canonicalize().unwrap()
}

/// An example under way: what its commands have come to so far.
struct Example {
    name: &'static str,
    place: Place,
}

impl Example {
    fn new(name: &'static str) -> Self {
        Self { name, place: Place::new() }
    }

    fn workflow(&self) -> PathBuf {
        examples().join(self.name).join("workflow.yaml")
    }

    fn segue(&self, args: &[&str]) -> Ran {
        let mut command = self.place.command(args);
        Ran::from(command.env("SEGUE_HOME", crate::support::home()).output().unwrap())
    }

    /// `segue run` of its workflow.
    fn run(&self, args: &[&str]) -> Ran {
        let workflow = self.workflow();
        self.segue(&[&["run", workflow.to_str().unwrap(), "--json"], args].concat())
    }

    /// The run has succeeded, with the log that stands beside the example; what it came to.
    fn succeeded(&self, ran: &Ran) -> Value {
        assert_eq!(ran.code, 0, "{}: {ran:#?}", self.name);
        let document = ran.document();
        assert_eq!(document["status"], "SUCCEEDED", "{}", self.name);
        let text = fs::read_to_string(self.workflow()).unwrap();
        let spec = parse(&text, Format::Yaml, &CheckOptions::default()).spec.unwrap();
        let events = self.place.events(document["run_id"].as_str().unwrap());
        nothing_started_too_early(&events, &spec);
        let log = canonical(&events, &spec);
        let golden = self.workflow().with_file_name("expected-events.jsonl");
        if std::env::var_os("SEGUE_BLESS").is_some() {
            fs::write(&golden, &log).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap();
        assert!(log == expected, "{} left the log\n{log}\nand not that of {}", self.name, golden.display());
        document
    }
}

fn run_example(name: &'static str, args: &[&str]) -> Value {
    let example = Example::new(name);
    example.succeeded(&example.run(args))
}

/// The node of a task: `count` of `count[3]`, `improve` of `improve#2/write`.
fn node_of(task: &str) -> &str {
    task.split(['[', '#', '/']).next().unwrap()
}

/// Type, task and attempt of each event; those of tasks in the order of the document, those of instances by their
/// number, between what their node says before and after them.
fn canonical(events: &[Value], spec: &WorkflowSpec) -> String {
    let last: &[TaskNode] = match &spec.on_failure {
        Some(WorkflowOnFailure::Nodes(nodes)) => nodes,
        _ => &[],
    };
    let nodes = spec.nodes.iter().chain(last).chain(&spec.finally);
    let order: BTreeMap<&str, usize> = nodes.enumerate().map(|(at, node)| (node.id.as_str(), at)).collect();
    let mapped: Vec<&Value> =
        events.iter().filter(|event| event["type"] == "task.mapped").map(|event| &event["task_id"]).collect();
    let place_of = |event: &Value| match event["task_id"].as_str() {
        Some(task) if !mapped.contains(&&json!(node_of(task))) => (1, order[node_of(task)], 0),
        Some(task) => {
            let instance = task.split_once('[').map(|(_, rest)| rest.split(']').next().unwrap().parse().unwrap());
            let whole = if event["type"] == "task.mapped" { 0 } else { usize::MAX };
            (1, order[node_of(task)], instance.map_or(whole, |number: usize| number + 1))
        }
        None if event["type"] == "run.created" || event["type"] == "run.started" => (0, 0, 0),
        None => (2, 0, 0),
    };
    // How often nothing ran is a matter of time.
    let mut sorted: Vec<&Value> = events.iter().filter(|event| event["type"] != "run.waiting").collect();
    sorted.sort_by_key(|event| place_of(event));
    let line = |event: &Value| {
        let fields = ["type", "task_id", "attempt"];
        let shown: Map<String, Value> =
            fields.iter().filter_map(|name| Some(((*name).to_owned(), event.get(*name)?.clone()))).collect();
        Value::Object(shown).to_string() + "\n"
    };
    sorted.into_iter().map(line).collect()
}

fn nothing_started_too_early(events: &[Value], spec: &WorkflowSpec) {
    let about = |kinds: &'static [&str], node: &str| -> Vec<u64> {
        let of_node = |event: &&Value| event["task_id"].as_str().is_some_and(|task| node_of(task) == node);
        let found = events.iter().filter(of_node);
        let found = found.filter(|event| kinds.contains(&event["type"].as_str().unwrap()));
        found.map(|event| event["seq"].as_u64().unwrap()).collect()
    };
    let declared = spec.nodes.iter().flat_map(|node| node.depends_on.iter().map(|from| (from, &node.id)));
    for (from, to) in declared.chain(spec.edges.iter().map(|edge| (edge.from(), edge.to()))) {
        let ended = about(&["task.succeeded", "task.skipped", "task.failed"], from.as_str()).into_iter().max().unwrap();
        let started = about(&["task.started", "task.mapped", "task.waiting"], to.as_str()).into_iter().min();
        assert!(started.is_none_or(|started| started > ended), "{to} started before {from} ended");
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

#[test]
fn map_counts_what_it_finds_and_tolerates_what_it_cannot_read() {
    let document = run_example("map", &[]);
    assert_eq!(document["outputs"], json!({ "words": 26, "unread": ["letters/scan.txt"] }));
}

#[test]
fn loop_writes_until_it_is_good() {
    let document = run_example("loop", &["--rehearse"]);
    assert_eq!(document["outputs"]["score"], 3, "{document:#}");
    assert_eq!(document["usage"]["model_calls"], 2, "one an iteration: {document:#}");
}

#[test]
fn approval_asks_before_it_sends() {
    let example = Example::new("approval");
    let asked = example.run(&["--rehearse", "--no-wait"]);
    assert_eq!(asked.code, 6, "{asked:#?}");
    let wrong = example.segue(&["approve", "@last", "--form", "to=Grace", "--form", "copies=9", "--json"]);
    assert_eq!(wrong.code, 3, "{wrong:#?}");
    let sent = example.segue(&["approve", "@last", "ask", "--form", "to=Grace", "--by", "ada", "--json"]);
    let document = example.succeeded(&sent);
    assert_eq!(document["outputs"]["result"], "sent to Grace, 1 copies");
    let late = example.segue(&["reject", "@last", "ask"]);
    assert_eq!(late.code, 10, "{late:#?}");
}

#[test]
fn crew_approval_asks_in_the_middle_of_a_crew() {
    let example = Example::new("crew_approval");
    let asked = example.run(&["--rehearse", "--no-wait"]);
    assert_eq!(asked.code, 6, "{asked:#?}");
    let again = example.segue(&["approve", "@last", "--form", "answer=shorter, and more friendly", "--json"]);
    assert_eq!(again.code, 6, "{again:#?}");
    let document = example.succeeded(&example.segue(&["approve", "@last", "--form", "answer=ok", "--json"]));
    assert!(document["outputs"]["letter"].is_string(), "{document:#}");
    assert_eq!(document["usage"]["model_calls"], 3, "two drafts and a proof, each once: {document:#}");
    assert_eq!(document["tasks"]["letter"]["attempts"], 3);
}

#[test]
fn sub_workflow_ships_each_order_in_a_run_of_its_own() {
    let example = Example::new("sub_workflow");
    let document = example.succeeded(&example.run(&[]));
    assert_eq!(document["outputs"], json!({ "postage": 33, "labels": ["o-1 by post", "o-2 by truck", "o-3 by post"] }));
    let runs = example.place.json(&["runs", "list", "--json"]);
    assert_eq!(runs["items"].as_array().unwrap().len(), 4, "{runs:#}");
}

#[test]
fn wait_sends_when_it_is_paid() {
    let example = Example::new("wait");
    assert_eq!(example.run(&["--no-wait"]).code, 6);
    let other =
        example.segue(&["signal", "@last", "payment", "--data", r#"{"order": "o-2", "amount": 1}"#, "--no-wait"]);
    assert_eq!(other.code, 10, "of another order: {other:#?}");
    let paid = example.segue(&["signal", "@last", "payment", "--data", r#"{"order": "o-1", "amount": 12}"#, "--json"]);
    assert_eq!(example.succeeded(&paid)["outputs"], json!({ "sent": "o-1", "amount": 12 }));
}

#[test]
fn finally_runs_however_it_goes() {
    let example = Example::new("finally");
    let document = example.succeeded(&example.run(&[]));
    assert_eq!(document["outputs"]["rows"], 5);
    assert_eq!(document["tasks"]["tell"]["status"], "SKIPPED");

    let failed = example.run(&["-i", "table=missing"]);
    assert_eq!(failed.code, 4, "{failed:#?}");
    for (task, text) in [("tell", "load failed: exit"), ("report", "the run is FAILED")] {
        let result = example.place.json(&["runs", "result", "@last", task, "--json"]);
        assert!(result.to_string().contains(text), "{result:#}");
    }
    let folder = example.place.json(&["runs", "result", "@last", "folder", "--json"]).to_string();
    assert!(!Path::new(folder.trim_matches(|c| c != '/' && !char::is_alphanumeric(c))).exists(), "{folder}");
}

#[test]
fn langgraph_agent_asks_before_it_sends() {
    let example = Example::new("langgraph_agent");
    let asked = example.run(&["--rehearse", "--no-wait"]);
    assert_eq!(asked.code, 6, "{asked:#?}");
    let wrong = example.segue(&["signal", "@last", "send", "--data", r#"{"answer": "perhaps"}"#, "--json"]);
    assert_eq!(wrong.code, 3, "{wrong:#?}");
    let sent = example.segue(&["approve", "@last", "send", "--form", "answer=yes", "--json"]);
    let document = example.succeeded(&sent);
    assert_eq!(document["outputs"], json!({ "sent": true }));
    assert_eq!(document["tasks"]["orders"]["output"]["o-2"], "on its way");
    assert_eq!(document["usage"]["model_calls"], 1, "{document:#}");
}

#[test]
fn mixed_passes_a_crews_facts_to_a_graph() {
    let document = run_example("mixed", &["--rehearse"]);
    assert_eq!(document["outputs"]["drafts"], 2, "{document:#}");
    assert!(document["outputs"]["text"].is_string(), "{document:#}");
    assert_eq!(document["usage"]["model_calls"], 4, "{document:#}");
}

#[test]
fn weather_is_survived() {
    let script = examples().join("weather/script.yaml");
    let document = run_example("weather", &["--rehearse", script.to_str().unwrap()]);
    let attempts =
        ["facts", "draft", "polish", "rate"].map(|task| document["tasks"][task]["attempts"].as_u64().unwrap());
    assert_eq!(attempts, [1, 2, 2, 3], "{document:#}");
    assert_eq!(document["outputs"]["grade"], 8);
    assert!(document["outputs"]["article"].as_str().unwrap().ends_with("look after themselves."), "{document:#}");
}

#[test]
fn own_handler_calls_functions() {
    let document = run_example("own_handler", &[]);
    assert_eq!(document["outputs"], json!({ "message": "2 seats to Oslo" }));
    assert_eq!(document["tasks"]["book"]["attempts"], 2);
    assert_eq!(document["tasks"]["book"]["output"]["key_given"], true);
}

/// What `segue init` writes, run as its last line says.
#[test]
fn templates_run_as_they_are() {
    for template in ["linear", "crewai", "langgraph"] {
        let place = Place::new();
        assert_eq!(place.segue(&["init", "--template", template]).code, 0);
        let mut command = place.command(&["run", "workflow.yaml", "--rehearse", "--json"]);
        let ran = crate::support::Ran::from(command.env("SEGUE_HOME", crate::support::home()).output().unwrap());
        assert_eq!(ran.code, 0, "{template}: {ran:#?}");
        assert!(ran.document()["usage"]["model_calls"].as_u64().unwrap() >= 2, "{template}: {ran:#?}");
    }
}

#[test]
fn no_example_is_without_a_test() {
    let known = [
        "approval",
        "branch",
        "crew_approval",
        "crew_project",
        "etl",
        "finally",
        "langgraph_agent",
        "linear",
        "loop",
        "map",
        "mixed",
        "own_handler",
        "parallel",
        "sub_workflow",
        "wait",
        "weather",
    ];
    let mut found: Vec<String> =
        fs::read_dir(examples()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    found.retain(|name| examples().join(name).join("workflow.yaml").is_file());
    found.sort();
    assert_eq!(found, known);
}
