//! What is counted is what a provider bills, to the token.

use std::sync::Arc;

use segue_core::{
    outcome::Usage,
    ports::{ModelAccess as _, ModelDoor},
};
use segue_gateway::{Gateway, GatewayOptions, ModelOptions, Price};
use segue_testkit::{
    http::{request, send},
    provider::{Reply, StubProvider},
};
use serde_json::json;

use crate::common::{
    ask, attempt, attempt_with_controls, begin, options, port, question, read_until, said, said_in_pieces, start,
    streamed, until,
};

#[tokio::test]
async fn plain_and_streamed_answers_count_alike() {
    let provider = StubProvider::start();
    provider.always(Reply::text("A fine day.").with_usage(100, 10).with_cached(40));
    let gateway = start(&[&provider]).await;
    let door = gateway.open(&attempt(1)).unwrap();
    said(&ask(&*door, &question("Hello")).await);
    assert_eq!(said_in_pieces(&ask(&*door, &streamed("Hello")).await), "A fine day.");
    let mut asks = streamed("Hello");
    asks["stream_options"] = json!({ "include_usage": true });
    let counted = ask(&*door, &asks).await.events();
    assert_eq!(counted.last().unwrap()["usage"]["prompt_tokens"], 100);
    assert_eq!((door.usage(), gateway.usage()), (provider.usage(), provider.usage()));
    assert_eq!((door.usage().model_calls, door.usage().cached_input_tokens), (3, 120));
    assert!(provider.requests()[1].body["stream_options"]["include_usage"] == true, "it is asked for");
}

#[tokio::test]
async fn nobody_pays_for_what_was_refused_or_never_begun() {
    let provider = StubProvider::start();
    let gateway = start(&[&provider]).await;
    let door = gateway.open(&attempt(1)).unwrap();
    for reply in [Reply::status(500), Reply::rate_limited(None), Reply::dropped()] {
        provider.push(reply);
        let port = port(door.base_url());
        send(port, &request(port, "POST", "/v1/chat/completions", door.api_key(), &question("Hello"))).await;
    }
    provider.push(Reply::text("held").held());
    let (invocation, controls) = attempt_with_controls(1);
    let other = gateway.open(&invocation).unwrap();
    let port = port(other.base_url());
    let bytes = request(port, "POST", "/v1/chat/completions", other.api_key(), &question("Hello"));
    tokio::join!(send(port, &bytes), async {
        provider.wait_for_held(1).await;
        controls.cancel.cancel();
    });
    assert!(door.usage().is_zero() && other.usage().is_zero() && provider.usage().is_zero());
    said(&ask(&*door, &question("Hello")).await);
    assert_eq!(gateway.usage(), provider.usage());
}

/// A provider that says with every piece what it has billed is believed when a call is broken off.
#[tokio::test]
async fn a_stream_that_is_broken_off_counts_what_it_said() {
    let provider = StubProvider::start();
    provider
        .push(Reply::text("one two three four five six").with_usage(9, 6).with_usage_in_every_piece().held_midway());
    let gateway = start(&[&provider]).await;
    let (invocation, controls) = attempt_with_controls(1);
    let door = gateway.open(&invocation).unwrap();
    let mut stream = begin(&*door, &streamed("Count!")).await;
    assert!(!read_until(&mut stream, "two ").await.contains("usage"));
    controls.cancel.cancel();
    provider.wait_for_hang_up(1).await;
    until(|| door.usage().model_calls == 1).await;
    assert_eq!(door.usage(), provider.usage());
    // One that says nothing is estimated: what it wrote is not free.
    provider.push(Reply::text("one two three four five six").cut());
    let door = gateway.open(&attempt(1)).unwrap();
    let port = port(door.base_url());
    send(port, &request(port, "POST", "/v1/chat/completions", door.api_key(), &streamed("Count!"))).await;
    let usage = door.usage();
    assert!(usage.model_calls == 1 && usage.input_tokens > 0 && usage.output_tokens > 0, "{usage:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_tasks_at_once_are_counted_one_by_one() {
    let provider = StubProvider::start();
    for (word, tokens) in [("short", 3), ("long", 300)] {
        provider.when(word, Reply::text(word).with_usage(tokens, tokens));
    }
    let gateway = Arc::new(start(&[&provider]).await);
    let tasks = (0..8).map(|number| {
        let gateway = gateway.clone();
        tokio::spawn(async move {
            let door: Box<dyn ModelDoor> = gateway.open(&attempt(1)).unwrap();
            let word = if number % 2 == 0 { "short" } else { "long" };
            for call in 0..10 {
                let text = format!("{word} {number} {call}");
                let body = if call % 2 == 0 { question(&text) } else { streamed(&text) };
                assert_eq!(ask(&*door, &body).await.status, 200);
            }
            door.usage()
        })
    });
    let mut sum = Usage::default();
    for (number, task) in tasks.collect::<Vec<_>>().into_iter().enumerate() {
        let usage = task.await.unwrap();
        assert_eq!(usage.input_tokens, if number % 2 == 0 { 30 } else { 3_000 });
        sum += usage;
    }
    assert_eq!((sum, gateway.usage()), (provider.usage(), provider.usage()));
}

#[tokio::test]
async fn calls_are_told_with_their_cost_and_never_with_their_contents() {
    let provider = StubProvider::start();
    provider.always(Reply::text("A secret answer.").with_usage(1_000, 100).with_cached(400));
    let price = Price { input: 2.5, cached_input: Some(1.25), output: 10.0 };
    let models = vec![ModelOptions { pattern: "gpt-*".into(), price: Some(price), ..ModelOptions::default() }];
    let gateway = Gateway::start(GatewayOptions { models, ..options(&[&provider]) }).await.unwrap();
    let (invocation, controls) = attempt_with_controls(1);
    let door = gateway.open(&invocation).unwrap();
    said(&ask(&*door, &question("A secret question?")).await);
    said_in_pieces(&ask(&*door, &streamed("A secret question?")).await);
    assert_eq!(door.usage().cost_nanousd, 2 * 3_000_000);
    let told = controls.progress.seen();
    assert_eq!(told.len(), 2);
    for (call, streamed) in told.iter().zip([false, true]) {
        assert_eq!(call.name, "model.call");
        let data = &call.data;
        assert_eq!(
            (&data["model"], &data["provider"], &data["outcome"]),
            (&json!("gpt-4o"), &json!("stub"), &json!("answered"))
        );
        assert_eq!(
            (&data["input_tokens"], &data["output_tokens"], &data["cached_input_tokens"]),
            (&json!(1_000), &json!(100), &json!(400))
        );
        assert_eq!(
            (&data["cost_usd"], &data["status"], &data["streamed"]),
            (&json!(0.003), &json!(200), &json!(streamed))
        );
        assert_eq!((&data["replayed"], &data["estimated"]), (&json!(false), &json!(false)));
        assert!(data["ms"].as_f64() >= data["first_byte_ms"].as_f64() && data["first_byte_ms"].is_f64(), "{data}");
        assert!(!data.to_string().contains("secret"), "{data}");
    }
}
