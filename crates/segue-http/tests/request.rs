//! `http.request`: what is sent, what comes back, what a status means.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::{adapter, case, error, get, output, with_hints};
use segue_core::{outcome::ErrorKind, ports::Adapter, spec::WorkflowSpec};
use segue_testkit::{
    conformance::adapter::{AdapterCases, Case, check_adapter},
    web::{Answer, Call, Piece, WebServer},
};
use serde_json::{Value, json};

/// Answers with what it was asked.
fn told(call: &Call) -> Value {
    json!({ "method": call.method, "path": call.path, "query": call.query, "headers": call.headers, "body": call.body })
}

fn status_of(path: &str) -> Option<u16> {
    path.strip_prefix("/status/")?.parse().ok()
}

async fn answer(call: Call) -> Answer {
    if let Some(status) = status_of(&call.path) {
        return Answer::text(status, "as you wished");
    }
    match call.path.as_str() {
        "/hello" => Answer::json(200, &json!({ "greeting": "hello" })),
        "/text" => Answer::text(200, "1.10\n"),
        "/vendor" => Answer::new(200, "application/vnd.it+json; v=1", "[1]"),
        "/latin" => Answer::new(200, "text/plain; charset=ISO-8859-1", *b"caf\xe9"),
        "/bytes" => Answer::new(200, "application/octet-stream", *b"\xff\xfe"),
        "/no-json" => Answer::new(200, "application/json", "{"),
        "/empty" => Answer::text(204, ""),
        "/gzip" => Answer::text(200, "x").with_header("content-encoding", "gzip"),
        "/headers" => Answer::json(201, &json!(7))
            .with_header("X-Two", "a")
            .with_header("X-Two", "b")
            .with_header("Set-Cookie", "session=canary"),
        "/hang-up" => Answer::hang_up(),
        "/cut" => {
            let (pieces, answer) = Answer::stream(200, "text/plain");
            pieces.send(Piece::Bytes(b"half of".to_vec())).unwrap();
            pieces.send(Piece::Cut).unwrap();
            answer
        }
        "/endless" => {
            let (pieces, answer) = Answer::stream(200, "text/is-ready");
            pieces.send(Piece::Bytes(b"one piece".to_vec())).unwrap();
            // Never ends: the sender is kept.
            std::mem::forget(pieces);
            answer
        }
        "/flood" => {
            let (pieces, answer) = Answer::stream(200, "text/plain");
            for _ in 0..100 {
                pieces.send(Piece::Bytes(vec![b'x'; 1000])).unwrap();
            }
            answer
        }
        "/never" => std::future::pending().await,
        _ => Answer::json(200, &told(&call)),
    }
}

