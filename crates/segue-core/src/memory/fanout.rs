//! The subscribers of one process.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_channel::mpsc::{Receiver, Sender, channel};

use crate::{event::Envelope, ports::Topic};

/// Events kept for a subscriber that is behind, unless a bus is made with another number.
pub const QUEUE_DEFAULT: usize = 1024;

/// Hands events to the subscribers of this process, each with a bounded queue. What does not fit is dropped for that
/// subscriber alone.
#[derive(Debug)]
pub struct Fanout {
    queue: usize,
    /// An upper bound of the listeners, so that the common case "nobody" costs no lock.
    listeners: AtomicUsize,
    topics: Mutex<BTreeMap<Topic, Vec<Sender<Envelope>>>>,
}

impl Default for Fanout {
    fn default() -> Self {
        Self::with_queue(QUEUE_DEFAULT)
    }
}

impl Fanout {
    /// Keeps up to `queue` events, at least one, for each subscriber.
    pub fn with_queue(queue: usize) -> Self {
        // A channel holds one more than it is asked for: each sender has a place of its own.
        Self { queue: queue.max(1) - 1, listeners: AtomicUsize::new(0), topics: Mutex::default() }
    }

    /// What is handed out to `topic` from now on. Ends with this fan-out; dropped, it is forgotten.
    pub fn listen(&self, topic: Topic) -> Receiver<Envelope> {
        let (sender, receiver) = channel(self.queue);
        let mut topics = self.topics();
        topics.entry(topic).or_default().push(sender);
        self.count(&topics);
        receiver
    }

    /// Hands out events in order, each to the subscribers of the topic beside it.
    pub fn deliver<'a>(&self, events: impl IntoIterator<Item = (Topic, &'a Envelope)>) {
        if self.is_empty() {
            return;
        }
        let mut topics = self.topics();
        for (topic, envelope) in events {
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

    /// Is nobody here? Those who left may count until somebody asks for their topic.
    pub fn is_empty(&self) -> bool {
        self.listeners.load(Ordering::Acquire) == 0
    }

    /// Does anybody listen to `topic`?
    pub fn is_listened(&self, topic: Topic) -> bool {
        if self.is_empty() {
            return false;
        }
        let mut topics = self.topics();
        self.prune(&mut topics, topic);
        topics.contains_key(&topic)
    }

    /// All topics that are listened to.
    pub fn listened(&self) -> Vec<Topic> {
        let mut topics = self.topics();
        let known = topics.keys().copied().collect::<Vec<_>>();
        known.into_iter().for_each(|topic| self.prune(&mut topics, topic));
        topics.keys().copied().collect()
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

    fn topics(&self) -> MutexGuard<'_, BTreeMap<Topic, Vec<Sender<Envelope>>>> {
        self.topics.lock().expect("no panic happens under this lock")
    }
}
