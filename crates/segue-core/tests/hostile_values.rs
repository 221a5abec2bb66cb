//! Every value of a right document, replaced by each of a dozen hostile ones: always answered, by a specification or by
//! diagnostics, and every place lies in the text. And the size of the work: linear, also inside groups.
#![allow(clippy::unwrap_used)]

use segue_core::{
    ids::HandlerId,
    spec::{CheckOptions, Format, Parsed, check, parse},
};
use serde_json::{Value, json};

/// Everything that the language has, in one document.
const WHOLE: &str = r##"segue: 1
id: whole
name: Whole
description: Everything
params: { list: { type: array, items: { type: object, properties: { n: { type: number, minimum: 0 } } }, default: [] } }
secrets: [KEY]
defaults: { task: pass, retry_policy: { max_attempts: 2, retry_on: [timeout] }, timeout_seconds: 60, hints: { p: { c: 1 } }, on_failure: { action: continue, output: "{{ error.kind }}" } }
timeout_seconds: 3600
max_parallel_nodes: 4
nodes:
  - id: list
    inputs: { key: { $secret: KEY }, text: "{{ params.list }} and {{ run.id }}", deep: [{ a: [1, null] }] }
    output_schema: { type: object, required: [items], properties: { items: { type: array, items: { $ref: "#/$defs/n" } } }, $defs: { n: { type: integer } } }
    cache: { key: "{{ params.list }}", ttl_seconds: 60 }
    retry_policy: { max_attempts: 3, initial_interval_seconds: 1, backoff_coefficient: 2, max_interval_seconds: 9, jitter: none, do_not_retry_on: [auth] }
    metadata: { any: thing }
  - id: each
    depends_on: [list]
    foreach: nodes.list.output.items
    parallelism: 3
    when: nodes.list.status == "SUCCEEDED"
    group:
      nodes:
        - { id: write, repeat: { until: output.ok, max_iterations: 3, delay_seconds: 1, on_exhausted: continue }, inputs: { x: "{{ item }} {{ previous }} {{ iteration }}" } }
        - { id: score, depends_on: [write], on_failure: { action: pause } }
      edges: [{ from: score, to: write, when: iteration < 2, max_iterations: 2, on_exhausted: fail }]
      output: { text: "{{ nodes.write.output }}", at: "{{ index }}" }
  - id: ask
    depends_on: [each]
    approval: { title: "Ship {{ nodes.each.output }}?", message: yes, form: { why: { type: string, enum: [a, b], required: false } }, approvers: [ann], on_timeout: reject, on_reject: continue }
    timeout_seconds: 60
    deadline_seconds: 600
  - { id: nap, wait: { seconds: 1 }, join: all_done, depends_on: [ask] }
  - { id: date, wait: { until: 2026-12-24T18:00:00Z } }
  - { id: paid, wait: { event: "paid/{{ run.id }}", match: output.amount > 3 }, timeout_seconds: 5 }
  - { id: child, workflow: { id: other, version: 0badcafe, detach: true }, inputs: { x: 1 }, depends_on: [paid] }
edges:
  - [nap, child]
  - { from: date, to: child, when: nodes.date.output.due }
outputs: { all: "{{ nodes.child.output }}" }
on_failure: [{ id: tell, inputs: { why: "{{ error.message }}" } }]
finally: [{ id: clean, inputs: { how: "{{ run.status }}" } }]
metadata: { labels: { team: red } }
"##;

fn options() -> CheckOptions {
    CheckOptions { handlers: vec![HandlerId::from("pass")], default_handler: None, limits: None }
}

/// Reads, and holds what is said to what always holds.
fn read(text: &str) -> Parsed {
    let parsed = parse(text, Format::Json, &options());
    assert_eq!(parsed.spec.is_none(), parsed.has_errors(), "{text}");
    for diagnostic in &parsed.diagnostics {
        let span = diagnostic.span.unwrap_or_else(|| panic!("{diagnostic:?} has no place"));
        assert!(text.get(span.start..span.end).is_some(), "{diagnostic:?}");
        assert!(diagnostic.help.is_some() && !diagnostic.message.is_empty(), "{diagnostic:?}");
    }
    if let Some(spec) = &parsed.spec {
        assert!(check(spec, &options()).iter().all(|found| found.severity == segue_core::spec::Severity::Warning));
        let again = serde_json::to_string(spec).unwrap();
        assert!(parse(&again, Format::Json, &options()).spec.as_ref() == Some(spec), "{again}");
    }
    parsed
}

