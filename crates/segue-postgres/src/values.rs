//! Large values, each kept once and as long as a log or a cached result refers to it.
//!
//! References are foreign keys: a value cannot be removed while somebody begins to refer to it, nor referred to while it is
//! being removed. Whoever stops to refer to a value locks it first, so that of two that stop at once the second sees it.

use std::sync::Arc;

use segue_core::{
    ids::ContentHash,
    payload::{BlobRef, Payload},
    ports::StoreError,
};

use crate::{
    failure::{Failure, damaged},
    pool::Prepares,
};

/// Locks values that somebody is about to stop to refer to, in the order of their hashes.
pub(crate) async fn lock(db: &impl Prepares, hashes: &[Vec<u8>]) -> Result<(), Failure> {
    const SQL: &str = "SELECT 1 FROM blobs WHERE hash = ANY($1) ORDER BY hash FOR UPDATE";
    if !hashes.is_empty() {
        db.rows(SQL, &[&hashes]).await?;
    }
    Ok(())
}

/// Removes those of these locked values that nothing refers to any more. Gives how many, and their bytes.
pub(crate) async fn remove_unused(db: &impl Prepares, hashes: &[Vec<u8>]) -> Result<(u64, u64), Failure> {
    const SQL: &str = "DELETE FROM blobs WHERE hash = ANY($1) \
         AND NOT EXISTS (SELECT 1 FROM blob_uses WHERE blob_uses.hash = blobs.hash) \
         AND NOT EXISTS (SELECT 1 FROM cache WHERE cache.blob = blobs.hash) RETURNING octet_length(body)::bigint";
    if hashes.is_empty() {
        return Ok((0, 0));
    }
    let rows = db.rows(SQL, &[&hashes]).await?;
    let bytes: i64 = rows.iter().map(|row| row.get::<_, i64>(0)).sum();
    Ok((rows.len() as u64, u64::try_from(bytes).unwrap_or(0)))
}

/// The JSON text of a large value, its hash checked.
pub(crate) async fn read(db: &impl Prepares, blob: BlobRef) -> Result<Vec<u8>, Failure> {
    body(db, blob).await?.ok_or_else(|| StoreError::NotFound(format!("value {}", blob.hash)).into())
}

async fn body(db: &impl Prepares, blob: BlobRef) -> Result<Option<Vec<u8>>, Failure> {
    const SQL: &str = "SELECT body FROM blobs WHERE hash = $1";
    let rows = db.rows(SQL, &[&blob.hash.as_bytes().as_slice()]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let body: Vec<u8> = row.try_get(0)?;
    check(blob, &body)?;
    Ok(Some(body))
}

fn check(blob: BlobRef, body: &[u8]) -> Result<(), Failure> {
    if body.len() as u64 != blob.bytes || ContentHash::of(body) != blob.hash {
        return Err(damaged(format!("value {}", blob.hash), "does not match its hash"));
    }
    Ok(())
}

/// Gives a large value its content. `what` names it in the error.
pub(crate) async fn load(db: &impl Prepares, payload: &mut Payload, what: &str) -> Result<(), Failure> {
    let Some(blob) = payload.blob() else { return Ok(()) };
    let body = body(db, blob).await?;
    supply(payload, blob, body.as_deref(), what)
}

/// As [`load`], of what has been read already.
pub(crate) fn supply(payload: &mut Payload, blob: BlobRef, body: Option<&[u8]>, what: &str) -> Result<(), Failure> {
    let body = body.ok_or_else(|| damaged(what, "is missing"))?;
    check(blob, body)?;
    let value = serde_json::from_slice(body).map_err(|error| damaged(what, &format!("is not JSON: {error}")))?;
    payload.supply(Arc::new(value));
    Ok(())
}
