//! Where a request may go, and what of it goes where.
#![allow(clippy::unwrap_used)]

mod common;

use std::process::Command;

use common::{adapter, case, error, output, with_hints};
use segue_core::{
    outcome::{ErrorKind, TaskOutcome},
    ports::Adapter,
};
use segue_testkit::{
    conformance::adapter::Case,
    web::{Answer, Call, WebServer},
};
use serde_json::{Value, json};

/// Redirects with a status to an address: `/307?to=URL`. Anything else tells what came.
fn redirector() -> WebServer {
    WebServer::start(|call: Call| async move {
        let target = call.query.strip_prefix("to=").unwrap_or_default().to_owned();
        match call.path[1..].parse() {
            Ok(status) => Answer::text(status, "").with_header("Location", &target),
            Err(_) => Answer::json(200, &json!({ "method": call.method, "headers": call.headers, "body": call.body })),
        }
    })
}

#[tokio::test]
async fn addresses_of_this_network_are_refused_in_every_spelling() {
    let server = redirector();
    let port = server.port();
    for host in [
        "127.0.0.1",
        "localhost",
        "LocalHost",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0x7f.1",
        "127.1",
        "127.0.0.01",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "１２７.0.0.1",
        "①②⑦.0.0.1",
        "127。0。0。1",
        "0",
        "0.0.0.0",
        "[::]",
        "10.0.0.1",
        "192.168.0.1",
        "172.16.9.9",
        "100.64.0.1",
        "169.254.169.254",
        "0xa9fea9fe",
        "[fe80::1]",
        "[fc00::1]",
        "224.0.0.1",
        "255.255.255.255",
    ] {
        let found = error(&Case::new("http.request", json!({ "url": format!("http://{host}:{port}/x") }))).await;
        assert_eq!(found.kind, ErrorKind::InvalidInput, "{host}: {found}");
        assert!(found.message.contains("may not reach") && !found.retryable, "{host}: {found}");
    }
    for url in
        ["file:///etc/passwd", "ftp://example.com", "gopher://127.0.0.1", "data:text/plain,x", "//example.com", "x"]
    {
        let found = error(&Case::new("http.request", json!({ "url": url }))).await;
        assert_eq!(found.kind, ErrorKind::InvalidInput, "{url}: {found}");
    }
    assert!(server.calls().is_empty());
}

#[tokio::test]
async fn what_is_named_may_be_reached() {
    let server = redirector();
    let of = |host: &str, allowed: Value| {
        let url = format!("http://{host}:{}/x", server.port());
        Case::new("http.request", json!({ "url": url })).with_hints(json!({ "http": { "allow_private": allowed } }))
    };
    for (host, allowed) in
        [("127.0.0.1", "127.0.0.1"), ("127.1", "127.0.0.0/8"), ("localhost", "localhost"), ("localhost", "127.0.0.1")]
    {
        output(&of(host, json!([allowed]))).await;
    }
    for (host, allowed) in [("127.0.0.1", "localhost"), ("127.0.0.1", "10.0.0.0/8"), ("localhost", "127.0.0.2")] {
        assert_eq!(error(&of(host, json!([allowed]))).await.kind, ErrorKind::InvalidInput, "{host} by {allowed}");
    }
    assert_eq!(server.calls().len(), 4);
}

#[tokio::test]
async fn each_hop_is_looked_at() {
    let server = redirector();
    for target in [
        format!("http://127.0.0.2:{}/x", server.port()),
        format!("http://[::ffff:7f00:2]:{}/x", server.port()),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "file:///etc/passwd".to_owned(),
        format!("http://me:canary@127.0.0.1:{}/x", server.port()),
    ] {
        let found = error(&case(json!({ "url": server.url(&format!("/302?to={target}")) }))).await;
        assert_eq!(found.kind, ErrorKind::InvalidInput, "{target}: {found}");
        assert!(!found.message.contains("canary"), "{found}");
    }
    assert!(server.calls().iter().all(|call| call.path == "/302"));
}

#[tokio::test]
async fn how_often_a_redirect_is_followed() {
    let server = redirector();
    let chain = |hops: usize| (0..hops).fold("/end".to_owned(), |path, _| format!("/302?to={path}"));
    output(&case(json!({ "url": server.url(&chain(3)) }))).await;
    let found = error(&case(json!({ "url": server.url(&chain(4)) }))).await;
    assert!(found.message.contains("more than 3 times"), "{found}");
    // What may have an effect is not repeated elsewhere unless it is said to be.
    let post = |hints: Value| with_hints(json!({ "url": server.url("/307?to=/end"), "json": 1 }), hints);
    let found = error(&post(json!({}))).await;
    assert!(found.message.contains("307") && found.message.contains("redirects"), "{found}");
    assert_eq!(output(&post(json!({ "redirects": 1 }))).await["body"], 1);
    let found = error(&with_hints(json!({ "url": server.url("/302?to=/end") }), json!({ "redirects": 0 }))).await;
    assert_eq!(found.kind, ErrorKind::InvalidInput);
    let seen =
        output(&with_hints(json!({ "url": server.url("/303?to=/end"), "json": 1 }), json!({ "redirects": 1 }))).await;
    assert_eq!((&seen["method"], &seen["body"]), (&json!("GET"), &Value::Null));
    let inputs = json!({ "url": server.url("/302?to=/end"), "expect_status": 302 });
    assert_eq!(output(&with_hints(inputs, json!({ "redirects": 0 }))).await, Value::Null);
}