/// The JSON Pointers of all values inside `value`.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(n, item)| pointers(item, &format!("{at}/{n}"), found))
        }
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| pointers(value, &format!("{at}/{name}"), found));
        }
        _ => {}
    }
}

#[test]
fn every_value_may_be_replaced_by_a_hostile_one() {
    let spec = parse(WHOLE, Format::Yaml, &options());
    assert_eq!(spec.diagnostics, []);
    let document = serde_json::to_value(spec.spec.unwrap()).unwrap();
    let mut places = Vec::new();
    pointers(&document, "", &mut places);
    assert!(places.len() > 150, "{} places", places.len());
    let long = "é{{".repeat(2_000);
    // Written into the text, so that they need not be values that Rust can hold.
    let hostile = [
        "null",
        "true",
        "-1",
        "0",
        "1e400",
        "-0.0",
        "99999999999999999999",
        "5e-324",
        "\"\"",
        "\"{{ nodes[\\\"\"",
        "\"\\u0000\"",
        "\"nan\"",
        "[]",
        "{}",
        "[[[]]]",
        "{\"$secret\":{\"$secret\":[]}}",
        "[{\"id\":\"list\"}]",
        "\"{{ item }}{{ nodes.child.output }}{% x %}\"",
        &format!("\"{long}\""),
    ];
    for place in &places {
        for value in hostile {
            let mut broken = document.clone();
            *broken.pointer_mut(place).unwrap() = json!("@@@");
            let text = broken.to_string().replacen("\"@@@\"", value, 1);
            read(&text);
        }
    }
}

#[test]
fn every_field_may_be_missing_or_be_somewhere_else() {
    let document = serde_json::to_value(parse(WHOLE, Format::Yaml, &options()).spec.unwrap()).unwrap();
    let mut places = Vec::new();
    pointers(&document, "", &mut places);
    for place in places.iter().filter(|place| !place.is_empty()) {
        let (parent, name) = place.rsplit_once('/').unwrap();
        let mut broken = document.clone();
        let taken = match broken.pointer_mut(parent).unwrap() {
            Value::Object(fields) => fields.remove(name).unwrap(),
            Value::Array(items) => items.remove(name.parse().unwrap()),
            _ => unreachable!(),
        };
        read(&broken.to_string());
        for node in ["/nodes/1", "/nodes/1/group/nodes/0", "/finally/0", "/defaults", ""] {
            if let Some(Value::Object(fields)) = broken.pointer_mut(node) {
                fields.insert(name.to_owned(), taken.clone());
                read(&broken.to_string());
            }
        }
    }
}

/// 10,000 nodes with 30,000 dependencies, every one with a condition that reads, in one block or in groups of `size`.
fn large(size: usize) -> Value {
    let group = |first: usize| -> Vec<Value> {
        (first..first + size)
            .map(|node| {
                let on: Vec<String> = (1..=3)
                    .filter_map(|back| node.checked_sub(back).filter(|on| *on >= first))
                    .map(|on| format!("n{on}"))
                    .collect();
                let mut declared = json!({ "id": format!("n{node}"), "task": "pass", "depends_on": on });
                if node > first {
                    declared["when"] = json!(format!("nodes.n{}.output.ok", first + (node - first) / 2));
                    declared["inputs"] = json!({ "text": format!("see {{{{ nodes.n{}.output }}}}", node - 1) });
                }
                declared
            })
            .collect()
    };
    let nodes: Vec<Value> = match size {
        10_000 => group(0),
        size => (0..10_000 / size)
            .map(|n| {
                let on: Vec<String> = n.checked_sub(1).into_iter().map(|on| format!("g{on}")).collect();
                json!({ "id": format!("g{n}"), "depends_on": on, "group": { "nodes": group(n * size), "output": format!("{{{{ nodes.n{}.output }}}}", n * size) } })
            })
            .collect(),
    };
    json!({ "id": "large", "nodes": nodes })
}

