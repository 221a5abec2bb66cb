//! A retry never pays twice.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use segue_core::{
    ids::RunId,
    outcome::{ErrorKind, TaskOutcome, Usage},
    ports::{CallKey, Invocation, ModelAccess as _, ModelJournal, RecordedCall, StoreError},
};
use segue_gateway::{Gateway, GatewayOptions};
use segue_testkit::{
    http::{call, request, send},
    provider::{Reply, StubProvider},
};
use serde_json::{Value, json};
use tokio::{io::AsyncReadExt as _, sync::Semaphore};

use crate::common::{
    Journal, ask, attempt, attempt_with_controls, begin, options, port, question, said, said_in_pieces, start, streamed,
};

/// Six steps, each of which asks something of its own; two ask the same.
const STEPS: [&str; 6] = ["one", "two", "two", "three", "four", "five"];

fn number_the_answers(provider: &StubProvider) {
    for number in 1..=20 {
        provider.push(Reply::text(&format!("answer {number}")));
    }
}

#[tokio::test]
async fn what_a_lost_attempt_was_answered_is_given_again() {
    let provider = StubProvider::start();
    number_the_answers(&provider);
    let gateway = start(&[&provider]).await;
    let door = gateway.open(&attempt(1)).unwrap();
    let mut heard = Vec::new();
    for step in &STEPS[..4] {
        heard.push(said(&ask(&*door, &question(step)).await));
    }
    drop(door);
    let door = gateway.open(&attempt(2)).unwrap();
    let mut again = Vec::new();
    for step in STEPS {
        again.push(said(&ask(&*door, &question(step)).await));
    }
    assert_eq!(again[..4], heard);
    assert_eq!(again[4..], ["answer 5", "answer 6"]);
    assert_eq!((provider.requests().len(), door.usage().model_calls), (6, 2));
    assert_eq!(gateway.usage(), provider.usage());
}

