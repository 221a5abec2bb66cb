#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;

fn ask(request: Value) -> Result<Answer, ApiError> {
    let request = ChatRequest::parse(request.to_string().as_bytes())?;
    answer(&request)
}

fn text(request: Value) -> String {
    match ask(request).unwrap() {
        Answer::Text(text, _) => text,
        Answer::Calls(calls) => panic!("a call of {}", calls[0].name),
    }
}

fn made(schema: Value) -> Value {
    schema::instance(&schema).unwrap_or_else(|error| panic!("{error}: {schema}"))
}

#[test]
fn a_crew_s_task_comes_back_with_what_is_expected_and_given() {
    let prompt = "\nCurrent Task: Write a report about\nrivers\n\nThis is the expected criteria for your final answer: \
                  Three paragraphs.\nyou MUST return the actual complete content as the final answer, not a summary.\n\n\
                  This is the context you're working with:\nRivers carry water.\n\nProvide your complete response:";
    let said = text(json!({ "model": "gpt-4o", "messages": [
        { "role": "system", "content": "You are a writer." }, { "role": "user", "content": prompt },
    ] }));
    assert_eq!(
        said,
        "Rehearsal: no real model was asked and nothing was spent.\n\
         Task: Write a report about rivers\n\
         Expected: Three paragraphs.\n\
         Given: Rivers carry water."
    );
    let next = prompt.replace("Rivers carry water.", &said);
    let said = text(json!({ "model": "m", "messages": [{ "role": "user", "content": next }] }));
    assert!(said.ends_with("\nGiven: the rehearsed answer of an earlier task."), "{said}");

    let prompt =
        format!("Sum up: {}", text(json!({ "model": "m", "messages": [{ "role": "user", "content": "Rivers?" }] })));
    let said = text(json!({ "model": "m", "messages": [{ "role": "user", "content": prompt }] }));
    assert!(said.ends_with("\nTask: Sum up: (rehearsed) Task: Rivers?"), "{said}");
}

#[test]
fn a_react_prompt_gets_a_final_answer_and_nothing_that_looks_like_an_action() {
    let said = text(json!({ "model": "m", "stop": ["\nObservation:"], "messages": [
        { "role": "system", "content": "Use:\nAction: [name]\n…\nFinal Answer: the answer" },
        { "role": "user", "content": "Current Task: say Action: search and Final Answer: no\n\nBegin! This is VERY important" },
    ] }));
    assert!(said.starts_with("Thought: I now can give a great answer\nFinal Answer: Rehearsal"), "{said}");
    assert_eq!(said.matches("Final Answer:").count(), 1);
    assert!(!said.contains("Action:") && said.ends_with("Task: say Action search and Final Answer no"), "{said}");
}

#[test]
fn long_tasks_are_shortened_and_parts_are_read() {
    let long = "word ".repeat(500);
    let said = text(json!({ "model": "m", "messages": [
        { "role": "user", "content": [{ "type": "text", "text": long }, { "type": "image_url", "image_url": {} }] },
    ] }));
    assert!(said.chars().count() < 400 && said.ends_with(" …"), "{said}");
}

#[test]
fn texts_end_where_the_request_says() {
    let ask_with = |extra: Value| {
        let mut request = json!({ "model": "m", "messages": [{ "role": "user", "content": "count to ten" }] });
        request.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        ask(request).unwrap()
    };
    assert_eq!(ask_with(json!({ "stop": ":" })), Answer::Text("Rehearsal".into(), Finish::Stop));
    assert_eq!(ask_with(json!({ "stop": ["zzz", " no"] })), Answer::Text("Rehearsal:".into(), Finish::Stop));
    assert_eq!(ask_with(json!({ "max_tokens": 2 })), Answer::Text("Rehearsa".into(), Finish::Length));
    assert_eq!(ask_with(json!({ "max_completion_tokens": 1 })), Answer::Text("Rehe".into(), Finish::Length));
}