/// Quadratic work would take minutes here, instead of a second for all four.
#[test]
fn large_documents_are_checked_in_linear_time_also_inside_groups() {
    let looped = {
        // Each pair of nodes is a loop, and all of them together one more.
        let mut document = large(10_000);
        let mut edges: Vec<Value> = (1..5_000)
            .map(|n| json!({ "from": format!("n{}", 2 * n), "to": format!("n{}", 2 * n), "max_iterations": 2 }))
            .collect();
        edges.push(json!({ "from": "n9999", "to": "n0", "max_iterations": 2 }));
        document["edges"] = edges.into();
        document
    };
    for document in [large(10_000), large(100), large(10), looped] {
        let text = document.to_string();
        assert_eq!(parse(&text, Format::Json, &options()).diagnostics, []);
    }
}

/// Ten thousand mistakes of every new kind: quadratic work, or one costly look at each, would take minutes.
#[test]
fn large_wrong_documents_are_answered_in_linear_time() {
    let wrong: [&dyn Fn(usize) -> Value; 7] = [
        &|n| json!({ "id": format!("n{n}"), "workflow": { "id": "w" }, "output_schema": { "type": "strng" } }),
        &|n| json!({ "id": format!("n{n}"), "depends_on": [format!("g{}", n / 2)], "inputs": { "x": "{{ nodes.inner.output }}" } }),
        &|n| json!({ "id": format!("n{n}"), "join": "any_success", "depends_on": [format!("n{}", n + 1)] }),
        &|n| json!({ "id": format!("n{n}"), "inputs": { "x": { "$secret": format!("K{n}") } } }),
        &|n| json!({ "id": format!("g{n}"), "group": { "nodes": [{ "id": "inner", "depends_on": ["n1"] }] } }),
        &|n| json!({ "id": format!("n{n}"), "output_schema": { "enum": [n], "pattern": "(a{100}){100}" } }),
        &|n| json!({ "id": format!("n{n}"), "when": format!("nodes.n{}.output", 9_999 - n) }),
    ];
    for make in wrong {
        let nodes: Vec<Value> = (0..10_000).map(make).collect();
        let edges: Vec<Value> = (0..10_000)
            .map(|n| json!({ "from": format!("n{n}"), "to": format!("n{}", n / 3), "max_iterations": 2 }))
            .collect();
        let text = json!({ "id": "w", "nodes": nodes, "edges": edges }).to_string();
        let found = parse(&text, Format::Json, &options()).diagnostics;
        assert_eq!(found.len(), 1001, "{:?}", found[0]);
    }
}

/// Loops inside loops, as deep as allowed and deeper, and all across each other.
#[test]
fn hostile_loops_are_answered() {
    let chain: Vec<Value> = (0..2_000_usize)
        .map(|n| json!({ "id": format!("n{n}"), "task": "pass", "depends_on": n.checked_sub(1).map(|on| format!("n{on}")).into_iter().collect::<Vec<_>>() }))
        .collect();
    let with = |edges: Vec<Value>| json!({ "id": "w", "nodes": chain, "edges": edges }).to_string();
    let edge =
        |from: usize, to: usize| json!({ "from": format!("n{from}"), "to": format!("n{to}"), "max_iterations": 2 });
    assert_eq!(read(&with((0..16).map(|n| edge(1_999 - n, n)).collect())).diagnostics, []);
    let deep = read(&with((0..999).map(|n| edge(1_999 - n, n)).collect()));
    assert!(deep.diagnostics.len() == 1 && deep.diagnostics[0].code == "too-deep", "{:?}", deep.diagnostics);
    let across = read(&with((0..1_000).map(|n| edge(n + 10, n)).collect()));
    assert!(across.diagnostics.iter().all(|found| found.code == "loop-overlap"), "{:?}", across.diagnostics[0]);
    assert!(!across.diagnostics.is_empty());
}
