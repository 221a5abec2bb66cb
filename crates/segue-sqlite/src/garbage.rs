//! Deletion of runs, in steps that hold up no commit for long.
//!
//! The first step removes the run's own row and notes its number in `buried`: from then on nothing of it can be seen, and
//! its number is not given again. The following ones remove its log, its tasks and its values, a few at a time, each step
//! in a transaction of its own that may share its `fsync` with commits. If the process dies in between, the next deletion
//! or collection goes on. The file does not shrink; its free pages are used by what is written next.

use rusqlite::{Connection, OptionalExtension, params};
use segue_core::{
    ids::RunId,
    ports::{Collected, StoreError},
    time::Timestamp,
};

use crate::{cache, encode, failure::Failure, log, values};

/// Rows that one step removes.
const ROWS_MAX: usize = 500;
/// Bytes after which a step ends.
const BYTES_MAX: u64 = 512 * 1024;
/// Runs that one step buries.
const RUNS_MAX: usize = 100;
/// A run has at most this many others above it; more can only be a circle.
const DEPTH_MAX: usize = 64;

/// Where a run stands, as far as deletion asks.
struct Life {
    run_no: i64,
    /// It has ended, nobody owns it, nobody has asked for it to be reopened.
    is_over: bool,
    ended_at: Option<i64>,
    parent: Option<RunId>,
}

