//! What the bus does when Redis is away, comes back, stalls, or says nonsense.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use futures_util::{FutureExt, StreamExt};
use segue_core::ports::{EventBus, Topic};
use segue_testkit::{
    conformance::{PATIENCE, eventually},
    gate::Gate,
    services::{self, RedisServer},
};

use self::common::{bus, bus_with, event, next, own_prefix, run};

/// Short enough that a stall of the server ends the connections that the engine has.
const HASTE: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_hears_another() {
    let (url, prefix) = (services::redis(), own_prefix());
    let (engine, watcher) = (bus(&url, &prefix), bus(&url, &prefix));
    assert!(engine.is_listened(run()), "in doubt");
    eventually("the engine knows that nobody listens", || async { (!engine.is_listened(run())).then_some(()) }).await;
    let mut stream = watcher.subscribe(Topic::Run(run())).await.unwrap();
    eventually("the engine knows the watcher", || async { engine.is_listened(run()).then_some(()) }).await;
    engine.publish((1..=3).map(event).collect());
    for seq in 1..=3 {
        assert_eq!(next(&mut stream).await, event(seq));
    }
    drop(stream);
    eventually("the engine knows that the watcher left", || async { (!engine.is_listened(run())).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_at_the_start_is_found_later() {
    let mut server = RedisServer::start().unwrap();
    server.stop().unwrap();
    let bus = bus(&server.url(), "segue");
    assert!(bus.is_listened(run()), "in doubt");
    bus.publish(vec![event(1)]);
    let error = bus.subscribe(Topic::Run(run())).await.map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("unavailable") && !error.contains(server.password()), "{error}");
    assert!(!format!("{bus:?}").contains(server.password()));
    server.restart().unwrap();
    let mut stream = eventually("a subscription", || async { bus.subscribe(Topic::Run(run())).await.ok() }).await;
    bus.publish(vec![event(2)]);
    // What waited in the outbox meanwhile may come first, late as it is.
    let first = next(&mut stream).await;
    let heard = if first == event(1) { next(&mut stream).await } else { first };
    assert_eq!(heard, event(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_outlives_the_server() {
    let mut server = RedisServer::start().unwrap();
    let (engine, watcher) = (bus(&server.url(), "segue"), bus(&server.url(), "segue"));
    let mut stream = watcher.subscribe(Topic::Run(run())).await.unwrap();
    engine.publish(vec![event(1)]);
    assert_eq!(next(&mut stream).await.seq, 1);
    server.restart().unwrap();
    // What nobody could hear is gone; what comes after is heard, in order.
    let (start, mut seq) = (Instant::now(), 1);
    let heard = loop {
        seq += 1;
        engine.publish(vec![event(seq)]);
        if let Ok(heard) = tokio::time::timeout(Duration::from_millis(20), stream.next()).await {
            break heard.unwrap().seq;
        }
        assert!(start.elapsed() < PATIENCE, "nothing is heard again");
    };
    assert!(heard > 1);
    let mut last = heard;
    engine.publish(vec![event(seq + 1)]);
    while last <= seq {
        let now = next(&mut stream).await.seq;
        assert!(now > last, "{now} after {last}");
        last = now;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_missed_with_the_connection_comes_from_the_stream() {
    let server = RedisServer::start().unwrap();
    let gate = Gate::to(server.port()).await;
    let through = server.url().replace(&server.port().to_string(), &gate.port().to_string());
    let (engine, watcher) = (bus(&server.url(), "segue"), bus(&through, "segue"));
    let mut stream = watcher.subscribe(Topic::Run(run())).await.unwrap();
    eventually("the engine knows the watcher", || async { engine.is_listened(run()).then_some(()) }).await;
    engine.publish(vec![event(1)]);
    assert_eq!(next(&mut stream).await.seq, 1);
    gate.shut();
    // The watcher vanished: the engine goes on publishing for a while.
    engine.publish((2..=5).map(event).collect());
    engine.flush().await;
    assert!(engine.is_listened(run()));
    assert!(stream.next().now_or_never().is_none(), "nothing goes through a shut gate");
    gate.open();
    for seq in 2..=5 {
        assert_eq!(next(&mut stream).await, event(seq));
    }
    engine.publish(vec![event(6)]);
    assert_eq!(next(&mut stream).await, event(6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_server_holds_up_no_engine() {
    const EVENTS: u64 = 50_000;
    let mut server = RedisServer::start().unwrap();
    let engine = bus_with(&server.url(), "segue", HASTE);
    let watcher = bus(&server.url(), "segue");
    let mut stream = watcher.subscribe(Topic::Run(run())).await.unwrap();
    engine.publish(vec![event(1)]);
    assert_eq!(next(&mut stream).await.seq, 1);
    server.signal("STOP").unwrap();
    // Would never end if one of them waited for the server.
    for seq in 2..=EVENTS {
        engine.publish(vec![event(seq)]);
        assert!(engine.is_listened(run()));
    }
    assert!(engine.dropped() > 0, "the outbox is bounded");
    server.signal("CONT").unwrap();
    let (start, mut seq, mut last) = (Instant::now(), EVENTS, 1);
    while last <= EVENTS {
        seq += 1;
        engine.publish(vec![event(seq)]);
        while let Ok(heard) = tokio::time::timeout(Duration::from_millis(20), stream.next()).await {
            let now = heard.unwrap().seq;
            assert!(now > last, "{now} after {last}");
            last = now;
        }
        assert!(start.elapsed() < PATIENCE, "nothing is heard again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_on_the_channels_is_passed_over() {
    let (url, prefix) = (services::redis(), own_prefix());
    let bus = bus(&url, &prefix);
    let mut stream = bus.subscribe(Topic::Run(run())).await.unwrap();
    let client = redis::Client::open(url).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let foreign = serde_json::to_string(&segue_core::event::Envelope {
        run_id: segue_core::ids::RunId::from_bytes([1; 16]),
        ..event(1)
    });
    for (channel, text) in [
        (format!("{prefix}:run:{}", run()), "{}".to_owned()),
        (format!("{prefix}:run:{}", run()), foreign.unwrap()),
        (format!("{prefix}:audience"), "+x".to_owned()),
        (format!("{prefix}:audience"), "\u{1F600}".to_owned()),
    ] {
        redis::cmd("PUBLISH").arg(channel).arg(text).exec_async(&mut connection).await.unwrap();
    }
    bus.publish(vec![event(1)]);
    assert_eq!(next(&mut stream).await, event(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_are_bounded_and_expire() {
    let (url, prefix) = (services::redis(), own_prefix());
    let bus = bus(&url, &prefix);
    let mut stream = bus.subscribe(Topic::Run(run())).await.unwrap();
    for batch in 0..50 {
        bus.publish((batch * 100 + 1..=batch * 100 + 100).map(event).collect());
        for _ in 0..100 {
            next(&mut stream).await;
        }
    }
    let client = redis::Client::open(url).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let key = format!("{prefix}:log:{}", run());
    let kept: u64 = redis::cmd("XLEN").arg(&key).query_async(&mut connection).await.unwrap();
    // Redis cuts whole nodes of a hundred entries.
    assert!((1_000..1_200).contains(&kept), "{kept}");
    let expires: i64 = redis::cmd("TTL").arg(&key).query_async(&mut connection).await.unwrap();
    assert!((1..=600).contains(&expires), "{expires}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_speaks_no_tls_is_an_error_and_no_more() {
    let url = services::redis().replace("redis://", "rediss://");
    let bus = bus_with(&url, "segue", Duration::from_secs(10));
    assert!(bus.subscribe(Topic::All).await.is_err());
}
