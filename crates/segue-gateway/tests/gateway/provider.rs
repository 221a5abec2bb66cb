//! What reaches a provider, and what of it comes back.

use segue_core::{
    outcome::{ErrorKind, TaskOutcome},
    ports::ModelAccess as _,
};
use segue_gateway::{Gateway, GatewayOptions, ProviderKey, ProviderOptions};
use segue_testkit::{
    http::{self, request, send},
    provider::{Reply, StubProvider},
};
use serde_json::json;
use tokio::io::AsyncReadExt as _;

use crate::common::{
    KEY, ask, attempt, attempt_with_controls, begin, options, port, question, read_until, said, said_in_pieces, start,
    streamed,
};

#[tokio::test]
async fn a_call_is_passed_on_with_the_providers_key_and_without_the_attempts() {
    let provider = StubProvider::start();
    let gateway = start(&[&provider]).await;
    let door = gateway.open(&attempt(1)).unwrap();
    let mut body = question("What is the time?");
    body["temperature"] = json!(0.5);
    assert_eq!(said(&ask(&*door, &body).await), "A stub's answer.");
    let seen = &provider.requests()[0];
    assert_eq!((&seen.body, seen.key(), seen.path.as_str()), (&body, Some(KEY), "/v1/chat/completions"));
    assert!(!format!("{:?}", seen.headers).contains(door.api_key()), "{:?}", seen.headers);
}

#[tokio::test]
async fn a_stream_is_given_on_as_it_comes() {
    let provider = StubProvider::start();
    provider.push(Reply::text("one two three four five six").held_midway());
    let gateway = start(&[&provider]).await;
    let door = gateway.open(&attempt(1)).unwrap();
    let mut stream = begin(&*door, &streamed("Count!")).await;
    let mut seen = read_until(&mut stream, "two ").await;
    provider.wait_for_held(1).await;
    assert!(!seen.contains("[DONE]"), "{seen}");
    provider.release();
    stream.read_to_string(&mut seen).await.unwrap();
    assert!(seen.contains("six") && seen.contains("[DONE]"), "{seen}");
    assert!(!seen.contains("usage"), "not asked for: {seen}");
}

#[tokio::test]
async fn errors_of_a_provider_are_given_on() {
    let provider = StubProvider::start();
    let gateway = start(&[&provider]).await;
    let door = gateway.open(&attempt(1)).unwrap();
    let replies = [Reply::status(500), Reply::status(400), Reply::rate_limited(None), Reply::quota()];
    for (at, (reply, status)) in replies.into_iter().zip([500, 400, 429, 429]).enumerate() {
        provider.push(reply);
        let answer = ask(&*door, &question("Hello")).await;
        assert_eq!((answer.status, provider.requests().len()), (status, at + 1), "{}", answer.body);
        assert!(answer.json()["error"]["message"].as_str().unwrap().contains("The stub was told"));
    }
    assert!(door.usage().is_zero() && door.refusal().is_none());
}

#[tokio::test]
async fn a_key_that_a_provider_repeats_is_taken_out() {
    let provider = StubProvider::start();
    provider.push(Reply::raw(401, &json!({ "error": { "message": format!("Wrong key: {KEY}.") } }).to_string()));
    let gateway = start(&[&provider]).await;
    let door = gateway.open(&attempt(1)).unwrap();
    let answer = ask(&*door, &question("Hello")).await;
    assert_eq!(answer.json()["error"]["message"], "Wrong key: ***.");
}

#[tokio::test]
async fn a_connection_that_breaks_breaks_the_clients_too_and_the_outcome_says_why() {
    let provider = StubProvider::start();
    let gateway = start(&[&provider]).await;
    let door = gateway.open(&attempt(1)).unwrap();
    let port = port(door.base_url());
    for (reply, body) in [
        (Reply::dropped(), question("Hello")),
        (Reply::text("cut off").cut(), question("Hello")),
        (Reply::text("a stream that is cut off").cut(), streamed("Hello")),
    ] {
        provider.push(reply);
        let answer = send(port, &request(port, "POST", "/v1/chat/completions", door.api_key(), &body)).await;
        assert!(answer.is_none_or(|answer| !answer.is_whole));
        let outcome = door.settle(TaskOutcome::failure(ErrorKind::Connection, "It broke."));
        let TaskOutcome::Failed { error, .. } = outcome else { panic!() };
        assert!(error.message.starts_with("It broke. (the provider"), "{}", error.message);
    }
    drop(provider);
    let answer = send(port, &request(port, "POST", "/v1/chat/completions", door.api_key(), &question("Hello"))).await;
    assert!(answer.is_none());
    let TaskOutcome::Failed { error, .. } = door.settle(TaskOutcome::failure(ErrorKind::Connection, "No.")) else {
        panic!()
    };
    assert!(error.message.contains("`stub` cannot be reached"), "{}", error.message);
}

