//! What every [`EventBus`] must keep. [`event_bus_suite!`](crate::event_bus_suite) makes a test of each case.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt, StreamExt};
use segue_core::{
    event::Envelope,
    ids::{RunId, WorkflowId},
    ports::{EventBus, EventStream, Topic},
    time::Timestamp,
};
use serde_json::json;

use super::{PATIENCE, eventually, run_store::run_id};

/// Makes one `#[test]` of each case of the suite. `$fresh` is a function that makes an `Arc<dyn EventBus>`.
#[macro_export]
macro_rules! event_bus_suite {
    (@ $fresh:expr; $($case:ident)*) => {
        $(
            #[test]
            fn $case() {
                $crate::conformance::block_on(async { $crate::conformance::event_bus::$case($fresh()).await });
            }
        )*
    };
    ($fresh:expr) => {
        $crate::event_bus_suite! { @ $fresh;
            events_of_a_run_arrive_in_order
            a_topic_gets_its_own_events_only
            every_subscriber_gets_its_copy
            nothing_from_before_the_subscription_arrives
            nobody_listening_is_no_trouble
            listening_is_noticed
            a_slow_subscriber_misses_events_and_holds_up_nobody
        }
    };
}

fn envelope(run: RunId, seq: u64) -> Envelope {
    Envelope {
        seq,
        name: "task.started".to_owned(),
        time: Timestamp::from_micros(1_790_000_000_000_000),
        workflow_id: WorkflowId::new("flow"),
        run_id: run,
        task_id: None,
        attempt: Some(1),
        data: json!({"seq": seq}),
        transient: seq.is_multiple_of(2),
    }
}

async fn listen(bus: &Arc<dyn EventBus>, topic: Topic) -> EventStream {
    bus.subscribe(topic).await.expect("a subscription")
}

async fn next(stream: &mut EventStream) -> Envelope {
    tokio::time::timeout(PATIENCE, stream.next()).await.expect("an event comes").expect("the bus goes on")
}

/// Nothing more comes: an event of `run` that is published now is the very next one.
async fn assert_nothing_before(bus: &Arc<dyn EventBus>, stream: &mut EventStream, run: RunId, seq: u64) {
    bus.publish(vec![envelope(run, seq)]);
    assert_eq!(next(stream).await, envelope(run, seq));
}

/// In the order of publishing, over batches, whole.
pub async fn events_of_a_run_arrive_in_order(bus: Arc<dyn EventBus>) {
    let mut stream = listen(&bus, Topic::Run(run_id(1))).await;
    bus.publish((1..=3).map(|seq| envelope(run_id(1), seq)).collect());
    bus.publish((4..=5).map(|seq| envelope(run_id(1), seq)).collect());
    for seq in 1..=5 {
        assert_eq!(next(&mut stream).await, envelope(run_id(1), seq));
    }
}

/// A run's topic has that run's events; the topic of all has everybody's.
pub async fn a_topic_gets_its_own_events_only(bus: Arc<dyn EventBus>) {
    let mut one = listen(&bus, Topic::Run(run_id(1))).await;
    let mut all = listen(&bus, Topic::All).await;
    bus.publish(vec![envelope(run_id(2), 1), envelope(run_id(1), 1), envelope(run_id(2), 2)]);
    assert_eq!(next(&mut one).await, envelope(run_id(1), 1));
    for (run, seq) in [(2, 1), (1, 1), (2, 2)] {
        assert_eq!(next(&mut all).await, envelope(run_id(run), seq));
    }
    assert_nothing_before(&bus, &mut one, run_id(1), 2).await;
}

/// Two subscribers of one topic both get everything, and one that left harms none.
pub async fn every_subscriber_gets_its_copy(bus: Arc<dyn EventBus>) {
    let topic = Topic::Run(run_id(1));
    let (mut first, gone, mut second) =
        (listen(&bus, topic).await, listen(&bus, topic).await, listen(&bus, topic).await);
    drop(gone);
    bus.publish(vec![envelope(run_id(1), 1), envelope(run_id(1), 2)]);
    for stream in [&mut first, &mut second] {
        for seq in 1..=2 {
            assert_eq!(next(stream).await, envelope(run_id(1), seq));
        }
    }
}

/// A subscriber listens from now on.
pub async fn nothing_from_before_the_subscription_arrives(bus: Arc<dyn EventBus>) {
    let mut early = listen(&bus, Topic::All).await;
    bus.publish(vec![envelope(run_id(1), 1)]);
    next(&mut early).await;
    let mut stream = listen(&bus, Topic::All).await;
    assert_nothing_before(&bus, &mut stream, run_id(1), 2).await;
}

/// Publishing to nobody, and publishing nothing.
pub async fn nobody_listening_is_no_trouble(bus: Arc<dyn EventBus>) {
    bus.publish(vec![envelope(run_id(1), 1)]);
    bus.publish(Vec::new());
    let mut stream = listen(&bus, Topic::All).await;
    bus.publish(Vec::new());
    assert_nothing_before(&bus, &mut stream, run_id(1), 2).await;
}

/// `is_listened` is true for whoever is listened to, and false again at some time after the last one left.
pub async fn listening_is_noticed(bus: Arc<dyn EventBus>) {
    let one = listen(&bus, Topic::Run(run_id(1))).await;
    assert!(bus.is_listened(run_id(1)));
    let all = listen(&bus, Topic::All).await;
    assert!(bus.is_listened(run_id(2)));
    drop(all);
    assert!(bus.is_listened(run_id(1)));
    drop(one);
    eventually("nobody is listened to", || async {
        let silent = !bus.is_listened(run_id(1)) && !bus.is_listened(run_id(2));
        silent.then_some(())
    })
    .await;
}

/// `publish` returns at once however slow a subscriber is; that one sees a gap in `seq`, the others see everything.
pub async fn a_slow_subscriber_misses_events_and_holds_up_nobody(bus: Arc<dyn EventBus>) {
    const EVENTS: u64 = 50_000;
    // As many at once as the quick one has room for.
    const BATCH: u64 = 100;
    let mut slow = listen(&bus, Topic::Run(run_id(1))).await;
    let mut quick = listen(&bus, Topic::Run(run_id(1))).await;
    for first in (1..=EVENTS).step_by(BATCH as usize) {
        bus.publish((first..first + BATCH).map(|seq| envelope(run_id(1), seq)).collect());
        for seq in first..first + BATCH {
            assert_eq!(next(&mut quick).await.seq, seq);
        }
    }
    let mut last = 0;
    let mut seen = 0;
    loop {
        // Asks for what is there, and once more after a moment for a bus with a network behind it.
        let event = match slow.next().now_or_never() {
            Some(event) => event,
            None => match tokio::time::timeout(Duration::from_millis(200), slow.next()).await {
                Ok(event) => event,
                Err(_) => break,
            },
        };
        let event = event.expect("the bus goes on");
        assert!(event.seq > last, "order holds");
        last = event.seq;
        seen += 1;
    }
    assert!(seen > 0 && seen < EVENTS, "a bounded queue holds some of the events: {seen}");
    assert_nothing_before(&bus, &mut slow, run_id(1), EVENTS + 1).await;
}