fn life(db: &Connection, run: RunId) -> Result<Option<Life>, Failure> {
    const SQL: &str = "SELECT run_no, live = 0 AND owner IS NULL AND NOT EXISTS \
         (SELECT 1 FROM requests WHERE requests.run_no = runs.run_no AND reopens = 1), ended_at, parent \
         FROM runs WHERE run_id = ?1";
    let mut query = db.prepare_cached(SQL)?;
    let mut rows = query.query([run.as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let parent = row.get_ref(3)?;
    let parent = (parent != rusqlite::types::ValueRef::Null).then(|| encode::run_id(parent)).transpose()?;
    Ok(Some(Life { run_no: row.get(0)?, is_over: row.get(1)?, ended_at: row.get(2)?, parent }))
}

/// The first run above this one, and still there, that `keeps` it.
fn kept_by(db: &Connection, parent: Option<RunId>, keeps: impl Fn(&Life) -> bool) -> Result<Option<RunId>, Failure> {
    let mut above = parent;
    for _ in 0..DEPTH_MAX {
        let Some(run) = above else { break };
        let Some(life) = life(db, run)? else { break };
        if keeps(&life) {
            return Ok(Some(run));
        }
        above = life.parent;
    }
    Ok(None)
}

/// Removes a run from sight.
pub(crate) fn bury(db: &Connection, run: RunId) -> Result<(), Failure> {
    let life = life(db, run)?.ok_or_else(|| StoreError::NotFound(format!("run {run}")))?;
    if !life.is_over {
        return Err(StoreError::Refused(format!("run {run} has not ended, or is about to go on")).into());
    }
    if let Some(above) = kept_by(db, life.parent, |above| !above.is_over)? {
        return Err(StoreError::Refused(format!("run {run} is a part of run {above}, which has not ended")).into());
    }
    remove_from_sight(db, run, life.run_no)
}

fn remove_from_sight(db: &Connection, run: RunId, run_no: i64) -> Result<(), Failure> {
    db.prepare_cached("INSERT INTO buried (run_no, run_id) VALUES (?1, ?2)")?
        .execute(params![run_no, run.as_bytes()])?;
    db.prepare_cached("DELETE FROM runs WHERE run_no = ?1")?.execute([run_no])?;
    db.prepare_cached("DELETE FROM labels WHERE run_id = ?1")?.execute([run.as_bytes()])?;
    db.prepare_cached("DELETE FROM requests WHERE run_no = ?1")?.execute([run_no])?;
    Ok(())
}

/// A place in the list of ended runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor {
    ended_at: i64,
    run_no: i64,
}

impl Cursor {
    pub(crate) const START: Self = Self { ended_at: i64::MIN, run_no: 0 };
}

/// The next runs that ended before this time, in the order in which they ended.
pub(crate) const ENDED: &str = "SELECT run_id, ended_at, run_no FROM runs \
     WHERE ended_at IS NOT NULL AND (ended_at, run_no) > (?1, ?2) AND ended_at < ?3 ORDER BY ended_at, run_no LIMIT ?4";

/// Some runs that ended before this time, after the cursor; none at the end.
pub(crate) fn ended(
    db: &Connection,
    before: Timestamp,
    after: Cursor,
) -> Result<Option<(Vec<RunId>, Cursor)>, Failure> {
    let mut query = db.prepare_cached(ENDED)?;
    let values = params![after.ended_at, after.run_no, before.as_micros(), encode::limit(RUNS_MAX)];
    let mut rows = query.query(values)?;
    let (mut found, mut last) = (Vec::new(), None);
    while let Some(row) = rows.next()? {
        found.push(encode::run_id(row.get_ref(0)?)?);
        last = Some(Cursor { ended_at: row.get(1)?, run_no: row.get(2)? });
    }
    Ok(last.map(|last| (found, last)))
}

/// Buries those of these runs that ended before this time and that nothing keeps. Gives how many.
pub(crate) fn bury_old(db: &Connection, runs: &[RunId], before: Timestamp) -> Result<u64, Failure> {
    let is_old = |life: &Life| life.is_over && life.ended_at.is_some_and(|ended| ended < before.as_micros());
    let mut buried = 0;
    for &run in runs {
        let Some(life) = life(db, run)?.filter(is_old) else { continue };
        if kept_by(db, life.parent, |above| !is_old(above))?.is_none() {
            remove_from_sight(db, run, life.run_no)?;
            buried += 1;
        }
    }
    Ok(buried)
}

/// Removes a little of what is buried. None: there is nothing left.
pub(crate) fn sweep(db: &Connection) -> Result<Option<Collected>, Failure> {
    let mut step = Step::default();
    while !step.is_full() {
        let Some((run_no, run)) = first_buried(db)? else { break };
        if step.remove_rows(db, run_no, &Rows::EVENTS)?
            && step.remove_rows(db, run_no, &Rows::TASKS)?
            && step.remove_rows(db, run_no, &Rows::MODEL_CALLS)?
            && step.remove_threads(db, run, CHECKPOINTS)?
            && step.remove_threads(db, run, CHECKPOINT_WRITES)?
            && step.remove_values(db, run_no)?
        {
            db.prepare_cached("DELETE FROM buried WHERE run_no = ?1")?.execute([run_no])?;
            step.rows += 1;
        }
    }
    Ok((step.rows > 0).then_some(step.removed))
}

/// The number of a run, and its id unless an earlier version of this program buried it, which kept nothing under it.
fn first_buried(db: &Connection) -> Result<Option<(i64, Option<RunId>)>, Failure> {
    const SQL: &str = "SELECT run_no, run_id FROM buried ORDER BY run_no LIMIT 1";
    let mut query = db.prepare_cached(SQL)?;
    let mut rows = query.query([])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let id = row.get_ref(1)?;
    let id = (id != rusqlite::types::ValueRef::Null).then(|| encode::run_id(id)).transpose()?;
    Ok(Some((row.get(0)?, id)))
}

/// Removes some rows of threads, which are named `<run id>/…`: between this text and the next after all of its kind.
const CHECKPOINTS: &str = "DELETE FROM checkpoints WHERE rowid IN (SELECT rowid FROM checkpoints \
     WHERE thread >= ?1 AND thread < ?2 LIMIT ?3) RETURNING octet_length(state)";
const CHECKPOINT_WRITES: &str = "DELETE FROM checkpoint_writes WHERE rowid IN (SELECT rowid FROM checkpoint_writes \
     WHERE thread >= ?1 AND thread < ?2 LIMIT ?3) RETURNING octet_length(value)";

/// A table whose rows lie by `place`.
struct Rows {
    sizes: &'static str,
    delete: &'static str,
}

impl Rows {
    const EVENTS: Self = Self {
        sizes: "SELECT place, octet_length(body) FROM events WHERE place >= ?1 AND place < ?2 ORDER BY place LIMIT ?3",
        delete: "DELETE FROM events WHERE place >= ?1 AND place <= ?2",
    };
    const TASKS: Self = Self {
        sizes: "SELECT place, octet_length(row) FROM tasks WHERE place >= ?1 AND place < ?2 ORDER BY place LIMIT ?3",
        delete: "DELETE FROM tasks WHERE place >= ?1 AND place <= ?2",
    };
    const MODEL_CALLS: Self = Self {
        sizes: "SELECT place, octet_length(body) FROM model_calls WHERE place >= ?1 AND place < ?2 ORDER BY place LIMIT ?3",
        delete: "DELETE FROM model_calls WHERE place >= ?1 AND place <= ?2",
    };
}

/// What one transaction removes: many short runs, or a part of a long one.
#[derive(Default)]
struct Step {
    removed: Collected,
    rows: usize,
}

impl Step {
    const fn is_full(&self) -> bool {
        self.rows >= ROWS_MAX || self.removed.bytes > BYTES_MAX
    }

    /// Removes the run's first rows of a table. Were they all?
    fn remove_rows(&mut self, db: &Connection, run_no: i64, table: &Rows) -> Result<bool, Failure> {
        let first = log::place(run_no, 0);
        let mut query = db.prepare_cached(table.sizes)?;
        let limit = encode::limit(ROWS_MAX);
        let mut rows = query.query(params![first, log::place(run_no + 1, 0), limit])?;
        let mut last = None;
        while !self.is_full()
            && let Some(row) = rows.next()?
        {
            last = Some(row.get::<_, i64>(0)?);
            self.removed.bytes += row.get::<_, u64>(1)?;
            self.rows += 1;
        }
        drop(rows);
        if let Some(last) = last {
            db.prepare_cached(table.delete)?.execute([first, last])?;
        }
        Ok(!self.is_full())
    }

    /// Removes some rows of the run's threads. Were they all?
    fn remove_threads(&mut self, db: &Connection, run: Option<RunId>, delete: &str) -> Result<bool, Failure> {
        /// A row may be large.
        const AT_ONCE: i64 = 8;
        let Some(run) = run else { return Ok(true) };
        // The letter after the slash.
        let (first, end) = (format!("{run}/"), format!("{run}0"));
        let mut query = db.prepare_cached(delete)?;
        while !self.is_full() {
            let sizes = query.query_map(params![first, end, AT_ONCE], |row| row.get::<_, u64>(0))?;
            let sizes = sizes.collect::<Result<Vec<u64>, _>>()?;
            if sizes.is_empty() {
                return Ok(true);
            }
            self.rows += sizes.len();
            self.removed.bytes += sizes.iter().sum::<u64>();
        }
        Ok(false)
    }

    /// Ends the run's use of some values, and removes those that nobody else uses. Were they all?
    fn remove_values(&mut self, db: &Connection, run_no: i64) -> Result<bool, Failure> {
        const NEXT: &str = "DELETE FROM blob_uses WHERE run_no = ?1 \
             AND hash = (SELECT min(hash) FROM blob_uses WHERE run_no = ?1) RETURNING hash";
        let mut query = db.prepare_cached(NEXT)?;
        while !self.is_full() {
            let hash = query.query_row([run_no], |row| Ok(encode::hash(row.get_ref(0)?))).optional()?;
            let Some(hash) = hash else { return Ok(true) };
            self.rows += 1;
            if let Some(bytes) = values::remove_unused(db, hash)? {
                (self.removed.blobs, self.removed.bytes) = (self.removed.blobs + 1, self.removed.bytes + bytes);
            }
        }
        Ok(false)
    }
}

/// Removes some cached results that are of no more use. Gives nothing at the end.
pub(crate) fn sweep_cache(db: &Connection, stored_before: Timestamp) -> Result<Option<Collected>, Failure> {
    const ENTRIES_MAX: usize = 50;
    let removed = cache::remove_stale(db, stored_before, ENTRIES_MAX)?;
    Ok((removed.entries > 0).then_some(Collected {
        runs: 0,
        blobs: removed.blobs,
        cache_entries: removed.entries,
        bytes: removed.bytes,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::plan;

    /// The cost of a collection is that of what it removes.
    #[test]
    fn what_has_ended_is_found_without_walking_the_rest() {
        assert_eq!(plan(ENDED), ["SEARCH runs USING INDEX runs_ended (ended_at>? AND ended_at<?)"]);
        for rows in [Rows::EVENTS, Rows::TASKS, Rows::MODEL_CALLS] {
            for sql in [rows.sizes, rows.delete] {
                let steps = plan(sql);
                assert!(steps.len() == 1 && steps[0].contains("USING INTEGER PRIMARY KEY"), "{steps:?}");
            }
        }
        for sql in [CHECKPOINTS, CHECKPOINT_WRITES] {
            let steps = plan(sql);
            assert!(steps.iter().all(|step| !step.starts_with("SCAN")), "{steps:?}");
        }
    }
}
