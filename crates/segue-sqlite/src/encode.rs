//! Rows as they are kept: JSON text with a checksum, so that a damaged one is reported and never served.

use rusqlite::{Row, types::ValueRef};
pub(crate) use segue_core::seal::{SealedEvents as EventsText, SealedRow as RowText, checksum};
use segue_core::{
    ids::{ContentHash, RunId},
    seal::{self, Damage},
};
use serde::de::DeserializeOwned;

use crate::failure::Failure;

/// Reads a summary row from its two columns. `what` names it in the error.
pub(crate) fn read_row<T: DeserializeOwned>(
    owner: &[u8],
    row: &Row<'_>,
    text: usize,
    sum: usize,
    what: &dyn Fn() -> String,
) -> Result<T, Failure> {
    let bytes = bytes(row.get_ref(text)?);
    Ok(seal::open(owner, bytes, row.get(sum)?).map_err(|damage| damage.of(what))?)
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
    Damage::because(how).of(|| what).into()
}
