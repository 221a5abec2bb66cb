#![allow(clippy::unwrap_used)]

use futures_util::FutureExt as _;
use segue_core::ids::{ContentHash, RunId, TaskId};
use serde_json::json;

use super::*;
use crate::upstream::Caller;

/// A model that follows a script of one reply.
fn model(reply: &str) -> RehearsalModel {
    let script = Script::parse(format!("rules: [{{ reply: {reply} }}]").as_bytes(), None);
    RehearsalModel::new(Some(Arc::new(script.spec.unwrap_or_else(|| panic!("{reply}: {:#?}", script.diagnostics)))))
}

fn request(endpoint: Endpoint, mut body: Value, stream: bool) -> UpstreamRequest {
    body["model"] = json!("m");
    body["stream"] = json!(stream);
    let run_id = RunId::from_bytes([1; 16]);
    UpstreamRequest {
        endpoint,
        model: "m".to_owned(),
        stream,
        hash: ContentHash::of(b"x"),
        body: Bytes::from(body.to_string()),
        headers: HeaderMap::new(),
        caller: Caller { run_id, task: TaskId::new("t"), effect_key: format!("{run_id}/t"), attempt: 1 },
    }
}

fn chat(stream: bool) -> UpstreamRequest {
    request(Endpoint::Chat, json!({ "messages": [{ "role": "user", "content": "hi" }] }), stream)
}

/// The body as far as it comes, and how it ends: whole, broken, or never.
async fn body(reply: UpstreamReply) -> (String, &'static str) {
    let mut text = String::new();
    let mut pieces = reply.body;
    loop {
        // Nothing here waits for anything but what never comes.
        match pieces.next().now_or_never() {
            Some(Some(Ok(piece))) => text.push_str(std::str::from_utf8(&piece).unwrap()),
            Some(Some(Err(UpstreamError::Broken(_)))) => return (text, "broken"),
            Some(Some(Err(other))) => panic!("{other}"),
            Some(None) => return (text, "whole"),
            None => return (text, "silent"),
        }
    }
}

async fn document(model: &RehearsalModel, request: UpstreamRequest) -> Value {
    let (text, end) = body(model.send(request).await.unwrap()).await;
    assert_eq!(end, "whole");
    serde_json::from_str(&text).unwrap()
}

/// The events of a stream, `[DONE]` left out.
fn events(text: &str) -> Vec<Value> {
    sse::events(text.as_bytes()).iter().filter_map(|event| serde_json::from_str(&event.data()?).ok()).collect()
}

