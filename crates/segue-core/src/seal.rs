//! How stores make damage visible: rows with a checksum, logs as a chain of hashes. The same for every backend, so that
//! what one of them keeps can be checked, and moved, by the rules of any other.
//!
//! Nothing here protects against somebody who may write to the store; it finds what a disk, a driver or a hand has
//! changed by mistake.

use std::fmt;

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    event::Event,
    ids::{ContentHash, RunId},
    ports::StoreError,
};

/// A row ready to be kept.
#[derive(Debug)]
pub struct SealedRow {
    /// Its JSON text.
    pub text: String,
    /// What [`open`] asks for.
    pub sum: i64,
}

impl SealedRow {
    /// `owner` (its run, its key) goes into the checksum: a row that moved to another one is damaged too.
    pub fn of(owner: &[u8], row: &impl Serialize) -> Self {
        let text = serde_json::to_string(row).expect("a row can be written as JSON");
        let sum = checksum(owner, text.as_bytes());
        Self { text, sum }
    }
}

/// Reads a row that [`SealedRow::of`] wrote.
///
/// # Errors
/// [`Damage`]: it is not what was written.
pub fn open<T: DeserializeOwned>(owner: &[u8], text: &[u8], sum: i64) -> Result<T, Damage> {
    if sum != checksum(owner, text) {
        return Err(Damage::because("does not match its checksum"));
    }
    serde_json::from_slice(text).map_err(|error| Damage::because(format!("cannot be read: {error}")))
}

/// Of a row's content, bound to whom it belongs.
pub fn checksum(owner: &[u8], text: &[u8]) -> i64 {
    let hash = ContentHash::of(owner).chained(ContentHash::of(text));
    let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
    i64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// The events of one commit ready to be kept, with the hash of their text.
#[derive(Debug)]
pub struct SealedEvents {
    /// A JSON array.
    pub text: String,
    /// BLAKE3 of the text: the commit's link in the run's chain.
    pub hash: ContentHash,
    /// How many there are.
    pub count: usize,
}

impl SealedEvents {
    /// Of a commit's events, in order.
    pub fn of(events: &[Event]) -> Self {
        let text = serde_json::to_string(events).expect("events can be written as JSON");
        Self { hash: ContentHash::of(text.as_bytes()), text, count: events.len() }
    }
}

/// The chain before a run's first event: bound to the run, so that no log can stand in for another.
pub fn chain_start(run: RunId) -> ContentHash {
    ContentHash::of(run.as_bytes())
}

/// Reads a log commit by commit, and checks that it is the one that was written.
#[derive(Debug)]
pub struct LogReader {
    run: RunId,
    chain: ContentHash,
    expected: u64,
}

impl LogReader {
    /// From the commit that begins at `seq`, before which the chain was `chain`.
    pub const fn new(run: RunId, seq: u64, chain: ContentHash) -> Self {
        Self { run, chain, expected: seq }
    }

    /// From a run's first event.
    pub fn from_start(run: RunId) -> Self {
        Self::new(run, 1, chain_start(run))
    }

    /// The `seq` that the next commit begins at.
    pub const fn expected(&self) -> u64 {
        self.expected
    }

    /// The events of the next commit, as kept: its first `seq`, its text, its link of the chain.
    ///
    /// # Errors
    /// [`Damage`]: it is another text, or not the next one.
    pub fn commit(&mut self, seq: u64, text: &[u8], chain: ContentHash) -> Result<Vec<Event>, Damage> {
        self.chain = self.chain.chained(ContentHash::of(text));
        if seq != self.expected || chain != self.chain {
            return Err(self.damage("does not match its hash"));
        }
        let events: Vec<Event> =
            serde_json::from_slice(text).map_err(|error| self.damage(&format!("cannot be read: {error}")))?;
        for event in &events {
            if event.seq != self.expected {
                return Err(self.damage("has a gap"));
            }
            self.expected += 1;
        }
        Ok(events)
    }

    /// Was that all, for a run at this version whose chain ends so?
    ///
    /// # Errors
    /// [`Damage`]: there should be more, or something else.
    pub fn end(&self, version: u64, chain: ContentHash) -> Result<(), Damage> {
        let is_whole = self.expected == version + 1 && self.chain == chain;
        is_whole.then_some(()).ok_or_else(|| self.damage("ends too early"))
    }

    fn damage(&self, how: &str) -> Damage {
        Damage { what: Some(format!("the log of run {} at seq {}", self.run, self.expected)), how: how.to_owned() }
    }
}

/// Something that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    what: Option<String>,
    how: String,
}

impl Damage {
    /// Damage of something that is named later.
    pub fn because(how: impl Into<String>) -> Self {
        Self { what: None, how: how.into() }
    }

    /// Names what is damaged, unless that is known already.
    #[must_use]
    pub fn of(mut self, what: impl FnOnce() -> String) -> Self {
        self.what.get_or_insert_with(what);
        self
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.what.as_deref().unwrap_or("a row");
        write!(f, "corruption: {what} {}; restore a copy and check the disk", self.how)
    }
}

impl From<Damage> for StoreError {
    fn from(damage: Damage) -> Self {
        Self::Broken(damage.to_string())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{event::EventKind, time::Timestamp};

    fn run(n: u8) -> RunId {
        RunId::from_bytes([n; 16])
    }

    fn commit(seqs: std::ops::Range<u64>) -> SealedEvents {
        let event = |seq| Event {
            seq,
            time: Timestamp::from_micros(seq as i64),
            task_id: None,
            attempt: None,
            kind: EventKind::RunStarted {},
        };
        SealedEvents::of(&seqs.map(event).collect::<Vec<_>>())
    }

    #[test]
    fn a_row_is_read_only_as_it_was_written_and_where() {
        let row = SealedRow::of(b"me", &"text");
        assert_eq!(open::<String>(b"me", row.text.as_bytes(), row.sum).unwrap(), "text");
        for (owner, text, sum) in
            [(&b"you"[..], "\"text\"", row.sum), (b"me", "\"next\"", row.sum), (b"me", "\"text\"", row.sum ^ 1)]
        {
            assert!(open::<String>(owner, text.as_bytes(), sum).is_err(), "{text}");
        }
    }

    #[test]
    fn a_log_is_read_only_whole_and_in_order() {
        let (first, second) = (commit(1..3), commit(3..4));
        let one = chain_start(run(1)).chained(first.hash);
        let two = one.chained(second.hash);
        let mut log = LogReader::from_start(run(1));
        assert_eq!(log.commit(1, first.text.as_bytes(), one).unwrap().len(), 2);
        assert!(log.end(3, two).is_err());
        assert_eq!(log.commit(3, second.text.as_bytes(), two).unwrap().len(), 1);
        log.end(3, two).unwrap();
        // Another run's, one left out, another text, another place.
        assert!(LogReader::from_start(run(2)).commit(1, first.text.as_bytes(), one).is_err());
        assert!(LogReader::from_start(run(1)).commit(3, second.text.as_bytes(), two).is_err());
        assert!(LogReader::from_start(run(1)).commit(1, second.text.as_bytes(), one).is_err());
        assert!(LogReader::new(run(1), 4, one).commit(4, second.text.as_bytes(), two).is_err());
        assert!(LogReader::new(run(1), 3, one).commit(3, second.text.as_bytes(), two).is_ok());
    }
}
