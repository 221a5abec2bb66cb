//! The bus.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use redis::{AsyncConnectionConfig, Client, RedisError, aio::MultiplexedConnection};
use segue_bus::{Backend, BusOptions, Listener, NetworkBus, Speaker};
use segue_core::{
    event::Envelope,
    ids::RunId,
    ports::{BusError, EventBus, EventStream, Topic},
};

use crate::{address::Address, listener::RedisListener, names::Names, speaker::RedisSpeaker};

/// The numbers of a Redis bus; the defaults suit production.
#[derive(Debug, Clone)]
pub struct RedisOptions {
    /// Facts kept of each run, about. Who lost the connection for longer than they last reads the log.
    pub kept_events: u64,
    /// How long a run's facts are kept after the last of them.
    pub kept_for: Duration,
    /// What is not peculiar to Redis.
    pub bus: BusOptions,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self { kept_events: 1_000, kept_for: Duration::from_secs(600), bus: BusOptions::default() }
    }
}

/// An [`EventBus`] on Redis. See [`NetworkBus`] for what it does when Redis is away, slow or stalled.
#[derive(Debug)]
pub struct RedisBus {
    bus: NetworkBus,
}

impl RedisBus {
    /// The bus at `url`: see [`address`](crate::address). Connects when it is first used, and again whenever it must; an
    /// error is one of the URL. Called inside a tokio runtime.
    pub fn connect(url: &str, options: RedisOptions) -> Result<Self, BusError> {
        let Address { client, prefix, shown } = Address::read(url)?;
        let bus = options.bus.clone();
        let backend = RedisBackend { client, shown, names: Names::new(prefix), options };
        Ok(Self { bus: NetworkBus::new(Arc::new(backend), bus) })
    }

    /// Events that were dropped here since the start, because Redis did not take them.
    pub fn dropped(&self) -> u64 {
        self.bus.dropped()
    }

    /// Waits until what was published is sent, for a bounded time. For the end of a process.
    pub async fn flush(&self) {
        self.bus.flush().await;
    }
}

#[async_trait]
impl EventBus for RedisBus {
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

struct RedisBackend {
    client: Client,
    shown: String,
    names: Names,
    options: RedisOptions,
}

impl RedisBackend {
    async fn connection(&self) -> Result<MultiplexedConnection, BusError> {
        // Whoever uses it has a deadline for each step.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let connected = self.client.get_multiplexed_async_connection_with_config(&config).await;
        connected.map_err(|error| self.unreachable(&error))
    }

    fn unreachable(&self, error: &RedisError) -> BusError {
        BusError(format!("{} cannot be reached: {error}", self.shown))
    }
}

#[async_trait]
impl Backend for RedisBackend {
    fn place(&self) -> &str {
        &self.shown
    }

    async fn speaker(&self) -> Result<Box<dyn Speaker>, BusError> {
        let connection = self.connection().await?;
        Ok(Box::new(RedisSpeaker { connection, names: self.names.clone(), options: self.options.clone() }))
    }

    async fn listener(&self) -> Result<Box<dyn Listener>, BusError> {
        let asking = self.connection().await?;
        let listening = self.client.get_async_pubsub().await.map_err(|error| self.unreachable(&error))?;
        let (mut sink, stream) = listening.split();
        sink.subscribe(self.names.audience()).await.map_err(failed)?;
        Ok(Box::new(RedisListener { sink, stream, asking, names: self.names.clone() }))
    }
}

/// Redis's errors hold no URL.
pub(crate) fn failed(error: RedisError) -> BusError {
    BusError(format!("Redis: {error}"))
}
