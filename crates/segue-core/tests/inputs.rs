//! The inputs of a run, and the JSON Schema of documents.
#![allow(clippy::unwrap_used)]

use segue_core::spec::{
    CheckOptions, Diagnostic, Format, WorkflowSpec, input_from_text, parse, resolve_inputs, workflow_schema,
};
use serde_json::{Map, Value, json};

fn spec() -> WorkflowSpec {
    let text = r#"id: w
params:
  text: { type: string, description: The text }
  count: { type: integer, default: 3, minimum: 1, maximum: 10 }
  ratio: { type: number, required: false }
  mode: { enum: [fast, slow], default: fast }
  rows: { type: array, items: { type: object, properties: { n: { type: integer }, on: { type: boolean, default: true } } }, default: [] }
  any: { required: false, default: null }
nodes: [{ id: a }]
"#;
    let parsed = parse(text, Format::Yaml, &CheckOptions::default());
    assert_eq!(parsed.diagnostics, []);
    parsed.spec.unwrap()
}

fn resolve(given: Value) -> Result<Value, Vec<Diagnostic>> {
    resolve_inputs(&spec(), given.as_object().cloned().unwrap()).map(Value::Object)
}

#[test]
fn defaults_are_filled_in_at_every_level() {
    let inputs = resolve(json!({"text": "t", "rows": [{"n": 1}, {"n": 2, "on": false}]})).unwrap();
    let expected = json!({
        "text": "t", "count": 3, "ratio": null, "mode": "fast",
        "rows": [{"n": 1, "on": true}, {"n": 2, "on": false}], "any": null,
    });
    assert_eq!(inputs, expected);
    assert_eq!(resolve(json!({"text": "t", "count": 2.0})).unwrap()["count"].to_string(), "2.0");
}

#[test]
fn everything_wrong_is_said_at_once() {
    let wrong =
        resolve(json!({"txt": "t", "count": 11, "ratio": "x", "mode": "fats", "rows": [{"n": "1"}, {}], "any": [1]}))
            .unwrap_err();
    let said: Vec<_> = wrong.iter().map(|d| (d.code.as_str(), d.path.as_str())).collect();
    let expected = [
        ("unknown-input", "/txt"),
        ("missing-input", "/text"),
        ("bad-input", "/count"),
        ("bad-input", "/ratio"),
        ("bad-input", "/mode"),
        ("bad-input", "/rows/0/n"),
        ("bad-input", "/rows/1"),
    ];
    assert_eq!(said, expected);
    assert_eq!(wrong[0].help.as_deref(), Some("did you mean `text`?"));
    assert!(wrong[1].message.contains("The text"), "{:?}", wrong[1]);
    assert_eq!(resolve(json!({"text": null})).unwrap_err()[0].code, "bad-input");
    assert!(resolve(json!({"text": 5})).is_err() && resolve(json!({"text": "t", "count": 2.5})).is_err());
}

#[test]
fn a_workflow_without_params_takes_none() {
    let spec = parse("id: w\nnodes: [{id: a}]", Format::Yaml, &CheckOptions::default()).spec.unwrap();
    assert_eq!(resolve_inputs(&spec, Map::new()).unwrap(), Map::new());
    let given = json!({"x": 1}).as_object().cloned().unwrap();
    assert_eq!(resolve_inputs(&spec, given).unwrap_err()[0].code, "unknown-input");
}

#[test]
fn a_text_from_a_command_line_becomes_what_the_param_declares() {
    let spec = spec();
    let value = |name: &str, text: &str| input_from_text(&spec, name, text);
    assert_eq!(value("text", "5"), json!("5"));
    assert_eq!(value("count", "5"), json!(5));
    assert_eq!(value("count", "five"), json!("five"));
    assert_eq!(value("rows", "[{\"n\": 1}]"), json!([{"n": 1}]));
    assert_eq!(value("unknown", "true"), json!(true));
}

#[test]
fn the_schema_says_what_the_reader_does() {
    let schema = workflow_schema();
    let text = schema.to_string();
    assert!(!text.contains("\"null\""), "optional fields are absent, not null: {text}");
    assert_eq!(schema["additionalProperties"], json!(false));
    assert_eq!(schema["patternProperties"], json!({"^x-": true}));
    assert_eq!(schema["required"], json!(["id", "nodes"]));
    let node = &schema["$defs"]["TaskNode"];
    assert_eq!((&node["required"], &node["additionalProperties"]), (&json!(["id"]), &json!(false)));
    // Each field of the schema is one that the reader knows, and the other way round.
    for (object, document) in [
        (&schema, "{\"id\": \"w\", \"nodes\": [{\"id\": \"a\"}], \"@\": null}"),
        (node, "{\"id\": \"w\", \"nodes\": [{\"id\": \"a\", \"@\": null}]}"),
    ] {
        let fields: Vec<&String> = object["properties"].as_object().unwrap().keys().collect();
        for field in &fields {
            if !["id", "nodes"].contains(&field.as_str()) {
                // A kind of work that is left empty is a mistake where there is no other.
                let document = match field.as_str() {
                    "task" | "wait" => document.replace("\"@\": null", "\"group\": null, \"@\": null"),
                    _ => document.replace("\"@\": null", "\"wait\": null, \"task\": null, \"@\": null"),
                };
                let found = parse(&document.replace('@', field), Format::Json, &CheckOptions::default()).diagnostics;
                let found: Vec<_> = found
                    .iter()
                    .filter(|d| d.path == format!("/{field}") || d.path == format!("/nodes/0/{field}"))
                    .collect();
                assert!(found.is_empty(), "{field}: {found:?}");
            }
        }
        let found = parse(&document.replace('@', "qqq"), Format::Json, &CheckOptions::default()).diagnostics;
        let listed = found[0].help.as_deref().unwrap();
        let listed = listed.split_once(" has ").unwrap().1.split_once(';').unwrap().0;
        let mut known: Vec<&str> = listed.split(", ").collect();
        let mut declared: Vec<&str> = fields.iter().map(|field| field.as_str()).collect();
        known.sort_unstable();
        declared.sort_unstable();
        assert_eq!(known, declared);
    }
}
