//! The bus on NOTIFY: the suite of the port, and what it does when the database is away or an event is large.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures_util::StreamExt;
use segue_bus::BusOptions;
use segue_core::{
    event::Envelope,
    ids::{RunId, WorkflowId},
    ports::{BusError, EventBus, EventStream, RunStore, Topic},
    time::Timestamp,
};
use segue_postgres::{PostgresBus, PostgresStore};
use segue_testkit::{
    conformance::{
        PATIENCE, eventually,
        run_store::{new_run, run_id, workflow},
    },
    event_bus_suite,
    gate::Gate,
    services::{self, Database, PostgresServer},
};
use serde_json::json;
use support::{Empty, open};

/// A bus on a database of its own.
struct Own {
    bus: PostgresBus,
    _database: Empty,
}

#[async_trait]
impl EventBus for Own {
    fn publish(&self, batch: Vec<Envelope>) {
        self.bus.publish(batch);
    }

    fn is_listened(&self, run: RunId) -> bool {
        self.bus.is_listened(run)
    }

    async fn subscribe(&self, topic: Topic) -> Result<EventStream, BusError> {
        self.bus.subscribe(topic).await
    }
}

fn fresh() -> Arc<dyn EventBus> {
    let making = || tokio::runtime::Handle::current().block_on(services::postgres());
    let database = Empty(tokio::task::block_in_place(making));
    Arc::new(Own { bus: bus(database.store()), _database: database })
}

event_bus_suite!(fresh);

/// A bus that is patient with a loaded machine.
fn bus(store: Arc<PostgresStore>) -> PostgresBus {
    PostgresBus::new(store, BusOptions { patience: PATIENCE, ..BusOptions::default() })
}

fn event(seq: u64) -> Envelope {
    Envelope {
        seq,
        name: "task.started".to_owned(),
        time: Timestamp::from_micros(1_790_000_000_000_000),
        workflow_id: WorkflowId::new("flow"),
        run_id: run_id(1),
        task_id: None,
        attempt: Some(1),
        data: json!({}),
        transient: false,
    }
}