#[tokio::test]
async fn an_answer_is_given_again_in_the_form_that_is_asked_for() {
    let provider = StubProvider::start();
    provider.push(Reply::text("plain words"));
    provider.push(Reply::text("streamed words"));
    provider.push(Reply::tool_call("clock", &json!({ "zone": "UTC" })));
    let gateway = start(&[&provider]).await;
    let door = gateway.open(&attempt(1)).unwrap();
    said(&ask(&*door, &question("a")).await);
    said_in_pieces(&ask(&*door, &streamed("b")).await);
    ask(&*door, &streamed("c")).await;
    drop(door);

    let door = gateway.open(&attempt(2)).unwrap();
    assert_eq!(said_in_pieces(&ask(&*door, &streamed("a")).await), "plain words");
    assert_eq!(said(&ask(&*door, &question("b")).await), "streamed words");
    let called = ask(&*door, &question("c")).await.json();
    let function = &called["choices"][0]["message"]["tool_calls"][0]["function"];
    assert_eq!((&function["name"], &function["arguments"]), (&json!("clock"), &json!(r#"{"zone":"UTC"}"#)));
    drop(door);

    let door = gateway.open(&attempt(3)).unwrap();
    assert_eq!(said(&ask(&*door, &question("a")).await), "plain words");
    let plain = ask(&*door, &streamed("b")).await;
    assert!(said_in_pieces(&plain) == "streamed words" && !plain.body.contains("usage"), "{}", plain.body);
    let mut counted = streamed("c");
    counted["stream_options"] = json!({ "include_usage": true });
    let events = ask(&*door, &counted).await.events();
    assert_eq!(events.last().unwrap()["usage"]["prompt_tokens"], 10);
    assert_eq!(provider.requests().len(), 3);
    assert!(door.usage().is_zero());
}

#[tokio::test]
async fn responses_and_embeddings_are_given_again_too() {
    let provider = StubProvider::start();
    number_the_answers(&provider);
    let gateway = start(&[&provider]).await;
    let response = |stream: bool| json!({ "model": "m", "input": "Hello", "stream": stream });
    let embedding = json!({ "model": "m", "input": "Hello" });
    let mut heard: Vec<Value> = Vec::new();
    for number in 1..=3 {
        let door = gateway.open(&attempt(number)).unwrap();
        let port = port(door.base_url());
        let post = async |path: &str, body: &Value| call(port, "POST", path, door.api_key(), body).await;
        let answer = match number {
            2 => {
                let pieces = post("/v1/responses", &response(true)).await.body;
                let last = pieces.split("data: ").last().unwrap().trim();
                serde_json::from_str::<Value>(last).unwrap()["response"].clone()
            }
            _ => post("/v1/responses", &response(false)).await.json(),
        };
        heard.push(json!([answer, post("/v1/embeddings", &embedding).await.json()]));
    }
    assert!(heard.iter().all(|answers| *answers == heard[0]), "{heard:?}");
    assert_eq!(provider.requests().len(), 2);
}

#[tokio::test]
async fn only_what_was_answered_in_full_is_kept() {
    let provider = StubProvider::start();
    let bad = [Reply::status(500), Reply::malformed(), Reply::no_choices(), Reply::text("cut off").cut()];
    let bad_streams = [Reply::text("a stream that is cut off").cut(), Reply::no_choices()];
    let gateway = start(&[&provider]).await;
    let ask_roughly = async |door: &dyn segue_core::ports::ModelDoor, body: &Value| {
        let port = port(door.base_url());
        send(port, &request(port, "POST", "/v1/chat/completions", door.api_key(), body)).await
    };
    let door = gateway.open(&attempt(1)).unwrap();
    for reply in bad {
        provider.push(reply);
        ask_roughly(&*door, &question("Hello")).await;
    }
    for reply in bad_streams {
        provider.push(reply);
        ask_roughly(&*door, &streamed("Hello")).await;
    }
    provider.push(Reply::text("good"));
    assert_eq!(said(&ask(&*door, &question("Hello")).await), "good");
    let asked = provider.requests().len();
    drop(door);
    let door = gateway.open(&attempt(2)).unwrap();
    assert_eq!(said(&ask(&*door, &question("Hello")).await), "good", "the first that was good");
    assert_eq!(provider.requests().len(), asked);
}

#[tokio::test]
async fn a_policy_says_what_is_given_again() {
    let provider = StubProvider::start();
    number_the_answers(&provider);
    let gateway = start(&[&provider]).await;
    let with = |number: u32, since: u32, policy: &str| -> Invocation {
        let mut invocation = attempt(number);
        invocation.handler = "crewai.crew".into();
        invocation.context.answers_since = since;
        invocation.hints = HashMap::from([("crewai", json!({ "journal": policy }))])
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        invocation
    };
    let answer = async |invocation: Invocation| {
        let door = gateway.open(&invocation).unwrap();
        said(&ask(&*door, &question("Hello")).await)
    };
    assert_eq!(answer(with(1, 1, "crash")).await, "answer 1");
    assert_eq!(answer(with(2, 1, "crash")).await, "answer 1");
    assert_eq!(answer(with(3, 3, "crash")).await, "answer 2", "the answer was the reason for the failure");
    assert_eq!(answer(with(4, 3, "crash")).await, "answer 2");
    assert_eq!(answer(with(5, 3, "off")).await, "answer 3");
    assert_eq!(answer(with(6, 6, "always")).await, "answer 1");
    assert!(gateway.open(&with(7, 1, "perhaps")).err().unwrap().message.contains("hints.crewai.journal"));
}

/// An answer is durable before its last byte is given.
#[tokio::test]
async fn who_has_heard_an_answer_finds_it_in_the_journal() {
    let provider = StubProvider::start();
    let journal = Arc::new(Journal::default());
    let options = GatewayOptions { journal: journal.clone(), ..options(&[&provider]) };
    let gateway = Gateway::start(options).await.unwrap();
    let (invocation, controls) = attempt_with_controls(1);
    let door = gateway.open(&invocation).unwrap();
    for number in 1..=20 {
        let text = number.to_string();
        let body = if number % 2 == 0 { question(&text) } else { streamed(&text) };
        assert!(ask(&*door, &body).await.is_whole);
        assert_eq!(journal.0.lock().unwrap().len(), number);
    }
    let of_attempt = journal.usage(invocation.context.run_id, &invocation.context.effect_key, 1).await.unwrap();
    assert_eq!((of_attempt, controls.progress.seen().len()), (provider.usage(), 20));
}

/// A failure of the provider that no provider has caused: the framework could not read what it was given.
#[tokio::test]
async fn an_answer_after_which_an_attempt_fails_for_no_other_reason_is_asked_for_anew() {
    let provider = StubProvider::start();
    number_the_answers(&provider);
    let gateway = start(&[&provider]).await;
    let mut heard = Vec::new();
    for number in 1..=2 {
        let door = gateway.open(&attempt(number)).unwrap();
        for step in ["one", "two"] {
            heard.push(said(&ask(&*door, &question(step)).await));
        }
        door.settle(TaskOutcome::failure(ErrorKind::Provider, "The answer cannot be read."));
    }
    assert_eq!(heard, ["answer 1", "answer 2", "answer 1", "answer 3"]);
}

/// A journal that is slow to write.
struct Slow {
    entered: Semaphore,
    goes_on: Semaphore,
}

#[async_trait]
impl ModelJournal for Slow {
    async fn record(&self, _: RecordedCall) -> Result<(), StoreError> {
        self.entered.add_permits(1);
        self.goes_on.acquire().await.unwrap().forget();
        Ok(())
    }

    async fn recorded(&self, _: &CallKey) -> Result<Option<RecordedCall>, StoreError> {
        Ok(None)
    }

    async fn usage(&self, _: RunId, _: &str, _: u32) -> Result<Usage, StoreError> {
        Ok(Usage::default())
    }
}

#[tokio::test]
async fn the_end_of_an_answer_is_held_back_until_it_is_kept() {
    let provider = StubProvider::start();
    provider.always(Reply::text("one two three four five six"));
    let journal = Arc::new(Slow { entered: Semaphore::new(0), goes_on: Semaphore::new(0) });
    let options = GatewayOptions { journal: journal.clone(), ..options(&[&provider]) };
    let gateway = Gateway::start(options).await.unwrap();
    let door = gateway.open(&attempt(1)).unwrap();
    for body in [question("Count!"), streamed("Count!")] {
        let mut stream = begin(&*door, &body).await;
        journal.entered.acquire().await.unwrap().forget();
        // Whatever was let through is here by now, or never.
        let mut seen = Vec::new();
        for _ in 0..200 {
            tokio::task::yield_now().await;
            let _ = stream.try_read_buf(&mut seen);
        }
        let seen = String::from_utf8(seen).unwrap();
        assert!(!seen.contains("stop") && !seen.contains("[DONE]"), "{seen}");
        journal.goes_on.add_permits(1);
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        assert!(rest.contains("stop"), "{rest}");
    }
}
