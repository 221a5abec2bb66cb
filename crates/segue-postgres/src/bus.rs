//! An event bus on `NOTIFY`: for those who have the database already and want no second server.
//!
//! Events go out on the channel of their run, and on that of all runs while somebody listens there. A notification holds
//! less than 8,000 bytes: a larger fact is told as a reference and read from the log by whoever hears it; larger progress
//! is not told. Who listens is seen by shared advisory locks, which end with the sessions that hold them. Nothing is
//! stored: what a lost connection missed is read from the log.

mod listener;
mod names;
mod speaker;

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt;
use segue_bus::{Backend, BusOptions, Listener, NetworkBus, Speaker};
use segue_core::{
    event::Envelope,
    ids::RunId,
    ports::{BusError, EventBus, EventStream, StoreError, Topic},
};
use tokio::sync::mpsc::{Receiver, channel};
use tokio_postgres::{AsyncMessage, Client, Notification};

use self::{listener::PostgresListener, names::AUDIENCE, speaker::PostgresSpeaker};
use crate::{
    pool::{Messages, Pool},
    store::PostgresStore,
};

/// Notifications that wait to be taken in, at most; the rest is dropped.
const WAITING_MAX: usize = 10_000;

/// An [`EventBus`] on the database of a store, over two connections of its own. See [`NetworkBus`] for what it does when
/// the database is away or slow.
#[derive(Debug)]
pub struct PostgresBus {
    bus: NetworkBus,
}

impl PostgresBus {
    /// The bus beside `store`. Connects when it is first used, and again whenever it must. Called inside a tokio runtime.
    pub fn new(store: Arc<PostgresStore>, options: BusOptions) -> Self {
        Self { bus: NetworkBus::new(Arc::new(PostgresBackend { store }), options) }
    }

    /// Events that were dropped here since the start, because the database did not take them.
    pub fn dropped(&self) -> u64 {
        self.bus.dropped()
    }

    /// Waits until what was published is sent, for a bounded time. For the end of a process.
    pub async fn flush(&self) {
        self.bus.flush().await;
    }
}

#[async_trait]
impl EventBus for PostgresBus {
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

struct PostgresBackend {
    store: Arc<PostgresStore>,
}

impl PostgresBackend {
    /// A connection made ready, and what is notified on it. Both end together.
    async fn session(&self, begin: &str) -> Result<(Client, Receiver<Notification>), BusError> {
        let pool: &Pool = &self.store.pool;
        let (client, messages) = pool.alone().await.map_err(|error| away(&error))?;
        let (say, said) = channel(WAITING_MAX);
        tokio::spawn(attend(messages, say));
        let begin = format!("{}; {begin}", pool.setup());
        client.batch_execute(&begin).await.map_err(|error| failed(&error))?;
        Ok((client, said))
    }
}

/// Lets the connection work until it or its client is gone.
async fn attend(mut messages: Messages, say: tokio::sync::mpsc::Sender<Notification>) {
    while let Some(Ok(message)) = messages.next().await {
        if let AsyncMessage::Notification(notification) = message {
            // Full: whoever listens sees the gap. Closed: nobody does.
            let _ = say.try_send(notification);
        }
    }
}

#[async_trait]
impl Backend for PostgresBackend {
    fn place(&self) -> &str {
        self.store.shown()
    }

    async fn speaker(&self) -> Result<Box<dyn Speaker>, BusError> {
        // Nothing is kept of what is said here: no commit of it needs to wait for a disk.
        let (client, _) = self.session("SET synchronous_commit = off").await?;
        Ok(Box::new(PostgresSpeaker::prepare(client).await?))
    }

    async fn listener(&self) -> Result<Box<dyn Listener>, BusError> {
        let (client, said) = self.session(&format!("LISTEN {AUDIENCE}")).await?;
        Ok(Box::new(PostgresListener::new(client, said, self.store.clone())))
    }
}

fn away(error: &StoreError) -> BusError {
    BusError(error.to_string())
}

/// The server's own words, where it said something. They hold no URL.
fn failed(error: &tokio_postgres::Error) -> BusError {
    match error.as_db_error() {
        Some(said) => BusError(format!("PostgreSQL: {}", said.message())),
        None => BusError(format!("PostgreSQL: {error}")),
    }
}
