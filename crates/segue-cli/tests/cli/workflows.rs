//! Deployed workflows, child workflows in files beside a document, and what `validate` says about them.

use crate::support::Place;
use serde_json::json;

fn say(word: &str) -> String {
    format!(
        "id: say\nname: Says a word\nparams:\n  word: {{ type: string, default: {word} }}\nnodes:\n  - {{ id: a, task: pass, inputs: {{ said: \"{{{{ params.word }}}}\" }} }}\n"
    )
}

#[test]
fn a_deployed_workflow_runs_without_its_file() {
    let place = Place::new();
    assert_eq!(place.json(&["workflows", "list", "--json"]), json!({"items": []}));
    place.write("flows/say.yaml", &say("tea"));
    let first = place.json(&["workflows", "deploy", "flows/say.yaml", "--json"])["items"][0].clone();
    assert_eq!((&first["workflow_id"], &first["changed"]), (&json!("say"), &json!(true)));
    let again = place.json(&["workflows", "deploy", "flows/say.yaml", "--json"])["items"][0].clone();
    assert_eq!((&again["version"], &again["changed"]), (&first["version"], &json!(false)));
    place.write("flows/say.yaml", &say("milk"));
    let second = place.json(&["workflows", "deploy", "flows/say.yaml", "--json"])["items"][0].clone();
    assert_ne!(first["version"], second["version"]);
    std::fs::remove_file(place.file("flows/say.yaml")).unwrap();

    let said = |args: &[&str]| place.json(&[&["run"], args, &["--json"]].concat())["outputs"]["a"]["said"].clone();
    assert_eq!(said(&["say"]), "milk");
    assert_eq!(said(&["say", "-i", "word=12"]), "12");
    let old = first["version"].as_str().unwrap();
    assert_eq!(said(&[&format!("say@{}", &old[..8])]), "tea");

    let history = place.json(&["workflows", "history", "say", "--json"]);
    let versions: Vec<&str> =
        history["items"].as_array().unwrap().iter().map(|item| item["version"].as_str().unwrap()).collect();
    assert_eq!(versions, [second["version"].as_str().unwrap(), old]);
    let listed = place.segue(&["workflows", "list"]).stdout;
    assert!(listed.contains("say       ") && listed.contains(&second["version"].as_str().unwrap()[..12]), "{listed}");
    let shown = place.segue(&["workflows", "show", "say"]).stdout;
    for part in ["say  Says a word", "the current one", "word: string, default \"milk\""] {
        assert!(shown.contains(part), "`{part}` is missing: {shown}");
    }
    let shown = place.json(&["workflows", "show", &format!("say@{}", &old[..8]), "--json"]);
    assert_eq!(shown["workflow"]["params"]["word"]["default"], "tea");
    assert!(place.segue(&["graph", "say"]).stdout.starts_with("say  Says a word"));
    let ran = place.segue(&["submit", "say"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_eq!(place.segue(&["resume", ran.stdout.trim()]).code, 0);
}

#[test]
fn what_is_not_deployed_is_said() {
    let place = Place::new();
    let cases: &[(&[&str], i32, &str)] = &[
        (&["run", "sya"], 7, "segue workflows deploy FILE"),
        (&["workflows", "show", "say.yaml"], 2, "is a file"),
        (&["workflows", "deploy", "say.yaml", "--store", "memory:"], 2, "--store sqlite:PATH"),
        (&["workflows", "deploy", "bad.yaml"], 3, "bad.yaml cannot run"),
    ];
    place.write("bad.yaml", "id: bad\nnodes:\n  - { id: a, task: pass, depends_on: [b] }\n");
    for (args, code, says) in cases {
        let ran = place.segue(args);
        assert_eq!(ran.code, *code, "{args:?}: {ran:#?}");
        assert!(ran.stderr.contains(says), "{args:?} should say `{says}`: {ran:#?}");
    }
    place.write("say.yaml", &say("tea"));
    place.json(&["workflows", "deploy", "say.yaml", "--json"]);
    for (args, says) in [
        (&["run", "sya"][..], "did you mean `say`?"),
        (&["run", "say@00000000"], "segue workflows history say"),
        (&["workflows", "history", "sya"], "did you mean `say`?"),
    ] {
        let ran = place.segue(args);
        assert!(ran.code == 7 && ran.stderr.contains(says), "{args:?} should say `{says}`: {ran:#?}");
    }
}

const PARENT: &str = "id: parent\nnodes:\n  - { id: a, workflow: { id: say }, inputs: { word: tea } }\n";

#[test]
fn children_stand_beside_or_are_deployed() {
    let place = Place::new();
    place.write("flows/parent.yaml", PARENT);
    let ran = place.segue(&["validate", "flows/parent.yaml"]);
    assert_eq!(ran.code, 0, "a warning: {ran:#?}");
    assert!(ran.stdout.contains("warning[child-not-found]"), "{ran:#?}");
    assert_eq!(place.segue(&["validate", "flows/parent.yaml", "--strict"]).code, 3);
    let ran = place.segue(&["run", "flows/parent.yaml"]);
    assert_eq!(ran.code, 3, "{ran:#?}");

    place.write("flows/other-name.yml", &say("milk"));
    assert_eq!(place.segue(&["validate", "flows/parent.yaml", "--strict"]).code, 0);
    let document = place.json(&["run", "flows/parent.yaml", "--json"]);
    assert_eq!(document["tasks"]["a"]["output"]["a"]["said"], "tea");
    assert_eq!(document["children"][0]["workflow_id"], "say");

    // Children are deployed with their parent.
    let items = place.json(&["workflows", "deploy", "flows/parent.yaml", "--json"])["items"].clone();
    let ids: Vec<&str> = items.as_array().unwrap().iter().map(|item| item["workflow_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["say", "parent"]);
    std::fs::remove_dir_all(place.file("flows")).unwrap();
    assert_eq!(place.json(&["run", "parent", "--json"])["status"], "SUCCEEDED");
    place.write("elsewhere/parent.yaml", PARENT);
    assert_eq!(place.segue(&["validate", "elsewhere/parent.yaml", "--strict"]).code, 0, "it is in the store");
}

#[test]
fn what_a_child_is_given_is_checked() {
    let place = Place::new();
    place.write("child.yaml", "id: child\nparams:\n  n: { type: integer }\n  list: { type: array, default: [] }\nnodes:\n  - { id: a, task: pass }\n");
    place.write("parent.yaml", "id: parent\nparams: { x: {} }\nnodes:\n  - { id: good, workflow: { id: child }, inputs: { n: \"{{ params.x }}\" } }\n  - id: bad\n    group:\n      nodes:\n        - { id: typo, workflow: { id: child }, inputs: { n: one, lsit: [] } }\nfinally:\n  - { id: none, workflow: { id: child } }\n");
    let ran = place.segue(&["validate", "parent.yaml", "--format", "json"]);
    assert_eq!(ran.code, 3, "{ran:#?}");
    let report = ran.document();
    let found: Vec<(&str, &str)> = report["files"][0]["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| (problem["code"].as_str().unwrap(), problem["path"].as_str().unwrap()))
        .collect();
    assert_eq!(
        found,
        [
            ("bad-input", "/nodes/1/group/nodes/0/inputs/n"),
            ("unknown-input", "/nodes/1/group/nodes/0/inputs/lsit"),
            ("missing-input", "/finally/0/workflow/id"),
        ]
    );
    place.write("child.yaml", "id: child\nnodes:\n  - { id: a, task: pass, depends_on: [b] }\n");
    let ran = place.segue(&["validate", "parent.yaml"]);
    assert!(
        ran.code == 3 && ran.stdout.contains("child-not-valid") && ran.stdout.contains("child.yaml has 1 error"),
        "{ran:#?}"
    );
}

#[test]
fn rules_are_explained() {
    let place = Place::new();
    let ran = place.segue(&["explain", "not-an-ancestor"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert!(ran.stdout.contains("not-an-ancestor") && ran.stdout.contains("A reference to a node"), "{ran:#?}");
    let ran = place.segue(&["explain", "not-an-anzestor"]);
    assert!(ran.code == 7 && ran.stderr.contains("did you mean `not-an-ancestor`?"), "{ran:#?}");
    let all = place.json(&["explain", "--json"]);
    let codes = segue_core::spec::codes::ALL;
    assert_eq!(all["items"].as_array().unwrap().len(), codes.len());
    let listed = place.segue(&["explain"]).stdout;
    assert_eq!(listed.lines().count(), codes.len());
    for code in codes {
        let one = place.json(&["explain", code.name, "--json"]);
        assert_eq!(one["code"], code.name);
    }
}
