//! The connection that says events.

use async_trait::async_trait;
use segue_bus::{Message, Speaker, Tag};
use segue_core::ports::{BusError, Topic};
use tokio_postgres::{Client, Statement};

use super::{
    failed,
    names::{LOCKS, PAYLOAD_BYTES_MAX, channel, write_reference},
};

/// A whole batch in one statement, told when it commits, in this order.
const SAY: &str =
    "SELECT count(pg_notify(channel, payload)) FROM unnest($1::text[], $2::text[]) AS said (channel, payload)";
/// Whoever listens holds a lock as long as their session lasts.
const AUDIENCE: &str = "SELECT DISTINCT objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND classid::bigint = $1 \
     AND objsubid = 2 AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

pub(super) struct PostgresSpeaker {
    client: Client,
    say: Statement,
    audience: Statement,
}

impl PostgresSpeaker {
    pub(super) async fn prepare(client: Client) -> Result<Self, BusError> {
        let say = client.prepare(SAY).await.map_err(|error| failed(&error))?;
        let audience = client.prepare(AUDIENCE).await.map_err(|error| failed(&error))?;
        Ok(Self { client, say, audience })
    }
}

#[async_trait]
impl Speaker for PostgresSpeaker {
    async fn say(&mut self, messages: &[Message], to_all: bool) -> Result<(), BusError> {
        let (mut channels, mut payloads) = (Vec::new(), Vec::new());
        for Message { run_id, seq, transient, json, .. } in messages {
            let payload = match json.len() > PAYLOAD_BYTES_MAX {
                false => json.clone(),
                true if *transient => continue,
                true => write_reference(*run_id, *seq),
            };
            if to_all {
                channels.push(channel(Topic::All));
                payloads.push(payload.clone());
            }
            channels.push(channel(Topic::Run(*run_id)));
            payloads.push(payload);
        }
        let said = self.client.query(&self.say, &[&channels, &payloads]).await;
        said.map(|_| ()).map_err(|error| failed(&error))
    }

    async fn audience(&mut self) -> Result<Vec<Tag>, BusError> {
        let rows = self.client.query(&self.audience, &[&i64::from(LOCKS)]).await.map_err(|error| failed(&error))?;
        Ok(rows.iter().filter_map(|row| u32::try_from(row.get::<_, i64>(0)).ok()).map(Tag).collect())
    }
}
