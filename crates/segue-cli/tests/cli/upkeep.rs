//! Starting over and cleaning up: rerun, delete, collect; lists by label and parent.

use crate::support::Place;
use serde_json::json;

/// Three steps; the second fails until `fixed` is there. Each leaves a mark.
const STEPS: &str = r#"
id: steps
metadata: { labels: { team: blue } }
nodes:
  - { id: a, task: process.run, inputs: { argv: [sh, -c, 'echo a >> log; echo A'] } }
  - id: b
    task: process.run
    depends_on: [a]
    retry_policy: { max_attempts: 1 }
    inputs: { argv: [sh, -c, 'echo b >> log; test -e fixed && echo $0', "{{ nodes.a.output }}"] }
  - { id: c, task: process.run, depends_on: [b], inputs: { argv: [sh, -c, 'echo c >> log; echo $0', "{{ nodes.b.output }}"] } }
"#;

#[test]
fn a_rerun_takes_over_what_is_still_good() {
    let place = Place::new();
    place.write("steps.yaml", STEPS);
    let first = place.segue(&["run", "steps.yaml", "--json"]);
    assert_eq!(first.code, 4, "{first:#?}");
    let old = first.document()["run_id"].as_str().unwrap().to_owned();
    place.write("fixed", "");
    let document = place.json(&["runs", "rerun", &old, "--json"]);
    assert_eq!(document["status"], "SUCCEEDED");
    assert_ne!(document["run_id"], old);
    assert_eq!(document["rerun_of"], old);
    assert_eq!(document["tasks"]["a"]["reused_from"], old);
    assert_eq!(document["outputs"]["c"], "A\n".trim());
    assert_eq!(place.read("log"), "a\nb\nb\nc\n", "a was not run again");
    assert_eq!(place.json(&["runs", "show", &old, "--json"])["status"], "FAILED", "the old run stays as it is");
    let shown = place.segue(&["runs", "show", "@last"]).stdout;
    assert!(shown.contains(&format!("rerun of run {old}")) && shown.contains("reused"), "{shown}");

    let document = place.json(&["runs", "rerun", "@last", "--from", "c", "--json"]);
    assert_eq!(document["tasks"]["b"]["reused_from"].as_str().map(str::len), Some(36));
    assert_eq!(place.read("log"), "a\nb\nb\nc\nc\n");
    let ran = place.segue(&["runs", "rerun", "@last", "--from", "d"]);
    assert!(ran.code == 7 && ran.stderr.contains("`d`"), "{ran:#?}");
}

#[test]
fn runs_are_deleted_for_good() {
    let place = Place::new();
    place.write("fixed", "");
    place.write("steps.yaml", STEPS);
    let run = place.json(&["run", "steps.yaml", "--json"])["run_id"].as_str().unwrap().to_owned();
    let ran = place.segue(&["runs", "delete", &run]);
    assert!(ran.code == 2 && ran.stderr.contains("help: add --yes"), "nobody is here to confirm it: {ran:#?}");
    assert_eq!(place.json(&["runs", "delete", &run, "--yes", "--json"]), json!({"deleted": [run]}));
    assert_eq!(place.segue(&["runs", "show", &run]).code, 7);

    place.write("ask.yaml", "id: ask\nnodes:\n  - { id: a, approval: { title: Go? } }\n");
    assert_eq!(place.segue(&["run", "ask.yaml"]).code, 6);
    let ran = place.segue(&["runs", "delete", "@last", "--yes"]);
    assert!(ran.code == 10 && ran.stderr.contains("segue runs cancel "), "it has not ended: {ran:#?}");
}

#[test]
fn child_runs_go_with_their_parent_and_not_before() {
    let place = Place::new();
    place.write("child.yaml", "id: child\nnodes:\n  - { id: x, task: pass }\n");
    place.write("parent.yaml", "id: parent\nnodes:\n  - { id: a, foreach: [1, 2], workflow: { id: child } }\n");
    let run = place.json(&["run", "parent.yaml", "--json"])["run_id"].as_str().unwrap().to_owned();
    let children = place.json(&["runs", "list", "--parent", &run, "--json"]);
    assert_eq!(children["items"].as_array().unwrap().len(), 2);
    assert!(place.segue(&["runs", "list"]).stdout.contains(&format!("child (of {})", &run[..13])));
    assert_eq!(place.json(&["runs", "show", "@last", "--json"])["run_id"], run, "the newest that somebody started");
    let deleted = place.json(&["runs", "delete", &run, "--with-children", "--yes", "--json"]);
    assert_eq!(deleted["deleted"].as_array().unwrap().len(), 3);
    assert_eq!(place.json(&["runs", "list", "--json"]), json!({"items": []}));
}

#[test]
fn labels_and_workflows_narrow_the_list() {
    let place = Place::new();
    place.write("fixed", "");
    place.write("steps.yaml", STEPS);
    place.write("plain.yaml", "id: plain\nnodes:\n  - { id: a, task: pass }\n");
    place.json(&["run", "steps.yaml", "--json"]);
    place.json(&["run", "plain.yaml", "--json"]);
    let ids = |args: &[&str]| {
        let list = place.json(&[&["runs", "list", "--json"], args].concat());
        list["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["workflow_id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&["--label", "team=blue"]), ["steps"]);
    assert_eq!(ids(&["--label", "team=red"]), [""; 0]);
    assert_eq!(ids(&["--workflow", "plain"]), ["plain"]);
    assert_eq!(place.segue(&["runs", "list", "--label", "team"]).code, 2);
}

#[test]
fn old_runs_are_collected() {
    let place = Place::new();
    place.write("plain.yaml", "id: plain\nnodes:\n  - { id: a, task: pass }\n");
    place.write("ask.yaml", "id: ask\nnodes:\n  - { id: a, approval: { title: Go? } }\n");
    let run = place.json(&["run", "plain.yaml", "--json"])["run_id"].as_str().unwrap().to_owned();
    assert_eq!(place.segue(&["run", "ask.yaml"]).code, 6);
    let status = place.json(&["store", "status", "--json"]);
    assert_eq!(
        (&status["runs"]["SUCCEEDED"], &status["runs"]["WAITING"], &status["waiting"]),
        (&json!(1), &json!(1), &json!(1))
    );
    assert!(place.segue(&["store", "status"]).stdout.contains("1 task waits for something outside"));

    assert_eq!(place.json(&["store", "gc", "--older-than", "30d", "--json"])["runs"], 0);
    assert_eq!(place.json(&["store", "gc", "--older-than", "0", "--dry-run", "--json"])["runs"], json!([run]));
    assert_eq!(place.segue(&["runs", "show", &run]).code, 0, "a rehearsal removes nothing");
    let ran = place.segue(&["store", "gc", "--older-than", "0s"]);
    assert!(ran.code == 0 && ran.stderr.contains("removed 1 run"), "{ran:#?}");
    assert_eq!(place.segue(&["runs", "show", &run]).code, 7);
    assert_eq!(place.json(&["runs", "show", "@last", "--json"])["workflow_id"], "ask", "what has not ended stays");
    let ran = place.segue(&["store", "gc", "--older-than", "soon"]);
    assert!(ran.code == 2 && ran.stderr.contains("30d"), "{ran:#?}");
}
