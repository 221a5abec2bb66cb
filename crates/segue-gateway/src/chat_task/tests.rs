#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use segue_core::{
    memory::MemoryStore,
    outcome::{ErrorKind, TaskOutcome},
    spec::{CheckOptions, parse_bytes},
    time::Timestamp,
};
use segue_testkit::{
    conformance::adapter::{AdapterCases, Case, check_adapter},
    provider::{Reply, StubProvider},
};
use serde_json::{Value, json};

use super::*;
use crate::{GatewayOptions, ProviderOptions, Script};

/// An adapter whose model follows this script.
async fn adapter(script: &str) -> ChatAdapter {
    let script = Script::parse(script.as_bytes(), None).spec.unwrap();
    let journal = Arc::new(MemoryStore::new(Arc::new(|| Timestamp::from_micros(0))));
    let options = GatewayOptions { script: Some(Arc::new(script)), ..GatewayOptions::new(journal) };
    ChatAdapter::new(Some(Arc::new(Gateway::start(options).await.unwrap())))
}

fn case(inputs: Value) -> Case {
    Case { rehearsal: true, ..Case::new(HANDLER, inputs) }
}

fn ask(prompt: &str) -> Value {
    json!({ "model": "m", "prompt": prompt })
}

/// What comes of one attempt.
async fn come_of(adapter: &ChatAdapter, task: &str, inputs: Value) -> TaskOutcome {
    let (invocation, _controls) = case(inputs).invocation(task, 1);
    adapter.execute(invocation).await
}

