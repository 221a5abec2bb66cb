//! Results of tasks that stand in for others.

use deadpool_postgres::Object;
use segue_core::{
    ids::ContentHash,
    ports::{Cached, StoreError},
    seal::SealedRow,
    time::Timestamp,
};

use crate::{encode, failure::Failure, pool::Prepares, values};

/// Keeps a result in the place of an earlier one.
pub(crate) async fn put(
    db: &mut Object,
    key: &str,
    entry: &Cached,
    expires_at: Option<Timestamp>,
) -> Result<(), Failure> {
    const BEFORE: &str = "SELECT blob FROM cache WHERE key = $1 AND blob IS NOT NULL FOR UPDATE";
    const BLOB: &str = "INSERT INTO blobs (hash, body) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    const THERE: &str = "SELECT 1 FROM blobs WHERE hash = $1 FOR KEY SHARE";
    const SQL: &str = "INSERT INTO cache (key, blob, stored_at, expires_at, summary, sum) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (key) DO UPDATE SET blob = excluded.blob, \
         stored_at = excluded.stored_at, expires_at = excluded.expires_at, summary = excluded.summary, \
         sum = excluded.sum";
    let row = SealedRow::of(key.as_bytes(), &(entry, expires_at));
    let name = ContentHash::of(key.as_bytes()).as_bytes().to_vec();
    let blob = entry.output.blob().map(|blob| blob.hash.as_bytes().to_vec());
    let change = db.transaction().await?;
    let before = change.rows(BEFORE, &[&name]).await?.first().map(|row| row.get::<_, Vec<u8>>(0));
    let left: Vec<Vec<u8>> = before.into_iter().filter(|before| blob.as_ref() != Some(before)).collect();
    values::lock(&change, &left).await?;
    if let Some((_, json)) = entry.output.blob_to_store() {
        change.change(BLOB, &[&blob, &json]).await?;
    }
    if let Some(blob) = &blob
        && change.rows(THERE, &[blob]).await?.is_empty()
    {
        return Err(StoreError::NotFound(format!("value {}", encode::hash(blob))).into());
    }
    let (stored_at, expires_at) = (entry.stored_at.as_micros(), expires_at.map(Timestamp::as_micros));
    change.change(SQL, &[&name, &blob, &stored_at, &expires_at, &row.text, &row.sum]).await?;
    values::remove_unused(&change, &left).await?;
    change.commit().await?;
    Ok(())
}

/// The result under this key, its output loaded, unless it has expired.
pub(crate) async fn get(db: &impl Prepares, key: &str, now: Timestamp) -> Result<Option<Cached>, Failure> {
    // One statement: the value that it refers to may be removed with it in the next moment.
    const SQL: &str = "SELECT summary, sum, body FROM cache LEFT JOIN blobs ON blobs.hash = cache.blob WHERE key = $1";
    let what = || format!("the cached result {key}");
    let rows = db.rows(SQL, &[&ContentHash::of(key.as_bytes()).as_bytes().as_slice()]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let (mut cached, expires_at): (Cached, Option<Timestamp>) = encode::summary(key.as_bytes(), row, what)?;
    if expires_at.is_some_and(|time| time <= now) {
        return Ok(None);
    }
    if let Some(blob) = cached.output.blob() {
        values::supply(&mut cached.output, blob, row.try_get(2)?, &what())?;
    }
    Ok(Some(cached))
}

/// What was removed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Removed {
    pub(crate) entries: u64,
    pub(crate) blobs: u64,
    pub(crate) bytes: u64,
}

/// Removes up to `most` results that have expired, or that never expire and were kept before this time.
pub(crate) async fn remove_stale(db: &mut Object, stored_before: Timestamp, most: i64) -> Result<Removed, Failure> {
    const STALE: &str = "SELECT key, blob FROM cache WHERE key IN ( \
             (SELECT key FROM cache WHERE expires_at <= (extract(epoch FROM clock_timestamp()) * 1000000)::bigint LIMIT $2) \
             UNION ALL (SELECT key FROM cache WHERE expires_at IS NULL AND stored_at < $1 LIMIT $2) LIMIT $2 \
         ) ORDER BY key FOR UPDATE SKIP LOCKED";
    const SQL: &str = "DELETE FROM cache WHERE key = ANY($1) RETURNING octet_length(summary)::bigint";
    let change = db.transaction().await?;
    let (mut keys, mut blobs): (Vec<Vec<u8>>, Vec<Vec<u8>>) = Default::default();
    for row in change.rows(STALE, &[&stored_before.as_micros(), &most]).await? {
        keys.push(row.try_get(0)?);
        blobs.extend(row.try_get::<_, Option<Vec<u8>>>(1)?);
    }
    blobs.sort_unstable();
    blobs.dedup();
    values::lock(&change, &blobs).await?;
    let rows = change.rows(SQL, &[&keys]).await?;
    let bytes: i64 = rows.iter().map(|row| row.get::<_, i64>(0)).sum();
    let (removed, freed) = values::remove_unused(&change, &blobs).await?;
    change.commit().await?;
    Ok(Removed { entries: rows.len() as u64, blobs: removed, bytes: u64::try_from(bytes).unwrap_or(0) + freed })
}