fn server() -> WebServer {
    WebServer::start(answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_every_promise_of_an_adapter() {
    let server = Arc::new(server());
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/", listener.local_addr().unwrap())
    };
    let watched = server.clone();
    check_adapter(AdapterCases {
        adapter: Arc::new(adapter()),
        succeeds: (get(&server, "/hello"), json!({ "greeting": "hello" })),
        fails: vec![
            (get(&server, "/status/500"), ErrorKind::Provider),
            (get(&server, "/status/429"), ErrorKind::RateLimited),
            (get(&server, "/status/408"), ErrorKind::Timeout),
            (get(&server, "/status/401"), ErrorKind::Auth),
            (get(&server, "/status/404"), ErrorKind::InvalidInput),
            (get(&server, "/no-json"), ErrorKind::Output),
            (get(&server, "/bytes"), ErrorKind::Output),
            (get(&server, "/gzip"), ErrorKind::Output),
            (get(&server, "/hang-up"), ErrorKind::Connection),
            (get(&server, "/cut"), ErrorKind::Connection),
            (case(json!({ "url": closed })), ErrorKind::Connection),
            (Case::new("http.request", json!({ "url": server.url("/hello") })), ErrorKind::InvalidInput),
            (Case::new("http.request", json!({})), ErrorKind::InvalidInput),
        ],
        is_lost: vec![],
        endless: vec![get(&server, "/endless")],
        tells_context: None,
        counts_to: None,
        is_anything_left: Box::new(move || !watched.is_quiet()),
    })
    .await;
}

#[tokio::test]
async fn a_request_as_it_is_sent() {
    let server = server();
    let sent = output(&case(json!({
        "url": server.url("/p/%20?a=1"),
        "query": { "q": "ä &", "n": 2, "list": ["x", true] },
        "headers": { "X-Own": "v", "Accept": "application/json" },
        "bearer": "token",
        "json": { "b": [1, null] },
    })))
    .await;
    assert_eq!((&sent["method"], &sent["path"]), (&json!("POST"), &json!("/p/%20")));
    assert_eq!(sent["query"], "a=1&q=%C3%A4+%26&n=2&list=x&list=true");
    assert_eq!(sent["body"], json!({ "b": [1, null] }));
    let headers = &sent["headers"];
    assert_eq!(headers["authorization"], "Bearer token");
    assert_eq!((&headers["x-own"], &headers["accept"]), (&json!("v"), &json!("application/json")));
    assert_eq!(headers["content-type"], "application/json");
    assert!(headers["user-agent"].as_str().unwrap().starts_with("segue/"));
    assert!(headers.get("accept-encoding").is_none(), "what comes is counted as it comes");

    let text = output(&case(json!({ "url": server.url("/"), "method": "put", "body": "as it is" }))).await;
    assert_eq!((&text["method"], &text["body"]), (&json!("PUT"), &json!("as it is")));
    assert_eq!(text["headers"]["content-type"], "text/plain; charset=utf-8");
}

#[tokio::test]
async fn every_attempt_carries_the_same_key() {
    let server = server();
    let case = case(json!({ "url": server.url("/"), "method": "POST" }));
    for attempt in [1, 2, 7] {
        adapter().execute(case.invocation("pay", attempt).0).await;
    }
    let key = case.invocation("pay", 1).0.context.idempotency_key();
    assert!(key.ends_with("/pay"));
    for call in server.calls() {
        assert_eq!(call.header("idempotency-key"), key);
    }
    let own = output(&common::case(json!({ "url": server.url("/"), "headers": { "Idempotency-Key": "mine" } }))).await;
    assert_eq!(own["headers"]["idempotency-key"], "mine");
}

#[tokio::test]
async fn the_forms_of_an_answer() {
    let server = server();
    let of = |path: &str, form: Option<&str>| {
        let mut inputs = json!({ "url": server.url(path) });
        if let Some(form) = form {
            inputs["output"] = json!(form);
        }
        let case = case(inputs);
        async move { output(&case).await }
    };
    assert_eq!(of("/text", None).await, "1.10\n");
    assert_eq!(of("/text", Some("json")).await, json!(1.1));
    assert_eq!(of("/hello", Some("text")).await, "{\"greeting\":\"hello\"}");
    assert_eq!(of("/vendor", None).await, json!([1]));
    assert_eq!(of("/latin", None).await, "café");
    assert_eq!(of("/empty", None).await, Value::Null);
    let full = of("/headers", Some("full")).await;
    assert_eq!((&full["status"], &full["body"]), (&json!(201), &json!(7)));
    assert_eq!(full["headers"]["x-two"], json!(["a", "b"]));
    assert!(full["headers"].get("set-cookie").is_none(), "cookies are credentials");
}

#[tokio::test]
async fn statuses_that_are_expected_or_not() {
    let server = server();
    for (expected, status) in
        [(json!(404), 404), (json!("4xx"), 418), (json!([200, "5xx"]), 503), (json!("204"), 204), (json!(["3xx"]), 304)]
    {
        output(&case(json!({ "url": server.url(&format!("/status/{status}")), "expect_status": expected }))).await;
    }
    let found = error(&case(json!({ "url": server.url("/hello"), "expect_status": [201, "3xx"] }))).await;
    assert!(found.message.contains("answered 200 OK, expected was 201 or 3xx"), "{}", found.message);
    assert!(!found.retryable);
    let found = error(&get(&server, "/status/422")).await;
    assert_eq!(
        found.detail.unwrap(),
        json!({ "status": 422, "content_type": "text/plain; charset=utf-8", "body_start": "as you wished" })
    );
}

#[tokio::test]
async fn a_server_says_how_long_to_wait() {
    let server = WebServer::start(|call: Call| async move {
        let (status, after) = call.path[1..].split_once('/').unwrap();
        Answer::text(status.parse().unwrap(), "").with_header("Retry-After", &after.replace('_', " "))
    });
    let of = |path: &str| {
        let case = get(&server, path);
        async move { error(&case).await }
    };
    let found = of("/429/7").await;
    assert_eq!((found.kind, found.retryable, found.retry_after), (ErrorKind::RateLimited, true, Some(7.0)));
    let found = of("/503/Sun,_06_Nov_1994_08:49:37_GMT").await;
    assert_eq!((found.kind, found.retry_after), (ErrorKind::Provider, Some(0.0)));
    let found = of("/503/Fri,_31_Dec_2100_23:59:59_GMT").await;
    assert_eq!(found.retry_after, Some(86_400.0), "no more than a day");
    assert_eq!(of("/503/soon").await.retry_after, None);
    assert_eq!(of("/404/7").await.retry_after, None, "what is not tried again waits for nothing");
}

#[tokio::test]
async fn a_body_is_read_no_further_than_it_may_be() {
    let server = server();
    let limited = |path: &str| with_hints(json!({ "url": server.url(path) }), json!({ "body_bytes_max": 20_000 }));
    let found = error(&limited("/flood")).await;
    assert_eq!(found.kind, ErrorKind::Output);
    assert!(found.message.contains("longer than 20000 bytes"), "{}", found.message);
    let big = WebServer::start(|_| async { Answer::text(200, &"x".repeat(50_000)) });
    let found = error(&with_hints(json!({ "url": big.url("/") }), json!({ "body_bytes_max": 20_000 }))).await;
    assert!(found.message.contains("it has 50000"), "{}", found.message);
    output(&with_hints(json!({ "url": big.url("/") }), json!({ "body_bytes_max": 50_000 }))).await;
}

#[tokio::test]
async fn silence_has_an_end_and_closes_the_connection() {
    let server = server();
    for (index, path) in ["/never", "/endless"].into_iter().enumerate() {
        let hints = json!({ "read_timeout_seconds": 0.05 });
        let found = error(&with_hints(json!({ "url": server.url(path) }), hints)).await;
        assert_eq!((found.kind, found.retryable), (ErrorKind::Timeout, true), "{}", found.message);
        server.wait_for_hang_ups(index + 1).await;
    }
    // The attempt's own limit bounds every other one.
    let (mut invocation, _) = get(&server, "/never").invocation("task", 1);
    invocation.timeout = Some(std::time::Duration::from_millis(50));
    let outcome = adapter().execute(invocation).await;
    assert!(format!("{outcome:?}").contains("kind: Timeout"), "{outcome:?}");
}

#[tokio::test]
async fn a_cancel_closes_the_connection() {
    let server = server();
    let (invocation, controls) = get(&server, "/never").invocation("task", 1);
    let running = tokio::spawn(async move { adapter().execute(invocation).await });
    server.wait_for_calls(1).await;
    controls.cancel.cancel();
    let outcome = running.await.unwrap();
    assert!(matches!(outcome, segue_core::outcome::TaskOutcome::Cancelled { .. }), "{outcome:?}");
    server.wait_for_hang_ups(1).await;
}

#[test]
fn what_is_wrong_with_a_document_is_told_with_its_place() {
    let workflow: WorkflowSpec = serde_json::from_value(json!({
        "id": "w",
        "defaults": { "hints": { "http": { "redirects": 11 } } },
        "nodes": [
            { "id": "none", "task": "http.request" },
            { "id": "bad", "task": "http.request", "inputs": {
                "url": "ftp://x", "method": "BREW", "headers": { "Host": "x", "a b": "1", "X": [1], "Authorization": "x" },
                "query": { "a": {} }, "json": 1, "body": "x", "bearer": "t", "expect_status": "6xx", "output": "xml", "urll": 1,
            }, "hints": { "http": { "allow_private": ["10.0.0.1", "http://x"], "body_bytes_max": 0, "proxy": "x" } } },
            { "id": "user", "task": "http.request", "inputs": { "url": "https://me:canary@example.com" } },
            { "id": "open", "task": "http.request", "inputs": {
                "url": "{{ params.url }}", "method": "{{ params.m }}", "headers": { "X": { "$secret": "K" } },
                "query": "{{ params.q }}", "bearer": { "$secret": "K" }, "json": { "$secret": "K" }, "expect_status": "{{ params.s }}",
            } },
            { "id": "other", "task": "pass", "inputs": { "url": 1 }, "hints": { "http": 1 } },
        ],
    }))
    .unwrap();
    let found = adapter().translate_workflow(&workflow);
    assert!(found.iter().all(|diagnostic| !diagnostic.message.contains("canary")));
    let places: Vec<&str> = found.iter().map(|diagnostic| diagnostic.path.as_str()).collect();
    let expected = [
        "/nodes/0/inputs",
        "/nodes/1/inputs/urll",
        "/nodes/1/inputs/url",
        "/nodes/1/inputs/method",
        "/nodes/1/inputs/body",
        "/nodes/1/inputs/query/a",
        "/nodes/1/inputs/headers/X",
        "/nodes/1/inputs/headers/Host",
        "/nodes/1/inputs/headers/a b",
        "/nodes/1/inputs/headers/Authorization",
        "/nodes/1/inputs/expect_status",
        "/nodes/1/inputs/output",
        "/nodes/1/hints/http/proxy",
        "/nodes/1/hints/http/allow_private/1",
        "/nodes/1/hints/http/body_bytes_max",
        "/nodes/2/inputs/url",
        "/nodes/4/hints/http",
        "/defaults/hints/http/redirects",
    ];
    assert_eq!(places, expected);
}
