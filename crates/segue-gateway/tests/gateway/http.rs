//! The rehearsal model as a client on the wire sees it.

use segue_core::ports::ModelAccess as _;
use segue_gateway::Gateway;
use segue_testkit::http::{Reply, call, send};
use serde_json::{Value, json};

use crate::common::{self, rehearsed, start};

const CHAT: &str = "/v1/chat/completions";

fn question() -> Value {
    json!({ "model": "openai/gpt-4o", "messages": [{ "role": "user", "content": "What is the time?" }] })
}

fn port(gateway: &Gateway) -> u16 {
    common::port(&gateway.base_url())
}

fn assert_refused(reply: &Reply, status: u16, code: Value) {
    let error = &reply.json()["error"];
    assert_eq!((reply.status, &error["code"]), (status, &code), "{}", reply.body);
    assert!(error["message"].is_string() && error["type"].is_string() && error.get("param").is_some());
}

#[tokio::test]
async fn an_answer_is_a_pure_function_of_the_request() {
    let rehearsal = start(&[]).await;
    let token = rehearsal.open(&rehearsed()).unwrap();
    let first = call(port(&rehearsal), "POST", CHAT, token.api_key(), &question()).await;
    let second = call(port(&rehearsal), "POST", CHAT, token.api_key(), &question()).await;
    assert_eq!((first.status, &first.body), (200, &second.body));

    let answer = first.json();
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["model"], "openai/gpt-4o");
    assert_eq!(answer["choices"][0]["message"]["role"], "assistant");
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    assert!(answer["choices"][0]["message"]["content"].as_str().unwrap().contains("What is the time?"));
    let usage = &answer["usage"];
    let tokens = |key: &str| usage[key].as_u64().unwrap();
    assert_eq!(tokens("total_tokens"), tokens("prompt_tokens") + tokens("completion_tokens"));
    assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], 0);

    assert_eq!(token.usage(), rehearsal.usage());
    assert_eq!(token.usage().model_calls, 2);
    assert_eq!(token.usage().total_tokens(), 2 * tokens("total_tokens"));
    rehearsal.shutdown().await;
}

#[tokio::test]
async fn a_stream_holds_the_same_answer() {
    let rehearsal = start(&[]).await;
    let token = rehearsal.open(&rehearsed()).unwrap();
    let mut request = question();
    request["n"] = json!(2);
    let whole = call(port(&rehearsal), "POST", CHAT, token.api_key(), &request).await.json();
    request["stream"] = json!(true);
    let plain = call(port(&rehearsal), "POST", CHAT, token.api_key(), &request).await;
    request["stream_options"] = json!({ "include_usage": true });
    let counted = call(port(&rehearsal), "POST", CHAT, token.api_key(), &request).await;

    for reply in [&plain, &counted] {
        assert!(reply.header("content-type").starts_with("text/event-stream"));
        let events = reply.events();
        for index in [0, 1] {
            let choices = events.iter().filter_map(|event| event["choices"].get(0)).filter(|it| it["index"] == index);
            let deltas = choices.clone().filter_map(|choice| choice["delta"]["content"].as_str());
            assert_eq!(deltas.collect::<String>(), whole["choices"][index as usize]["message"]["content"]);
            assert_eq!(choices.clone().filter(|choice| choice["finish_reason"] == "stop").count(), 1);
            assert_eq!(choices.clone().next().unwrap()["delta"]["role"], "assistant");
        }
        assert!(events.len() > 6);
    }
    assert!(plain.events().iter().all(|event| event.get("usage").is_none()));
    let last = counted.events().pop().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"], whole["usage"]);
}