fn output(outcome: &TaskOutcome) -> Value {
    match outcome {
        TaskOutcome::Succeeded { output, .. } => (**output.value().unwrap()).clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn it_keeps_what_adapters_promise() {
    let adapter = adapter(
        "rules:
           - { when: { contains: never }, reply: { hang: true } }
           - { when: { contains: slow }, reply: { text: ready to go on for ever and ever, stall_after: 2 } }
           - { when: { contains: limit }, reply: { status: 429 } }
           - { when: { contains: quota }, reply: { status: 429, code: insufficient_quota } }
           - { when: { contains: key }, reply: { status: 401 } }
           - { when: { contains: long }, reply: { status: 400, code: context_length_exceeded } }
           - { when: { contains: wrong }, reply: { status: 400 } }
           - { when: { contains: down }, reply: { status: 503 } }
           - { when: { contains: cut }, reply: { text: some words and then none at all, cut_after: 2 } }
           - { when: { contains: drop }, reply: { drop: true } }
           - { when: { contains: garbage }, reply: { malformed: true } }
           - { when: { contains: number }, reply: { text: seven } }
           - { when: { contains: misfit }, reply: { json: { n: seven } } }
           - { when: { contains: fine }, reply: { text: a fine day, usage: { input_tokens: 5, output_tokens: 3 } } }",
    )
    .await;
    let number = json!({ "model": "m", "prompt": "a number", "schema": { "type": "integer" } });
    let properties = json!({ "n": { "type": "integer" } });
    let misfit = json!({ "model": "m", "prompt": "a misfit", "schema": { "properties": properties } });
    check_adapter(AdapterCases {
        adapter: Arc::new(adapter),
        succeeds: (case(ask("is it fine?")), json!("a fine day")),
        fails: vec![
            (case(ask("limit")), ErrorKind::RateLimited),
            (case(ask("quota")), ErrorKind::Quota),
            (case(ask("key")), ErrorKind::Auth),
            (case(ask("long")), ErrorKind::ContextOverflow),
            (case(ask("wrong")), ErrorKind::InvalidInput),
            (case(ask("down")), ErrorKind::Provider),
            (case(ask("cut")), ErrorKind::Connection),
            (case(ask("drop")), ErrorKind::Connection),
            (case(ask("garbage")), ErrorKind::Provider),
            (case(number), ErrorKind::ModelOutput),
            (case(misfit), ErrorKind::ModelOutput),
            (case(json!({ "model": "m" })), ErrorKind::InvalidInput),
            (case(json!({ "prompt": "x" })), ErrorKind::InvalidInput),
        ],
        is_lost: Vec::new(),
        endless: vec![case(ask("slow"))],
        tells_context: None,
        counts_to: None,
        is_anything_left: Box::new(|| false),
    })
    .await;
}

#[tokio::test]
async fn the_answer_becomes_the_output_in_the_form_that_is_asked_for() {
    let adapter = adapter(
        "rules:
           - { when: { contains: fence }, reply: { text: \"```json\\n{\\\"n\\\": 2}\\n```\" } }
           - { when: { contains: look }, reply: { calls: [{ name: look, arguments: { at: sky } }] } }
           - { when: { contains: say }, reply: { text: hello } }",
    )
    .await;
    let schema = json!({ "type": "object", "properties": { "n": { "type": "integer" } }, "required": ["n"] });
    let tools = json!([{ "type": "function", "function": { "name": "look", "parameters": {} } }]);
    for (inputs, wanted) in [
        (json!({ "model": "m", "prompt": "made to fit", "schema": schema }), json!({ "n": 1 })),
        (json!({ "model": "m", "prompt": "with a fence", "schema": schema }), json!({ "n": 2 })),
        (
            json!({ "model": "m", "messages": [{ "role": "user", "content": "say it" }], "tools": tools }),
            json!({ "content": "hello", "tool_calls": [] }),
        ),
    ] {
        assert_eq!(output(&come_of(&adapter, "t", inputs.clone()).await), wanted, "{inputs}");
    }
    let looked = json!({ "model": "m", "system": "look at things", "prompt": "go", "tools": tools });
    let looked = output(&come_of(&adapter, "t", looked).await);
    assert_eq!(looked["tool_calls"][0]["arguments"], json!({ "at": "sky" }));
    assert!(looked["content"].is_null() && looked["tool_calls"][0]["id"].is_string(), "{looked}");
}

#[tokio::test]
async fn tokens_are_told_and_usage_is_counted_once() {
    let words = "one two three four five six seven eight nine ten eleven twelve";
    let adapter =
        adapter(&format!("default: {{ text: {words}, usage: {{ input_tokens: 5, output_tokens: 3 }} }}")).await;
    let (invocation, controls) = case(ask("count")).invocation("t", 1);
    let outcome = adapter.execute(invocation).await;
    let told: Vec<String> = controls
        .progress
        .seen()
        .iter()
        .filter(|progress| progress.name == "task.token")
        .map(|progress| progress.data["text"].as_str().unwrap().to_owned())
        .collect();
    assert!(told.len() > 1 && told.concat() == words, "{told:?}");
    let usage = outcome.usage();
    assert_eq!((usage.model_calls, usage.input_tokens, usage.output_tokens), (1, 5, 3));
    assert!(controls.progress.seen().iter().any(|progress| progress.name == "model.call"));
}

#[tokio::test]
async fn an_answer_that_was_cut_at_its_longest_says_so() {
    let adapter = adapter("rules: []").await;
    let outcome = come_of(&adapter, "t", json!({ "model": "m", "prompt": "a long story", "max_tokens": 4 })).await;
    let TaskOutcome::Succeeded { warnings, .. } = &outcome else { panic!("{outcome:?}") };
    assert!(warnings.len() == 1 && warnings[0].contains("max_tokens"), "{warnings:?}");
    assert_eq!(output(&outcome).as_str().unwrap().chars().count(), 16);
}

#[tokio::test]
async fn a_cancel_closes_the_connection_to_the_provider() {
    let provider = StubProvider::start();
    provider.always(Reply::text("never whole").held());
    let journal = Arc::new(MemoryStore::new(Arc::new(|| Timestamp::from_micros(0))));
    let providers = vec![ProviderOptions::new("stub", provider.base_url())];
    let gateway = Gateway::start(GatewayOptions { providers, ..GatewayOptions::new(journal) }).await.unwrap();
    let adapter = Arc::new(ChatAdapter::new(Some(Arc::new(gateway))));
    let (invocation, controls) = Case::new(HANDLER, ask("x")).invocation("t", 1);
    let running = tokio::spawn({
        let adapter = adapter.clone();
        async move { adapter.execute(invocation).await }
    });
    provider.wait_for_held(1).await;
    controls.cancel.cancel();
    assert!(matches!(running.await.unwrap(), TaskOutcome::Cancelled { .. }));
    provider.wait_for_hang_up(1).await;
}

#[test]
fn what_is_wrong_with_a_node_is_said_in_its_place() {
    let text = "id: w
defaults: { task: llm.chat }
nodes:
  - { id: a, inputs: { model: m, promt: x } }
  - { id: b, inputs: { model: m, prompt: '{{ 1 }}', temperature: hot, schema: { type: nothing } }, hints: { llm: { modle: x } } }
  - { id: c, inputs: { prompt: x, temperature: '{{ 1 }}' }, hints: { llm: { model: m, journal: off } } }
  - { id: d, task: pass, inputs: { promt: x } }
";
    let spec: WorkflowSpec =
        parse_bytes(text.as_bytes(), None, &CheckOptions::default()).spec.unwrap_or_else(|| panic!("{text}"));
    let found = ChatAdapter::new(None).translate_workflow(&spec);
    let paths: Vec<&str> = found.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "/nodes/0/inputs/promt",
            "/nodes/0/inputs",
            "/nodes/1/inputs/temperature",
            "/nodes/1/hints/llm/modle",
            "/nodes/1/inputs/schema/type",
        ],
        "{found:#?}"
    );
}
