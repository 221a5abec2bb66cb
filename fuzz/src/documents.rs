//! Documents that are nearly right, from bytes: known fields, each with right and wrong values.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::pieces::Draw;

/// The document that these bytes choose.
pub fn draw(bytes: &[u8]) -> Value {
    object(&mut Draw(bytes), &WORKFLOW, 0)
}

/// The fields of an object and what can stand there.
type Fields = [(&'static str, &'static [&'static str])];

/// `@X` is an object or list of its own, everything else is JSON.
const WORKFLOW: [(&str, &[&str]); 12] = [
    ("id", &[r#""w""#, r#""w""#, r#""W W""#, "1"]),
    (
        "params",
        &[
            "{}",
            r#"{"p": {"type": "array", "default": [1, "x"]}}"#,
            r#"{"p": {"type": "integer", "minimum": 1e300}}"#,
            r#"{"p": {"enum": [], "default": null}}"#,
            "[]",
        ],
    ),
    ("params", &[r#"{"p": {"type": "array", "default": [1, "x"]}}"#]),
    (
        "edges",
        &[
            r#"[["a", "b"]]"#,
            "[]",
            r#"[{"from": "b", "to": "a", "loop": true, "max_iterations": 2, "when": "nodes.b.output.x"}]"#,
            r#"[{"from": "a", "to": "a", "loop": true, "max_iterations": 2}]"#,
            r#"[["c", "d"], ["a", "d"]]"#,
            r#"[{"from": "a", "to": "b", "when": "output.x"}]"#,
        ],
    ),
    ("outputs", &[r#"{"o": "{{ nodes.a.output.x }}"}"#, "{}", r#"{"o": "{{ nodes.zz.output }}"}"#]),
    ("defaults", &[r#"{"retry_policy": {"max_attempts": 2}}"#, r#"{"timeout_seconds": 1}"#, r#"{"cache": {}}"#]),
    (
        "on_failure",
        &["@nodes", r#""finish""#, r#""cancel""#, r#"[{"id": "z", "inputs": {"e": "{{ error.message }}"}}]"#],
    ),
    ("finally", &["@nodes", r#"[{"id": "y", "inputs": {"e": "{{ run.status }}"}}]"#]),
    ("secrets", &[r#"["K"]"#, "[]", r#"["a b"]"#]),
    ("max_parallel_nodes", &["1", "0", "-1", "1e30"]),
    ("timeout_seconds", &["1", "0", "1e300", "-1"]),
    ("metadata", &[r#"{"labels": {"a": "b"}}"#, r#"{"labels": 1}"#]),
];
const NODE: [(&str, &[&str]); 25] = [
    ("id", &[r#""a""#, r#""b""#, r#""c""#, r#""d""#, r#""e""#, r#""f""#, r#""a-very_long1""#, r#""""#]),
    ("depends_on", &[r#"["a"]"#, r#"["b"]"#, "[]", r#"["a", "b"]"#, r#"["c"]"#, r#"["d"]"#, r#"["zz"]"#]),
    ("depends_on", &[r#"["a"]"#, r#"["b"]"#]),
    ("task", &[r#""pass""#, r#""x.y""#, "1"]),
    (
        "inputs",
        &[
            r#"{"x": "{{ nodes.a.output.x }}"}"#,
            r#"{"x": "{{ item }}"}"#,
            r#"{"k": {"$secret": "K"}}"#,
            r#"{"x": "{{ params.p[0] }} {{ index }}"}"#,
            r#"{"x": "{{ nodes.b.error.message }}"}"#,
            r#"{"x": "{{ error.kind }}"}"#,
        ],
    ),
    ("when", &[r#""nodes.a.output.x""#, r#""params.p""#, "true", r#""1/0""#, r#""nodes.a.status == 'FAILED'""#]),
    ("join", &[r#""no_failure""#, r#""all_success""#, r#""any_success""#, r#""all_done""#, r#""any_failure""#]),
    ("foreach", &[r#""params.p""#, "[1, 2, 3]", "[]", r#""nodes.a.output.x""#, "7", r#""{{ params.p }}""#]),
    ("parallelism", &["1", "2", "0", "4294967295"]),
    (
        "repeat",
        &[
            r#"{"until": "output.x", "max_iterations": 2}"#,
            r#"{"max_iterations": 2, "delay_seconds": 0.5}"#,
            r#"{"until": "iteration > 1", "max_iterations": 3, "on_exhausted": "continue"}"#,
            r#"{"max_iterations": 4294967295, "until": "previous == none"}"#,
            "{}",
        ],
    ),
    ("group", &["@group"]),
    ("group", &["@group"]),
    (
        "approval",
        &[
            r#"{"title": "Well?"}"#,
            r#"{"title": "{{ params.p }}", "form": {"n": {"type": "integer"}}, "on_timeout": "approve"}"#,
            r#"{"title": "?", "on_reject": "continue", "approvers": ["ada"]}"#,
        ],
    ),
    (
        "wait",
        &[
            r#"{"seconds": 1}"#,
            r#"{"event": "go", "match": "{{ params.p }}"}"#,
            r#"{"until": "{{ params.p }}"}"#,
            r#"{"until": "2026-01-01T00:00:00Z"}"#,
            "{}",
            r#"{"seconds": 1e300}"#,
        ],
    ),
    ("workflow", &[r#"{"id": "child"}"#, r#"{"id": "child", "detach": true}"#, r#""child""#, r#"{"id": "w"}"#]),
    (
        "on_failure",
        &[
            r#"{"action": "continue"}"#,
            r#"{"action": "fail"}"#,
            r#"{"action": "continue", "output": {"x": "{{ error.kind }}"}}"#,
            r#"{"action": "pause"}"#,
            r#""stop""#,
        ],
    ),
    (
        "retry_policy",
        &[
            r#"{"max_attempts": 3, "backoff_coefficient": 1e300, "initial_interval_seconds": 1e9}"#,
            r#"{"max_attempts": 0}"#,
            r#"{"max_attempts": 4294967296}"#,
            r#"{"retry_on": ["user"], "jitter": "none", "max_interval_seconds": 0}"#,
        ],
    ),
    ("timeout_seconds", &["5", "0.0001", "1e19", "-5"]),
    ("deadline_seconds", &["5", "0", "1e300"]),
    (
        "output_schema",
        &[
            r#"{"type": "object"}"#,
            r##"{"$ref": "#"}"##,
            r#"{"$ref": "http://127.0.0.1/y"}"#,
            r#"{"pattern": "(a+)+$"}"#,
            "true",
            r#"{"properties": {"x": {"type": "array"}}}"#,
        ],
    ),
    ("cache", &["{}", r#"{"key": "{{ nodes.a.output }}", "ttl_seconds": 5}"#, r#"{"ttl_seconds": 1e300}"#, "true"]),
    ("metadata", &[r#"{"a": 1}"#, "[]"]),
    ("name", &[r#""N""#, "1"]),
    ("hints", &[r#"{"process": {"env": ["A"]}}"#, r#"{"a": 1}"#]),
    ("unknown", &["null"]),
];

fn object(draw: &mut Draw<'_>, fields: &Fields, depth: usize) -> Value {
    let mut object = Map::new();
    // Without its first fields it is refused at once.
    let (name, values) = fields[0];
    object.insert(name.to_owned(), value(draw, values, depth));
    if depth == 0 {
        object.insert("nodes".to_owned(), nodes(draw, depth + 1));
    }
    for _ in 0..draw.below(5) {
        let (name, values) = fields[draw.below(fields.len())];
        object.insert(name.to_owned(), value(draw, values, depth));
    }
    Value::Object(object)
}

fn value(draw: &mut Draw<'_>, values: &[&'static str], depth: usize) -> Value {
    match draw.one(values) {
        "@nodes" => nodes(draw, depth + 1),
        "@group" => group(draw, depth + 1),
        json => serde_json::from_str(json).expect("it is written above"),
    }
}

fn nodes(draw: &mut Draw<'_>, depth: usize) -> Value {
    let count = if depth > 4 || draw.is_over() { 1 } else { 1 + draw.below(5) };
    let mut ids = BTreeSet::new();
    let list = (0..count).map(|_| object(draw, &NODE, depth));
    // Two of a name are refused at once; now and then is enough.
    let list: Vec<Value> = list.filter(|node| ids.insert(node["id"].to_string())).collect();
    Value::Array(list)
}

fn group(draw: &mut Draw<'_>, depth: usize) -> Value {
    let mut group = Map::from_iter([("nodes".to_owned(), nodes(draw, depth))]);
    match draw.below(4) {
        0 => drop(group.insert("edges".to_owned(), serde_json::json!([["a", "b"]]))),
        1 => drop(group.insert("output".to_owned(), serde_json::json!("{{ nodes.b.output.x }}"))),
        _ => {}
    }
    Value::Object(group)
}
