//! Instances, iterations, groups and blocks, as people and programs see them.

use std::fmt::Write;

use crate::support::Place;
use serde_json::json;

/// Five instances of which one fails and is tolerated, a loop of three, and something at the end.
const NESTED: &str = r#"
id: nested
nodes:
  - id: list
    task: pass
    inputs: { all: [1, 2, 3, 4, 5] }
  - id: each
    task: process.run
    depends_on: [list]
    foreach: nodes.list.output.all
    parallelism: 2
    retry_policy: { max_attempts: 1 }
    on_failure: { action: continue, output: none }
    inputs: { argv: [sh, -c, 'test $0 != 3 && echo $0', "{{ item }}"] }
  - id: polish
    depends_on: [each]
    repeat: { until: output.draft.n >= 3, max_iterations: 5 }
    group:
      nodes:
        - { id: draft, task: pass, inputs: { n: "{{ iteration }}" } }
finally:
  - { id: close, task: pass }
outputs: { all: "{{ nodes.each.output }}", last: "{{ nodes.polish.output.draft.n }}" }
"#;

#[test]
fn a_nested_run_is_shown_node_by_node() {
    let place = Place::new();
    place.write("nested.yaml", NESTED);
    let ran = place.segue(&["run", "nested.yaml"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    for part in ["task.mapped      each  5 instances", "loop.iterated    polish  iteration 3", "task.succeeded   close"]
    {
        assert!(ran.stderr.contains(part), "`{part}` is missing: {ran:#?}");
    }
    let document = place.json(&["runs", "show", "@last", "--json"]);
    assert_eq!(document["outputs"]["last"], 3);
    assert_eq!(document["outputs"]["all"][2], "none");
    assert_eq!(document["tasks"]["each[2]"]["status"], "FAILED");
    assert_eq!(document["tasks"]["polish#3/draft"]["output"], json!({"n": 3}));

    let shown = place.segue(&["runs", "show", "@last"]).stdout;
    let line =
        |part: &str| shown.lines().find(|line| line.contains(part)).unwrap_or_else(|| panic!("`{part}`: {shown}"));
    assert!(line("  each ").starts_with("SUCCEEDED  each") && line("  each ").contains("5/5, 1 failed"), "{shown}");
    assert!(line("each[2]").contains("FAILED") && line("each[2]").contains("exit: "), "{shown}");
    assert!(line("  polish ").contains("#3/5"), "{shown}");
    assert!(shown.contains("finally:"), "{shown}");

    let graph = place.json(&["graph", "@last", "--format", "json"]);
    let node = |id: &str| graph["nodes"].as_array().unwrap().iter().find(|node| node["id"] == id).unwrap().clone();
    assert_eq!(node("each")["instances"], json!({"done": 5, "failed": 1, "total": 5}));
    assert_eq!(node("polish")["iteration"], 3);
    assert_eq!((&node("draft")["group"], &node("draft")["status"]), (&json!("polish"), &json!("SUCCEEDED")));
    assert_eq!(node("close")["block"], "finally");
    let drawn = place.segue(&["graph", "@last"]).stdout;
    assert!(
        drawn.contains("SUCCEEDED each") && drawn.contains("5/5, 1 failed  foreach nodes.list.output.all"),
        "{drawn}"
    );
}

/// However many instances there are, the lines are few, and every failure is among them.
#[test]
fn many_instances_are_counted_in_lines_too() {
    let place = Place::new();
    let all: Vec<u32> = (0..200).collect();
    place.write("many.yaml", &format!("id: many\nnodes:\n  - id: m\n    task: process.run\n    foreach: {all:?}\n    parallelism: 8\n    retry_policy: {{ max_attempts: 1 }}\n    inputs: {{ argv: [sh, -c, 'test $0 != 77', \"{{{{ item }}}}\"] }}\n"));
    let ran = place.segue(&["run", "many.yaml"]);
    assert_eq!(ran.code, 4, "{ran:#?}");
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert!(lines.len() < 30, "{} lines: {ran:#?}", lines.len());
    assert!(ran.stderr.contains("task.failed      m[77]  exit: "), "{ran:#?}");
    assert!(ran.stderr.contains("m  200/200, 1 failed"), "{ran:#?}");
    let shown = place.segue(&["runs", "show", "@last"]).stdout;
    assert!(shown.lines().count() < 20 && shown.contains("FAILED       m[77]"), "{shown}");
    assert!(shown.contains("… and 194 more: 194 succeeded  (--all)"), "{shown}");
    assert!(place.segue(&["runs", "show", "@last", "--all"]).stdout.lines().count() > 200);
    assert_eq!(place.segue(&["runs", "events", "@last"]).stdout.lines().count(), place.events("@last").len());
}

/// A graph of 2,000 nodes, 1,100 of which lead to one, in every format.
#[test]
fn a_large_graph_is_drawn() {
    let place = Place::new();
    let mut text = "id: wide\nnodes:\n  - { id: start, task: pass }\n".to_owned();
    let parts: Vec<String> = (0..1_100).map(|at| format!("part-{at}")).collect();
    for part in &parts {
        writeln!(text, "  - {{ id: {part}, task: pass, depends_on: [start] }}").unwrap();
    }
    writeln!(text, "  - {{ id: join, task: pass, depends_on: [{}] }}", parts.join(", ")).unwrap();
    for at in 0..898 {
        let before = if at == 0 { "join".to_owned() } else { format!("step.{}", at - 1) };
        writeln!(text, "  - {{ id: step.{at}, task: pass, depends_on: [{before}] }}").unwrap();
    }
    place.write("wide.yaml", &text);
    let drawn = |format: &str| {
        let ran = place.segue(&["graph", "wide.yaml", "--format", format]);
        assert_eq!(ran.code, 0, "{} {}", ran.code, ran.stderr);
        ran.stdout
    };
    let ascii = drawn("ascii");
    assert_eq!(ascii.lines().count(), 2_001);
    assert!(ascii.lines().all(|line| line.len() < 150));
    assert_eq!(drawn("mermaid").lines().filter(|line| line.contains("-->")).count(), 3_098);
    assert_eq!(drawn("dot").lines().filter(|line| line.contains("->")).count(), 3_098);
    let json: serde_json::Value = serde_json::from_str(&drawn("json")).unwrap();
    assert_eq!(json["nodes"].as_array().unwrap().len(), 2_000);
}