async fn next(stream: &mut EventStream) -> Envelope {
    tokio::time::timeout(PATIENCE, stream.next()).await.expect("an event comes").expect("the bus goes on")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_hears_another() {
    let database = services::postgres().await;
    let (engine, watcher) = (bus(open(&database.url()).await), bus(open(&database.url()).await));
    assert!(engine.is_listened(run_id(1)), "in doubt");
    let knows = async |is_listened| {
        eventually("the engine knows", || async { (engine.is_listened(run_id(1)) == is_listened).then_some(()) }).await;
    };
    knows(false).await;
    let mut stream = watcher.subscribe(Topic::Run(run_id(1))).await.unwrap();
    knows(true).await;
    engine.publish((1..=300).map(event).collect());
    for seq in 1..=300 {
        assert_eq!(next(&mut stream).await, event(seq));
    }
    drop(stream);
    knows(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_fact_is_read_from_the_log_and_comes_in_its_place() {
    let database = services::postgres().await;
    let store = open(&database.url()).await;
    store.put_workflow(workflow("flow")).await.unwrap();
    let new = new_run(1, json!({"text": "long ".repeat(4_000)}));
    let facts = new.events.iter().map(|event| Envelope::of(event, &new.run.workflow_id, new.run.run_id));
    let facts = facts.collect::<Vec<_>>();
    assert!(serde_json::to_string(&facts[0]).unwrap().len() > 8_000);
    store.create_run(new).await.unwrap();
    let bus = bus(store);
    let mut one = bus.subscribe(Topic::Run(run_id(1))).await.unwrap();
    let mut all = bus.subscribe(Topic::All).await.unwrap();
    let large_progress = Envelope { transient: true, data: json!("long ".repeat(4_000)), ..event(1) };
    bus.publish([facts[0].clone(), large_progress, facts[1].clone()].to_vec());
    for stream in [&mut one, &mut all] {
        assert_eq!(next(stream).await, facts[0]);
        assert_eq!(next(stream).await, facts[1], "large progress is not told");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_missed_with_the_connection_comes_from_the_log() {
    let database = services::postgres().await;
    let engine_store = open(&database.url()).await;
    engine_store.put_workflow(workflow("flow")).await.unwrap();
    let (server, _) = database.admin().rsplit_once('/').unwrap();
    let port = server.rsplit_once(':').unwrap().1;
    let gate = Gate::to(port.parse().unwrap()).await;
    let through = database.url().replace(&format!(":{port}/"), &format!(":{}/", gate.port()));
    let (engine, watcher) = (bus(engine_store.clone()), bus(open(&through).await));
    let mut stream = watcher.subscribe(Topic::Run(run_id(1))).await.unwrap();
    let new = new_run(1, json!({}));
    let facts = new.events.iter().map(|event| Envelope::of(event, &new.run.workflow_id, new.run.run_id));
    let facts = facts.collect::<Vec<_>>();
    engine_store.create_run(new).await.unwrap();
    engine.publish(vec![facts[0].clone()]);
    assert_eq!(next(&mut stream).await, facts[0]);
    gate.shut();
    engine.publish(vec![facts[1].clone()]);
    engine.flush().await;
    gate.open();
    assert_eq!(next(&mut stream).await, facts[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_outlives_the_server() {
    let mut server = PostgresServer::start().unwrap();
    let database = Database::on(&server.url()).await;
    let (engine, watcher) = (bus(open(&database.url()).await), bus(open(&database.url()).await));
    let mut stream = watcher.subscribe(Topic::Run(run_id(1))).await.unwrap();
    engine.publish(vec![event(1)]);
    assert_eq!(next(&mut stream).await.seq, 1);
    server.stop_immediate().unwrap();
    // Nothing of this waits or fails.
    engine.publish(vec![event(2)]);
    assert!(engine.is_listened(run_id(1)), "in doubt");
    assert!(engine.subscribe(Topic::All).await.is_err());
    server.restart().unwrap();
    let (start, mut seq, mut last) = (Instant::now(), 2, 1);
    loop {
        seq += 1;
        engine.publish(vec![event(seq)]);
        if let Ok(heard) = tokio::time::timeout(Duration::from_millis(20), stream.next()).await {
            let now = heard.unwrap().seq;
            assert!(now > last, "{now} after {last}");
            last = now;
            if last > 2 {
                break;
            }
        }
        assert!(start.elapsed() < PATIENCE, "nothing is heard again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_on_the_channels_is_passed_over() {
    let database = services::postgres().await;
    let bus = bus(open(&database.url()).await);
    let mut stream = bus.subscribe(Topic::Run(run_id(1))).await.unwrap();
    let foreign = serde_json::to_string(&Envelope { run_id: run_id(2), ..event(1) }).unwrap();
    let own = format!("segue_run_{}", run_id(1).to_string().replace('-', ""));
    let client = database.client().await;
    for (channel, text) in [
        (own.as_str(), "{}".to_owned()),
        (&own, foreign),
        (&own, format!("@{}/1", run_id(2))),
        (&own, format!("@{}/7", run_id(1))),
        ("segue_audience", "+x".to_owned()),
        ("segue_audience", String::new()),
    ] {
        client.execute("SELECT pg_notify($1, $2)", &[&channel, &text]).await.unwrap();
    }
    bus.publish(vec![event(1)]);
    assert_eq!(next(&mut stream).await, event(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_listens_to_very_many_runs_holds_few_locks() {
    let database = services::postgres().await;
    let store = open(&database.url()).await;
    let (engine, watcher) = (bus(store.clone()), bus(store));
    // From here on it hears who comes and goes; before that it takes everybody for listening.
    eventually("nobody is there yet", || async { (!engine.is_listened(run_id(9_999))).then_some(()) }).await;
    let mut streams = Vec::new();
    for n in 1..=150 {
        streams.push(watcher.subscribe(Topic::Run(run_id(n))).await.unwrap());
    }
    let count = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 \
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let locks: i64 = database.client().await.query_one(count, &[]).await.unwrap().get(0);
    assert!((100..=101).contains(&locks), "{locks}");
    eventually("all are listened to", || async { engine.is_listened(run_id(9_999)).then_some(()) }).await;
    engine.publish(vec![Envelope { run_id: run_id(150), ..event(1) }]);
    assert_eq!(next(&mut streams[149]).await.run_id, run_id(150));
    drop(streams);
    eventually("nobody is left", || async { (!engine.is_listened(run_id(150))).then_some(()) }).await;
}
