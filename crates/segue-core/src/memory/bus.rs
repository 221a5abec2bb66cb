//! The event bus inside one process.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use futures_channel::mpsc::{Receiver, Sender, channel};

use crate::{
    event::Envelope,
    ids::RunId,
    ports::{BusError, EventBus, EventStream, Topic},
};

/// Events kept for a subscriber that is behind, unless the bus is made with another number.
pub const QUEUE_DEFAULT: usize = 1024;

/// Delivers events to the subscribers of this process. What does not fit into a subscriber's queue is dropped for that
/// subscriber alone.
#[derive(Debug)]
pub struct MemoryBus {
    queue: usize,
    /// An upper bound of the listeners, so that the common case "nobody" costs no lock.
    listeners: AtomicUsize,
    topics: Mutex<BTreeMap<Topic, Vec<Sender<Envelope>>>>,
}

impl Default for MemoryBus {
    fn default() -> Self {
        Self::with_queue(QUEUE_DEFAULT)
    }
}

impl MemoryBus {
    /// A bus that keeps up to `queue` events, at least one, for each subscriber.
    pub fn with_queue(queue: usize) -> Self {
        // A channel holds one more than it is asked for: each sender has a place of its own.
        Self { queue: queue.max(1) - 1, listeners: AtomicUsize::new(0), topics: Mutex::default() }
    }

    fn topics(&self) -> MutexGuard<'_, BTreeMap<Topic, Vec<Sender<Envelope>>>> {
        self.topics.lock().expect("no panic happens under this lock")
    }

    fn listen(&self, topic: Topic) -> Receiver<Envelope> {
        let (sender, receiver) = channel(self.queue);
        let mut topics = self.topics();
        topics.entry(topic).or_default().push(sender);
        self.count(&topics);
        receiver
    }

    /// Forgets the subscribers of `topic` that are gone.
    fn prune(&self, topics: &mut BTreeMap<Topic, Vec<Sender<Envelope>>>, topic: Topic) {
        if let Some(senders) = topics.get_mut(&topic) {
            senders.retain(|sender| !sender.is_closed());
            if senders.is_empty() {
                topics.remove(&topic);
            }
            self.count(topics);
        }
    }

    fn count(&self, topics: &BTreeMap<Topic, Vec<Sender<Envelope>>>) {
        self.listeners.store(topics.values().map(Vec::len).sum(), Ordering::Release);
    }
}

#[async_trait]
impl EventBus for MemoryBus {
    fn publish(&self, batch: Vec<Envelope>) {
        if self.listeners.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut topics = self.topics();
        for envelope in batch {
            for topic in [Topic::Run(envelope.run_id), Topic::All] {
                let Some(senders) = topics.get_mut(&topic) else { continue };
                let mut gone = false;
                for sender in senders {
                    // Full: this subscriber is slow and misses the event.
                    gone |= sender.try_send(envelope.clone()).is_err_and(|error| error.is_disconnected());
                }
                if gone {
                    self.prune(&mut topics, topic);
                }
            }
        }
    }

    fn is_listened(&self, run: RunId) -> bool {
        if self.listeners.load(Ordering::Acquire) == 0 {
            return false;
        }
        let mut topics = self.topics();
        [Topic::Run(run), Topic::All].into_iter().any(|topic| {
            self.prune(&mut topics, topic);
            topics.contains_key(&topic)
        })
    }

    async fn subscribe(&self, topic: Topic) -> Result<EventStream, BusError> {
        Ok(Box::pin(self.listen(topic)))
    }
}
