//! Between Segue's types and PostgreSQL's.

use segue_core::{
    ids::{ContentHash, RunId},
    seal,
};
use serde::de::DeserializeOwned;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::failure::Failure;

pub(crate) fn uuid(run: RunId) -> Uuid {
    Uuid::from_bytes(*run.as_bytes())
}

pub(crate) fn uuids(runs: &[RunId]) -> Vec<Uuid> {
    runs.iter().copied().map(uuid).collect()
}

pub(crate) fn run_id(uuid: Uuid) -> RunId {
    RunId::from_bytes(uuid.into_bytes())
}

/// A hash column. A damaged one of another length matches nothing.
pub(crate) fn hash(bytes: &[u8]) -> ContentHash {
    bytes.try_into().map_or_else(|_| ContentHash::from_bytes([0; 32]), ContentHash::from_bytes)
}

/// Numbers that count events and attempts: far below 2^63.
pub(crate) fn number(count: u64) -> i64 {
    i64::try_from(count).expect("nothing is counted so far")
}

/// What [`number`] gave. A damaged one matches nothing.
pub(crate) fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// `LIMIT`: 0 means all, which PostgreSQL calls NULL.
pub(crate) fn limit(most: usize) -> Option<i64> {
    (most > 0).then(|| i64::try_from(most).ok()).flatten()
}

/// Reads a summary from its two columns, `summary` and `sum`. `what` names it in the error.
pub(crate) fn summary<T: DeserializeOwned>(
    owner: &[u8],
    row: &Row,
    what: impl FnOnce() -> String,
) -> Result<T, Failure> {
    let (text, sum): (&str, i64) = (row.try_get("summary")?, row.try_get("sum")?);
    Ok(seal::open(owner, text.as_bytes(), sum).map_err(|damage| damage.of(what))?)
}

/// Of several texts: what an index holds in their place, so that neither their length nor their letters matter.
pub(crate) fn name(parts: &[&str]) -> ContentHash {
    parts.iter().fold(ContentHash::of(b""), |hash, part| hash.chained(ContentHash::of(part.as_bytes())))
}
