#![allow(clippy::unwrap_used)]

use std::{fs, sync::Mutex};

use async_trait::async_trait;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use futures_util::{StreamExt as _, stream};
use hyper::body::Bytes;
use segue_core::ids::{RunId, TaskId};
use serde_json::{Value, json};

use super::*;
use crate::{
    ask::{Ask, Endpoint},
    upstream::{Caller, UpstreamError, UpstreamReply, UpstreamRequest},
};

const KEY: &str = "sk-canary-key";

/// Status, kind and pieces of an answer; an error breaks it off.
type Answer = (u16, &'static str, Vec<Result<&'static str, ()>>);

/// Answers what it is told to.
struct Told(Mutex<Vec<Answer>>);

#[async_trait]
impl Upstream for Told {
    fn name(&self) -> &str {
        "told"
    }

    async fn send(&self, _request: UpstreamRequest) -> Result<UpstreamReply, UpstreamError> {
        let (status, kind, pieces) = self.0.lock().unwrap().remove(0);
        let pieces = pieces.into_iter().map(|piece| match piece {
            Ok(text) => Ok(Bytes::from_static(text.as_bytes())),
            Err(()) => Err(UpstreamError::Broken("cut".to_owned())),
        });
        let mut headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))]);
        if status == 429 {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("7"));
        }
        let body = stream::iter(pieces.collect::<Vec<_>>()).boxed();
        Ok(UpstreamReply { status: StatusCode::from_u16(status).unwrap(), headers, body })
    }

    fn secret(&self) -> Option<&str> {
        Some(KEY)
    }
}

fn request(task: &str, body: &Value) -> UpstreamRequest {
    let ask = Ask::parse(Endpoint::Chat, Bytes::from(body.to_string())).unwrap();
    let run_id = RunId::from_bytes([1; 16]);
    let headers = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static("Bearer sk-canary-token"))]);
    UpstreamRequest {
        endpoint: Endpoint::Chat,
        model: ask.model.clone(),
        stream: ask.stream,
        body: ask.body.clone(),
        headers,
        caller: Caller { run_id, task: TaskId::new(task), effect_key: format!("{run_id}/{task}"), attempt: 1 },
        hash: ask.hash,
    }
}

fn question(text: &str) -> Value {
    json!({ "model": "m", "messages": [{ "role": "system", "content": "be brief" }, { "role": "user", "content": text }] })
}

/// Status, `Retry-After`, body; the body up to where it breaks off.
async fn ask(upstream: &dyn Upstream, request: UpstreamRequest) -> (u16, Option<String>, String) {
    let mut reply = upstream.send(request).await.unwrap();
    let mut body = Vec::new();
    while let Some(Ok(piece)) = reply.body.next().await {
        body.extend_from_slice(&piece);
    }
    let pause = reply.headers.get(header::RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned());
    (reply.status.as_u16(), pause, String::from_utf8(body).unwrap())
}

const JSON: &str = "application/json";
const SSE: &str = "text/event-stream; charset=utf-8";
const PLAIN: &str = r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"two words"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}"#;

