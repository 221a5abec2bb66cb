//! A bus with a fault does not pass the suite: each fault is caught by the case that is there for it.
#![allow(clippy::unwrap_used)]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use futures_util::stream;
use segue_core::{
    event::Envelope,
    ids::RunId,
    ports::{BusError, EventBus, EventStream, Topic},
};
use segue_testkit::conformance::{block_on, event_bus};
use tokio::sync::mpsc::{Sender, channel};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// A batch arrives from its end.
    WrongOrder,
    /// Of two events the subscribers of all get one.
    LostCopyToAll,
    /// A run's topic has the events of others too.
    ForeignEvents,
    /// The second subscriber misses what the first was given first.
    OneCopy,
    /// A subscriber is given what was published before.
    OldEvents,
    /// Nobody is thought to listen.
    Deaf,
    /// A slow subscriber is kept everything for.
    NoBound,
}

struct FaultyBus {
    fault: Fault,
    subscribers: Mutex<Vec<(Topic, Sender<Envelope>)>>,
    last: Mutex<Option<Envelope>>,
}

impl FaultyBus {
    fn with(fault: Fault) -> Arc<dyn EventBus> {
        Arc::new(Self { fault, subscribers: Mutex::default(), last: Mutex::default() })
    }

    fn room(&self) -> usize {
        if self.fault == Fault::NoBound { 100_000 } else { 1_000 }
    }
}

#[async_trait]
impl EventBus for FaultyBus {
    fn publish(&self, mut batch: Vec<Envelope>) {
        if self.fault == Fault::WrongOrder {
            batch.reverse();
        }
        for envelope in batch {
            let own = Topic::Run(envelope.run_id);
            for (at, (topic, sender)) in self.subscribers.lock().unwrap().iter().enumerate() {
                let is_lost = match self.fault {
                    Fault::LostCopyToAll => *topic == Topic::All && envelope.seq % 2 == 1,
                    Fault::OneCopy => at > 0 && envelope.seq == 1,
                    _ => false,
                };
                let is_meant = *topic == Topic::All || *topic == own || self.fault == Fault::ForeignEvents;
                if is_meant && !is_lost {
                    // Full: it misses the event.
                    let _ = sender.try_send(envelope.clone());
                }
            }
            *self.last.lock().unwrap() = Some(envelope);
        }
    }

    fn is_listened(&self, run: RunId) -> bool {
        let mut subscribers = self.subscribers.lock().unwrap();
        if self.fault == Fault::Deaf {
            return false;
        }
        subscribers.retain(|(_, sender)| !sender.is_closed());
        subscribers.iter().any(|(topic, _)| [Topic::All, Topic::Run(run)].contains(topic))
    }

    async fn subscribe(&self, topic: Topic) -> Result<EventStream, BusError> {
        let (sender, receiver) = channel(self.room());
        if let (Fault::OldEvents, Some(last)) = (self.fault, &*self.last.lock().unwrap()) {
            sender.try_send(last.clone()).unwrap();
        }
        self.subscribers.lock().unwrap().push((topic, sender));
        Ok(Box::pin(stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)))))
    }
}

/// Does this case of the suite object to a bus with this fault?
macro_rules! objects {
    ($case:ident, $fault:expr) => {
        catch_unwind(AssertUnwindSafe(|| block_on(event_bus::$case(FaultyBus::with($fault))))).is_err()
    };
}

#[test]
fn a_bus_without_a_fault_passes() {
    assert!(!objects!(events_of_a_run_arrive_in_order, Fault::None));
    assert!(!objects!(a_topic_gets_its_own_events_only, Fault::None));
    assert!(!objects!(every_subscriber_gets_its_copy, Fault::None));
    assert!(!objects!(nothing_from_before_the_subscription_arrives, Fault::None));
    assert!(!objects!(nobody_listening_is_no_trouble, Fault::None));
    assert!(!objects!(listening_is_noticed, Fault::None));
    assert!(!objects!(a_slow_subscriber_misses_events_and_holds_up_nobody, Fault::None));
}

#[test]
fn wrong_order_is_caught() {
    assert!(objects!(events_of_a_run_arrive_in_order, Fault::WrongOrder));
}

#[test]
fn a_lost_copy_to_all_is_caught() {
    assert!(objects!(a_topic_gets_its_own_events_only, Fault::LostCopyToAll));
}

#[test]
fn foreign_events_are_caught() {
    assert!(objects!(a_topic_gets_its_own_events_only, Fault::ForeignEvents));
}

#[test]
fn a_subscriber_without_its_copy_is_caught() {
    assert!(objects!(every_subscriber_gets_its_copy, Fault::OneCopy));
}

#[test]
fn old_events_are_caught() {
    assert!(objects!(nothing_from_before_the_subscription_arrives, Fault::OldEvents));
    assert!(objects!(nobody_listening_is_no_trouble, Fault::OldEvents));
}

#[test]
fn a_bus_that_hears_nobody_come_is_caught() {
    assert!(objects!(listening_is_noticed, Fault::Deaf));
}

#[test]
fn a_bus_without_a_bound_is_caught() {
    assert!(objects!(a_slow_subscriber_misses_events_and_holds_up_nobody, Fault::NoBound));
}
