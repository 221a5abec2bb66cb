//! Results of tasks that stand in for others.

use rusqlite::{Connection, OptionalExtension, params};
use segue_core::{ids::ContentHash, ports::Cached, time::Timestamp};

use crate::{
    encode::{self, RowText},
    failure::Failure,
    values,
};

/// A result ready to be kept.
#[derive(Debug)]
pub(crate) struct Entry {
    key: String,
    cached: Cached,
    expires_at: Option<Timestamp>,
    row: RowText,
}

impl Entry {
    pub(crate) fn of(key: &str, cached: Cached, expires_at: Option<Timestamp>) -> Self {
        let row = RowText::of(key.as_bytes(), &(&cached, expires_at));
        Self { key: key.to_owned(), cached, expires_at, row }
    }

    pub(crate) fn large_bytes(&self) -> usize {
        self.cached.output.blob_to_store().map_or(0, |(_, json)| json.len())
    }

    /// Keeps it in the place of an earlier one.
    pub(crate) fn write(&self, db: &Connection) -> Result<(), Failure> {
        const SQL: &str = "INSERT INTO cache (key, blob, stored_at, expires_at, row, row_sum) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE SET blob = excluded.blob, \
             stored_at = excluded.stored_at, expires_at = excluded.expires_at, row = excluded.row, \
             row_sum = excluded.row_sum";
        values::check(db, std::iter::once(&self.cached.output))?;
        let before = blob_of(db, &self.key)?;
        values::keep(db, &self.cached.output)?;
        let blob = self.cached.output.blob().map(|blob| blob.hash);
        db.prepare_cached(SQL)?.execute(params![
            self.key,
            blob.as_ref().map(|hash| *hash.as_bytes()),
            self.cached.stored_at.as_micros(),
            self.expires_at.map(Timestamp::as_micros),
            self.row.text,
            self.row.sum
        ])?;
        if let Some(before) = before.filter(|before| blob != Some(*before)) {
            values::remove_unused(db, before)?;
        }
        Ok(())
    }
}

fn blob_of(db: &Connection, key: &str) -> Result<Option<ContentHash>, Failure> {
    const SQL: &str = "SELECT blob FROM cache WHERE key = ?1 AND blob IS NOT NULL";
    let mut query = db.prepare_cached(SQL)?;
    Ok(query.query_row([key], |row| Ok(encode::hash(row.get_ref(0)?))).optional()?)
}

/// The result under this key, its output loaded, unless it has expired.
pub(crate) fn get(db: &Connection, key: &str, now: Timestamp) -> Result<Option<Cached>, Failure> {
    const SQL: &str = "SELECT row, row_sum FROM cache WHERE key = ?1";
    let what = || format!("the cached result {key}");
    let mut query = db.prepare_cached(SQL)?;
    let mut rows = query.query([key])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let (mut cached, expires_at): (Cached, Option<Timestamp>) = encode::read_row(key.as_bytes(), row, 0, 1, &what)?;
    if expires_at.is_some_and(|time| time <= now) {
        return Ok(None);
    }
    values::load(db, &mut cached.output, &what)?;
    Ok(Some(cached))
}

/// Removes up to `most` results that have expired, or that never expire and were kept before this time. Gives the bytes of
/// each, and of the large values that went with them.
pub(crate) fn remove_stale(db: &Connection, stored_before: Timestamp, most: usize) -> Result<Removed, Failure> {
    const SQL: &str = "DELETE FROM cache WHERE key IN ( \
             SELECT key FROM cache WHERE expires_at <= CAST(unixepoch('subsec') * 1000000 AS INTEGER) \
             UNION ALL SELECT key FROM cache WHERE expires_at IS NULL AND stored_at < ?1 LIMIT ?2 \
         ) RETURNING blob, octet_length(row)";
    let mut removed = Removed::default();
    let mut blobs = Vec::new();
    let mut query = db.prepare_cached(SQL)?;
    let mut rows = query.query(params![stored_before.as_micros(), encode::limit(most)])?;
    while let Some(row) = rows.next()? {
        removed.entries += 1;
        removed.bytes += row.get::<_, u64>(1)?;
        if let Ok(bytes) = row.get_ref(0)?.as_blob() {
            blobs.push(bytes.try_into().map_or(ContentHash::from_bytes([0; 32]), ContentHash::from_bytes));
        }
    }
    drop(rows);
    for blob in blobs {
        if let Some(bytes) = values::remove_unused(db, blob)? {
            (removed.blobs, removed.bytes) = (removed.blobs + 1, removed.bytes + bytes);
        }
    }
    Ok(removed)
}

/// What was removed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Removed {
    pub(crate) entries: u64,
    pub(crate) blobs: u64,
    pub(crate) bytes: u64,
}
