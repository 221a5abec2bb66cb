//! The connection that hears events.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use segue_bus::{Heard, Listener, Tag};
use segue_core::{
    event::Envelope,
    ids::{RunId, WorkflowId},
    ports::{BusError, RunStore, StoreError, Topic},
};
use tokio::sync::mpsc::Receiver;
use tokio_postgres::{Client, Notification};

use super::{
    away, failed,
    names::{AUDIENCE, LOCKS, channel, read_change, read_reference, topic, write_change},
};
use crate::store::PostgresStore;

/// Locks held by one session, at most: the server has room for some thousands. Who listens to more listens to all, as far
/// as publishers know.
const LOCKS_MAX: usize = 100;
/// Events read at once after a lost connection.
const PAGE: usize = 1_000;

pub(super) struct PostgresListener {
    client: Client,
    said: Receiver<Notification>,
    store: Arc<PostgresStore>,
    /// What says that somebody listens to a topic.
    tags: BTreeMap<Topic, Tag>,
    /// A fact that is being read from the log: kept here, so that nothing is lost when the reading is put off.
    reading: Option<(Topic, RunId, u64)>,
    /// The workflow of the run that was read last.
    workflow: Option<(RunId, WorkflowId)>,
}

impl PostgresListener {
    pub(super) fn new(client: Client, said: Receiver<Notification>, store: Arc<PostgresStore>) -> Self {
        Self { client, said, store, tags: BTreeMap::new(), reading: None, workflow: None }
    }

    async fn log(&mut self, run: RunId, after: u64, limit: usize) -> Result<Vec<Envelope>, BusError> {
        let events = self.store.events(run, after, limit).await.map_err(|error| away(&error))?;
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let workflow = match &self.workflow {
            Some((known, workflow)) if *known == run => workflow.clone(),
            _ => {
                let workflow = self.store.get_run(run).await.map_err(|error| away(&error))?.workflow_id;
                self.workflow = Some((run, workflow.clone()));
                workflow
            }
        };
        Ok(events.iter().map(|event| Envelope::of(event, &workflow, run)).collect())
    }

    /// What a notification says. Anybody can notify there: what is not ours is passed over.
    fn take_in(&mut self, said: &Notification) -> Option<Heard> {
        if said.channel() == AUDIENCE {
            let (came, tag) = read_change(said.payload())?;
            return Some(if came { Heard::Came(tag) } else { Heard::Left(tag) });
        }
        let topic = topic(said.channel())?;
        let is_of_topic = |run| topic == Topic::All || topic == Topic::Run(run);
        if let Some((run, seq)) = read_reference(said.payload()) {
            self.reading = is_of_topic(run).then_some((topic, run, seq));
            return None;
        }
        let envelope: Envelope = serde_json::from_str(said.payload()).ok()?;
        is_of_topic(envelope.run_id).then_some(Heard::Event(topic, envelope))
    }
}

#[async_trait]
impl Listener for PostgresListener {
    async fn listen(&mut self, topic: Topic) -> Result<(), BusError> {
        let tag = if self.tags.len() < LOCKS_MAX { Tag::of(topic) } else { Tag::ALL };
        self.tags.insert(topic, tag);
        let sql = format!(
            "LISTEN {}; SELECT pg_advisory_lock_shared({LOCKS}, {}); NOTIFY {AUDIENCE}, '{}'",
            channel(topic),
            key(tag),
            write_change(true, tag)
        );
        self.client.batch_execute(&sql).await.map_err(|error| failed(&error))
    }

    async fn unlisten(&mut self, topic: Topic) -> Result<(), BusError> {
        let Some(tag) = self.tags.remove(&topic) else { return Ok(()) };
        let sql = format!(
            "UNLISTEN {}; SELECT pg_advisory_unlock_shared({LOCKS}, {}); NOTIFY {AUDIENCE}, '{}'",
            channel(topic),
            key(tag),
            write_change(false, tag)
        );
        self.client.batch_execute(&sql).await.map_err(|error| failed(&error))
    }

    async fn next(&mut self) -> Result<Heard, BusError> {
        loop {
            if let Some((topic, run, seq)) = self.reading {
                // A run that was deleted meanwhile, or a log that cannot be read: whoever listens sees the gap.
                let read = self.log(run, seq.saturating_sub(1), 1).await.unwrap_or_default().pop();
                self.reading = None;
                if let Some(envelope) = read.filter(|envelope| envelope.seq == seq) {
                    return Ok(Heard::Event(topic, envelope));
                }
            }
            let Some(said) = self.said.recv().await else {
                return Err(BusError("PostgreSQL closed the connection".to_owned()));
            };
            if let Some(heard) = self.take_in(&said) {
                return Ok(heard);
            }
        }
    }

    async fn ping(&mut self) -> Result<(), BusError> {
        self.client.batch_execute("SELECT 1").await.map_err(|error| failed(&error))
    }

    async fn missed(&mut self, run: RunId, seq: u64) -> Result<Vec<Envelope>, BusError> {
        match self.store.events(run, seq, 1).await {
            // It was deleted, or its owner never wrote it: others may have been missed too.
            Err(StoreError::NotFound(_)) => Ok(Vec::new()),
            _ => self.log(run, seq, PAGE).await,
        }
    }
}

/// The lock's second key: the tag's bits.
fn key(tag: Tag) -> i32 {
    i32::from_be_bytes(tag.0.to_be_bytes())
}
