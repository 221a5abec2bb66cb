//! The log of a run.

use rusqlite::{Connection, OptionalExtension, params};
pub(crate) use segue_core::seal::chain_start;
use segue_core::{event::Event, ids::ContentHash, seal::LogReader};

use crate::{
    encode::{self, EventsText, damaged},
    failure::Failure,
    runs::RunHead,
};

/// A run's number is below 2^31 and `seq` below 2^32, so that both fit into one integer key: the rows of a run lie side by
/// side, in order, and need no second index.
const SEQ_BITS: u32 = 32;

pub(crate) const fn place(run_no: i64, seq: u64) -> i64 {
    (run_no << SEQ_BITS) | seq as i64
}

pub(crate) const fn seq_of(place: i64) -> u64 {
    (place & ((1 << SEQ_BITS) - 1)) as u64
}

/// The number of the run whose row lies there.
pub(crate) const fn run_of(place: i64) -> i64 {
    place >> SEQ_BITS
}

/// Writes the events that follow `version` and gives the new end of the chain.
pub(crate) fn append(
    db: &Connection,
    run_no: i64,
    version: u64,
    chain: ContentHash,
    events: &EventsText,
) -> Result<ContentHash, Failure> {
    const SQL: &str = "INSERT INTO events (place, count, body, chain) VALUES (?1, ?2, ?3, ?4)";
    if events.count == 0 {
        return Ok(chain);
    }
    let chain = chain.chained(events.hash);
    let place = place(run_no, version + 1);
    db.prepare_cached(SQL)?.execute(params![place, events.count, events.text, chain.as_bytes()])?;
    Ok(chain)
}

/// The events of `run` after `after`, at most `limit` (0: all). The chain is checked over all rows that are read, and
/// against the run's row if they reach the end.
pub(crate) fn read(db: &Connection, run: &RunHead, after: u64, limit: usize) -> Result<Vec<Event>, Failure> {
    const SQL: &str = "SELECT place, count, body, chain FROM events WHERE place BETWEEN ?1 AND ?2 ORDER BY place";
    let mut events = Vec::new();
    if after >= run.version {
        return Ok(events);
    }
    let first = row_with(db, run, after + 1)?;
    let mut log = LogReader::new(run.run_id, seq_of(first), chain_before(db, run, first)?);
    let mut query = db.prepare_cached(SQL)?;
    let mut rows = query.query([first, place(run.run_no, run.version)])?;
    while let Some(row) = rows.next()? {
        let text = encode::bytes(row.get_ref(2)?);
        for event in log.commit(seq_of(row.get(0)?), text, encode::hash(row.get_ref(3)?))? {
            if event.seq > after {
                events.push(event);
                if events.len() == limit {
                    return Ok(events);
                }
            }
        }
    }
    log.end(run.version, run.chain)?;
    Ok(events)
}

/// The events of the commit that holds `seq`.
pub(crate) fn commit_with(db: &Connection, run: &RunHead, seq: u64) -> Result<Vec<Event>, Failure> {
    const SQL: &str = "SELECT count FROM events WHERE place = ?1";
    if seq == 0 || seq > run.version {
        return Ok(Vec::new());
    }
    let first = row_with(db, run, seq)?;
    let count: usize = db.prepare_cached(SQL)?.query_row([first], |row| row.get(0))?;
    read(db, run, seq_of(first) - 1, count)
}

/// The place of the row that holds `seq`.
fn row_with(db: &Connection, run: &RunHead, seq: u64) -> Result<i64, Failure> {
    const SQL: &str = "SELECT max(place) FROM events WHERE place BETWEEN ?1 AND ?2";
    let range = [place(run.run_no, 1), place(run.run_no, seq)];
    let found: Option<i64> = db.prepare_cached(SQL)?.query_row(range, |row| row.get(0))?;
    found.ok_or_else(|| damaged(format!("the log of run {} at seq {seq}", run.run_id), "is missing"))
}

/// The end of the chain before the row at `first`.
fn chain_before(db: &Connection, run: &RunHead, first: i64) -> Result<ContentHash, Failure> {
    const SQL: &str = "SELECT chain FROM events WHERE place >= ?1 AND place < ?2 ORDER BY place DESC LIMIT 1";
    if seq_of(first) == 1 {
        return Ok(chain_start(run.run_id));
    }
    let mut query = db.prepare_cached(SQL)?;
    let before = query.query_row([place(run.run_no, 1), first], |row| Ok(encode::hash(row.get_ref(0)?))).optional()?;
    before.ok_or_else(|| damaged(format!("the log of run {} before seq {}", run.run_id, seq_of(first)), "is missing"))
}