#[tokio::test]
async fn a_reply_is_written_as_the_endpoint_wants_it() {
    let told = model("{ text: it rains, usage: { input_tokens: 9, output_tokens: 4, cached_input_tokens: 2 } }");
    let answer = document(&told, chat(false)).await;
    assert_eq!(answer["choices"][0]["message"]["content"], "it rains");
    assert_eq!(answer["usage"]["total_tokens"], 13);
    assert_eq!(answer["usage"]["prompt_tokens_details"]["cached_tokens"], 2);

    let answer = document(&told, request(Endpoint::Responses, json!({ "input": "hi" }), false)).await;
    assert_eq!(answer["output"][0]["content"][0]["text"], "it rains");
    assert_eq!(answer["usage"]["input_tokens_details"]["cached_tokens"], 2);

    let (text, _) = body(told.send(request(Endpoint::Responses, json!({ "input": "hi" }), true)).await.unwrap()).await;
    let events = events(&text);
    assert!(text.starts_with("event: response.created\ndata: {"), "{text}");
    let numbers: Vec<u64> = events.iter().map(|event| event["sequence_number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..events.len() as u64).collect::<Vec<_>>());
    let last = events.last().unwrap();
    assert_eq!((&last["type"], &last["response"]["usage"]["total_tokens"]), (&json!("response.completed"), &json!(13)));
}

#[tokio::test]
async fn calls_of_tools_come_in_every_form() {
    let told = model("{ calls: [{ name: look, arguments: { at: sky } }, { name: wait }] }");
    let answer = document(&told, chat(false)).await;
    let calls = &answer["choices"][0]["message"]["tool_calls"];
    assert_eq!((&calls[0]["function"]["name"], &calls[1]["function"]["arguments"]), (&json!("look"), &json!("{}")));
    assert_ne!(calls[0]["id"], calls[1]["id"]);
    assert_eq!(answer["choices"][0]["finish_reason"], "tool_calls");

    let (text, _) = body(told.send(chat(true)).await.unwrap()).await;
    let mut arguments = [String::new(), String::new()];
    for event in events(&text) {
        if let Some(call) = event["choices"][0]["delta"]["tool_calls"].get(0) {
            arguments[call["index"].as_u64().unwrap() as usize] += call["function"]["arguments"].as_str().unwrap();
        }
    }
    assert_eq!(arguments, [r#"{"at":"sky"}"#, "{}"]);

    let answer = document(&told, request(Endpoint::Responses, json!({ "input": "hi" }), false)).await;
    assert_eq!(answer["output"][0]["arguments"], r#"{"at":"sky"}"#);
    assert_eq!(answer["output"][1]["type"], "function_call");
}

#[tokio::test]
async fn the_built_in_model_answers_every_endpoint_always_the_same() {
    let itself = RehearsalModel::new(None);
    let schema = json!({ "type": "object", "properties": { "n": { "type": "integer" } }, "required": ["n"] });
    let format = json!({ "format": { "type": "json_schema", "name": "N", "schema": schema } });
    let input = json!([
        { "role": "user", "content": [{ "type": "input_text", "text": "what colour is it?" }] },
        { "type": "reasoning", "summary": [] },
        { "type": "function_call", "call_id": "c", "name": "look", "arguments": "{}" },
        { "type": "function_call_output", "call_id": "c", "output": "blue" },
    ]);
    for (endpoint, asked, pointer, says) in [
        (Endpoint::Responses, json!({ "input": "a number", "text": format }), "/output/0/content/0/text", r#"{"n":1}"#),
        (Endpoint::Responses, json!({ "input": input }), "/output/0/content/0/text", "A tool answered: blue"),
        (Endpoint::Responses, json!({ "input": "hi", "max_output_tokens": 2 }), "/status", "incomplete"),
        (Endpoint::Embeddings, json!({ "input": "hi" }), "/object", "list"),
    ] {
        let answer = document(&itself, request(endpoint, asked.clone(), false)).await;
        let found = answer.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        assert!(found.contains(says), "{asked}: {answer:#}");
        assert_eq!(answer, document(&itself, request(endpoint, asked, false)).await);
    }
    for (endpoint, wrong) in [(Endpoint::Responses, json!({})), (Endpoint::Embeddings, json!({ "input": [] }))] {
        let refused = itself.send(request(endpoint, wrong, false)).await.unwrap();
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn weather_is_as_it_is_said() {
    let text = "text: one two three four five six seven eight nine ten eleven twelve";
    for (how, stream, end) in [
        ("cut_after: 2", true, "broken"),
        ("cut_after: 999", true, "broken"),
        ("cut_after: 0", true, "broken"),
        ("cut_after: 1", false, "broken"),
        ("stall_after: 2", true, "silent"),
        ("stall_after: 1", false, "silent"),
        ("delay_seconds: 0", true, "whole"),
    ] {
        let told = model(&format!("{{ {text}, {how} }}"));
        let (come, ended) = body(told.send(chat(stream)).await.unwrap()).await;
        assert_eq!(ended, end, "{how}");
        assert_eq!(come.contains("[DONE]"), stream && end == "whole", "{how}: {come}");
        assert_eq!(come.is_empty(), how == "cut_after: 0", "{how}: {come}");
        let frames = if how.ends_with(": 2") { Some(2) } else { None };
        assert!(frames.is_none_or(|frames| events(&come).len() == frames), "{how}: {come}");
    }

    let refused = model("{ status: 429, retry_after: 1.5, code: insufficient_quota }").send(chat(true)).await.unwrap();
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers[header::RETRY_AFTER], "1.5");
    let (said, _) = body(refused).await;
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&said["error"]["code"], &said["error"]["type"]),
        (&json!("insufficient_quota"), &json!("rate_limit_error"))
    );

    for stream in [false, true] {
        let (come, _) = body(model("{ malformed: true }").send(chat(stream)).await.unwrap()).await;
        let data = come.strip_prefix("data: ").unwrap_or(&come);
        assert!(come.starts_with("data: ") == stream && serde_json::from_str::<Value>(data).is_err(), "{come}");
    }
    let (come, _) = body(model("{ malformed: <html> }").send(chat(false)).await.unwrap()).await;
    assert_eq!(come, "<html>");
    assert!(matches!(model("{ drop: true }").send(chat(false)).await, Err(UpstreamError::Broken(_))));
    assert!(model("{ hang: true }").send(chat(false)).now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn answers_come_as_late_as_they_should() {
    let begun = tokio::time::Instant::now();
    let told = model("{ text: one two three four five six seven, delay_seconds: 100, chunk_delay_seconds: 10 }");
    let reply = told.send(chat(true)).await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 100);
    let pieces = reply.body.collect::<Vec<_>>().await.len();
    assert!(pieces > 3);
    assert_eq!(begun.elapsed().as_secs(), 100 + 10 * pieces as u64);
}