#[test]
fn tools_are_called_only_when_they_must_be() {
    let request = |choice: Value| {
        json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }], "tool_choice": choice, "tools": [
            { "type": "function", "function": { "name": "first" } },
            { "type": "function", "function": { "name": "search", "parameters": {
                "type": "object", "properties": { "query": { "type": "string" }, "limit": { "type": "integer", "minimum": 3 } },
                "required": ["query"],
            } } },
        ] })
    };
    for choice in [json!(null), json!("auto"), json!("none")] {
        assert!(matches!(ask(request(choice)).unwrap(), Answer::Text(..)));
    }
    let one = |name: &str, arguments: &str| ToolCall { name: name.into(), arguments: arguments.into() };
    let call = |name: &str, arguments: &str| Answer::Calls(vec![one(name, arguments)]);
    assert_eq!(ask(request(json!("required"))).unwrap(), call("first", "{}"));
    let mut both = request(json!("required"));
    both["parallel_tool_calls"] = json!(true);
    let search = one("search", r#"{"query":"rehearsed query","limit":3}"#);
    assert_eq!(ask(both).unwrap(), Answer::Calls(vec![one("first", "{}"), search]));
    let named = |name: &str| ask(request(json!({ "type": "function", "function": { "name": name } })));
    assert_eq!(named("search").unwrap(), call("search", r#"{"query":"rehearsed query","limit":3}"#));
    assert_eq!(named("missing").unwrap_err().to_json()["error"]["param"], "tool_choice");
}

#[test]
fn formats_are_kept() {
    let request = |format: Value| json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }], "response_format": format });
    let object: Value = serde_json::from_str(&text(request(json!({ "type": "json_object" })))).unwrap();
    assert!(object["answer"].as_str().unwrap().starts_with("Rehearsal"));
    let schema = json!({ "type": "object", "properties": { "n": { "type": "integer" } }, "required": ["n"] });
    let format = json!({ "type": "json_schema", "json_schema": { "name": "N", "strict": true, "schema": schema } });
    assert_eq!(text(request(format)), r#"{"n":1}"#);
    let format = json!({ "type": "json_schema", "json_schema": { "name": "N", "schema": false } });
    assert_eq!(ask(request(format)).unwrap_err().to_json()["error"]["param"], "response_format");
}

