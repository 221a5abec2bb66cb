//! Large values, each kept once and as long as a log or a cached result refers to it.
//!
//! Whoever stops to refer to a value removes it if nobody else does, in the transaction that stops: transactions that
//! write follow one another, also those of other processes, so that none can begin to refer to it in between.

use rusqlite::{Connection, OptionalExtension, params};
use segue_core::{
    event::Event,
    ids::ContentHash,
    payload::{BlobRef, Payload},
    ports::StoreError,
};

use crate::{
    encode::{self, damaged},
    failure::Failure,
};

/// The payloads of these events that are large values.
pub(crate) fn of(events: &[Event]) -> impl Iterator<Item = &Payload> + Clone {
    events.iter().filter_map(|event| event.kind.payload()).filter(|payload| payload.blob().is_some())
}

/// Refuses values that are only referred to and not there.
pub(crate) fn check<'p>(db: &Connection, payloads: impl Iterator<Item = &'p Payload> + Clone) -> Result<(), Failure> {
    for blob in payloads.clone().filter(|payload| payload.blob_to_store().is_none()).filter_map(Payload::blob) {
        let brought = || payloads.clone().filter_map(Payload::blob_to_store).any(|(own, _)| own.hash == blob.hash);
        if !is_kept(db, blob.hash)? && !brought() {
            return Err(StoreError::NotFound(format!("value {}", blob.hash)).into());
        }
    }
    Ok(())
}

fn is_kept(db: &Connection, hash: ContentHash) -> Result<bool, Failure> {
    const SQL: &str = "SELECT EXISTS (SELECT 1 FROM blobs WHERE hash = ?1)";
    Ok(db.prepare_cached(SQL)?.query_row([hash.as_bytes()], |row| row.get(0))?)
}

/// Keeps a value; one that is known already costs a look.
pub(crate) fn keep(db: &Connection, payload: &Payload) -> Result<(), Failure> {
    const SQL: &str = "INSERT INTO blobs (hash, body) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
    if let Some((blob, json)) = payload.blob_to_store() {
        db.prepare_cached(SQL)?.execute(params![blob.hash.as_bytes(), json])?;
    }
    Ok(())
}

/// Keeps the large values of a run's events, and notes that the run refers to them.
pub(crate) fn keep_for_run(db: &Connection, run_no: i64, events: &[Event]) -> Result<(), Failure> {
    const SQL: &str = "INSERT INTO blob_uses (run_no, hash) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
    for payload in of(events) {
        keep(db, payload)?;
        let hash = payload.blob().expect("it is a large value").hash;
        db.prepare_cached(SQL)?.execute(params![run_no, hash.as_bytes()])?;
    }
    Ok(())
}

/// Removes a value if nothing refers to it any more. Gives its length if so.
pub(crate) fn remove_unused(db: &Connection, hash: ContentHash) -> Result<Option<u64>, Failure> {
    const SQL: &str = "DELETE FROM blobs WHERE hash = ?1 AND NOT EXISTS (SELECT 1 FROM blob_uses WHERE hash = ?1) \
         AND NOT EXISTS (SELECT 1 FROM cache WHERE blob = ?1) RETURNING octet_length(body)";
    Ok(db.prepare_cached(SQL)?.query_row([hash.as_bytes()], |row| row.get(0)).optional()?)
}

/// The JSON text of a large value, its hash checked.
pub(crate) fn read(db: &Connection, blob: BlobRef) -> Result<Vec<u8>, Failure> {
    const SQL: &str = "SELECT body FROM blobs WHERE hash = ?1";
    let mut query = db.prepare_cached(SQL)?;
    let body = query.query_row([blob.hash.as_bytes()], |row| Ok(encode::bytes(row.get_ref(0)?).to_vec())).optional()?;
    let body = body.ok_or_else(|| StoreError::NotFound(format!("value {}", blob.hash)))?;
    if body.len() as u64 != blob.bytes || ContentHash::of(&body) != blob.hash {
        return Err(damaged(format!("value {}", blob.hash), "does not match its hash"));
    }
    Ok(body)
}

/// The length of a value that is kept.
pub(crate) fn length(db: &Connection, hash: ContentHash) -> Result<Option<u64>, Failure> {
    const SQL: &str = "SELECT octet_length(body) FROM blobs WHERE hash = ?1";
    Ok(db.prepare_cached(SQL)?.query_row([hash.as_bytes()], |row| row.get(0)).optional()?)
}

/// Gives a large value its content. `what` names it in the error.
pub(crate) fn load(db: &Connection, payload: &mut Payload, what: &dyn Fn() -> String) -> Result<(), Failure> {
    let Some(blob) = payload.blob() else { return Ok(()) };
    let json = read(db, blob).map_err(|failure| match failure {
        Failure::Refused(StoreError::NotFound(_)) => damaged(what(), "is missing"),
        other => other,
    })?;
    let value = serde_json::from_slice(&json).map_err(|error| damaged(what(), &format!("is not JSON: {error}")))?;
    payload.supply(std::sync::Arc::new(value));
    Ok(())
}