#[tokio::test]
async fn a_forced_tool_call_is_streamed_too() {
    let rehearsal = start(&[]).await;
    let token = rehearsal.open(&rehearsed()).unwrap();
    let mut request = question();
    request["tool_choice"] = json!("required");
    request["tools"] = json!([{ "type": "function", "function": { "name": "clock", "parameters": {
        "type": "object", "properties": { "zone": { "type": "string" } }, "required": ["zone"],
    } } }]);
    let whole = call(port(&rehearsal), "POST", CHAT, token.api_key(), &request).await.json();
    let called = &whole["choices"][0]["message"]["tool_calls"][0];
    assert_eq!(whole["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(called["function"], json!({ "name": "clock", "arguments": r#"{"zone":"rehearsed zone"}"# }));

    request["stream"] = json!(true);
    let events = call(port(&rehearsal), "POST", CHAT, token.api_key(), &request).await.events();
    let parts = events.iter().filter_map(|event| event["choices"][0]["delta"]["tool_calls"].get(0));
    let first = parts.clone().next().unwrap();
    assert_eq!((&first["type"], &first["function"]["name"]), (&json!("function"), &json!("clock")));
    let arguments: String = parts.filter_map(|part| part["function"]["arguments"].as_str()).collect();
    assert_eq!(arguments, r#"{"zone":"rehearsed zone"}"#);
}

#[tokio::test]
async fn every_name_is_a_model() {
    let rehearsal = start(&[]).await;
    let token = rehearsal.open(&rehearsed()).unwrap();
    let all = call(port(&rehearsal), "GET", "/v1/models", token.api_key(), &Value::Null).await.json();
    assert_eq!((&all["object"], &all["data"][0]["object"]), (&json!("list"), &json!("model")));
    let one = call(port(&rehearsal), "GET", "/v1/models/openai/gpt-4o", token.api_key(), &Value::Null).await.json();
    assert_eq!(one["id"], "openai/gpt-4o");
}

#[tokio::test]
async fn only_running_attempts_are_served() {
    let rehearsal = start(&[]).await;
    let token = rehearsal.open(&rehearsed()).unwrap();
    let secret = token.api_key().to_owned();
    let port = port(&rehearsal);
    assert_eq!(call(port, "POST", CHAT, &secret, &question()).await.status, 200);
    assert_refused(&call(port, "POST", CHAT, "sk-other", &question()).await, 401, json!("invalid_api_key"));
    assert_refused(&call(port, "GET", "/nowhere", "", &Value::Null).await, 401, json!("invalid_api_key"));
    drop(token);
    assert_refused(&call(port, "POST", CHAT, &secret, &question()).await, 401, json!("invalid_api_key"));
}

#[tokio::test]
async fn a_foreign_host_name_is_refused() {
    let rehearsal = start(&[]).await;
    let token = rehearsal.open(&rehearsed()).unwrap();
    let get = |host: &str| {
        let secret = token.api_key();
        format!("GET /v1/models HTTP/1.1\r\n{host}Authorization: Bearer {secret}\r\nConnection: close\r\n\r\n")
    };
    let port = port(&rehearsal);
    assert_eq!(send(port, get(&format!("Host: localhost:{port}\r\n")).as_bytes()).await.unwrap().status, 200);
    for host in ["Host: rebound.example\r\n", "Host: localhost.example\r\n", ""] {
        assert_refused(&send(port, get(host).as_bytes()).await.unwrap(), 403, json!("foreign_host"));
    }
}

#[tokio::test]
async fn refusals_have_the_shape_that_clients_read() {
    let rehearsal = start(&[]).await;
    let token = rehearsal.open(&rehearsed()).unwrap();
    let port = port(&rehearsal);
    let call = |method: &'static str, path: &'static str| call(port, method, path, token.api_key(), &Value::Null);
    assert_refused(&call("GET", "/v1/nothing").await, 404, json!("unknown_url"));
    assert_refused(&call("GET", CHAT).await, 405, json!("method_not_supported"));
    assert_refused(&call("POST", "/v1/models").await, 405, json!("method_not_supported"));

    let post = |length: usize, body: &str| {
        format!(
            "POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}",
            token.api_key()
        )
    };
    let deep = "[".repeat(100_000);
    for bad in ["{", "", "null", "\u{0}", &deep] {
        assert_refused(&send(port, post(bad.len(), bad).as_bytes()).await.unwrap(), 400, Value::Null);
    }
    assert_refused(&send(port, post(1 << 40, "{").as_bytes()).await.unwrap(), 413, json!("request_too_large"));
    assert!(rehearsal.usage().is_zero());
}

#[tokio::test]
async fn shutdown_ends_idle_connections_and_refuses_new_ones() {
    let rehearsal = start(&[]).await;
    let port = port(&rehearsal);
    let mut idle = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    rehearsal.shutdown().await;
    let mut byte = [0];
    let read = tokio::io::AsyncReadExt::read(&mut idle, &mut byte).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err());
    rehearsal.shutdown().await;
}