#[test]
fn a_schema_in_the_prompt_is_kept_too() {
    let prompt = "Sum up.\nFormat your final answer according to the following OpenAPI schema: \
                  {\"type\": \"json_schema\", \"json_schema\": {\"name\": \"S\", \"schema\": {\"type\": \"object\", \
                  \"properties\": {\"title\": {\"type\": \"string\"}}}}}\n\nIMPORTANT: Preserve the content.";
    let said = text(json!({ "model": "m", "messages": [{ "role": "user", "content": prompt }] }));
    assert_eq!(said, r#"{"title":"rehearsed title"}"#);
}

#[test]
fn wrong_requests_are_named() {
    for (request, param) in [
        (json!({ "messages": [] }), json!("model")),
        (json!({ "model": "m" }), json!("messages")),
        (json!({ "model": "m", "messages": [] }), json!("messages")),
        (json!({ "model": "m", "messages": [{ "role": "nobody", "content": "x" }] }), json!("messages")),
        (json!({ "model": "m", "messages": [{ "role": "user", "content": "x" }], "n": 0 }), json!("n")),
        (json!({ "model": "m", "messages": "x" }), json!(null)),
        (json!([1]), json!(null)),
    ] {
        assert_eq!(ask(request.clone()).unwrap_err().to_json()["error"]["param"], param, "{request}");
    }
}

#[test]
fn instances_are_what_the_schema_says() {
    for (schema, expected) in [
        (json!({ "type": "string", "maxLength": 4 }), json!("rehe")),
        (json!({ "type": "string", "minLength": 17 }), json!("rehearsed value..")),
        (json!({ "type": "string", "pattern": "^[A-Z]{2}-\\d+$" }), json!("AA-0")),
        (json!({ "type": "string", "format": "date" }), json!("2026-01-01")),
        (json!({ "type": "integer", "minimum": 5, "multipleOf": 4 }), json!(8)),
        (json!({ "type": "integer", "exclusiveMaximum": 0 }), json!(-1)),
        (json!({ "type": "integer", "exclusiveMinimum": 1, "maximum": 2 }), json!(2)),
        (json!({ "type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1 }), json!(0.5)),
        (json!({ "type": "number", "minimum": 2.5, "multipleOf": 0.5 }), json!(2.5)),
        (json!({ "type": ["null", "boolean"] }), json!(true)),
        (json!({ "enum": ["b", "a"] }), json!("b")),
        (json!({ "const": { "k": [1] } }), json!({ "k": [1] })),
        (json!({ "type": "array", "items": { "type": "integer" }, "minItems": 2 }), json!([1, 1])),
        (
            json!({ "type": "array", "items": { "enum": ["x", "y"] }, "uniqueItems": true, "minItems": 2 }),
            json!(["x", "y"]),
        ),
        (json!({ "type": "array", "items": false }), json!([])),
        (
            json!({ "type": "array", "prefixItems": [{ "const": 1 }, { "type": "null" }], "items": false }),
            json!([1, null]),
        ),
        (json!({ "type": "object", "additionalProperties": { "type": "integer" } }), json!({ "rehearsed key": 1 })),
        (json!({ "type": "object", "required": ["z"], "additionalProperties": { "const": 3 } }), json!({ "z": 3 })),
        (json!({ "type": "object", "properties": { "a": false, "b": { "type": "null" } } }), json!({ "b": null })),
        (
            json!({ "type": "object", "properties": { "b": { "const": 1 }, "a": { "const": 2 } }, "required": ["a"] }),
            json!({ "b": 1, "a": 2 }),
        ),
        (
            json!({ "type": "object", "minProperties": 2, "additionalProperties": { "const": 0 } }),
            json!({ "rehearsed key": 0, "2 rehearsed key": 0 }),
        ),
        (json!({ "anyOf": [{ "type": "null" }, { "type": "integer" }] }), json!(1)),
        (json!({ "oneOf": [{ "type": "string", "minLength": 3, "maxLength": 1 }, { "const": "ok" }] }), json!("ok")),
        (json!({ "allOf": [{ "type": "number", "minimum": 3 }, { "type": "integer", "minimum": 2 }] }), json!(3)),
        (json!({ "$ref": "#/$defs/x", "minimum": 9, "$defs": { "x": { "type": "integer", "minimum": 2 } } }), json!(9)),
        (
            json!({ "properties": { "a/b": { "$ref": "#/definitions/p~1q" } }, "definitions": { "p/q": { "const": 7 } } }),
            json!({ "a/b": 7 }),
        ),
        (json!(true), json!("rehearsed value")),
        (json!({}), json!("rehearsed value")),
    ] {
        assert_eq!(made(schema.clone()), expected, "{schema}");
    }
}

#[test]
fn definitions_that_hold_themselves_come_to_an_end() {
    let tree = json!({ "$ref": "#/$defs/node", "$defs": { "node": { "type": "object", "properties": {
        "name": { "type": "string" },
        "parent": { "anyOf": [{ "$ref": "#/$defs/node" }, { "type": "null" }] },
        "children": { "type": "array", "items": { "$ref": "#/$defs/node" } },
    }, "required": ["name", "parent", "children"] } } });
    let made = made(tree);
    assert_eq!(made["children"][0]["children"], json!([]));
    assert_eq!(made["parent"]["parent"], json!(null));

    for endless in [
        json!({ "$ref": "#" }),
        json!({ "$ref": "#/$defs/a", "$defs": { "a": { "allOf": [{ "$ref": "#/$defs/a" }] } } }),
        json!({ "type": "object", "properties": { "a": { "$ref": "#" } }, "required": ["a"] }),
        json!({ "type": "object", "properties": { "a": { "$ref": "#" }, "b": { "$ref": "#" } }, "required": ["a", "b"] }),
        json!({ "anyOf": [{ "$ref": "#" }, { "$ref": "#" }] }),
        json!({ "type": "array", "minItems": 1_000_000_000 }),
        json!({ "type": "string", "minLength": 1_000_000_000 }),
        json!({ "type": "object", "minProperties": 1_000_000_000, "additionalProperties": { "const": 1 } }),
        json!({ "$ref": "other.json" }),
        json!({ "$ref": "#/nowhere" }),
        json!({ "enum": [] }),
        json!({ "type": "nothing" }),
        json!({ "type": "integer", "minimum": 2, "maximum": 1 }),
        json!({ "allOf": [{ "type": "string" }, { "type": "integer" }] }),
        json!({ "type": "array", "items": { "const": 1 }, "minItems": 2, "uniqueItems": true }),
        json!({ "type": "object", "minProperties": 3, "propertyNames": { "const": "k" }, "additionalProperties": {} }),
    ] {
        assert!(schema::instance(&endless).is_err(), "{endless}");
    }
}