#[tokio::test]
async fn what_was_answered_is_answered_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.cassette");
    let told = Told(Mutex::new(vec![
        (429, JSON, vec![Ok("{\"error\": \"wait, sk-canary-key\"}")]),
        (200, JSON, vec![Ok("first")]),
        (200, SSE, vec![Ok("data: half\n\n"), Err(())]),
        (200, SSE, vec![Ok("data: {}\n\n"), Ok("data: [DONE]\n\n")]),
        (200, JSON, vec![Ok("other task")]),
    ]));
    let cassette = Cassette::record(&path).unwrap();
    let upstream = cassette.around(Arc::new(told));
    let mut streamed = question("canary prompt");
    streamed["stream"] = json!(true);
    for (task, body) in [
        ("a", question("x")),
        ("a", question("x")),
        ("a", streamed.clone()),
        ("a", streamed.clone()),
        ("b", question("x")),
    ] {
        ask(&*upstream, request(task, &body)).await;
    }
    assert_eq!((cassette.calls(), cassette.trouble()), (4, None), "what breaks off is no answer");
    assert_eq!(upstream.secret(), Some(KEY));

    let text = fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("{\"segue_cassette\":1}\n"));
    assert!(!text.contains("canary"), "neither keys nor prompts are kept: {text}");

    let cassette = Cassette::replay(&path).unwrap();
    assert!(cassette.is_replay());
    let player = cassette.player().unwrap();
    let wait = "{\"error\": \"wait, ***\"}".to_owned();
    // In another order of the tasks, and without the attempt that was cut.
    assert_eq!(ask(&*player, request("b", &question("x"))).await, (200, None, "other task".to_owned()));
    assert_eq!(ask(&*player, request("a", &question("x"))).await, (429, Some("0".to_owned()), wait));
    assert_eq!(ask(&*player, request("a", &question("x"))).await.2, "first");
    assert_eq!(ask(&*player, request("a", &streamed)).await.2, "data: {}\n\ndata: [DONE]\n\n");
    assert_eq!(cassette.calls(), 4);
}

#[tokio::test]
async fn a_call_that_is_not_known_is_refused_and_says_how_it_differs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.cassette");
    let cassette = Cassette::record(&path).unwrap();
    let upstream = cassette.around(Arc::new(Told(Mutex::new(vec![(200, JSON, vec![Ok(PLAIN)])]))));
    ask(&*upstream, request("a", &question("x"))).await;

    let cassette = Cassette::replay(&path).unwrap();
    let player = cassette.player().unwrap();
    let mut warmer = question("x");
    warmer["temperature"] = json!(1);
    for (task, body, says) in [
        ("a", question("y"), "differs in `messages[1].content`"),
        ("a", warmer, "differs in `temperature`"),
        ("b", question("x"), "no call of the task `b`"),
    ] {
        let (status, _, said) = ask(&*player, request(task, &body)).await;
        assert!(status == 400 && said.contains("segue_no_recording") && said.contains(says), "{status} {said}");
    }
    // Asked for in the other form.
    let mut streamed = question("x");
    streamed["stream"] = json!(true);
    let (_, _, said) = ask(&*player, request("a", &streamed)).await;
    assert!(said.contains("two words") && said.ends_with("data: [DONE]\n\n"), "{said}");
    let (_, _, said) = ask(&*player, request("a", &question("x"))).await;
    assert!(said.contains("now once more"), "{said}");
}

#[test]
fn a_line_that_a_crash_cut_short_is_passed_over_and_nothing_else_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.cassette");
    let load = |text: &str| {
        fs::write(&path, text).unwrap();
        Cassette::replay(&path).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(load("{\"segue_cassette\":1}\n{\"task\":\"a\",\"ha"), Ok(()));
    for (text, says) in [
        ("", "it is empty"),
        ("nodes: []\n", "its first line"),
        ("{\"segue_cassette\":2}\n", "version 2"),
        ("{\"segue_cassette\":1}\n{\"task\":\n", "line 2"),
    ] {
        let error = load(text).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
    assert!(Cassette::replay(&dir.path().join("none")).is_err());
}

#[test]
fn only_a_cassette_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("workflow.yaml");
    fs::write(&path, "id: mine\n").unwrap();
    assert!(matches!(Cassette::record(&path), Err(CassetteError::NotACassette { .. })));
    assert_eq!(fs::read_to_string(&path).unwrap(), "id: mine\n");
    assert!(Cassette::record(dir.path()).is_err(), "a folder");
    fs::write(&path, "{\"segue_cassette\":1}\nold\n").unwrap();
    drop(Cassette::record(&path).unwrap());
    assert_eq!(fs::read_to_string(&path).unwrap(), "{\"segue_cassette\":1}\n");
}
