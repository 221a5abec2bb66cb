//! Deletion of runs: each run in one transaction of its own. Nobody else waits for it, because readers see the database
//! as it was before, and commits are of other runs.

use deadpool_postgres::Object;
use segue_core::{
    ids::RunId,
    ports::{Collected, StoreError},
    time::Timestamp,
};
use uuid::Uuid;

use crate::{encode, failure::Failure, pool::Prepares, runs, values};

/// A run has at most this many others above it; more can only be a circle.
const DEPTH_MAX: usize = 64;

/// Where a run stands, as far as deletion asks.
struct Life {
    /// It has ended, nobody owns it, nobody has asked for it to be reopened.
    is_over: bool,
    ended_at: Option<i64>,
    parent: Option<RunId>,
}

impl Life {
    fn is_old(&self, before: Timestamp) -> bool {
        self.is_over && self.ended_at.is_some_and(|ended| ended < before.as_micros())
    }
}

async fn life(db: &impl Prepares, run: RunId) -> Result<Option<Life>, Failure> {
    const SQL: &str = "SELECT NOT live AND owner IS NULL AND NOT EXISTS \
         (SELECT 1 FROM requests WHERE requests.run_id = runs.run_id AND reopens), ended_at, parent \
         FROM runs WHERE run_id = $1";
    let rows = db.rows(SQL, &[&encode::uuid(run)]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let parent: Option<Uuid> = row.try_get(2)?;
    Ok(Some(Life { is_over: row.try_get(0)?, ended_at: row.try_get(1)?, parent: parent.map(encode::run_id) }))
}

/// The first run above this one, and still there, that `keeps` it.
async fn kept_by(
    db: &impl Prepares,
    parent: Option<RunId>,
    keeps: impl Fn(&Life) -> bool,
) -> Result<Option<RunId>, Failure> {
    let mut above = parent;
    for _ in 0..DEPTH_MAX {
        let Some(run) = above else { break };
        let Some(life) = life(db, run).await? else { break };
        if keeps(&life) {
            return Ok(Some(run));
        }
        above = life.parent;
    }
    Ok(None)
}

/// Nobody claims it, nor posts to it, until this transaction ends.
async fn lock(db: &impl Prepares, run: RunId) -> Result<(), Failure> {
    const SQL: &str = "SELECT 1 FROM runs WHERE run_id = $1 FOR UPDATE";
    db.rows(SQL, &[&encode::uuid(run)]).await.map(drop)
}

/// Removes a run with all that is its own.
pub(crate) async fn delete(db: &mut Object, run: RunId) -> Result<(), Failure> {
    let change = db.transaction().await?;
    lock(&change, run).await?;
    let life = life(&change, run).await?.ok_or_else(|| runs::not_found(run))?;
    if !life.is_over {
        return Err(StoreError::Refused(format!("run {run} has not ended, or is about to go on")).into());
    }
    if let Some(above) = kept_by(&change, life.parent, |above| !above.is_over).await? {
        return Err(StoreError::Refused(format!("run {run} is a part of run {above}, which has not ended")).into());
    }
    remove(&change, run).await?;
    change.commit().await?;
    Ok(())
}

/// Removes a run if it ended before this time and nothing keeps it. Gives what was removed.
pub(crate) async fn delete_old(db: &mut Object, run: RunId, before: Timestamp) -> Result<Option<Collected>, Failure> {
    let change = db.transaction().await?;
    lock(&change, run).await?;
    let Some(life) = life(&change, run).await?.filter(|life| life.is_old(before)) else { return Ok(None) };
    if kept_by(&change, life.parent, |above| !above.is_old(before)).await?.is_some() {
        return Ok(None);
    }
    let removed = remove(&change, run).await?;
    change.commit().await?;
    Ok(Some(removed))
}

async fn remove(db: &impl Prepares, run: RunId) -> Result<Collected, Failure> {
    const USES: &str = "SELECT hash FROM blob_uses WHERE run_id = $1";
    /// Each gives the bytes of what it removes.
    const OWN: [&str; 4] = [
        "DELETE FROM events WHERE run_id = $1 RETURNING octet_length(body)::bigint",
        "DELETE FROM tasks WHERE run_id = $1 RETURNING octet_length(summary)::bigint",
        "DELETE FROM model_calls WHERE run_id = $1 RETURNING octet_length(body)::bigint",
        "DELETE FROM blob_uses WHERE run_id = $1 RETURNING 0::bigint",
    ];
    const THREADS: [&str; 2] = [
        "DELETE FROM checkpoints WHERE thread >= $1 AND thread < $2 RETURNING octet_length(state)::bigint",
        "DELETE FROM checkpoint_writes WHERE thread >= $1 AND thread < $2 RETURNING octet_length(value)::bigint",
    ];
    // Its labels and its requests go with it.
    const ROW: &str = "DELETE FROM runs WHERE run_id = $1";
    let id = encode::uuid(run);
    let mut hashes: Vec<Vec<u8>> = Vec::new();
    for row in db.rows(USES, &[&id]).await? {
        hashes.push(row.try_get(0)?);
    }
    values::lock(db, &hashes).await?;
    let mut bytes = 0;
    for sql in OWN {
        bytes += sum(&db.rows(&total(sql), &[&id]).await?);
    }
    // Threads are named `<run id>/…`: between this text and the next after all of its kind.
    let (first, end) = (format!("{run}/").into_bytes(), format!("{run}0").into_bytes());
    for sql in THREADS {
        bytes += sum(&db.rows(&total(sql), &[&first, &end]).await?);
    }
    db.change(ROW, &[&id]).await?;
    let (blobs, freed) = values::remove_unused(db, &hashes).await?;
    Ok(Collected { runs: 1, blobs, cache_entries: 0, bytes: bytes + freed })
}

/// Only the sum of what a deletion gives travels.
fn total(delete: &str) -> String {
    format!("WITH removed (bytes) AS ({delete}) SELECT coalesce(sum(bytes), 0)::bigint FROM removed")
}

fn sum(rows: &[tokio_postgres::Row]) -> u64 {
    rows.first().map_or(0, |row| encode::count(row.get(0)))
}

/// The next runs that ended before this time, in the order in which they ended.
pub(crate) const ENDED: &str = "SELECT ended_at, run_id FROM runs WHERE ended_at IS NOT NULL AND ended_at < $3 \
     AND (ended_at, run_id) > ($1, $2) ORDER BY ended_at, run_id LIMIT 100";

/// A place in the list of ended runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor(i64, RunId);

impl Cursor {
    pub(crate) const START: Self = Self(i64::MIN, RunId::from_bytes([0; 16]));
}

/// Some runs that ended before this time, after the cursor; none at the end.
pub(crate) async fn ended(db: &impl Prepares, before: Timestamp, after: Cursor) -> Result<Vec<Cursor>, Failure> {
    let rows = db.rows(ENDED, &[&after.0, &encode::uuid(after.1), &before.as_micros()]).await?;
    rows.iter().map(|row| Ok(Cursor(row.try_get(0)?, encode::run_id(row.try_get(1)?)))).collect()
}

impl Cursor {
    pub(crate) const fn run(self) -> RunId {
        self.1
    }
}