#[tokio::test]
async fn what_is_not_wanted_any_more_is_hung_up_at_once() {
    let provider = StubProvider::start();
    provider.always(Reply::text("too late").held());
    let gateway = start(&[&provider]).await;
    for (number, body) in [(1, question("Hello")), (2, streamed("Hello"))] {
        // The attempt is cancelled: its client is still there.
        let (invocation, controls) = attempt_with_controls(1);
        let door = gateway.open(&invocation).unwrap();
        let port = port(door.base_url());
        let bytes = request(port, "POST", "/v1/chat/completions", door.api_key(), &body);
        let (answer, ()) = tokio::join!(send(port, &bytes), async {
            provider.wait_for_request(3 * number - 2).await;
            controls.cancel.cancel();
        });
        assert!(answer.is_none(), "{answer:?}");
        provider.wait_for_hang_up(3 * number - 2).await;

        // The door is dropped.
        let door = gateway.open(&attempt(1)).unwrap();
        let bytes = request(port, "POST", "/v1/chat/completions", door.api_key(), &body);
        let (answer, ()) = tokio::join!(send(port, &bytes), async {
            provider.wait_for_request(3 * number - 1).await;
            drop(door);
        });
        assert!(answer.is_none(), "{answer:?}");
        provider.wait_for_hang_up(3 * number - 1).await;

        // The client goes away.
        let door = gateway.open(&attempt(1)).unwrap();
        let stream = begin(&*door, &body).await;
        provider.wait_for_request(3 * number).await;
        drop(stream);
        provider.wait_for_hang_up(3 * number).await;
        assert!(door.usage().is_zero());
    }
}

#[tokio::test]
async fn a_stream_is_hung_up_in_the_middle() {
    let provider = StubProvider::start();
    provider.always(Reply::text("one two three four five six").held_midway());
    let gateway = start(&[&provider]).await;
    let (invocation, controls) = attempt_with_controls(1);
    let door = gateway.open(&invocation).unwrap();
    let mut stream = begin(&*door, &streamed("Count!")).await;
    read_until(&mut stream, "two ").await;
    controls.cancel.cancel();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert!(!rest.contains("[DONE]"), "{rest}");
    provider.wait_for_hang_up(1).await;
}

#[tokio::test]
async fn the_model_says_which_provider_is_asked() {
    let (first, second) = (StubProvider::start(), StubProvider::start());
    let of = |name: &str, stub: &StubProvider, models: &[&str]| ProviderOptions {
        models: models.iter().map(|name| (*name).to_owned()).collect(),
        ..ProviderOptions::new(name, stub.base_url())
    };
    let providers = vec![of("first", &first, &["gpt-*", "o3"]), of("second", &second, &["gpt-4o-local", "qwen*"])];
    let gateway = Gateway::start(GatewayOptions { providers, ..options(&[]) }).await.unwrap();
    let door = gateway.open(&attempt(1)).unwrap();
    for model in ["gpt-4o", "gpt-4o-local", "o3", "qwen3"] {
        let mut body = question("Hello");
        body["model"] = json!(model);
        said(&ask(&*door, &body).await);
    }
    let models = |stub: &StubProvider| stub.requests().iter().map(|seen| seen.model().to_owned()).collect::<Vec<_>>();
    assert_eq!(
        (models(&first), models(&second)),
        (vec!["gpt-4o".into(), "o3".into()], vec!["gpt-4o-local".into(), "qwen3".into()])
    );
    let mut body = question("Hello");
    body["model"] = json!("claude");
    let answer = ask(&*door, &body).await;
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (404, &json!("model_not_found")));
    assert_eq!(door.refusal().unwrap().kind, ErrorKind::InvalidInput);
    let listed = http::call(port(door.base_url()), "GET", "/v1/models", door.api_key(), &json!(null)).await.json();
    assert_eq!(listed["data"][1]["id"], "o3");
}

#[tokio::test]
async fn without_a_provider_or_its_key_it_says_so() {
    let gateway = start(&[]).await;
    assert_eq!(gateway.open(&attempt(1)).err().unwrap().kind, ErrorKind::Auth);

    let key = ProviderKey::Missing("the variable NO_SUCH_KEY is not set".to_owned());
    let providers = vec![ProviderOptions { key, ..ProviderOptions::new("a", "http://127.0.0.1:1/v1") }];
    let gateway = Gateway::start(GatewayOptions { providers, ..options(&[]) }).await.unwrap();
    let door = gateway.open(&attempt(1)).unwrap();
    let answer = ask(&*door, &question("Hello")).await;
    assert_eq!(answer.status, 401);
    let TaskOutcome::Failed { error, .. } = door.settle(TaskOutcome::failure(ErrorKind::User, "?")) else { panic!() };
    assert_eq!((error.kind, error.retryable), (ErrorKind::Auth, false));
    assert!(error.message.contains("NO_SUCH_KEY"), "{}", error.message);
    for bad in ["ftp://x/v1", "http://user:secret@x/v1", "nonsense"] {
        let providers = vec![ProviderOptions::new("a", bad)];
        let error = Gateway::start(GatewayOptions { providers, ..options(&[]) }).await.err().unwrap().to_string();
        assert!(error.contains("`a`") && !error.contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn responses_and_embeddings_go_the_same_way() {
    let provider = StubProvider::start();
    provider.always(Reply::text("A fine day.").with_usage(7, 3));
    let gateway = start(&[&provider]).await;
    let door = gateway.open(&attempt(1)).unwrap();
    let call = async |path: &str, body| http::call(port(door.base_url()), "POST", path, door.api_key(), &body).await;
    let answer = call("/v1/responses", json!({ "model": "gpt-4o", "input": "Hello" })).await.json();
    assert_eq!(answer["output"][0]["content"][0]["text"], "A fine day.");
    let pieces = call("/v1/responses", json!({ "model": "gpt-4o", "input": "Hello", "stream": true })).await;
    assert!(pieces.is_whole && pieces.body.contains("response.completed"), "{}", pieces.body);
    let answer = call("/v1/embeddings", json!({ "model": "ada", "input": "Hello" })).await.json();
    assert_eq!(answer["data"][0]["embedding"][1], -0.5);
    let usage = door.usage();
    assert_eq!((usage.model_calls, usage.input_tokens, usage.output_tokens), (3, 21, 6));
    assert_eq!(said_in_pieces(&ask(&*door, &streamed("Hello")).await), "A fine day.");
}
