//! Events that wait to be sent. Bounded: what does not fit is dropped, counted, and reported once a spell.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard},
};

use tokio::sync::Notify;
use tracing::{info, warn};

use crate::backend::Message;

/// Taken at once, at most.
const TAKE_EVENTS: usize = 256;
const TAKE_BYTES: usize = 1024 * 1024;
/// An event that cannot be sent so often is at fault itself.
const FAILURES_MAX: u32 = 3;

#[derive(Debug)]
pub(crate) struct Outbox {
    events_max: usize,
    bytes_max: usize,
    inner: Mutex<Inner>,
    filled: Notify,
    emptied: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    queue: VecDeque<Message>,
    bytes: usize,
    /// Taken and not yet sent.
    under_way: usize,
    /// In this spell.
    dropped: u64,
    /// Ever.
    dropped_total: u64,
}

impl Outbox {
    pub(crate) fn new(events_max: usize, bytes_max: usize) -> Self {
        Self { events_max, bytes_max, inner: Mutex::default(), filled: Notify::new(), emptied: Notify::new() }
    }

    /// Takes what fits, in order.
    pub(crate) fn put(&self, place: &str, messages: impl IntoIterator<Item = Message>) {
        let mut inner = self.inner();
        let before = inner.dropped;
        for message in messages {
            if inner.queue.len() >= self.events_max || inner.bytes + message.json.len() > self.bytes_max {
                inner.drop_one();
            } else {
                inner.bytes += message.json.len();
                inner.queue.push_back(message);
            }
        }
        let begins = before == 0 && inner.dropped > 0;
        drop(inner);
        self.filled.notify_one();
        if begins {
            warn!(bus = place, "the event bus cannot keep up: events are dropped there; the log has them");
        }
    }

    /// The next events; waits for them. Cancel-safe. Whoever has them says [`sent`](Self::sent) or
    /// [`give_back`](Self::give_back).
    pub(crate) async fn take(&self) -> Vec<Message> {
        loop {
            let taken = self.try_take();
            if !taken.is_empty() {
                return taken;
            }
            self.filled.notified().await;
        }
    }

    fn try_take(&self) -> Vec<Message> {
        let mut inner = self.inner();
        let mut taken = Vec::new();
        let mut bytes = 0;
        while taken.len() < TAKE_EVENTS && bytes < TAKE_BYTES {
            let Some(message) = inner.queue.pop_front() else { break };
            bytes += message.json.len();
            taken.push(message);
        }
        inner.bytes -= bytes;
        inner.under_way = taken.len();
        taken
    }

    /// What was taken is with the bus now.
    pub(crate) fn sent(&self, place: &str) {
        let mut inner = self.inner();
        inner.under_way = 0;
        let is_empty = inner.queue.is_empty();
        let dropped = if is_empty { std::mem::take(&mut inner.dropped) } else { 0 };
        drop(inner);
        if is_empty {
            self.emptied.notify_waiters();
        }
        if dropped > 0 {
            info!(bus = place, dropped, "the event bus keeps up again; events were dropped there");
        }
    }

    /// What was taken may not have arrived: facts are sent again, they are recognised by their `seq`.
    pub(crate) fn give_back(&self, messages: Vec<Message>) {
        let mut inner = self.inner();
        inner.under_way = 0;
        for mut message in messages.into_iter().rev() {
            message.failures += 1;
            if message.transient || message.failures >= FAILURES_MAX {
                inner.drop_one();
            } else {
                inner.bytes += message.json.len();
                inner.queue.push_front(message);
            }
        }
    }

    /// Waits until everything is sent.
    pub(crate) async fn empty(&self) {
        loop {
            let emptied = self.emptied.notified();
            tokio::pin!(emptied);
            // Registered before the look: what empties it in between is heard.
            emptied.as_mut().enable();
            if self.is_empty() {
                return;
            }
            emptied.await;
        }
    }

    fn is_empty(&self) -> bool {
        let inner = self.inner();
        inner.queue.is_empty() && inner.under_way == 0
    }

    /// Events dropped since the start.
    pub(crate) fn dropped_total(&self) -> u64 {
        self.inner().dropped_total
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no panic happens under this lock")
    }
}

impl Inner {
    fn drop_one(&mut self) {
        self.dropped += 1;
        self.dropped_total += 1;
    }
}

#[cfg(test)]
mod tests {
    use segue_core::ids::RunId;

    use super::*;

    fn message(seq: u64, transient: bool) -> Message {
        Message { run_id: RunId::from_bytes([1; 16]), seq, transient, json: "12345".to_owned(), failures: 0 }
    }

    fn seqs(messages: &[Message]) -> Vec<u64> {
        messages.iter().map(|message| message.seq).collect()
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_counted() {
        let outbox = Outbox::new(3, 1_000);
        outbox.put("here", (1..=5).map(|seq| message(seq, false)));
        assert_eq!(outbox.dropped_total(), 2);
        assert_eq!(seqs(&outbox.try_take()), [1, 2, 3]);
        let small = Outbox::new(100, 12);
        small.put("here", (1..=5).map(|seq| message(seq, false)));
        assert_eq!(seqs(&small.try_take()), [1, 2], "bytes are bounded too");
    }

    #[test]
    fn facts_that_may_be_lost_come_again_in_order_and_not_for_ever() {
        let outbox = Outbox::new(10, 1_000);
        outbox.put("here", [message(1, false), message(1, true), message(2, false)]);
        for _ in 0..FAILURES_MAX - 1 {
            let taken = outbox.try_take();
            outbox.give_back(taken);
            outbox.put("here", []);
        }
        let last = outbox.try_take();
        assert_eq!(seqs(&last), [1, 2]);
        outbox.give_back(last);
        assert!(outbox.is_empty());
        assert_eq!(outbox.dropped_total(), 3);
    }
}
