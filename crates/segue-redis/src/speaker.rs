//! The connection that says events.

use std::collections::BTreeSet;

use async_trait::async_trait;
use redis::{Pipeline, Value, aio::MultiplexedConnection, cmd};
use segue_bus::{Message, Speaker, Tag};
use segue_core::ports::{BusError, Topic};

use crate::{
    bus::{RedisOptions, failed},
    names::Names,
};

/// The field of a stream's entry that holds the event.
pub(crate) const FIELD: &str = "e";

pub(crate) struct RedisSpeaker {
    pub(crate) connection: MultiplexedConnection,
    pub(crate) names: Names,
    pub(crate) options: RedisOptions,
}

#[async_trait]
impl Speaker for RedisSpeaker {
    async fn say(&mut self, messages: &[Message], to_all: bool) -> Result<(), BusError> {
        let mut pipeline = Pipeline::with_capacity(messages.len() * 3);
        // An entry that is there already is refused: this batch was said before and its answer was lost.
        pipeline.ignore_errors();
        let mut runs = BTreeSet::new();
        for Message { run_id, seq, transient, json, .. } in messages {
            if !transient {
                runs.insert(*run_id);
                // Kept before it is told: who loses the connection in between finds it.
                pipeline.cmd("XADD").arg(self.names.log(*run_id)).arg("MAXLEN").arg("~").arg(self.options.kept_events);
                pipeline.arg(format!("{seq}-0")).arg(FIELD).arg(json).ignore();
            }
            pipeline.cmd("PUBLISH").arg(self.names.channel(Topic::Run(*run_id))).arg(json);
            if to_all {
                pipeline.cmd("PUBLISH").arg(self.names.channel(Topic::All)).arg(json);
            }
        }
        for run in runs {
            pipeline.cmd("EXPIRE").arg(self.names.log(run)).arg(self.options.kept_for.as_secs()).ignore();
        }
        let told: Vec<Value> = pipeline.query_async(&mut self.connection).await.map_err(failed)?;
        match told.into_iter().find_map(|answer| answer.extract_error().err()) {
            Some(error) => Err(failed(error)),
            None => Ok(()),
        }
    }

    async fn audience(&mut self) -> Result<Vec<Tag>, BusError> {
        let mut pipeline = Pipeline::new();
        pipeline.add_command(cmd("PUBSUB").arg("CHANNELS").arg(self.names.runs()).take());
        pipeline.add_command(cmd("PUBSUB").arg("NUMSUB").arg(self.names.channel(Topic::All)).take());
        let (channels, (_, to_all)): (Vec<String>, (String, u64)) =
            pipeline.query_async(&mut self.connection).await.map_err(failed)?;
        let topics = channels.iter().filter_map(|channel| self.names.topic(channel));
        Ok(topics.chain((to_all > 0).then_some(Topic::All)).map(Tag::of).collect())
    }
}
