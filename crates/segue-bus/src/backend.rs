//! What a kind of bus is asked for.

use async_trait::async_trait;
use segue_core::{
    event::Envelope,
    ids::RunId,
    ports::{BusError, Topic},
};

use crate::audience::Tag;

/// A place through which processes hear each other. Every step may take long or fail; whoever calls has a deadline, and
/// drops what did not answer in time.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Where it is, for messages; without passwords.
    fn place(&self) -> &str;

    /// A connection to say something.
    async fn speaker(&self) -> Result<Box<dyn Speaker>, BusError>;

    /// A connection to hear something, the comings and goings of the audience from the start.
    async fn listener(&self) -> Result<Box<dyn Listener>, BusError>;
}

/// An event on its way.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its run.
    pub run_id: RunId,
    /// Its position in the run's log.
    pub seq: u64,
    /// Not in the log: not to be kept either.
    pub transient: bool,
    /// The [`Envelope`] as JSON.
    pub json: String,
    /// Sending failed so many times.
    pub(crate) failures: u32,
}

impl Message {
    pub(crate) fn of(envelope: &Envelope) -> Self {
        Self {
            run_id: envelope.run_id,
            seq: envelope.seq,
            transient: envelope.transient,
            json: serde_json::to_string(envelope).expect("an event can be written as JSON"),
            failures: 0,
        }
    }
}

/// Says events. Dropped after the first error.
#[async_trait]
pub trait Speaker: Send {
    /// Tells the subscribers of each event's run, and those of [`Topic::All`] if `to_all`, in this order. After an error
    /// any part may have arrived; committed events may come again, transient ones do not.
    async fn say(&mut self, messages: &[Message], to_all: bool) -> Result<(), BusError>;

    /// All topics that somebody listens to now, in whatever process.
    async fn audience(&mut self) -> Result<Vec<Tag>, BusError>;
}

/// What is heard.
#[derive(Debug)]
pub enum Heard {
    /// An event, for the subscribers of this topic.
    Event(Topic, Envelope),
    /// Somebody in some process listens to this from now on.
    Came(Tag),
    /// Somebody stopped listening to this; others may go on.
    Left(Tag),
}

/// Hears events. Dropped after the first error.
#[async_trait]
pub trait Listener: Send {
    /// When this returns, everything said about the topic from now on will be heard, and other processes are told.
    async fn listen(&mut self, topic: Topic) -> Result<(), BusError>;

    /// The opposite.
    async fn unlisten(&mut self, topic: Topic) -> Result<(), BusError>;

    /// Waits for the next. Cancel-safe.
    async fn next(&mut self) -> Result<Heard, BusError>;

    /// Fails when the connection is dead.
    async fn ping(&mut self) -> Result<(), BusError>;

    /// Committed events of the run after `seq`, in order, as far as they are still kept.
    async fn missed(&mut self, run: RunId, seq: u64) -> Result<Vec<Envelope>, BusError>;
}
