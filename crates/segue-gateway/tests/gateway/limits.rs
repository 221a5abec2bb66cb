//! Limits that all callers share, and providers that ask to wait.

use std::{sync::Arc, time::Duration};

use segue_core::{
    ids::{EngineId, RunId},
    memory::MemoryStore,
    ports::{EngineRecord, LimitStore as _, ModelAccess as _, ModelDoor, OwnerProof, RunStore as _},
};
use segue_gateway::{Clock, Gateway, GatewayOptions, ModelOptions, SharedLimits};
use segue_testkit::{
    conformance::now,
    provider::{Reply, StubProvider},
};
use tokio::task::JoinSet;

use crate::common::{ask, attempt, options, question, said, start, streamed, until};

fn door(gateway: &Gateway, run: u8) -> Box<dyn ModelDoor> {
    let mut invocation = attempt(1);
    invocation.context.run_id = RunId::from_bytes([run; 16]);
    gateway.open(&invocation).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_callers_share_three_at_once_and_eight_a_minute() {
    let provider = StubProvider::start();
    let (clock, hand) = Clock::manual();
    let limits = ModelOptions {
        pattern: "gpt-*".into(),
        concurrent: Some(3),
        requests_per_minute: Some(8),
        ..ModelOptions::default()
    };
    let options = GatewayOptions { models: vec![limits], clock, ..options(&[&provider]) };
    let gateway = Arc::new(Gateway::start(options).await.unwrap());
    let mut callers = JoinSet::new();
    for number in 0..20_u8 {
        let gateway = gateway.clone();
        callers.spawn(async move {
            let door = door(&gateway, number);
            let text = number.to_string();
            let reply =
                if number % 2 == 0 { ask(&*door, &question(&text)).await } else { ask(&*door, &streamed(&text)).await };
            assert!(reply.status == 200 && reply.is_whole, "{}", reply.body);
        });
    }
    for (seen, waiting) in [(8, 12), (16, 4)] {
        provider.wait_for_request(seen).await;
        until(|| gateway.waiting("gpt-4o") == waiting).await;
        // All of them are answered: only the minute holds the others up.
        for _ in 0..8 {
            callers.join_next().await.unwrap().unwrap();
        }
        assert_eq!((provider.requests().len(), gateway.waiting("gpt-4o")), (seen, waiting));
        hand.advance(Duration::from_secs(59));
        hand.advance(Duration::from_secs(1));
    }
    while let Some(caller) = callers.join_next().await {
        caller.unwrap();
    }
    assert_eq!(provider.requests().len(), 20);
    assert!(provider.most_at_once() <= 3, "{}", provider.most_at_once());
}

/// Two engines on one store: three calls at once in both together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateways_of_two_engines_share_a_models_limits() {
    let provider = StubProvider::start();
    provider.always(Reply::text("held").held());
    let store = MemoryStore::new(Arc::new(now));
    let mut gateways = Vec::new();
    for name in ["one", "two"] {
        let engine = EngineId::new(name);
        let proof = OwnerProof { boot_id: name.to_owned(), pid: 1, started_ticks: 1 };
        let record = EngineRecord { engine_id: engine.clone(), proof };
        store.renew_engine(&record, Duration::from_secs(3_600)).await.unwrap();
        let three = ModelOptions { pattern: "gpt-*".into(), concurrent: Some(3), ..ModelOptions::default() };
        let limits = Some(SharedLimits { store: Arc::new(store.clone()), engine });
        let options = GatewayOptions { models: vec![three], limits, ..options(&[&provider]) };
        gateways.push(Arc::new(Gateway::start(options).await.unwrap()));
    }
    let mut callers = JoinSet::new();
    for number in 0..20_u8 {
        let gateway = gateways[usize::from(number % 2)].clone();
        callers.spawn(async move { said(&ask(&*door(&gateway, number), &question(&number.to_string())).await) });
    }
    provider.wait_for_held(3).await;
    until(|| gateways.iter().map(|gateway| gateway.waiting("gpt-4o")).sum::<usize>() == 17).await;
    assert_eq!(provider.requests().len(), 3);
    while !callers.is_empty() {
        provider.release();
        tokio::select! {
            caller = callers.join_next() => assert_eq!(caller.unwrap().unwrap(), "held"),
            () = provider.wait_for_held(1) => {}
        }
    }
    assert_eq!((provider.requests().len(), provider.most_at_once()), (20, 3));
    // They are given back beside the answers.
    let all_back = async {
        while store.look(vec!["//gpt-*".into()]).await.unwrap()[0].held > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all_back).await.expect("all slots are given back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_asks_to_wait_is_waited_for_by_all() {
    let provider = StubProvider::start();
    provider.push(Reply::rate_limited(Some(2)));
    let (clock, hand) = Clock::manual();
    let gateway = Arc::new(Gateway::start(GatewayOptions { clock, ..options(&[&provider]) }).await.unwrap());
    let mut callers = JoinSet::new();
    let call = |number: u8| {
        let gateway = gateway.clone();
        async move {
            let door = door(&gateway, number);
            let answer = said(&ask(&*door, &question(&number.to_string())).await);
            (answer, door.usage().model_calls, door.refusal().is_none())
        }
    };
    callers.spawn(call(0));
    provider.wait_for_request(1).await;
    until(|| gateway.waiting("gpt-4o") == 1).await;
    for number in 1..8 {
        callers.spawn(call(number));
    }
    until(|| gateway.waiting("gpt-4o") == 8).await;
    hand.advance(Duration::from_secs(1));
    assert_eq!((provider.requests().len(), gateway.waiting("gpt-4o")), (1, 8));
    hand.advance(Duration::from_millis(1_100));
    while let Some(answered) = callers.join_next().await {
        assert_eq!(answered.unwrap(), ("A stub's answer.".to_owned(), 1, true));
    }
    assert_eq!(provider.requests().len(), 9);
    assert_eq!(gateway.usage(), provider.usage());
}

#[tokio::test]
async fn a_wait_has_an_end() {
    let provider = StubProvider::start();
    provider.push(Reply::rate_limited(Some(601)));
    let gateway = start(&[&provider]).await;
    let door = gateway.open(&attempt(1)).unwrap();
    let answer = ask(&*door, &question("Hello")).await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, "601"));
    provider.push(Reply::quota().with_header("retry-after", "1"));
    assert_eq!(ask(&*door, &question("Hello")).await.status, 429, "waiting fills no account");
    assert_eq!(provider.requests().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_waiting_holds_up_nobody() {
    let provider = StubProvider::start();
    provider.push(Reply::text("held").held());
    let one = ModelOptions { pattern: "*".into(), concurrent: Some(1), ..ModelOptions::default() };
    let gateway = Gateway::start(GatewayOptions { models: vec![one], ..options(&[&provider]) }).await.unwrap();
    let gateway = Arc::new(gateway);
    let (first, second, third) = (door(&gateway, 1), door(&gateway, 2), door(&gateway, 3));
    let third_asks = async {
        until(|| gateway.waiting("gpt-4o") == 1).await;
        said(&ask(&*third, &question("third")).await)
    };
    let goes = async {
        provider.wait_for_request(1).await;
        let port = crate::common::port(second.base_url());
        let bytes =
            segue_testkit::http::request(port, "POST", "/v1/chat/completions", second.api_key(), &question("second"));
        let waits = tokio::spawn(async move { segue_testkit::http::send(port, &bytes).await });
        until(|| gateway.waiting("gpt-4o") == 2).await;
        drop(second);
        assert!(waits.await.unwrap().is_none());
        until(|| gateway.waiting("gpt-4o") == 1).await;
        provider.release();
    };
    let body = question("first");
    let (held, answer, ()) = tokio::join!(ask(&*first, &body), third_asks, goes);
    assert_eq!((said(&held), answer.as_str()), ("held".to_owned(), "A stub's answer."));
    assert_eq!((provider.requests().len(), provider.most_at_once()), (2, 1));
}
