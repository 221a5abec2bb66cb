//! The connection that hears events, and one beside it for what a listening connection cannot ask.

use async_trait::async_trait;
use futures_util::StreamExt;
use redis::{
    Msg,
    aio::{MultiplexedConnection, PubSubSink, PubSubStream},
    cmd,
    streams::StreamRangeReply,
};
use segue_bus::{Heard, Listener};
use segue_core::{
    event::Envelope,
    ids::RunId,
    ports::{BusError, Topic},
};
use tracing::debug;

use crate::{
    bus::failed,
    names::{Names, read_change, write_change},
    speaker::FIELD,
};

pub(crate) struct RedisListener {
    pub(crate) sink: PubSubSink,
    pub(crate) stream: PubSubStream,
    pub(crate) asking: MultiplexedConnection,
    pub(crate) names: Names,
}

impl RedisListener {
    async fn tell(&mut self, came: bool, topic: Topic) -> Result<(), BusError> {
        let mut tell = cmd("PUBLISH");
        tell.arg(self.names.audience()).arg(write_change(came, topic));
        tell.exec_async(&mut self.asking).await.map_err(failed)
    }

    /// What a message says. Anybody can publish there: what is not ours is passed over.
    fn read(&self, message: &Msg) -> Option<Heard> {
        let channel = message.get_channel_name();
        if channel == self.names.audience() {
            let (came, tag) = read_change(std::str::from_utf8(message.get_payload_bytes()).ok()?)?;
            return Some(if came { Heard::Came(tag) } else { Heard::Left(tag) });
        }
        let topic = self.names.topic(channel)?;
        let envelope: Envelope = serde_json::from_slice(message.get_payload_bytes()).ok()?;
        let is_of_topic = topic == Topic::All || topic == Topic::Run(envelope.run_id);
        is_of_topic.then_some(Heard::Event(topic, envelope))
    }
}

#[async_trait]
impl Listener for RedisListener {
    async fn listen(&mut self, topic: Topic) -> Result<(), BusError> {
        self.sink.subscribe(self.names.channel(topic)).await.map_err(failed)?;
        self.tell(true, topic).await
    }

    async fn unlisten(&mut self, topic: Topic) -> Result<(), BusError> {
        self.sink.unsubscribe(self.names.channel(topic)).await.map_err(failed)?;
        self.tell(false, topic).await
    }

    async fn next(&mut self) -> Result<Heard, BusError> {
        loop {
            let Some(message) = self.stream.next().await else {
                return Err(BusError("Redis closed the connection".to_owned()));
            };
            match self.read(&message) {
                Some(heard) => return Ok(heard),
                None => debug!(channel = message.get_channel_name(), "a message that is not ours"),
            }
        }
    }

    async fn ping(&mut self) -> Result<(), BusError> {
        let _: redis::Value = self.sink.ping().await.map_err(failed)?;
        cmd("PING").exec_async(&mut self.asking).await.map_err(failed)
    }

    async fn missed(&mut self, run: RunId, seq: u64) -> Result<Vec<Envelope>, BusError> {
        let mut range = cmd("XRANGE");
        range.arg(self.names.log(run)).arg(format!("{}-0", seq + 1)).arg("+");
        let kept: StreamRangeReply = range.query_async(&mut self.asking).await.map_err(failed)?;
        let events = kept.ids.iter().filter_map(|entry| entry.get::<String>(FIELD));
        Ok(events.filter_map(|event| serde_json::from_str(&event).ok()).collect())
    }
}
