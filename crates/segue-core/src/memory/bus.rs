//! The event bus inside one process.

use async_trait::async_trait;

use super::Fanout;
use crate::{
    event::Envelope,
    ids::RunId,
    ports::{BusError, EventBus, EventStream, Topic},
};

/// Delivers events to the subscribers of this process. What does not fit into a subscriber's queue is dropped for that
/// subscriber alone.
#[derive(Debug, Default)]
pub struct MemoryBus {
    subscribers: Fanout,
}

impl MemoryBus {
    /// A bus that keeps up to `queue` events, at least one, for each subscriber.
    pub fn with_queue(queue: usize) -> Self {
        Self { subscribers: Fanout::with_queue(queue) }
    }
}

#[async_trait]
impl EventBus for MemoryBus {
    fn publish(&self, batch: Vec<Envelope>) {
        self.subscribers.deliver(
            batch.iter().flat_map(|envelope| [(Topic::Run(envelope.run_id), envelope), (Topic::All, envelope)]),
        );
    }

    fn is_listened(&self, run: RunId) -> bool {
        [Topic::Run(run), Topic::All].into_iter().any(|topic| self.subscribers.is_listened(topic))
    }

    async fn subscribe(&self, topic: Topic) -> Result<EventStream, BusError> {
        Ok(Box::pin(self.subscribers.listen(topic)))
    }
}
