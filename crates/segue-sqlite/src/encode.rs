//! Rows as they are kept: JSON text with a checksum, so that a damaged one is reported and never served.

use rusqlite::{Row, types::ValueRef};
use segue_core::{
    event::Event,
    ids::{ContentHash, RunId},
    ports::StoreError,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::failure::Failure;

/// A summary row ready to be written.
#[derive(Debug)]
pub(crate) struct RowText {
    pub(crate) text: String,
    pub(crate) sum: i64,
}

impl RowText {
    /// `owner` (its run, its key) goes into the checksum: a row that moved to another one is damaged too.
    pub(crate) fn of(owner: &[u8], row: &impl Serialize) -> Self {
        let text = serde_json::to_string(row).expect("a row can be written as JSON");
        let sum = checksum(owner, text.as_bytes());
        Self { text, sum }
    }
}

/// Events ready to be written, with the hash of their text.
#[derive(Debug)]
pub(crate) struct EventsText {
    pub(crate) text: String,
    pub(crate) hash: ContentHash,
    pub(crate) count: usize,
}

impl EventsText {
    pub(crate) fn of(events: &[Event]) -> Self {
        let text = serde_json::to_string(events).expect("events can be written as JSON");
        Self { hash: ContentHash::of(text.as_bytes()), text, count: events.len() }
    }
}

/// Reads a summary row from its two columns. `what` names it in the error.
pub(crate) fn read_row<T: DeserializeOwned>(
    owner: &[u8],
    row: &Row<'_>,
    text: usize,
    sum: usize,
    what: &dyn Fn() -> String,
) -> Result<T, Failure> {
    let bytes = bytes(row.get_ref(text)?);
    if row.get::<_, i64>(sum)? != checksum(owner, bytes) {
        return Err(damaged(what(), "does not match its checksum"));
    }
    serde_json::from_slice(bytes).map_err(|error| damaged(what(), &format!("cannot be read: {error}")))
}

/// The bytes of a text or blob column, whatever they are: damage is found by the hash, not by the type.
pub(crate) fn bytes(value: ValueRef<'_>) -> &[u8] {
    match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes,
        _ => &[],
    }
}

/// A hash column. A damaged one of another length matches nothing.
pub(crate) fn hash(value: ValueRef<'_>) -> ContentHash {
    bytes(value).try_into().map_or_else(|_| ContentHash::from_bytes([0; 32]), ContentHash::from_bytes)
}

/// A run id column.
pub(crate) fn run_id(value: ValueRef<'_>) -> Result<RunId, Failure> {
    let bytes = bytes(value).try_into().map_err(|_| damaged("a run's id".to_owned(), "has not 16 bytes"))?;
    Ok(RunId::from_bytes(bytes))
}

/// `LIMIT`: 0 means all.
pub(crate) fn limit(most: usize) -> i64 {
    if most == 0 { -1 } else { i64::try_from(most).unwrap_or(-1) }
}

/// Corruption that was found: named, and never served.
pub(crate) fn damaged(what: String, how: &str) -> Failure {
    Failure::Refused(StoreError::Broken(format!("corruption: {what} {how}; restore a copy and check the disk")))
}

/// Of a row's content, bound to whom it belongs.
pub(crate) fn checksum(owner: &[u8], text: &[u8]) -> i64 {
    let hash = ContentHash::of(owner).chained(ContentHash::of(text));
    let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
    i64::from_le_bytes([a, b, c, d, e, f, g, h])
}