#[tokio::test]
async fn credentials_and_bodies_stay_with_the_first_origin() {
    let (first, second) = (redirector(), redirector());
    let inputs = json!({
        "url": first.url(&format!("/302?to={}", second.url("/end"))),
        "headers": { "X-Api-Key": "k", "Cookie": "c", "Accept": "text/x" },
        "bearer": "t",
    });
    let seen = output(&case(inputs.clone())).await;
    for name in ["authorization", "cookie", "x-api-key", "idempotency-key", "referer"] {
        assert!(seen["headers"].get(name).is_none(), "{name} went along: {seen}");
    }
    assert_eq!(seen["headers"]["accept"], "text/x");
    let mut same = inputs;
    same["url"] = json!(first.url("/302?to=/end"));
    assert_eq!(output(&case(same)).await["headers"]["x-api-key"], "k");

    let target = second.url("/end");
    let body =
        with_hints(json!({ "url": first.url(&format!("/308?to={target}")), "json": "b" }), json!({ "redirects": 3 }));
    assert!(error(&body).await.message.contains("another host"));
    assert_eq!(second.calls().len(), 1);
}

#[tokio::test]
async fn nothing_that_was_given_is_told() {
    let server = WebServer::start(|call: Call| async move {
        match call.path.as_str() {
            "/500/path-canary" => Answer::text(500, "no"),
            "/json" => Answer::new(200, "application/json", "{"),
            "/big" => Answer::text(200, &"x".repeat(1000)),
            "/away" => Answer::text(302, "").with_header("Location", "http://u:loc-canary@127.0.0.1/loc-canary"),
            "/inside" => Answer::text(302, "").with_header("Location", "http://10.0.0.1/loc-canary?loc-canary"),
            "/hang-up" => Answer::hang_up(),
            _ => std::future::pending().await,
        }
    });
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = format!("http://{}/path-canary", listener.local_addr().unwrap());
    drop(listener);
    let paths = ["/500/path-canary", "/json", "/big", "/away", "/inside", "/hang-up", "/never"];
    let urls = paths.map(|path| server.url(path)).into_iter().chain([
        closed,
        "http://u:user-canary@127.0.0.1/".to_owned(),
        "http://[path-canary".to_owned(),
        "http://10.0.0.1/path-canary".to_owned(),
        "http://no-such-host.invalid/path-canary".to_owned(),
    ]);
    for url in urls {
        let case = with_hints(
            json!({
                "url": url, "query": { "key": "query-canary" }, "headers": { "X-Key": "header-canary" },
                "bearer": "bearer-canary", "json": "body-canary", "method": "GET",
            }),
            json!({ "body_bytes_max": 100, "read_timeout_seconds": 0.2 }),
        );
        let (invocation, controls) = case.invocation("task", 1);
        let outcome = adapter().execute(invocation).await;
        assert!(matches!(outcome, TaskOutcome::Failed { .. }), "{url}: {outcome:?}");
        let told = format!("{outcome:?} {:?}", controls.progress.seen());
        assert!(!told.contains("canary"), "{told}");
    }
    let broken = case(json!({ "url": server.url("/"), "headers": { "X-Key": "line\nheader-canary" }, "bearer": "x" }));
    let found = error(&broken).await;
    assert!(found.message.contains("headers.X-Key") && !found.message.contains("canary"), "{found}");
}

const TARGET: &str = "SEGUE_TEST_TARGET";

/// Run by the test below, in a process with other variables.
#[tokio::test]
async fn in_a_process_of_its_own() {
    if let Ok(url) = std::env::var(TARGET) {
        output(&case(json!({ "url": url }))).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_environment_sends_nothing_through_a_proxy() {
    let (target, proxy) = (redirector(), redirector());
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", "in_a_process_of_its_own"])
        .env(TARGET, target.url("/x"))
        .env_remove("NO_PROXY")
        .env_remove("no_proxy");
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        child.env(name, proxy.url(""));
    }
    let ended = tokio::task::spawn_blocking(move || child.output()).await.unwrap().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
    assert_eq!((target.calls().len(), proxy.calls().len()), (1, 0));
}

#[tokio::test]
async fn a_proxy_that_is_named_is_used() {
    let proxy = redirector();
    let options = segue_http::HttpOptions { proxy: Some(proxy.url("")), ..Default::default() };
    let adapter = segue_http::HttpAdapter::new(options);
    let case = Case::new("http.request", json!({ "url": "http://somewhere.invalid/end" }));
    let outcome = adapter.execute(case.invocation("task", 1).0).await;
    assert!(matches!(outcome, TaskOutcome::Succeeded { .. }), "{outcome:?}");
    assert_eq!(proxy.calls()[0].path, "http://somewhere.invalid/end");
}
