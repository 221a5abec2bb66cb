//! The event bus tells those who listen now. It may lose; the log is how a subscriber catches up.

use std::pin::Pin;

use async_trait::async_trait;
use futures_core::Stream;

use crate::{event::Envelope, ids::RunId};

/// What a subscriber listens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// The events of one run.
    Run(RunId),
    /// The events of all runs.
    All,
}

/// The events of a topic as they come. Ends when the bus ends.
pub type EventStream = Pin<Box<dyn Stream<Item = Envelope> + Send>>;

/// The bus cannot be reached. Runs go on without it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the event bus is unavailable: {0}")]
pub struct BusError(pub String);

/// Publishes committed events and transient progress.
#[async_trait]
pub trait EventBus: Send + Sync {
    /// Hands over a batch, in order. Never waits for a subscriber or a network: what cannot be taken at once is
    /// dropped. Each event reaches the subscribers of its run's topic and of [`Topic::All`].
    fn publish(&self, batch: Vec<Envelope>);

    /// May anybody be listening to this run? `false` lets the engine leave out the work of publishing.
    fn is_listened(&self, run: RunId) -> bool;

    /// Listens from now on. Events of one run come in the order of `seq`; a slow subscriber misses some, and sees it by
    /// the gap in `seq`.
    async fn subscribe(&self, topic: Topic) -> Result<EventStream, BusError>;
}
