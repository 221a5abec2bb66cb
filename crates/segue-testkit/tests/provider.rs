//! The stub provider does what it is told, and sees what was done to it.

use segue_testkit::{
    http::{self, call, send},
    provider::{Reply, StubProvider},
};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream};

const CHAT: &str = "/v1/chat/completions";

fn question(text: &str) -> Value {
    json!({ "model": "gpt-4o", "messages": [{ "role": "user", "content": text }] })
}

async fn ask(provider: &StubProvider, body: &Value) -> http::Reply {
    call(provider.port(), "POST", CHAT, "sk-test", body).await
}

/// Sends a request and does not wait for the answer.
async fn start(provider: &StubProvider, body: &Value) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", provider.port())).await.expect("the stub listens");
    let request = http::request(provider.port(), "POST", CHAT, "sk-test", body);
    stream.write_all(&request).await.expect("the stub reads");
    stream
}

#[tokio::test]
async fn replies_come_by_pattern_then_from_the_queue_then_always() {
    let provider = StubProvider::start();
    provider.push(Reply::text("first").with_usage(7, 3));
    provider.push(Reply::rate_limited(Some(2)));
    provider.always(Reply::status(503));
    provider.when("haiku", Reply::json(&json!({ "lines": 3 })));

    let first = ask(&provider, &question("one")).await.json();
    assert_eq!(first["choices"][0]["message"]["content"], "first");
    assert_eq!(first["usage"]["total_tokens"], 10);
    let haiku = ask(&provider, &question("a haiku")).await.json();
    assert_eq!(haiku["choices"][0]["message"]["content"], r#"{"lines":3}"#);
    let limited = ask(&provider, &question("two")).await;
    assert_eq!((limited.status, limited.header("retry-after")), (429, "2"));
    for _ in 0..2 {
        assert_eq!(ask(&provider, &question("three")).await.status, 503);
    }
    assert_eq!(call(provider.port(), "GET", "/v1/else", "", &Value::Null).await.status, 404);

    let requests = provider.requests();
    assert_eq!(requests.len(), 6);
    assert_eq!((requests[0].model(), requests[0].key()), ("gpt-4o", Some("sk-test")));
    assert_eq!(requests[1].body, question("a haiku"));
    assert_eq!((provider.usage().model_calls, provider.usage().total_tokens()), (2, 10 + 15));
}

#[tokio::test]
async fn errors_have_the_codes_that_clients_tell_apart() {
    let provider = StubProvider::start();
    for (reply, status, code) in [
        (Reply::status(400), 400, json!(null)),
        (Reply::context_overflow(), 400, json!("context_length_exceeded")),
        (Reply::status(401), 401, json!("invalid_api_key")),
        (Reply::status(404), 404, json!("model_not_found")),
        (Reply::rate_limited(None), 429, json!("rate_limit_exceeded")),
        (Reply::quota(), 429, json!("insufficient_quota")),
        (Reply::status(500), 500, json!(null)),
    ] {
        provider.push(reply);
        let reply = ask(&provider, &question("x")).await;
        assert_eq!((reply.status, &reply.json()["error"]["code"]), (status, &code));
    }
    assert!(provider.usage().is_zero());
}

#[tokio::test]
async fn streams_are_whole_unless_they_are_cut() {
    let provider = StubProvider::start();
    let mut request = question("x");
    request["stream"] = json!(true);
    request["stream_options"] = json!({ "include_usage": true });
    provider.push(Reply::text("one two three"));
    let events = ask(&provider, &request).await.events();
    let text: String = events.iter().filter_map(|it| it["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, "one two three");
    assert_eq!(events.last().expect("a last event")["usage"]["total_tokens"], 15);

    provider.push(Reply::tool_call("clock", &json!({ "zone": "UTC" })));
    let events = ask(&provider, &request).await.events();
    assert_eq!(events[1]["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"], r#"{"zone":"UTC"}"#);

    provider.push(Reply::text("one two three").cut());
    let cut = ask(&provider, &request).await;
    assert!(!cut.is_whole && cut.body.contains("one") && !cut.body.contains("[DONE]"), "{}", cut.body);
    assert_eq!(provider.usage().model_calls, 3);
}

#[tokio::test]
async fn bad_weather_reaches_the_client() {
    let provider = StubProvider::start();
    provider.push(Reply::dropped());
    provider.push(Reply::text("a longer answer").cut());
    provider.push(Reply::malformed());
    provider.push(Reply::no_choices());
    let bytes = http::request(provider.port(), "POST", CHAT, "", &question("x"));
    assert!(send(provider.port(), &bytes).await.is_none());
    assert!(!ask(&provider, &question("x")).await.is_whole);
    let malformed = ask(&provider, &question("x")).await;
    assert!(malformed.is_whole && serde_json::from_str::<Value>(&malformed.body).is_err());
    assert_eq!(ask(&provider, &question("x")).await.json()["choices"], json!([]));
    assert_eq!(provider.usage().model_calls, 3);
}

#[tokio::test]
async fn a_held_reply_goes_on_when_it_is_released() {
    let provider = StubProvider::start();
    provider.always(Reply::text("late").held());
    let question = question("x");
    let (reply, ()) = tokio::join!(ask(&provider, &question), async {
        assert_eq!(provider.wait_for_request(1).await.model(), "gpt-4o");
        provider.wait_for_held(1).await;
        assert!(provider.usage().is_zero());
        provider.release();
    });
    assert_eq!(reply.status, 200);
    assert_eq!((provider.hang_ups(), provider.usage().model_calls), (0, 1));
}

#[tokio::test]
async fn a_client_that_hangs_up_is_seen_and_not_billed() {
    let provider = StubProvider::start();
    provider.push(Reply::text("never").held());
    provider.push(Reply::text("half of this").held_midway());
    let client = start(&provider, &question("x")).await;
    provider.wait_for_held(1).await;
    assert_eq!(provider.hang_ups(), 0);
    drop(client);
    provider.wait_for_hang_up(1).await;
    assert!(provider.usage().is_zero());

    let client = start(&provider, &question("x")).await;
    provider.wait_for_held(1).await;
    drop(client);
    provider.wait_for_hang_up(2).await;
    assert_eq!(provider.usage().model_calls, 1);
}

#[test]
fn a_test_may_block_its_own_thread() {
    use std::io::{Read, Write};
    let provider = StubProvider::start();
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", provider.port())).expect("the stub listens");
    let request = http::request(provider.port(), "POST", CHAT, "", &question("x"));
    stream.write_all(&request).expect("the stub reads");
    let mut first = [0; 12];
    stream.read_exact(&mut first).expect("an answer");
    assert_eq!(&first, b"HTTP/1.1 200");
}
